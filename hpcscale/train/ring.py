"""Attention over a sequence that is cut over ranks: keys and values go round a ring (Liu et al., arXiv 2310.01889).

Causal work is balanced by dealing the sequence in a zigzag: of 2 C chunks, rank r of C has chunk r and chunk 2 C - 1 - r
(Zhu, zhuzilin/ring-flash-attention; Llama 3, arXiv 2407.21783, section 3.3.2). A rank then meets each other rank's keys
either with all its queries and half of the keys, or with half its queries and all of the keys: the same work.

Each meeting gives a part of the result with the logarithm of its softmax sum; parts are merged exactly. The backward pass
goes round again: with the merged logarithms, the flash kernel's own backward gives each meeting's part of the gradients.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist

from hpcscale.train.mesh import Axis

aten = torch.ops.aten


def places(length: int, axis: Axis, causal: bool, device: torch.device | None = None) -> torch.Tensor:
    """The positions of this rank's tokens in a sequence of ``length``: int64 [length / ranks]."""
    if not causal or axis.size == 1:
        part = length // axis.size
        return torch.arange(axis.rank * part, (axis.rank + 1) * part, device=device)
    chunk = length // (2 * axis.size)
    first, second = axis.rank, 2 * axis.size - 1 - axis.rank
    chunks = [torch.arange(each * chunk, (each + 1) * chunk, device=device) for each in (first, second)]
    return torch.cat(chunks)


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, axis: Axis) -> torch.Tensor:
    """Attention of this rank's queries [batch, heads, part, head size] over every rank's keys and values."""
    result = _Ring.apply(query, key, value, causal, axis)
    assert isinstance(result, torch.Tensor)
    return result


class _Ring(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, axis: Axis
    ) -> torch.Tensor:
        own = torch.stack((key, value))
        total, weight = torch.zeros_like(query, dtype=_sums(query)), None
        for source, held in _round(own, axis):
            for rows, columns, masked in _meetings(axis.rank, source, query.shape[2], causal):
                keys, values = held[:, :, :, columns]
                part, logs = _flash(query[:, :, rows], keys, values, masked)
                total, weight = _merge(total, weight, part, logs, rows)
        assert weight is not None
        result = total.to(query.dtype)
        ctx.save_for_backward(query, own, result, weight)
        ctx.causal, ctx.axis = causal, axis
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,) = gradients
        query, own, result, weight = ctx.saved_tensors
        axis: Axis = ctx.axis
        for_query = torch.zeros_like(query, dtype=_sums(query))
        travelling = torch.zeros_like(own, dtype=_sums(query))  # gradients of the keys and values that are here now
        for source, held in _round(own, axis):
            if source != axis.rank:  # they follow their keys and values round the ring
                travelling = _passed_on(travelling, axis).wait()
            for rows, columns, masked in _meetings(axis.rank, source, query.shape[2], ctx.causal):
                keys, values = held[:, :, :, columns]
                parts = _flash_backward(
                    gradient[:, :, rows],
                    query[:, :, rows],
                    keys,
                    values,
                    result[:, :, rows],
                    weight[:, :, rows],
                    masked,
                )
                for_query[:, :, rows] += parts[0]
                travelling[0][:, :, columns] += parts[1]
                travelling[1][:, :, columns] += parts[2]
        travelling = _passed_on(travelling, axis).wait()  # home
        return for_query.to(query.dtype), *travelling.to(own.dtype).unbind(), None, None


def _sums(x: torch.Tensor) -> torch.dtype:
    """What partial results are summed in: at least single precision."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _round(own: torch.Tensor, axis: Axis) -> Any:
    """(source rank, its keys and values [2, batch, heads, part, head size]), own first; the next arrive during the work."""
    held = own
    for step in range(axis.size):
        following = _passed_on(held, axis) if step + 1 < axis.size else None
        yield (axis.rank - step) % axis.size, held
        if following is not None:
            held = following.wait()


class _passed_on:
    """Sends a tensor to the next rank of the ring and receives the previous one's."""

    def __init__(self, tensor: torch.Tensor, axis: Axis):
        assert axis.group is not None
        self.sent = tensor.contiguous()  # kept until it has left
        self.received = torch.empty_like(self.sent)
        following = dist.get_global_rank(axis.group, (axis.rank + 1) % axis.size)
        previous = dist.get_global_rank(axis.group, (axis.rank - 1) % axis.size)
        self.works = dist.batch_isend_irecv(
            [
                dist.P2POp(dist.isend, self.sent, following, axis.group),
                dist.P2POp(dist.irecv, self.received, previous, axis.group),
            ]
        )

    def wait(self) -> torch.Tensor:
        for work in self.works:
            work.wait()
        return self.received


def _meetings(rank: int, source: int, part: int, causal: bool) -> list[tuple[slice, slice, bool]]:
    """Which of this rank's queries meet which of ``source``'s keys, and whether under a causal mask."""
    everything, first, second = slice(0, part), slice(0, part // 2), slice(part // 2, part)
    if not causal:
        return [(everything, everything, False)]
    if source == rank:
        return [(everything, everything, True)]  # two chunks in order: the mask over both is the right one
    return [(everything, first, False)] if source < rank else [(second, everything, False)]


def _merge(
    total: torch.Tensor, weight: torch.Tensor | None, part: torch.Tensor, logs: torch.Tensor, rows: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adds one meeting's result: both are means under their own softmax sums, ``exp(weight)`` and ``exp(logs)``."""
    if weight is None:  # the first meeting is a rank's own, with all its rows
        weight = torch.full(total.shape[:3], -math.inf, dtype=logs.dtype, device=total.device)
    before = weight[:, :, rows]
    after = torch.logaddexp(before, logs)
    total[:, :, rows] = total[:, :, rows] * (before - after).exp()[..., None].to(total.dtype) + part * (
        logs - after
    ).exp()[..., None].to(total.dtype)
    weight[:, :, rows] = after
    return total, weight


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, masked: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """(result, logarithm of the softmax sum [batch, heads, queries]) of one meeting."""
    key, value = _for_each_head(key, query), _for_each_head(value, query)
    if query.device.type == "cpu":
        result, logs = aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, masked)
        return result, logs
    result, logs, *_ = aten._scaled_dot_product_flash_attention(query, key, value, 0.0, masked, False)
    return result, logs


def _flash_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    result: torch.Tensor,
    logs: torch.Tensor,
    masked: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of query, key and value from one meeting, given the whole result and its logarithms."""
    keys, values = _for_each_head(key, query), _for_each_head(value, query)
    if query.device.type == "cpu":
        parts = aten._scaled_dot_product_flash_attention_for_cpu_backward(
            gradient, query, keys, values, result, logs, 0.0, masked
        )
    else:
        nothing = torch.zeros((), dtype=torch.int64, device=query.device)  # no dropout: seed and offset are not read
        parts = aten._scaled_dot_product_flash_attention_backward(
            gradient, query, keys, values, result, logs.contiguous(), None, None,
            query.shape[2], keys.shape[2], 0.0, masked, nothing, nothing,
        )  # fmt: skip
    return parts[0], _of_groups(parts[1], key), _of_groups(parts[2], key)


def _for_each_head(x: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Keys or values of the groups, repeated for each of a group's query heads."""
    return x.repeat_interleave(query.shape[1] // x.shape[1], dim=1)


def _of_groups(gradient: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """The sum over the query heads of each group."""
    return gradient.unflatten(1, (key.shape[1], -1)).sum(2)
