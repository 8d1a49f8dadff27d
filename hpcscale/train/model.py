"""One transformer class; what makes it a GPT, an MPT or a Llama is configuration (hpcscale/spec/model.py)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from hpcscale.spec.model import Model
from hpcscale.train import rotary
from hpcscale.train.attention import Attention
from hpcscale.train.mlp import KINDS
from hpcscale.train.norm import norm


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (pre-norm, as GPT-2 and all its descendants have it)."""

    def __init__(self, model: Model):
        super().__init__()
        self.attention_norm = norm(model)
        self.attention = Attention(model)
        self.mlp_norm = norm(model)
        self.mlp = KINDS[model.mlp](model)
        self.recompute = False  # see activation_checkpointing.py

    def forward(self, x: torch.Tensor, positions: rotary.Tables | None) -> torch.Tensor:
        """[batch, sequence, hidden] -> the same."""
        if self.recompute and torch.is_grad_enabled():
            # Inside the block, so that FSDP's gathering of its weights (hooks around the block) is not recomputed too.
            return checkpoint(self._body, x, positions, use_reentrant=False, preserve_rng_state=False)
        return self._body(x, positions)

    def _body(self, x: torch.Tensor, positions: rotary.Tables | None) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), positions)
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """Token and position embeddings, blocks, a norm, and the output layer (tied to the token embedding, or its own).

    ``tp`` only sets how the vocabulary is padded. Blocks are kept by name ("0", "1", ...), so that a pipeline stage that
    holds some of them keeps their names, and with them their initialisation and their place in a checkpoint.
    """

    def __init__(self, model: Model, sequence_length: int, tp: int = 1):
        super().__init__()
        self.spec = model
        self.sequence_length = sequence_length
        rows = model.padded_vocab(tp)
        self.token_embedding = nn.Embedding(rows, model.hidden)
        learned = model.positions == "learned"
        self.position_embedding = (
            nn.Embedding(model.max_positions or sequence_length, model.hidden) if learned else None
        )
        self.blocks = nn.ModuleDict({str(layer): Block(model) for layer in range(model.layers)})
        self.final_norm = norm(model)
        self.head = None if model.tied_embeddings else nn.Linear(model.hidden, rows, bias=False)
        self._positions: rotary.Tables | None = None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token numbers [batch, sequence] -> logits [batch, sequence, padded vocab]."""
        length = tokens.shape[1]
        x = self.token_embedding(tokens)
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[:length]
        positions = self._rotary_tables(length, x.device)
        for block in self.blocks.values():
            x = block(x, positions)
        x = self.final_norm(x)
        return F.linear(x, self.token_embedding.weight) if self.head is None else self.head(x)

    def _rotary_tables(self, length: int, device: torch.device) -> rotary.Tables | None:
        """Made at the first forward and kept: they are neither parameters nor state."""
        if self.spec.positions != "rope":
            return None
        if self._positions is None:
            dtype = self.token_embedding.weight.dtype
            self._positions = rotary.tables(self.spec, self.sequence_length, dtype, device)
        cosines, sines = self._positions
        return cosines[:length], sines[:length]


def next_token_loss(logits: torch.Tensor, targets: torch.Tensor, vocab: int) -> torch.Tensor:
    """Mean cross-entropy over all tokens, in at least single precision. [batch, sequence, padded vocab], [batch, sequence].

    The padding columns are multiplied (that is what padding is for) but take no part in the softmax: their number
    depends on tp, and the loss must not.
    """
    if logits.shape[-1] > vocab:
        logits = logits[..., :vocab]
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
