"""Attention with linear biases (Press et al., ALiBi, arXiv 2108.12409)."""

from __future__ import annotations

import math

import torch

LARGEST_BIAS = 8.0  # the steepest slope is 2^(-8/heads), as in the paper and in MPT


def slopes(heads: int) -> list[float]:
    """One slope a head: a geometric sequence; for a number of heads that is no power of two, as in MPT, every second
    slope of the next power's sequence first, then the others."""
    power = 2 ** math.ceil(math.log2(heads))
    sequence = [2.0 ** -(LARGEST_BIAS * (head + 1) / power) for head in range(power)]
    return sequence if power == heads else (sequence[1::2] + sequence[::2])[:heads]


def bias(heads: int, length: int, causal: bool, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """What is added to the scores: [heads, length, length], -slope x distance, and -inf on what comes later."""
    place = torch.arange(length, device=device)
    distance = (place[None, :] - place[:, None]).to(torch.float64)
    steep = torch.tensor(slopes(heads), dtype=torch.float64, device=device)
    scores = steep[:, None, None] * (distance if causal else -distance.abs())
    if causal:
        scores = scores.masked_fill(distance > 0, -math.inf)
    return scores.to(dtype)
