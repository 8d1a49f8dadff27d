"""Rotary position embedding (Su et al., RoFormer, arXiv 2104.09864), in Hugging Face's half-and-half pairing."""

from __future__ import annotations

import math

import torch

from hpcscale.spec.model import Model, RopeScaling

Tables = tuple[torch.Tensor, torch.Tensor]


def tables(model: Model, places: torch.Tensor, dtype: torch.dtype) -> Tables:
    """(cosines, sines), each [tokens, head size / 2], for tokens at ``places`` (whole numbers [tokens]).

    Angles are worked out in double precision: at position 100,000 a float32 angle is off in the second digit.
    """
    exponents = torch.arange(0, model.head_size, 2, dtype=torch.float64, device=places.device) / model.head_size
    frequencies = model.rope_theta**-exponents
    if model.rope_scaling is not None:
        frequencies = _scaled(frequencies, model.rope_scaling)
    angles = torch.outer(places.to(torch.float64), frequencies)
    # The tables stay float32 under bf16 training: rounding a cosine to 8 bits would blur neighbouring positions.
    kept = torch.float64 if dtype == torch.float64 else torch.float32
    return angles.cos().to(kept), angles.sin().to(kept)


def rotate(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """``x`` [batch, sequence, heads, head size] with each pair (i, i + half) turned by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cosines[:, None, :], sines[:, None, :]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def _scaled(frequencies: torch.Tensor, scaling: RopeScaling) -> torch.Tensor:
    """Llama 3.1's rule: slow frequencies are divided by ``factor``, fast ones kept, those between interpolated.

    As in Meta's llama-models (``apply_scaling``): the bounds are wavelengths, as parts of the original context length.
    """
    wavelengths = 2 * math.pi / frequencies
    turns = scaling.original_max_positions / wavelengths
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (smooth + (1 - smooth) / scaling.factor)
