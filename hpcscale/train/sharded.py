"""Weights, gradients and optimizer state cut over the replicas: ``zero1``, ``fsdp`` and ``hsdp`` by torch's FSDP2."""

from __future__ import annotations

import torch
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from hpcscale.train.mesh import Mesh
from hpcscale.train.model import Transformer
from hpcscale.train.precision import Precision
from hpcscale.train.weights import parameters_of


class Sharded:
    """FSDP2, block by block. ``fsdp`` and ``hsdp`` gather weights for each pass anew; ``zero1`` keeps them from the first
    forward pass of a step to the last backward pass, so that per step they are gathered once and gradients scattered once.

    With pipeline stages all of them keep their weights through the step: gathering them for every micro batch would send
    the model dozens of times (torchtitan does the same).
    """

    def __init__(self, stages: list[Transformer], mesh: Mesh, precision: Precision, keep: bool):
        assert mesh.shards is not None
        self.stages, self.keep, shards = stages, keep, mesh.shards
        self.shard_dim = shards.ndim - 1
        self.count, self.place = shards.size(self.shard_dim), shards.get_local_rank(self.shard_dim)
        self.rows = [each.shape[0] for each in parameters_of(stages)]
        policy = _policy(precision)
        for stage in stages:
            stage.to(precision.master)
            for block in stage.blocks.values():
                fully_shard(block, mesh=shards, mp_policy=policy, reshard_after_forward=not keep)
            fully_shard(stage, mesh=shards, mp_policy=policy, reshard_after_forward=not keep)

    def allocate(self, device: torch.device) -> None:
        for stage in self.stages:
            stage.to_empty(device=device)

    def masters(self) -> list[torch.Tensor]:
        return [_local(each.detach()) for each in parameters_of(self.stages)]

    def first_rows(self) -> list[int]:
        """FSDP2 cuts dim 0 as torch.chunk does: equal parts, the last ones shorter or empty."""
        return [min(self.place * -(-rows // self.count), rows) for rows in self.rows]

    def gradients(self) -> list[torch.Tensor | None]:
        return [None if each.grad is None else _local(each.grad) for each in parameters_of(self.stages)]

    def before_micro_batch(self, last: bool) -> None:
        for stage in self.stages:
            assert isinstance(stage, FSDPModule)
            stage.set_is_last_backward(last)
            stage.set_requires_gradient_sync(last)
            if self.keep:
                stage.set_reshard_after_backward(last)

    def collect(self) -> None:
        pass

    def reduce(self) -> None:
        pass  # the last backward pass has reduced and scattered

    def updated(self) -> None:
        pass  # the next forward pass gathers them

    def clear(self) -> None:
        for stage in self.stages:
            stage.zero_grad(set_to_none=True)


def _policy(precision: Precision) -> MixedPrecisionPolicy:
    """FSDP2 gathers weights in the compute type and sums gradients in the master type.

    Inputs are not cast: a block's input has the right type already, and rotary tables must stay exact.
    """
    if not precision.mixed:
        return MixedPrecisionPolicy(cast_forward_inputs=False)
    return MixedPrecisionPolicy(param_dtype=precision.compute, reduce_dtype=precision.master, cast_forward_inputs=False)


def _local(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
