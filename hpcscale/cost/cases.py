"""Many configurations at once: one array per fact, one entry per case, so that 100,000 layouts cost one pass of numpy.

A case is what time and memory depend on and nothing else. It is made from points (cost/of_points.py), from rows of a
table (cost/of_rows.py) or from all layouts of a search; ``Hardware`` says what one rank of it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Which blocks are computed again, by training.activation_checkpointing; "selective-layer:k" is SELECTIVE_LAYER with k.
NONE, FULL, SELECTIVE_OP, SELECTIVE_LAYER, CORE_ATTENTION = range(5)
CHECKPOINTING = {"none": NONE, "full": FULL, "selective-op": SELECTIVE_OP, "core-attention": CORE_ATTENTION}
DDP, ZERO1, FSDP = range(3)
SHARDING = {"ddp": DDP, "zero1": ZERO1, "fsdp": FSDP, "hsdp": FSDP}

# Of fields that only memory reads; a row without them is hpcscale's own trainer with GPT's blocks on a GPU.
ASSUMED = {"program": 0.0, "cpu": False, "rms": False, "rotary": False, "alibi": False, "mlm": False, "v_shape": False}


@dataclass(frozen=True)
class Cases:
    """Arrays of the same length [n]; sizes in elements, sequences and tokens, rates per rank in FLOP/s and bytes/s."""

    # the model
    layers: Floats
    hidden: Floats
    heads: Floats
    kv_heads: Floats
    ffn: Floats
    mlp_matrices: Floats
    vocab: Floats  # padded as tensor parallelism pads it
    untied: Flags  # the output layer has a matrix of its own
    causal: Flags
    positions: Floats  # rows of a learned position table; 0 without one
    # one step's work
    sequence: Floats
    micro_batch: Floats
    batch: Floats
    checkpointing: Floats  # a code of CHECKPOINTING
    every: Floats  # k of selective-layer:k
    element: Floats  # bytes of a value in the forward pass
    fp8: Flags
    rowwise: Flags  # fp8 with a scale a row
    eager: Floats  # 1 known to be uncompiled, 0 compiled, between: not known
    fused_attention: Flags  # scores never reach memory
    async_tp: Flags  # tensor-parallel collectives run beside the products
    # the layout
    dp: Floats
    tp: Floats
    pp: Floats
    cp: Floats
    virtual: Floats
    zero_bubble: Flags
    all_in_flight: Flags  # GPipe: every micro batch's activations are held at once
    sequence_parallel: Flags
    sharding: Floats  # a code of SHARDING
    shards: Floats  # ranks that one copy of weights and states is cut over (fsdp, hsdp, zero1: the optimizer's)
    # what a rank has
    peak: Floats  # FLOP/s at this precision, dense
    attention_peak: Floats  # FLOP/s of the core of attention, which no fp8 reaches
    bandwidth: Floats  # of memory
    link: Floats  # between ranks of a node, one direction
    network: Floats  # between nodes, one direction
    node_ranks: Floats
    memory: Floats  # bytes that a rank may use; nan where nobody knows
    # what memory asks beyond that; ``made`` fills in ASSUMED where a row does not say
    program: Floats  # whose program runs: a code of programs.py
    cpu: Flags
    rms: Flags  # RMS norms
    rotary: Flags
    alibi: Flags
    mlm: Flags  # BERT's head: a dense layer and a norm before the output layer
    v_shape: Flags  # zbv: the first pipeline rank has the first and the last stage

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Cases:
        """The cases of an index array or mask."""
        return replace(self, **{each.name: getattr(self, each.name)[chosen] for each in fields(self)})

    @property
    def head_size(self) -> Floats:
        return self.hidden / self.heads

    @property
    def kv_width(self) -> Floats:
        return self.kv_heads * self.head_size

    @property
    def micro_batches(self) -> Floats:
        """Per replica and step."""
        return np.ceil(self.batch / (self.dp * self.micro_batch))

    @property
    def tokens(self) -> Floats:
        """Of a micro batch on one rank."""
        return self.micro_batch * self.sequence / self.cp

    @property
    def ranks(self) -> Floats:
        return self.dp * self.tp * self.pp * self.cp

    @property
    def replicas(self) -> Floats:
        """Ranks that hold the same weights, or shards of them: data and context parallelism together."""
        return self.dp * self.cp

    @property
    def is_fsdp(self) -> Flags:
        return self.sharding == FSDP

    @property
    def layer_weights(self) -> Floats:
        """Matrix elements of one layer on one tensor-parallel rank."""
        d, kv = self.hidden, self.kv_width
        return (2 * d * d + 2 * d * kv + self.mlp_matrices * d * self.ffn) / self.tp

    @property
    def embedding(self) -> Floats:
        """Elements of the token embedding (and of an output layer of its own) on one tensor-parallel rank."""
        return self.vocab * self.hidden / self.tp

    @property
    def most_layers(self) -> Floats:
        """Layers of the first pipeline rank, which is the fullest; what does not divide goes to the earliest stages."""
        share, rest = np.divmod(self.layers, self.pp * self.virtual)
        return share * self.virtual + np.where(self.v_shape, np.minimum(rest, 1.0), np.ceil(rest / self.pp))

    @property
    def last_layers(self) -> Floats:
        """Layers of the last pipeline rank."""
        share, rest = np.divmod(self.layers, self.pp * self.virtual)
        further = np.where(self.v_shape, 1.0 * (rest > self.pp - 1) + (rest > self.pp), np.floor(rest / self.pp))
        return np.maximum(share * self.virtual + further, 1.0)


def made(rows: Sequence[dict[str, float | bool]]) -> Cases:
    """Cases from one mapping per case, keyed by the fields' names."""
    flags = {each.name for each in fields(Cases) if each.type == "Flags"}
    return Cases(
        **{
            each.name: np.array(
                [
                    ASSUMED[each.name] if each.name in ASSUMED and each.name not in row else row[each.name]
                    for row in rows
                ],
                dtype=bool if each.name in flags else float,
            )
            for each in fields(Cases)
        }
    )


def joined(parts: Sequence[Cases]) -> Cases:
    """One after another."""
    return Cases(**{each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Cases)})
