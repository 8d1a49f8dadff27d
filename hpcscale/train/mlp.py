"""The feed-forward half of a block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from hpcscale.spec.model import Model
from hpcscale.train.tensor_parallel import ColumnLinear, Region, RowLinear


class Gelu(nn.Module):
    """down(gelu(up(x))), with the exact GELU (erf), as llm-foundry's MPT has it; Megatron's default is the same.

    ``gelu-tanh`` is the approximation that GPT-2 was trained with (Hendrycks and Gimpel, arXiv 1606.08415, section 2).
    """

    def __init__(self, model: Model, region: Region):
        super().__init__()
        self.region = region
        self.approximation = "tanh" if model.mlp == "gelu-tanh" else "none"
        self.up = ColumnLinear(model.hidden, model.ffn, model.biases, region)
        self.down = RowLinear(model.ffn, model.hidden, model.biases, region)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(self.region.enter(x)), approximate=self.approximation))


class SwiGlu(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer, GLU Variants Improve Transformer, arXiv 2002.05202)."""

    def __init__(self, model: Model, region: Region):
        super().__init__()
        self.region = region
        self.gate = ColumnLinear(model.hidden, model.ffn, model.biases, region)
        self.up = ColumnLinear(model.hidden, model.ffn, model.biases, region)
        self.down = RowLinear(model.ffn, model.hidden, model.biases, region)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.region.enter(x)
        return self.down(F.silu(self.gate(x)) * self.up(x))


KINDS: dict[str, type[Gelu | SwiGlu]] = {"gelu": Gelu, "gelu-tanh": Gelu, "swiglu": SwiGlu}
