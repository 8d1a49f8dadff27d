"""How replicas keep the same weights: what happens to gradients after the last micro batch of a step.

Each way is a class with the same four verbs. torch's composable ``replicate`` is not among them: together with tensor
parallelism it runs and does not train (torchtitan issue 577).
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from hpcscale.train.model import Transformer
from hpcscale.train.precision import Precision

BUCKET_BYTES = 25_000_000  # large enough for bandwidth, small enough to overlap with the next one's start


class Replica(Protocol):
    """One data-parallel replica's gradients. ``precision`` is the one left to autocast."""

    precision: Precision

    def allocate(self) -> None:
        """Called once, when the weights exist."""

    def before_micro_batch(self, last: bool) -> None: ...

    def reduce(self) -> None:
        """After the last micro batch: makes each gradient the mean over the replicas."""

    def clear(self) -> None:
        """After the optimizer's step."""


class Alone:
    """One replica: nothing to reduce."""

    def __init__(self, model: Transformer, precision: Precision):
        self.model, self.precision = model, precision

    def allocate(self) -> None:
        pass

    def before_micro_batch(self, last: bool) -> None:
        pass

    def reduce(self) -> None:
        pass

    def clear(self) -> None:
        self.model.zero_grad(set_to_none=True)


class Replicated:
    """``ddp``: whole weights on every rank, gradients summed in flat buckets once a step.

    Each parameter's gradient is a view into a bucket, so the backward pass adds into the very memory that is sent.
    """

    def __init__(self, model: Transformer, mesh: DeviceMesh, precision: Precision):
        self.model, self.precision = model, precision
        self.group = mesh.get_group("dp")
        self.buckets: list[torch.Tensor] = []

    def allocate(self) -> None:
        for members in _buckets(list(self.model.parameters())):
            bucket = torch.zeros(
                sum(each.numel() for each in members), dtype=members[0].dtype, device=members[0].device
            )
            for parameter, piece in zip(members, bucket.split([each.numel() for each in members]), strict=True):
                parameter.grad = piece.view_as(parameter)
            self.buckets.append(bucket)

    def before_micro_batch(self, last: bool) -> None:
        pass

    def reduce(self) -> None:
        # All at once: bucket by bucket, the network would wait for the host.
        pending = [dist.all_reduce(bucket, group=self.group, async_op=True) for bucket in self.buckets]
        for work in pending:
            assert work is not None, "async_op gives a handle to every member of the group"
            work.wait()
        for bucket in self.buckets:
            bucket.mul_(1 / self.group.size())

    def clear(self) -> None:
        for bucket in self.buckets:
            bucket.zero_()


class Sharded:
    """``fsdp``: FSDP2. Weights, gradients and optimizer state are cut over the replicas, block by block."""

    def __init__(self, model: Transformer, mesh: DeviceMesh, precision: Precision):
        policy = precision.fsdp_policy()
        for block in model.blocks.values():
            fully_shard(block, mesh=mesh["dp"], mp_policy=policy)
        fully_shard(model, mesh=mesh["dp"], mp_policy=policy)
        self.model = model
        # FSDP hands out weights in the compute type, so autocast has nothing left to do.
        self.precision = Precision(precision.master, precision.master)

    def allocate(self) -> None:
        pass

    def before_micro_batch(self, last: bool) -> None:
        assert isinstance(self.model, FSDPModule)
        self.model.set_is_last_backward(last)
        self.model.set_requires_gradient_sync(last)

    def reduce(self) -> None:
        pass  # the last backward pass has reduced and scattered

    def clear(self) -> None:
        self.model.zero_grad(set_to_none=True)


SHARDINGS = {"ddp": Replicated, "fsdp": Sharded}


def replica(sharding: str, model: Transformer, mesh: DeviceMesh | None, precision: Precision) -> Replica:
    """The way of ``sharding``. Call it on the meta device, before the weights exist."""
    if mesh is None or mesh["dp"].size() == 1:
        return Alone(model, precision)
    return SHARDINGS[sharding](model, mesh, precision)


def _buckets(parameters: list[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
    """Parameters in backward order, cut into runs of one type and about BUCKET_BYTES each."""
    buckets: list[list[torch.nn.Parameter]] = []
    filled = 0
    for parameter in reversed(parameters):
        size = parameter.numel() * parameter.element_size()
        if not buckets or filled + size > BUCKET_BYTES or buckets[-1][0].dtype != parameter.dtype:
            buckets.append([])
            filled = 0
        buckets[-1].append(parameter)
        filled += size
    return buckets
