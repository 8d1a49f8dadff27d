"""Tensors as MPI sees them: memory, a count and a datatype; and the reductions that MPI can do with them.

bf16 and fp16 are no MPI datatypes. They are reduced in float32 buffers and moved as integers of the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist

from hpcscale.train.mpi.library import MPI

# Before MPI 4 a count is a C int. mpi4py calls MPI 4's large-count functions where the library has them.
LARGEST_COUNT = 2**31 - 1 if MPI.VERSION < 4 else 2**63 - 1

ARITHMETIC = {
    torch.float32: MPI.FLOAT, torch.float64: MPI.DOUBLE,
    torch.int8: MPI.INT8_T, torch.int16: MPI.INT16_T, torch.int32: MPI.INT32_T, torch.int64: MPI.INT64_T,
    torch.uint8: MPI.UINT8_T, torch.uint16: MPI.UINT16_T, torch.uint32: MPI.UINT32_T, torch.uint64: MPI.UINT64_T,
    torch.complex64: MPI.C_FLOAT_COMPLEX, torch.complex128: MPI.C_DOUBLE_COMPLEX,
    torch.bool: MPI.C_BOOL,
}  # fmt: skip
MOVED = {1: MPI.BYTE, 2: MPI.INT16_T, 4: MPI.INT32_T, 8: MPI.INT64_T, 16: MPI.C_DOUBLE_COMPLEX}  # by bytes an element

# torch's operations for each kind of value. For truth values a sum is "any" and a product is "all", as in torch.
SUMS = {"SUM": MPI.SUM, "PRODUCT": MPI.PROD}
ORDERED = {**SUMS, "MIN": MPI.MIN, "MAX": MPI.MAX}
AVERAGES = {"AVG": MPI.SUM, "PREMUL_SUM": MPI.SUM}
OPERATIONS = {
    "floating": {**ORDERED, **AVERAGES},
    "complex": {**SUMS, **AVERAGES},
    "integer": {**ORDERED, "BAND": MPI.BAND, "BOR": MPI.BOR, "BXOR": MPI.BXOR},
    "boolean": {
        "SUM": MPI.LOR, "MAX": MPI.LOR, "BOR": MPI.LOR, "PRODUCT": MPI.LAND, "MIN": MPI.LAND, "BAND": MPI.LAND,
        "BXOR": MPI.LXOR,
    },
}  # fmt: skip


def moved(tensor: torch.Tensor, counts: Sequence[int] | None = None) -> list[Any]:
    """A contiguous tensor as an MPI message whose content nobody calculates with; ``counts`` cut it into parts, in elements."""
    return _message(tensor, MOVED[tensor.element_size()], counts)


def reduced(tensor: torch.Tensor, counts: Sequence[int] | None = None) -> list[Any]:
    """A contiguous tensor of a dtype in ``ARITHMETIC`` as an MPI message."""
    return _message(tensor, ARITHMETIC[tensor.dtype], counts)


def evenly(message: list[Any], ranks: int) -> list[Any]:
    """A message in equal parts for all ranks: of these mpi4py takes the count of one part, and does not check it."""
    memory, count, datatype = message
    return [memory, count // ranks, datatype]


def _message(tensor: torch.Tensor, datatype: MPI.Datatype, counts: Sequence[int] | None) -> list[Any]:
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        raise ValueError(
            f"the mpi4py backend moves dense CPU tensors, but this one is {tensor.layout} on {tensor.device}"
        )
    if tensor.numel() > LARGEST_COUNT:
        raise ValueError(
            f"a message of {tensor.numel()} elements is more than the {LARGEST_COUNT} that MPI "
            f"{MPI.VERSION}.{MPI.SUBVERSION} can count; use an MPI 4 library, or send it in parts"
        )
    memory = MPI.buffer.fromaddress(tensor.data_ptr(), tensor.numel() * tensor.element_size())
    if counts is None:
        return [memory, tensor.numel(), datatype]
    return [memory, (list(counts), [0, *accumulate(counts)][:-1]), datatype]


def overlap(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two contiguous tensors share memory, which MPI forbids between input and output."""
    if not first.numel() or not second.numel():
        return False
    begin, other = first.data_ptr(), second.data_ptr()
    return begin < other + second.nbytes and other < begin + first.nbytes


def writable(tensor: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, Callable[[], None] | None]:
    """Where MPI may write ``tensor``'s new content, and what brings it there: itself if it is contiguous and no input overlaps."""
    if tensor.is_contiguous() and not any(overlap(tensor, other) for other in others):
        return tensor, None
    buffer = torch.empty(tensor.shape, dtype=tensor.dtype)
    return buffer, lambda: copy(buffer, tensor)


def copy(source: torch.Tensor, target: torch.Tensor) -> None:
    target.detach().copy_(source.view(target.shape))


@dataclass(frozen=True)
class Reduction:
    """How values of a dtype are reduced: the operation, the dtype it is done in, and the factor on the result."""

    operation: MPI.Op
    dtype: torch.dtype
    divisor: float | None

    @classmethod
    def of(cls, op: Any, dtype: torch.dtype, ranks: int) -> Reduction:
        """``op`` is a torch ReduceOp; MPI has no average, and no operation on half-precision values."""
        name = _name(op)
        table = OPERATIONS[_kind(dtype)]
        if name not in table:
            raise ValueError(f"the mpi4py backend cannot reduce {dtype} with {name}; valid: {', '.join(table)}")
        divisor = float(ranks) if name == "AVG" else 1 / op.__getstate__()[1] if name == "PREMUL_SUM" else None
        half = dtype.is_floating_point and dtype.itemsize < 4
        return cls(table[name], torch.float32 if half else dtype, divisor)

    def buffer(self, tensor: torch.Tensor) -> torch.Tensor:
        """``tensor``, or a copy of it, contiguous and in the dtype of the reduction."""
        return tensor.detach().to(self.dtype).contiguous()

    def finish(self, buffer: torch.Tensor, target: torch.Tensor) -> Callable[[], None] | None:
        """What turns the reduced ``buffer`` into ``target``'s content; nothing if it is that already."""
        in_place = buffer.data_ptr() == target.data_ptr() and buffer.dtype == target.dtype and target.is_contiguous()
        if in_place and self.divisor is None:
            return None

        def finish() -> None:
            if self.divisor is not None:
                buffer.div_(self.divisor)
            if not in_place:
                copy(buffer, target)

        return finish


def _name(op: Any) -> str:
    """The name of a ReduceOp, or of one of its types."""
    return (op if isinstance(op, dist.ReduceOp.RedOpType) else op.__getstate__()[0]).name


def _kind(dtype: torch.dtype) -> str:
    if dtype is torch.bool:
        return "boolean"
    return "floating" if dtype.is_floating_point else "complex" if dtype.is_complex else "integer"
