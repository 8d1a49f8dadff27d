"""What each rank is known to hold, and what must come of it: computed with Python's numbers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
INTEGERS = (torch.int64, torch.int32, torch.uint8)
NUMBERS = (*FLOATS, *INTEGERS)
DTYPES = (*NUMBERS, torch.bool, torch.complex64)
ReduceOp = dist.ReduceOp


def rank() -> int:
    return dist.get_rank()


def size() -> int:
    return dist.get_world_size()


def held(of_rank: int, dtype: torch.dtype, count: int = 5) -> list[Any]:
    """What a rank holds: small numbers, exact in every dtype, also their sums and products over four ranks."""
    numbers = [(of_rank * 3 + 2 * place) % 5 + 1 for place in range(count)]
    if dtype is torch.bool:
        return [number > 2 for number in numbers]
    if dtype.is_floating_point:
        return [number - 2 for number in numbers]
    return numbers


def own(dtype: torch.dtype, count: int = 5) -> torch.Tensor:
    return torch.tensor(held(rank(), dtype, count), dtype=dtype)


def by_element(function: Callable[[Iterable[Any]], Any], dtype: torch.dtype, count: int = 5) -> list[Any]:
    """``function`` of what all ranks hold, element by element."""
    return [function(column) for column in zip(*(held(each, dtype, count) for each in range(size())), strict=True)]


def same(tensor: torch.Tensor, expected: Any, what: Any = "") -> None:
    wanted = torch.tensor(expected, dtype=tensor.dtype).reshape(tensor.shape)
    assert torch.equal(tensor, wanted), f"{what}: {tensor.tolist()} is not {wanted.tolist()}"


def close(found: torch.Tensor, expected: torch.Tensor, what: Any = "") -> None:
    difference = (found - expected).abs().max().item()
    assert difference < 1e-12, f"{what}: {difference}"


def fails(function: Callable[[], Any], words: str) -> Exception:
    try:
        function()
    except Exception as error:
        assert words in str(error), f"'{words}' is not in '{error}'"
        return error
    raise AssertionError(f"nothing was raised; expected '{words}'")


def mean(values: Iterable[Any]) -> float:
    values = list(values)
    return sum(values) / len(values)


FUNCTIONS: dict[Any, Callable[[Iterable[Any]], Any]] = {
    ReduceOp.SUM: sum, ReduceOp.MIN: min, ReduceOp.MAX: max, ReduceOp.PRODUCT: math.prod,
}  # fmt: skip
TRUTH: dict[Any, Callable[[Iterable[Any]], Any]] = {
    ReduceOp.SUM: any, ReduceOp.MAX: any, ReduceOp.MIN: all, ReduceOp.PRODUCT: all,
}  # fmt: skip
BITS = {ReduceOp.BAND: operator.and_, ReduceOp.BOR: operator.or_, ReduceOp.BXOR: operator.xor}
