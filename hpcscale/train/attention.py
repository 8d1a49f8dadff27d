"""Self-attention with grouped queries (Ainslie et al., GQA, arXiv 2305.13245)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from hpcscale.spec.model import Model
from hpcscale.train import ring, rotary
from hpcscale.train.mesh import ALONE, Axis
from hpcscale.train.tensor_parallel import ColumnLinear, Region, RowLinear


@dataclass(frozen=True)
class Positions:
    """What attention must know of where tokens stand: rotary tables of this rank's tokens, or ALiBi's bias of its heads."""

    rotary: rotary.Tables | None = None
    bias: torch.Tensor | None = None


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(head size)) V per head, each key/value head shared by ``heads / kv_heads`` query heads.

    Q, K and V come from one matrix in Megatron's order, group by group: [queries of the group, key, value]. A contiguous
    cut of its rows is then a cut by groups, which is what tensor parallelism needs; the forward reads the number of
    groups off the matrix's output for the same reason.
    """

    def __init__(self, model: Model, region: Region, cp: Axis = ALONE):
        super().__init__()
        self.head_size = model.head_size
        self.queries = model.heads // model.kv_heads  # query heads of one group
        self.causal = model.causal
        self.region, self.cp = region, cp
        rows = model.kv_heads * (self.queries + 2) * model.head_size
        self.qkv = ColumnLinear(model.hidden, rows, model.biases, region)
        self.output = RowLinear(model.hidden, model.hidden, model.biases, region)
        self.recompute_core = False  # see activation_checkpointing.py

    def forward(self, x: torch.Tensor, positions: Positions) -> torch.Tensor:
        """[batch, sequence (part), hidden] -> the same."""
        joined = self.qkv(self.region.enter(x))
        batch, length, _ = joined.shape
        grouped = joined.view(batch, length, -1, self.queries + 2, self.head_size)
        query, key, value = grouped.split((self.queries, 1, 1), dim=3)
        query, key, value = query.flatten(2, 3), key.flatten(2, 3), value.flatten(2, 3)
        if positions.rotary is not None:
            query, key = rotary.rotate(query, *positions.rotary), rotary.rotate(key, *positions.rotary)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        if self.recompute_core and torch.is_grad_enabled():
            mixed = checkpoint(
                self._core, query, key, value, positions.bias, use_reentrant=False, preserve_rng_state=False
            )
        else:
            mixed = self._core(query, key, value, positions.bias)
        assert isinstance(mixed, torch.Tensor)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _core(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """[batch, heads, sequence, head size] each -> the same as ``query``."""
        if self.cp.size > 1:
            return ring.attention(query, key, value, self.causal, self.cp)
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if bias is None else bias.to(query.dtype),
            is_causal=self.causal and bias is None,
            enable_gqa=self.queries > 1,
        )
