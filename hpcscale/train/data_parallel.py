"""How replicas keep the same weights: where gradients gather, and what happens to them after the last micro batch.

Two ways. ``Whole`` (``ddp``): every replica has all weights of its stages, gradients are averaged in flat buckets.
``Sharded`` (``zero1``, ``fsdp``, ``hsdp``; sharded.py): FSDP2 cuts weights, gradients and optimizer state over the replicas. torch's
composable ``replicate`` is not among them: together with tensor parallelism it runs and does not train (torchtitan issue 577).

The optimizer works on master weights in ``precision.master``, this rank's part of them, as plain tensors.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.distributed as dist
from torch import nn

from hpcscale.train.mesh import Axis, Mesh
from hpcscale.train.model import Transformer
from hpcscale.train.precision import Precision
from hpcscale.train.weights import parameters_of

BUCKET_BYTES = 25_000_000  # large enough for bandwidth, small enough to overlap with the backward pass


class Replica(Protocol):
    """One data-parallel replica's stages. Lists are in the order of ``weights_of``."""

    def allocate(self, device: torch.device) -> None:
        """Called once: gives the parameters memory."""

    def masters(self) -> list[torch.Tensor]:
        """This rank's part of each weight, in master precision; live memory."""
        ...

    def first_rows(self) -> list[int]:
        """Where this rank's part begins in each tensor-parallel part, along dim 0."""
        ...

    def gradients(self) -> list[torch.Tensor | None]:
        """After ``reduce``: the gradient of each master, averaged over the replicas."""
        ...

    def before_micro_batch(self, last: bool) -> None: ...

    def collect(self) -> None:
        """After each backward pass: gradients that no hook has moved to where they gather."""

    def reduce(self) -> None:
        """After the last micro batch: makes each gradient the mean over the replicas."""

    def updated(self) -> None:
        """The masters have changed: whatever is computed with follows."""

    def clear(self) -> None:
        """Gradients start again from nothing."""


class Whole:
    """``ddp``, and a single replica: whole weights on every rank, gradients averaged in flat buckets once a step.

    Each gradient is a view into a bucket, so what the backward pass adds up is the very memory that is sent. With mixed
    precision the parameters are in the compute type, and masters and gradients beside them in single precision.
    """

    def __init__(self, stages: list[Transformer], data: Axis, precision: Precision, overlap: bool):
        self.stages, self.data, self.precision, self.overlap = stages, data, precision, overlap
        self.buckets: list[_Bucket] = []
        for stage in stages:
            stage.to(precision.compute)

    def allocate(self, device: torch.device) -> None:
        for stage in self.stages:
            # As Module.to_empty, whose empty_like of a meta tensor loads sympy: hundreds of files a rank.
            stage._apply(lambda each: torch.empty(each.shape, dtype=each.dtype, device=device))
        self.parameters = parameters_of(self.stages)
        self._masters: list[torch.Tensor] = [
            each.detach().to(self.precision.master) if self.precision.mixed else each.detach()
            for each in self.parameters
        ]
        self.main: dict[nn.Parameter, torch.Tensor] = {}  # where gradients gather, if not in ``.grad``
        self.begun: set[nn.Parameter] = set()  # which of them hold something of this step
        self.last = False
        if self.data.size > 1:
            for members in _buckets(self.parameters):
                bucket = _Bucket(members, self.precision.master, self.data)
                self.buckets.append(bucket)
                self.main |= bucket.pieces
            if not self.precision.mixed:
                for parameter, piece in self.main.items():
                    parameter.grad = piece
        elif self.precision.mixed:
            self.main = {each: torch.empty_like(each, dtype=self.precision.master) for each in self.parameters}
        self.bucket_of = {each: bucket for bucket in self.buckets for each in bucket.pieces}
        if self.precision.mixed or (self.buckets and self.overlap):
            for parameter in self.parameters:
                parameter.register_post_accumulate_grad_hook(self._gathered)

    def masters(self) -> list[torch.Tensor]:
        return self._masters

    def first_rows(self) -> list[int]:
        return [0] * len(self.parameters)

    def gradients(self) -> list[torch.Tensor | None]:
        if not self.main:
            return [each.grad for each in self.parameters]
        if self.buckets:
            return [self.main[each] for each in self.parameters]
        return [self.main[each] if each in self.begun else None for each in self.parameters]

    def before_micro_batch(self, last: bool) -> None:
        self.last = last

    def collect(self) -> None:
        if self.precision.mixed:
            for parameter in self.parameters:
                self._move(parameter)

    def reduce(self) -> None:
        # All at once: bucket by bucket, the network would wait for the host.
        for bucket in self.buckets:
            bucket.start()
        for bucket in self.buckets:
            bucket.finish()

    @torch.no_grad()
    def updated(self) -> None:
        if self.precision.mixed:
            torch._foreach_copy_([each.detach() for each in self.parameters], self._masters)  # pyright: ignore[reportPrivateImportUsage]

    def clear(self) -> None:
        self.begun.clear()
        for bucket in self.buckets:
            bucket.flat.zero_()
        if not self.main:
            for parameter in self.parameters:
                parameter.grad = None

    def _gathered(self, parameter: torch.Tensor) -> None:
        """Autograd has finished a parameter's gradient for this micro batch."""
        assert isinstance(parameter, nn.Parameter)
        if self.precision.mixed:
            self._move(parameter)
        if self.last and self.overlap and parameter in self.bucket_of:
            self.bucket_of[parameter].one_more()

    def _move(self, parameter: nn.Parameter) -> None:
        if parameter.grad is None:
            return
        if parameter in self.begun or self.buckets:  # buckets start from zero
            self.main[parameter].add_(parameter.grad)
        else:
            self.main[parameter].copy_(parameter.grad)
        self.begun.add(parameter)
        parameter.grad = None


