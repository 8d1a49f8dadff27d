"""Normalisation layers by name."""

from __future__ import annotations

from torch import nn

from hpcscale.spec.model import Model


def norm(model: Model) -> nn.Module:
    """LayerNorm with weight and (where the model has biases) bias, or RMSNorm with a weight; over the hidden dim."""
    if model.norm == "rmsnorm":
        return nn.RMSNorm(model.hidden, eps=model.norm_eps)
    return nn.LayerNorm(model.hidden, eps=model.norm_eps, bias=model.biases)
