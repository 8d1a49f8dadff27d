"""Where the files keep each of our tensors: names, transposed matrices, queries, keys and values. Needs no torch.

A tensor of ours lies in one tensor of the files; only ``attention.qkv``, whose rows stand group by group in Megatron's
order, is put together from three, or from other rows of one. Rotary positions pair the same elements on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hpcscale.spec.model import Model

Shape = tuple[int, ...]
QKV = "attention.qkv"


@dataclass(frozen=True)
class Names:
    """One family's names: ours (left) are modules or whole parameters, those of the files (right) too.

    ``base``: what files lack that were saved without the head. ``heads``: how names begin that never have it.
    ``dropped``: tensors in files that the model does not compute with. ``transposed``: matrices of blocks are stored as
    [in, out] (GPT-2's Conv1D).
    """

    block: str
    inside: Mapping[str, str]
    outside: Mapping[str, str]
    qkv: tuple[str, ...]
    base: str
    heads: tuple[str, ...] = ("lm_head.",)
    dropped: tuple[str, ...] = ()
    transposed: bool = False


NAMES: dict[str, Names] = {
    "llama": Names(
        block="model.layers.{}.",
        inside={
            "attention_norm": "input_layernorm",
            "attention.output": "self_attn.o_proj",
            "mlp_norm": "post_attention_layernorm",
            "mlp.gate": "mlp.gate_proj",
            "mlp.up": "mlp.up_proj",
            "mlp.down": "mlp.down_proj",
        },
        outside={"token_embedding": "model.embed_tokens", "final_norm": "model.norm", "head": "lm_head"},
        qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        base="model.",
        dropped=(r"rotary_emb\.inv_freq$",),
    ),
    "gpt": Names(
        block="transformer.h.{}.",
        inside={
            "attention_norm": "ln_1",
            "attention.output": "attn.c_proj",
            "mlp_norm": "ln_2",
            "mlp.up": "mlp.c_fc",
            "mlp.down": "mlp.c_proj",
        },
        outside={
            "token_embedding": "transformer.wte",
            "position_embedding": "transformer.wpe",
            "final_norm": "transformer.ln_f",
            "head": "lm_head",
        },
        qkv=("attn.c_attn",),
        base="transformer.",
        dropped=(r"\.attn\.(masked_)?bias$",),  # the causal mask
        transposed=True,
    ),
    "mpt": Names(
        block="transformer.blocks.{}.",
        inside={
            "attention_norm": "norm_1",
            "attention.output": "attn.out_proj",
            "mlp_norm": "norm_2",
            "mlp.up": "ffn.up_proj",
            "mlp.down": "ffn.down_proj",
        },
        outside={"token_embedding": "transformer.wte", "final_norm": "transformer.norm_f", "head": "lm_head"},
        qkv=("attn.Wqkv",),
        base="transformer.",
    ),
    "bert": Names(
        block="bert.encoder.layer.{}.",
        inside={
            "attention.output": "attention.output.dense",
            "attention_norm": "attention.output.LayerNorm",
            "mlp.up": "intermediate.dense",
            "mlp.down": "output.dense",
            "mlp_norm": "output.LayerNorm",
        },
        outside={
            "token_embedding": "bert.embeddings.word_embeddings",
            "position_embedding": "bert.embeddings.position_embeddings",
            "token_type_embedding": "bert.embeddings.token_type_embeddings",
            "embedding_norm": "bert.embeddings.LayerNorm",
            "head_dense": "cls.predictions.transform.dense",
            "head_norm": "cls.predictions.transform.LayerNorm",
            "head_bias.weight": "cls.predictions.bias",
        },
        qkv=("attention.self.query", "attention.self.key", "attention.self.value"),
        base="bert.",
        heads=("cls.",),
        dropped=(
            r"position_ids$",
            r"^bert\.pooler\.",
            r"^cls\.seq_relationship\.",
            r"^cls\.predictions\.decoder\.",  # tied
        ),
    ),
}


@dataclass(frozen=True)
class Run:
    """Rows ``start`` to ``stop`` (excluded) of a tensor of ours are those from ``first`` of the files' tensor ``name``."""

    name: str
    start: int
    stop: int
    first: int = 0


@dataclass(frozen=True)
class Place:
    """Where a tensor of ours lies. ``transposed``: rows of ours are columns there."""

    runs: tuple[Run, ...]
    transposed: bool = False

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """The files' tensors that hold ours, which has ``shape``, with their shapes."""
        rows: dict[str, int] = {}
        for run in self.runs:
            rows[run.name] = rows.get(run.name, 0) + run.stop - run.start
        return {name: (*shape[1:], count) if self.transposed else (count, *shape[1:]) for name, count in rows.items()}


def place(model: Model, name: str, shape: Shape) -> Place:
    """Where the files have our tensor ``name`` of ``shape``."""
    names = NAMES[model.family]
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if block is None:
        return Place((Run(_renamed(name, names.outside), 0, shape[0]),))
    prefix, inner = names.block.format(block[1]), block[2]
    transposed = names.transposed and len(shape) == 2
    if inner.startswith(QKV + "."):
        kind = inner.removeprefix(QKV)
        return Place(tuple(_qkv(model, tuple(prefix + each + kind for each in names.qkv))), transposed)
    return Place((Run(prefix + _renamed(inner, names.inside), 0, shape[0]),), transposed)


def canonical(family: str, name: str) -> str:
    """The name in a file as the class with its head has it today."""
    names = NAMES[family]
    if not name.startswith((names.base, *names.heads)):
        name = names.base + name  # saved without the head, as gpt2 on the hub
    # BERT's oldest files: the names of TensorFlow
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))


def is_dropped(model: Model, name: str) -> bool:
    """Whether a tensor of the files is no part of the computation (or a second copy of a tied one)."""
    if model.tied_embeddings and name == "lm_head.weight":
        return True
    return any(re.search(pattern, name) for pattern in NAMES[model.family].dropped)


def _renamed(name: str, table: Mapping[str, str]) -> str:
    if name in table:
        return table[name]
    module, _, kind = name.rpartition(".")
    return f"{table[module]}.{kind}"


def _qkv(model: Model, names: tuple[str, ...]) -> list[Run]:
    """Group by group: the queries of the group, its key, its value. Each side has a head's rows side by side."""
    size, queries = model.head_size, model.heads // model.kv_heads
    fused = len(names) == 1
    query, key, value = names * 3 if fused else names
    # Fused, all queries come first, then all keys, then all values.
    keys = model.heads * size if fused else 0
    values = keys + model.kv_heads * size if fused else 0
    runs = []
    for group in range(model.kv_heads):
        start = group * (queries + 2) * size
        after = start + queries * size
        runs += [
            Run(query, start, after, group * queries * size),
            Run(key, after, after + size, keys + group * size),
            Run(value, after + size, after + 2 * size, values + group * size),
        ]
    return runs