class _Bucket:
    """Gradients that travel together. ``start`` may come early, from the hook of the last of them that is ready."""

    def __init__(self, members: list[nn.Parameter], dtype: torch.dtype, data: Axis):
        sizes = [each.numel() for each in members]
        self.flat = torch.zeros(sum(sizes), dtype=dtype, device=members[0].device)
        self.pieces = {
            member: piece.view_as(member) for member, piece in zip(members, self.flat.split(sizes), strict=True)
        }
        self.data = data
        self.ready = 0
        self.work: dist.Work | None = None

    def one_more(self) -> None:
        self.ready += 1
        if self.ready == len(self.pieces):
            self.start()

    def start(self) -> None:
        if self.work is None:
            self.work = dist.all_reduce(self.flat, group=self.data.group, async_op=True)

    def finish(self) -> None:
        assert self.work is not None, "async_op gives a handle to every member of the group"
        self.work.wait()
        self.flat.mul_(1 / self.data.size)
        self.work, self.ready = None, 0


def replica(sharding: str, stages: list[Transformer], mesh: Mesh, precision: Precision) -> Replica:
    """The way of ``sharding``. Call it on the meta device, before the weights exist."""
    if mesh.shards is None:
        return Whole(stages, mesh.data, precision, overlap=mesh.pp.size == 1)
    # FSDP2 costs a process a second to load, and thousands of ranks many files.
    from hpcscale.train.sharded import Sharded

    return Sharded(stages, mesh, precision, keep=sharding == "zero1" or mesh.pp.size > 1)


def _buckets(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters in backward order, cut into runs of about BUCKET_BYTES each."""
    buckets: list[list[nn.Parameter]] = []
    filled = 0
    for parameter in reversed(parameters):
        size = parameter.numel() * parameter.element_size()
        if not buckets or filled + size > BUCKET_BYTES:
            buckets.append([])
            filled = 0
        buckets[-1].append(parameter)
        filled += size
    return buckets
