"""Collectives of parts of the ranks, and those that torch calls from C++ or several at once."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import _coalescing_manager

from .values import ReduceOp, by_element, fails, held, mean, own, rank, same, size


def coalesced() -> None:
    tensors = [own(dtype) for dtype in (torch.float32, torch.float32)]
    with _coalescing_manager(async_ops=True) as manager:
        for tensor in tensors:
            dist.all_reduce(tensor)
    manager.wait()
    for tensor in tensors:
        same(tensor, by_element(sum, torch.float32))
    wholes, parts = [torch.empty(5 * size()) for _ in range(2)], [torch.empty(1) for _ in range(2)]
    with _coalescing_manager():
        for whole in wholes:
            dist.all_gather_into_tensor(whole, own(torch.float32))
    with _coalescing_manager():
        for part in parts:
            dist.reduce_scatter_tensor(part, torch.arange(float(size())))
    for whole, part in zip(wholes, parts, strict=True):
        same(whole, [held(each, torch.float32) for each in range(size())])
        same(part, [float(size() * rank())])
    received = torch.empty(2)
    with _coalescing_manager(device=torch.device("cpu"), async_ops=True) as manager:
        dist.isend(torch.full((2,), float(rank())), (rank() + 1) % size())
        dist.irecv(received, (rank() - 1) % size())
    manager.wait()
    same(received, [float((rank() - 1) % size())] * 2)


def functional_collectives() -> None:
    world = dist.group.WORLD
    assert world is not None
    same(functional.all_reduce(own(torch.float32), "sum", world) + 0, by_element(sum, torch.float32))
    same(functional.all_reduce(own(torch.bfloat16), "avg", world) + 0, by_element(mean, torch.bfloat16))
    gathered = functional.all_gather_tensor(own(torch.int64), 0, world)
    same(gathered + 0, [held(each, torch.int64) for each in range(size())])
    part = functional.reduce_scatter_tensor(own(torch.float64, 2 * size()), "sum", 0, world)
    same(part + 0, by_element(sum, torch.float64, 2 * size())[2 * rank() : 2 * rank() + 2])
    exchanged = functional.all_to_all_single(torch.full((size(),), float(rank())), None, None, world)
    same(exchanged + 0, [float(each) for each in range(size())])
    same(functional.broadcast(own(torch.float32), 1, world) + 0, held(1, torch.float32))
    several = functional.all_reduce_coalesced([own(torch.float32), own(torch.float64)], "max", world)
    for tensor in several:
        same(tensor + 0, by_element(max, torch.float32))
    several = functional.all_gather_into_tensor_coalesced([own(torch.float32)] * 2, world)
    for tensor in several:
        same(tensor + 0, [held(each, torch.float32) for each in range(size())])


def subgroups() -> None:
    lower = dist.new_group([0, 1])
    alone = [dist.new_group([each]) for each in range(size())]
    if rank() < 2:
        tensor = torch.full((2,), float(rank() + 1))
        dist.all_reduce(tensor, group=lower)
        same(tensor, [3.0, 3.0])
        fails(lambda: dist.all_reduce(tensor, ReduceOp.BAND, group=lower), "cannot reduce torch.float32")
    tensor = torch.full((1,), float(rank()))
    dist.all_reduce(tensor, ReduceOp.AVG, group=alone[rank()])
    dist.broadcast(tensor, rank(), group=alone[rank()])
    same(tensor, [float(rank())])
    pairs = [dist.new_group([each, each + 1], use_local_synchronization=True)
             for each in range(0, size(), 2) if rank() in (each, each + 1)]  # fmt: skip
    other = rank() ^ 1
    received = torch.empty(1)
    dist.batch_isend_irecv([
        dist.P2POp(dist.isend, torch.full((1,), float(rank())), other, pairs[0]),
        dist.P2POp(dist.irecv, received, other, pairs[0]),
    ])[1].wait()  # fmt: skip
    same(received, [float(other)])
    tensor = torch.full((1,), float(rank()))
    dist.broadcast(tensor, max(rank(), other), group=pairs[0])
    same(tensor, [float(max(rank(), other))])
    dist.destroy_process_group(pairs[0])


def meshes() -> None:
    mesh = init_device_mesh("cpu", (size() // 2, 2), mesh_dim_names=("dp", "tp"))
    sums = {"dp": [each for each in range(size()) if each % 2 == rank() % 2], "tp": [rank() & ~1, rank() | 1]}
    # Both axes under way at once, waited for in the order in which they were not posted.
    tensors = {axis: torch.full((3,), float(rank())) for axis in sums}
    works = {
        axis: dist.all_reduce(tensor, group=mesh.get_group(axis), async_op=True) for axis, tensor in tensors.items()
    }
    for axis in ("tp", "dp"):
        work = works[axis]
        assert work is not None
        work.wait()
        same(tensors[axis], [float(sum(sums[axis]))] * 3, axis)
    flat = mesh._flatten("all")
    tensor = torch.ones(1)
    dist.all_reduce(tensor, group=flat.get_group())
    same(tensor, [float(size())])


CHECKS = (
    coalesced, functional_collectives, subgroups, meshes,
)  # fmt: skip
