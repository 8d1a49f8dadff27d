"""Every collective and dtype, by hand."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.distributed as dist

from .values import (
    BITS,
    DTYPES,
    FLOATS,
    FUNCTIONS,
    INTEGERS,
    NUMBERS,
    TRUTH,
    ReduceOp,
    by_element,
    fails,
    held,
    mean,
    own,
    rank,
    same,
    size,
)


def all_reduce() -> None:
    for dtype in (*NUMBERS, torch.bool):
        for operation, function in (TRUTH if dtype is torch.bool else FUNCTIONS).items():
            tensor = own(dtype)
            dist.all_reduce(tensor, operation)
            same(tensor, by_element(function, dtype), (dtype, operation))
    for dtype in INTEGERS:
        for operation, function in BITS.items():
            tensor = own(dtype)
            dist.all_reduce(tensor, operation)
            same(tensor, by_element(functools.partial(functools.reduce, function), dtype), (dtype, operation))
    for dtype in FLOATS:
        tensor = own(dtype)
        dist.all_reduce(tensor, ReduceOp.AVG)
        same(tensor, by_element(mean, dtype), dtype)
    scaled = own(torch.float32)
    dist.all_reduce(scaled, ReduceOp.PREMUL_SUM(0.25) if hasattr(ReduceOp, "PREMUL_SUM") and callable(ReduceOp.PREMUL_SUM)
                    else dist._make_nccl_premul_sum(0.25))  # fmt: skip
    same(scaled, [total / 4 for total in by_element(sum, torch.float32)])
    number = torch.tensor(2 + 1j * rank(), dtype=torch.complex64)
    dist.all_reduce(number)
    same(number, 2 * size() + 1j * sum(range(size())))
    large = torch.tensor([2**53 + 1 + rank()])  # neither int32 nor float64 can hold it
    dist.all_reduce(large, ReduceOp.MAX)
    same(large, [2**53 + size()])
    fails(lambda: dist.all_reduce(own(torch.int64), ReduceOp.AVG), "cannot reduce torch.int64 with AVG")


def a_half_precision_sum_is_rounded_once() -> None:
    # In bf16 256 + 1 is 256: adding rank by rank would lose every one of these ones.
    tensor = torch.tensor([256.0 if rank() == 0 else 1.0, 1.0], dtype=torch.bfloat16)
    dist.all_reduce(tensor)
    same(tensor, [torch.tensor(256.0 + size() - 1).bfloat16().item(), size()])


def unusual_tensors_are_reduced() -> None:
    whole = torch.full((3, 4), -1.0)
    whole.t()[1:3] = float(rank())
    dist.all_reduce(whole.t()[1:3])
    total = sum(range(size()))
    same(whole, [[-1.0, total, total, -1.0]] * 3)
    for shape in ((0,), (3, 0), ()):
        tensor = torch.ones(shape)
        dist.all_reduce(tensor)
        assert tensor.shape == shape and bool((tensor == size()).all())
    leaf = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        dist.all_reduce(leaf, ReduceOp.AVG)
        dist.broadcast(leaf, 0)
    same(leaf.detach(), [1.0] * 3)
    with torch.inference_mode():
        tensor = torch.ones(3, dtype=torch.bfloat16)
        work = dist.all_reduce(tensor, async_op=True)
        assert work is not None
        work.wait()
    same(tensor, [size()] * 3)


def broadcast() -> None:
    for dtype in DTYPES:
        for root in range(size()):
            tensor = own(dtype)
            dist.broadcast(tensor, root)
            same(tensor, held(root, dtype), (dtype, root))
    columns = torch.full((4, 3), rank())[:, 1]
    dist.broadcast(columns, size() - 1)
    same(columns, [size() - 1] * 4)


def reduce() -> None:
    for dtype in NUMBERS:
        for root in range(size()):
            tensor = own(dtype)
            dist.reduce(tensor, root)
            same(tensor, by_element(sum, dtype) if rank() == root else held(rank(), dtype), (dtype, root))


def all_gather() -> None:
    for dtype in DTYPES:
        everything = [held(each, dtype) for each in range(size())]
        parts = [torch.empty(5, dtype=dtype) for _ in range(size())]
        dist.all_gather(parts, own(dtype))
        for part, expected in zip(parts, everything, strict=True):
            same(part, expected, dtype)
        whole = torch.empty(size() * 5, dtype=dtype)
        dist.all_gather_into_tensor(whole, own(dtype))
        same(whole, everything, dtype)
        whole = torch.empty((size(), 5), dtype=dtype)
        whole[rank()] = own(dtype)
        dist.all_gather_into_tensor(whole, whole[rank()])  # as FSDP does
        same(whole, everything, dtype)
    uneven = [torch.empty(each) for each in range(size())]
    dist.all_gather(uneven, torch.full((rank(),), float(rank())))
    for each, part in enumerate(uneven):
        same(part, [float(each)] * each)
    columns = torch.empty(3, size()).t()
    dist.all_gather_into_tensor(columns, torch.full((3,), float(rank())))
    same(columns, [[float(each)] * 3 for each in range(size())])
    shifted = torch.arange(5.0 * size() + 1)
    dist.all_gather_into_tensor(shifted[:-1], shifted[1:6].clone() if rank() else shifted[1:6])
    same(shifted[:5], [1.0, 2.0, 3.0, 4.0, 5.0])
    empty = torch.empty(0)
    dist.all_gather_into_tensor(empty, torch.empty(0))


def reduce_scatter() -> None:
    for dtype in (*NUMBERS, torch.bool):
        function = any if dtype is torch.bool else sum
        expected = by_element(function, dtype, 3 * size())[3 * rank() : 3 * rank() + 3]
        part = torch.empty(3, dtype=dtype)
        dist.reduce_scatter_tensor(part, own(dtype, 3 * size()))
        same(part, expected, dtype)
        part = torch.empty(3, dtype=dtype)
        dist.reduce_scatter(part, list(own(dtype, 3 * size()).split(3)))
        same(part, expected, dtype)
        whole = own(dtype, 3 * size())
        dist.reduce_scatter_tensor(whole[3 * rank() : 3 * rank() + 3], whole)
        same(whole[3 * rank() : 3 * rank() + 3], expected, dtype)
    for dtype in FLOATS:
        part = torch.empty(3, dtype=dtype)
        dist.reduce_scatter_tensor(part, own(dtype, 3 * size()), ReduceOp.AVG)
        same(part, by_element(mean, dtype, 3 * size())[3 * rank() : 3 * rank() + 3], dtype)
    sizes = [each + 1 for each in range(size())]
    part = torch.empty(rank() + 1)
    dist.reduce_scatter(part, [torch.full((each,), float(each + rank())) for each in sizes])
    same(part, [float(size() * (rank() + 1) + sum(range(size())))] * (rank() + 1))
    columns = torch.zeros(2, 3)[:, 1]
    dist.reduce_scatter_tensor(columns, torch.ones(2 * size()), ReduceOp.MAX)
    same(columns, [1.0, 1.0])


def all_to_all() -> None:
    for dtype in DTYPES:
        sent = [torch.tensor(held(10 * rank() + to, dtype, to + 1), dtype=dtype) for to in range(size())]
        received = [torch.empty(rank() + 1, dtype=dtype) for _ in range(size())]
        dist.all_to_all(received, sent)
        for source, tensor in enumerate(received):
            same(tensor, held(10 * source + rank(), dtype, rank() + 1), (dtype, source))
    even = torch.empty(size(), 2)
    dist.all_to_all_single(even, torch.tensor([[rank(), to] for to in range(size())], dtype=torch.float32))
    same(even, [[source, rank()] for source in range(size())])
    # Rank r sends r rows to each rank: rank 0 sends nothing at all.
    rows = torch.full((rank() * size(), 2), rank())
    incoming = torch.empty((sum(range(size())), 2), dtype=torch.int64)
    dist.all_to_all_single(incoming, rows, list(range(size())), [rank()] * size())
    same(incoming, [[source, source] for source in range(size()) for _ in range(source)])


def gather_and_scatter() -> None:
    for dtype in DTYPES:
        for root in range(size()):
            parts = [torch.empty(5, dtype=dtype) for _ in range(size())] if rank() == root else None
            dist.gather(own(dtype), parts, root)
            for each, part in enumerate(parts or []):
                same(part, held(each, dtype), (dtype, root))
            given = [torch.tensor(held(each, dtype), dtype=dtype) for each in range(size())]
            mine = torch.empty(5, dtype=dtype)
            dist.scatter(mine, given if rank() == root else None, root)
            same(mine, held(rank(), dtype), (dtype, root))


def objects() -> None:
    gathered: list[Any] = [None] * size()
    dist.all_gather_object(gathered, {"rank": rank(), "text": "x" * (1000 * rank())})
    assert [len(each["text"]) for each in gathered] == [1000 * each for each in range(size())]
    told = [{"from": rank()}, rank()]
    dist.broadcast_object_list(told, 1)
    assert told == [{"from": 1}, 1]
    at_root: list[Any] | None = [None] * size() if rank() == 1 else None
    dist.gather_object(("rank", rank()), at_root, 1)
    assert at_root is None or at_root == [("rank", each) for each in range(size())]
    mine: list[Any] = [None]
    dist.scatter_object_list(mine, [f"for {each}" for each in range(size())] if rank() == 0 else None, 0)
    assert mine == [f"for {rank()}"]


CHECKS = (
    all_reduce, a_half_precision_sum_is_rounded_once, unusual_tensors_are_reduced, broadcast, reduce, all_gather,
    reduce_scatter, all_to_all, gather_and_scatter, objects,
)  # fmt: skip
