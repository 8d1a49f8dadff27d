"""Causal self-attention with grouped queries (Ainslie et al., GQA, arXiv 2305.13245)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from hpcscale.spec.model import Model
from hpcscale.train import rotary


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(head size)) V per head, each key/value head shared by ``heads / kv_heads`` query heads.

    Q, K and V come from one matrix in Megatron's order, group by group: [queries of the group, key, value]. A contiguous
    cut of its rows is then a cut by groups, which is what tensor parallelism needs; the forward reads the number of
    groups off the matrix's output for the same reason.
    """

    def __init__(self, model: Model):
        super().__init__()
        self.head_size = model.head_size
        self.queries = model.heads // model.kv_heads  # query heads of one group
        rows = model.kv_heads * (self.queries + 2) * model.head_size
        self.qkv = nn.Linear(model.hidden, rows, bias=model.biases)
        self.output = nn.Linear(model.hidden, model.hidden, bias=model.biases)

    def forward(self, x: torch.Tensor, positions: rotary.Tables | None) -> torch.Tensor:
        """[batch, sequence, hidden] -> the same."""
        batch, length, _ = x.shape
        grouped = self.qkv(x).view(batch, length, -1, self.queries + 2, self.head_size)
        query, key, value = grouped.split((self.queries, 1, 1), dim=3)
        query, key, value = query.flatten(2, 3), key.flatten(2, 3), value.flatten(2, 3)
        if positions is not None:
            query, key = rotary.rotate(query, *positions), rotary.rotate(key, *positions)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            is_causal=True,
            enable_gqa=self.queries > 1,
        )
        return self.output(mixed.transpose(1, 2).flatten(2))
