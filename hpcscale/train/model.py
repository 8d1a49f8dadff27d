"""One transformer class; what makes it a GPT, an MPT, a Llama or a BERT is configuration (hpcscale/spec/model.py).

A pipeline stage is a transformer that has some of the parts. Parts keep the names that they have in the whole model, and
with them their initial values and their place in a checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from hpcscale.spec.layout import Layout
from hpcscale.spec.model import Model
from hpcscale.spec.stages import layers_of_rank, stages_of_rank
from hpcscale.train import alibi, ring, rotary
from hpcscale.train.activation_checkpointing import Mode, contexts
from hpcscale.train.attention import Attention, Positions
from hpcscale.train.loss import summed_cross_entropy, vocabulary
from hpcscale.train.mesh import Axis, Mesh
from hpcscale.train.mlp import KINDS
from hpcscale.train.norm import norm
from hpcscale.train.tensor_parallel import Region, VocabularyEmbedding


@dataclass(frozen=True)
class Parts:
    """Which parts of the model a stage holds."""

    layers: range
    embedding: bool = True
    head: bool = True


def parts_of_rank(layers: int, layout: Layout, pp_rank: int) -> list[Parts]:
    """What each of a rank's stages holds, in the order of their numbers."""
    last = layout.pp * layout.virtual_stages - 1
    stages = zip(stages_of_rank(layout, pp_rank), layers_of_rank(layers, layout, pp_rank), strict=True)
    return [Parts(held, stage == 0, stage == last) for stage, held in stages]


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); post-norm: norm(x + attention(x)), then norm(x + mlp(x)).

    Pre-norm as GPT-2 and its descendants have it, post-norm as the first transformer and BERT.
    """

    def __init__(self, model: Model, region: Region, cp: Axis):
        super().__init__()
        self.attention_norm = norm(model)
        self.attention = Attention(model, region, cp)
        self.mlp_norm = norm(model)
        self.mlp = KINDS[model.mlp](model, region)
        self.post_norm = model.norm_placement == "post"
        self.recompute: Mode = "none"  # see activation_checkpointing.py
        self.recompute_twice = False

    def forward(self, x: torch.Tensor, positions: Positions) -> torch.Tensor:
        """[batch, sequence (part), hidden] -> the same."""
        if self.recompute == "none" or not torch.is_grad_enabled():
            return self._body(x, positions)
        # Inside the block, so that FSDP's gathering of its weights (hooks around the block) is not recomputed too.
        result = checkpoint(
            self._body,
            x,
            positions,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=contexts(self.recompute, self.recompute_twice),
        )
        assert isinstance(result, torch.Tensor)
        return result

    def _body(self, x: torch.Tensor, positions: Positions) -> torch.Tensor:
        if self.post_norm:
            x = self.attention_norm(x + self.attention(x, positions))
            return self.mlp_norm(x + self.mlp(x))
        x = x + self.attention(self.attention_norm(x), positions)
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """Token and position embeddings, blocks, a norm, and the output layer (tied to the token embedding, or its own).

    ``parts`` says which of them; all by default. On a stage with the head of a tied model but without its embedding,
    ``token_embedding`` is a copy that serves as the output layer (tied_weights.py keeps it a copy).
    """

    def __init__(self, model: Model, sequence_length: int, mesh: Mesh, sequence_parallel: bool, parts: Parts):
        super().__init__()
        self.spec, self.parts, self.sequence_length = model, parts, sequence_length
        self.region = region = Region(mesh.tp, sequence_parallel)
        self.cp = mesh.cp
        rows = model.padded_vocab(mesh.tp.size)
        if parts.embedding or (parts.head and model.tied_embeddings):
            self.token_embedding = VocabularyEmbedding(rows, model.hidden, region)
        if parts.embedding:
            if model.positions == "learned":
                self.position_embedding = _embedding(model.max_positions or sequence_length, model.hidden)
            if model.token_types:
                self.token_type_embedding = _embedding(model.token_types, model.hidden)
            if model.norm_placement == "post":
                self.embedding_norm = norm(model)
        self.blocks = nn.ModuleDict({str(layer): Block(model, region, mesh.cp) for layer in parts.layers})
        if parts.head:
            if model.norm_placement == "pre":
                self.final_norm = norm(model)
            if model.head == "mlm":
                self.head_dense = nn.Linear(model.hidden, model.hidden)
                self.head_norm = nn.LayerNorm(model.hidden, eps=model.norm_eps)
                self.head_bias = VocabularyBias(rows, region)
            if not model.tied_embeddings:
                self.head = VocabularyRows(rows, model.hidden, region)
        self.backward_twice = False  # a schedule that goes back in two parts
        self._positions: tuple[int, Positions] | None = None

    def forward(
        self,
        x: torch.Tensor,
        token_types: torch.Tensor | None = None,
        targets: torch.Tensor | None = None,
        scale: float = 1.0,
    ) -> torch.Tensor:
        """``x`` is token numbers [batch, sequence] where the embedding is, else hidden states [batch, part, hidden].

        Gives hidden states; with the head, the summed cross-entropy of ``targets`` [batch, sequence] times
        ``scale`` (which nothing may scale further), or without targets the logits [batch, sequence, rows of this rank]. With context parallelism all are this rank's part of the sequence.
        """
        if self.parts.embedding:
            x = self._embed(x, token_types)
        length = x.shape[1] * (self.region.size if self.region.sequence else 1)
        positions = self._known_positions(length, x.device)
        for block in self.blocks.values():
            x = block(x, positions)
        return self._head(x, targets, scale) if self.parts.head else x

    def _embed(self, tokens: torch.Tensor, token_types: torch.Tensor | None) -> torch.Tensor:
        x = self.token_embedding(tokens)
        if self.spec.positions == "learned":
            table = self.position_embedding.weight
            if self.cp.size > 1:
                rows = ring.places(tokens.shape[1] * self.cp.size, self.cp, self.spec.causal, tokens.device)
                x = x + F.embedding(self.region.own_part(rows, 0), table)
            else:
                x = x + self.region.own_part(table[: tokens.shape[1]], 0)
        if token_types is not None:
            x = x + self.token_type_embedding(self.region.own_part(token_types, 1))
        return self.embedding_norm(x) if self.spec.norm_placement == "post" else x

    def _head(self, x: torch.Tensor, targets: torch.Tensor | None, scale: float) -> torch.Tensor:
        if self.spec.norm_placement == "pre":
            x = self.final_norm(x)
        bias = None
        if self.spec.head == "mlm":
            x = self.head_norm(F.gelu(self.head_dense(x)))
            bias = self.head_bias.weight
        x = self.region.enter(x)
        weight = self.token_embedding.weight if self.spec.tied_embeddings else self.head.weight
        if targets is None:
            return F.linear(x, weight, bias)
        words = vocabulary(self.spec.vocab, weight.shape[0], self.region.axis)
        return summed_cross_entropy(x, weight, bias, targets, words, scale, self.backward_twice)

    def _known_positions(self, length: int, device: torch.device) -> Positions:
        """Made at the first forward of a length and kept: they are neither parameters nor state."""
        if self._positions is None or self._positions[0] != length:
            self._positions = length, self._make_positions(length, device)
        return self._positions[1]

    def _make_positions(self, length: int, device: torch.device) -> Positions:
        dtype = next(iter(self.parameters())).dtype
        if self.spec.positions == "rope":
            rows = ring.places(length * self.cp.size, self.cp, self.spec.causal, device)
            return Positions(rotary=rotary.tables(self.spec, rows, dtype))
        if self.spec.positions == "alibi":
            heads = self.spec.heads // self.region.size
            exact = torch.float64 if dtype == torch.float64 else torch.float32
            every = alibi.bias(self.spec.heads, length, self.spec.causal, exact, device)
            return Positions(bias=every[self.region.rank * heads : (self.region.rank + 1) * heads])
        return Positions()


def _embedding(rows: int, hidden: int) -> nn.Embedding:
    """Without torch's initial values, which initialise.py replaces: on the meta device they load the compiler, half a second."""
    return nn.Embedding.from_pretrained(torch.empty(rows, hidden), freeze=False)


class VocabularyRows(nn.Module):
    """The output layer's matrix, its rows (words) cut over the tensor-parallel ranks; loss.py multiplies by it."""

    CUT = {"weight": 0}  # noqa: RUF012

    def __init__(self, rows: int, hidden: int, region: Region):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows // region.size, hidden))


class VocabularyBias(nn.Module):
    """A bias for each word, cut as the output layer is."""

    CUT = {"weight": 0}  # noqa: RUF012

    def __init__(self, rows: int, region: Region):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows // region.size))
