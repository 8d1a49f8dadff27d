"""Tensor parallelism as Megatron does it (Shoeybi et al., arXiv 1909.08053), with sequence parallelism (arXiv 2205.05198).

Weights are plain tensors that hold this rank's rows or columns. The collectives are autograd functions of their own,
apart from the matrix products: a zero-bubble schedule runs a function that had both twice.

Where activations lie: between the parallel regions every tensor-parallel rank has the whole hidden state, or, with
sequence parallelism, its part of the sequence. ``enter`` and ``leave`` are the ways in and out of a region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from hpcscale.train.mesh import ALONE, Axis

# torch 2.13 has new names for them, and warns of the old ones
all_gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
reduce_scatter = getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)


@dataclass(frozen=True)
class Region:
    """The tensor-parallel axis of a model, and whether the sequence is cut outside the parallel regions."""

    axis: Axis = ALONE
    sequence: bool = False

    @property
    def size(self) -> int:
        return self.axis.size

    @property
    def rank(self) -> int:
        return self.axis.rank

    def enter(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, sequence (part), hidden] -> [batch, sequence, hidden] on every rank."""
        if self.axis.group is None:
            return x
        return _Gather.apply(x, self.axis) if self.sequence else _Copy.apply(x, self.axis)

    def leave(self, x: torch.Tensor) -> torch.Tensor:
        """Partial sums [batch, sequence, hidden] -> their sum, whole or this rank's part of the sequence."""
        if self.axis.group is None:
            return x
        return _ReduceScatter.apply(x, self.axis) if self.sequence else _Reduce.apply(x, self.axis)

    def own_part(self, x: torch.Tensor, dim: int) -> torch.Tensor:
        """What this rank keeps of something whole along the sequence: a view."""
        if not self.sequence or self.axis.group is None:
            return x
        length = x.shape[dim] // self.size
        return x.narrow(dim, self.rank * length, length)


class ColumnLinear(nn.Module):
    """x W^T + b with the output features (rows of W) cut over the ranks; its input is whole."""

    CUT = {"weight": 0, "bias": 0}  # noqa: RUF012

    def __init__(self, inputs: int, outputs: int, bias: bool, region: Region):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs // region.size, inputs))
        self.bias = nn.Parameter(torch.empty(outputs // region.size)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight, self.bias)


class RowLinear(nn.Module):
    """x W^T + b with the input features (columns of W) cut over the ranks; leaves the region, then adds the bias once."""

    CUT = {"weight": 1}  # noqa: RUF012

    def __init__(self, inputs: int, outputs: int, bias: bool, region: Region):
        super().__init__()
        self.region = region
        self.weight = nn.Parameter(torch.empty(outputs, inputs // region.size))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.region.size == 1:
            return F.linear(x, self.weight, self.bias)
        summed = self.region.leave(F.linear(x, self.weight))
        return summed if self.bias is None else summed + self.bias


class VocabularyEmbedding(nn.Module):
    """A token table whose rows are cut over the ranks: each looks up the tokens that it has, the rest are zero."""

    CUT = {"weight": 0}  # noqa: RUF012

    def __init__(self, rows: int, hidden: int, region: Region):
        super().__init__()
        self.region = region
        self.weight = nn.Parameter(torch.empty(rows // region.size, hidden))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[batch, sequence] -> [batch, sequence (part), hidden]."""
        if self.region.size == 1:
            return F.embedding(tokens, self.weight)
        rows = self.weight.shape[0]
        own = tokens - self.region.rank * rows
        elsewhere = (own < 0) | (own >= rows)
        found = F.embedding(own.masked_fill(elsewhere, 0), self.weight)
        return self.region.leave(found.masked_fill(elsewhere[..., None], 0.0))


class _Copy(torch.autograd.Function):
    """Megatron's f: the identity forward, an all-reduce backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, axis: Axis) -> torch.Tensor:
        ctx.axis = axis
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return _sum(gradients[0], ctx.axis), None


class _Reduce(torch.autograd.Function):
    """Megatron's g: an all-reduce forward, the identity backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, axis: Axis) -> torch.Tensor:
        return _sum(x, axis)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0], None


class _Gather(torch.autograd.Function):
    """Megatron's g: all-gather along the sequence forward, reduce-scatter backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, axis: Axis) -> torch.Tensor:
        ctx.axis = axis
        return _gathered(x, axis)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return _reduce_scattered(gradients[0], ctx.axis), None


class _ReduceScatter(torch.autograd.Function):
    """Megatron's g-bar: reduce-scatter along the sequence forward, all-gather backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, axis: Axis) -> torch.Tensor:
        ctx.axis = axis
        return _reduce_scattered(x, axis)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return _gathered(gradients[0], ctx.axis), None


def _sum(x: torch.Tensor, axis: Axis) -> torch.Tensor:
    # Never in place: selective checkpointing may keep x, and would find the sum in it.
    x = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(x, group=axis.group)
    return x


def _gathered(x: torch.Tensor, axis: Axis) -> torch.Tensor:
    """[batch, part, hidden] of every rank -> [batch, sequence, hidden]; no copy beyond the collective's for one sequence."""
    batch, part, hidden = x.shape
    parts = x.new_empty(axis.size, batch, part, hidden)
    all_gather(parts.flatten(0, 1), x.contiguous(), group=axis.group)
    return parts.transpose(0, 1).reshape(batch, axis.size * part, hidden)


def _reduce_scattered(x: torch.Tensor, axis: Axis) -> torch.Tensor:
    """Partial sums [batch, sequence, hidden] -> this rank's part of the sum [batch, part, hidden]."""
    batch, length, hidden = x.shape
    part = length // axis.size
    parts = x.view(batch, axis.size, part, hidden).transpose(0, 1).contiguous()
    own = x.new_empty(batch, part, hidden)
    reduce_scatter(own, parts.flatten(0, 1), group=axis.group)
    return own
