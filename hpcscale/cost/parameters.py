"""Exact parameter counts of every model family."""

from __future__ import annotations

from dataclasses import dataclass

from hpcscale.spec.model import Model


@dataclass(frozen=True)
class Parameters:
    """How many parameters a model has, by where they sit."""

    token_embedding: int
    position_embedding: int
    token_type_embedding: int
    embedding_norm: int
    layer: int  # of one layer
    layers: int  # of all layers
    final_norm: int
    head: int  # of the output layer; 0 where it is tied to the token embedding
    pooler: int

    @property
    def total(self) -> int:
        """Every trained parameter; tied ones count once."""
        return (
            self.token_embedding + self.position_embedding + self.token_type_embedding + self.embedding_norm
            + self.layers + self.final_norm + self.head + self.pooler
        )  # fmt: skip


def count(model: Model, sequence_length: int, tp: int = 1) -> Parameters:
    """Parameters of ``model``, with the embedding padded as tensor parallelism over ``tp`` pads it.

    A learned position table without a size of its own has one row a token of ``sequence_length``, as in llm-foundry and
    Megatron. One layer of the GPT form has 12 d^2 + 13 d, one of the Llama form 2 d^2 + 2 d kv hd + 3 d f + 2 d
    (d hidden, f feed-forward, kv key/value heads of size hd); checked against llm-foundry's published counts and
    Hugging Face's on the meta device.
    """
    d, vocab = model.hidden, model.padded_vocab(tp)
    norm = d * (2 if model.norm == "layernorm" and model.biases else 1)
    layer = _attention(model) + _mlp(model) + 2 * norm
    positions = (model.max_positions or sequence_length) * d if model.positions == "learned" else 0
    post_norm = model.norm_placement == "post"
    return Parameters(
        token_embedding=vocab * d,
        position_embedding=positions,
        token_type_embedding=model.token_types * d,
        # A post-norm encoder normalises its embeddings instead of its last layer's output.
        embedding_norm=norm if post_norm else 0,
        layer=layer,
        layers=model.layers * layer,
        final_norm=0 if post_norm else norm,
        head=_head(model, vocab, norm),
        pooler=d * d + d if model.pooler else 0,
    )


def _attention(model: Model) -> int:
    d, kv = model.hidden, model.kv_heads * model.head_size
    weights = 2 * d * d + 2 * d * kv
    return weights + (2 * d + 2 * kv if model.biases else 0)


def _mlp(model: Model) -> int:
    d, f = model.hidden, model.ffn
    biases = (f * (model.mlp_matrices - 1) + d) if model.biases else 0
    return model.mlp_matrices * d * f + biases


def _head(model: Model, vocab: int, norm: int) -> int:
    output = 0 if model.tied_embeddings else vocab * model.hidden
    if model.head == "mlm":  # a dense layer, its norm, and a bias for each word
        return output + model.hidden * model.hidden + model.hidden + norm + vocab
    return output
