"""The feed-forward half of a block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from hpcscale.spec.model import Model


class Gelu(nn.Module):
    """down(gelu(up(x))), with the exact GELU (erf), as llm-foundry's MPT has it; Megatron's default is the same."""

    def __init__(self, model: Model):
        super().__init__()
        self.up = nn.Linear(model.hidden, model.ffn, bias=model.biases)
        self.down = nn.Linear(model.ffn, model.hidden, bias=model.biases)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x)))


class SwiGlu(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer, GLU Variants Improve Transformer, arXiv 2002.05202)."""

    def __init__(self, model: Model):
        super().__init__()
        self.gate = nn.Linear(model.hidden, model.ffn, bias=model.biases)
        self.up = nn.Linear(model.hidden, model.ffn, bias=model.biases)
        self.down = nn.Linear(model.ffn, model.hidden, bias=model.biases)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


KINDS: dict[str, type[nn.Module]] = {"gelu": Gelu, "swiglu": SwiGlu}
