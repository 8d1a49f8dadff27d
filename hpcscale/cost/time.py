"""How long a training step takes: the terms of one formula, each in seconds, each visible.

    step = ((m + b (pp - 1) / v) stage + gradients + optimizer + fixed) (1 + s log2(nodes))

m micro batches, v virtual stages, b the bubble's factor; a stage is the slowest pipeline rank's work on one micro batch.
The form is that of calculon (Isaev et al. 2023) and of Megatron's papers (arXiv 2104.04473, 2205.05198): products at a
rate, operands at memory's bandwidth, collectives by ring. Its constants are named in constants.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpcscale.cost import programs
from hpcscale.cost.cases import CORE_ATTENTION, FULL, SELECTIVE_LAYER, SELECTIVE_OP, Cases, Floats

Values = Mapping[str, Floats | float]
_BESIDE = 2.0
_MESSAGES = ("tp", "cp")  # terms that no crowd on the node slows

# term -> what a person reads
TERMS = {
    "matmul": "matrix products of the layers",
    "attention": "scores, softmax and their use on values",
    "memory": "operands, element-wise operations, accumulated gradients through memory",
    "logits": "output layer and loss",
    "launch": "starting kernels",
    "tp": "tensor-parallel collectives",
    "cp": "ring of keys and values",
    "p2p": "sending activations between pipeline stages",
    "bubble": "waiting for the pipeline to fill and drain",
    "dp": "what is not hidden of gathering weights and reducing gradients",
    "optimizer": "optimizer step",
    "fixed": "once a step, whatever is trained",
    "scale": "waiting for the slowest of many nodes",
}


@dataclass(frozen=True)
class Step:
    """Seconds per step by term, arrays [n]; ``total`` is their sum."""

    terms: dict[str, Floats]

    @property
    def total(self) -> Floats:
        return np.sum(list(self.terms.values()), axis=0)


def recomputed(cases: Cases) -> tuple[Floats, Floats]:
    """(share of the layers' products, share of attention) that the backward pass computes again.

    Under ``full`` torch's checkpoint stops when the last value that is needed is there, before a block's last product
    (FSDP's programs use it); Megatron's repeats the whole block.
    """
    ac = cases.checkpointing
    last = cases.hidden * cases.ffn / (cases.layer_weights * cases.tp)
    full = np.where(cases.is_fsdp, 1 - last, 1.0)
    products = np.select(
        [ac == FULL, ac == SELECTIVE_OP, ac == SELECTIVE_LAYER], [full, np.full_like(ac, 0.5), full / cases.every]
    )
    attention = np.select(
        [ac == FULL, ac == CORE_ATTENTION, ac == SELECTIVE_LAYER],
        [np.ones_like(ac), np.ones_like(ac), 1 / cases.every],
    )
    return products, attention


def ring_rate(cases: Cases, group: Floats, inner: Floats, values: Values) -> Floats:
    """Bytes per second and rank of a ring over ``group`` ranks that are ``inner`` ranks apart.

    A group that fits into a node uses its links. A larger one crosses each node's border once, over all of the group's
    members in the node: their shares of the network add up (NCCL's rings).
    """
    link = cases.link * values["link"]
    members = np.maximum(1.0, np.minimum(group, cases.node_ranks / np.minimum(inner, cases.node_ranks)))
    network = np.minimum(link, cases.network * values["network"] * members)
    return np.where(group * inner <= cases.node_ranks, link, network)


def step(cases: Cases, values: Values) -> Step:
    """Seconds of each term. ``values``: the constants of constants.py, numbers or arrays [n]."""
    c, k = cases, values
    m, t = c.micro_batches, c.tokens
    products_again, attention_again = recomputed(c)
    crowd = 1 + k["crowding"] * _filled(c)
    layer = _layer(c, k, t, products_again, attention_again)
    layer = {name: seconds * (1.0 if name in _MESSAGES else crowd) for name, seconds in layer.items()}
    logits = _logits(c, k, t) * crowd
    # A layer with collectives takes as long as the slowest rank's part of it.
    waited = k["waiting"] * np.sum([seconds for name, seconds in layer.items() if name not in _MESSAGES], axis=0)
    layer["tp"] = layer["tp"] + np.where(c.tp > 1, waited, 0.0)
    layer["cp"] = layer["cp"] + np.where((c.cp > 1) & (c.tp == 1), waited, 0.0)
    work = sum(layer.values())
    exposed = _fsdp_exposed(c, k, np.asarray(work), m)
    exposed = exposed + np.where(c.is_fsdp & (c.shards > 1) & (c.pp == 1) & (c.tp * c.cp == 1), waited, 0.0)

    # The slowest stage: the fullest, or the last, which has the output layer too.
    full = c.most_layers * (work + exposed)
    last = c.last_layers * (work + exposed) + logits
    is_last = (c.pp == 1) | (last > full)
    count = np.where(is_last, np.where(c.pp == 1, c.layers, c.last_layers), c.most_layers)
    stage = count * (work + exposed) + is_last * logits
    # Every rank of a tensor-parallel group sends its part; what is sent is waited for.
    sent = _activation(c, t) / c.tp / (c.network * k["network"]) + k["latency"]
    p2p = np.where(c.pp > 1, c.virtual * (2 * sent + k["handoff"]), 0.0)
    filled = np.where(c.zero_bubble, 1 / 3, 1.0) * k["bubble"] * (c.pp - 1) / c.virtual
    terms = {name: m * count * seconds for name, seconds in layer.items()}
    terms["logits"] = m * is_last * logits
    terms["p2p"] = m * p2p
    terms["bubble"] = filled * (stage + p2p)
    terms["dp"] = m * count * exposed + _gradients(c, k)
    terms["optimizer"] = crowd * k["optimizer"] * _own(c) / np.where(c.sharding > 0, c.shards, 1) / c.bandwidth
    terms["fixed"] = np.zeros(len(c)) + k["fixed"]
    nodes = c.ranks / c.node_ranks
    so_far = np.sum(list(terms.values()), axis=0)
    terms["scale"] = so_far * k["scale"] * np.log2(np.maximum(nodes, 1))
    return Step({name: terms[name] * k.get("overall", 1.0) for name in TERMS})


def _filled(c: Cases) -> Floats:
    """0 for a rank alone on its node, 1 where the node is full."""
    return (np.minimum(c.ranks, c.node_ranks) - 1) / np.maximum(c.node_ranks - 1, 1)


def _layer(c: Cases, k: Values, t: Floats, products_again: Floats, attention_again: Floats) -> dict[str, Floats]:
    """Seconds of one layer and one micro batch, forward and backward."""
    passes = 3 + products_again
    rate, bad = c.peak * _efficiency(c, k), _misaligned(c)
    flops = 2 * t * c.layer_weights
    # Scores and their use on values: 4 t S d forward, half of it behind a causal mask; two and a half times that backward.
    work = 4 * t * c.sequence * c.hidden / c.tp * np.where(c.causal, 0.5, 1.0)
    core = work / (c.attention_peak * k["attention"]) * (1 + k["head_size"] / c.head_size)
    core = core * (1 + k["ring"] * 2 * (1 - 1 / c.cp))
    scores = np.where(c.fused_attention, 0.0, k["scores"] * t * c.sequence * c.heads / c.tp / c.bandwidth)
    again = 1 + products_again / 3
    # Tiles of a product's output go out in waves, the last of which is half full.
    flop_seconds = (flops + k["wave"] * _inner(c)) * passes / rate
    operand_seconds = k["traffic"] * c.element * _operands(c, t) * passes / c.bandwidth
    # Products read and write while they compute: what is added is less than either.
    traffic = (flop_seconds**_BESIDE + operand_seconds**_BESIDE) ** (1 / _BESIDE) - flop_seconds
    passes_through = k["elementwise"] * _elementwise(c, t, k) * again + k["accumulate"] * c.layer_weights
    collectives = np.where(c.tp > 1, 4 + 2 * products_again, 0.0)
    once = 2 * (c.tp - 1) / c.tp * _activation(c, t) / ring_rate(c, c.tp, np.ones_like(t), k)
    hidden = np.where(c.async_tp, 0.4, 1.0)
    steps = np.log2(np.maximum(c.tp, 2))
    keys = 2 * t * c.kv_width / c.tp * c.element / ring_rate(c, c.cp, c.tp, k)
    return {
        "matmul": flop_seconds * (1 + bad * k["misaligned"]),
        "attention": core * (3.5 + attention_again) * (1 + bad * k["misaligned"]) + scores * (1 + attention_again / 3),
        "memory": traffic + passes_through / c.bandwidth,
        "launch": k["launch"] * again * np.ones_like(t),
        "tp": collectives * (once * hidden + k["latency"] * steps),
        "cp": _ring_exposed(c, k, core * (3.5 + attention_again), (3 + attention_again) * keys),
    }


def _ring_exposed(c: Cases, k: Values, work: Floats, keys: Floats) -> Floats:
    """Seconds a layer that passing keys and values round the ring adds: they travel beside the attention to those that are there,
    but each meeting waits for its message to begin."""
    sent = (c.cp - 1) * (keys + k["latency"])
    return np.where(c.cp > 1, beside(work, sent, k["overlap"]), 0.0)


def _efficiency(c: Cases, k: Values) -> Floats:
    eight = k["fp8"] * np.where(c.rowwise, k["rowwise"], 1.0)
    return np.where(c.fp8, eight, k["matmul"])


def _misaligned(c: Cases) -> Floats:
    """Head sizes that no multiple of 8 fall off the fast kernels (an odd quotient is a mistake in the table)."""
    size = np.rint(c.head_size)
    return ((np.abs(c.head_size - size) < 1e-6) & (size % 8 != 0)).astype(float)


def _inner(c: Cases) -> Floats:
    """The sizes over which a layer's four products sum, forward, added up."""
    return 2 * c.hidden + (c.hidden + c.ffn) / c.tp


def _operands(c: Cases, t: Floats) -> Floats:
    """Elements that the four products of a layer read and write, forward."""
    d, kv, f, tp = c.hidden, c.kv_width, c.ffn, c.tp
    total = np.zeros_like(t)
    for rows, columns in ((d, (d + 2 * kv) / tp), (d / tp, d), (d, (c.mlp_matrices - 1) * f / tp), (f / tp, d)):
        total = total + t * rows + rows * columns + t * columns
    return total


def _elementwise(c: Cases, t: Floats, k: Values) -> Floats:
    """Bytes that norms, residuals, biases, positions and the activation function move, forward and backward.

    Passes over an array, counted by hand for unfused kernels: 22 for the width that tensor parallelism leaves whole (unless
    it is sequence-parallel), 8 for queries, keys and values, 6 for the activation function, 8 with a gate.
    """
    whole = c.hidden / np.where(c.sequence_parallel, c.tp, 1.0)
    gate = np.where(c.mlp_matrices == 3, 8.0, 6.0)
    passes = 22 * whole + 8 * c.hidden / c.tp + gate * c.ffn / c.tp
    return t * c.element * passes * (1 + k["eager"] * c.eager)


def _activation(c: Cases, t: Floats) -> Floats:
    """Bytes of one layer's output."""
    return t * c.hidden * c.element


def _logits(c: Cases, k: Values, t: Floats) -> Floats:
    """Output layer (three products) and a loss in fp32, which passes the logits six times through memory."""
    products = 3 * 2 * t * c.embedding / (c.peak * _efficiency(c, k))
    operands = 3 * k["traffic"] * c.element * (t * c.hidden + c.embedding + t * c.vocab / c.tp)
    return products + (operands + 24 * t * c.vocab / c.tp) / c.bandwidth


def _fsdp_exposed(c: Cases, k: Values, work: Floats, m: Floats) -> Floats:
    """Seconds a layer and micro batch that gathering weights twice and scattering gradients adds to its work.

    Under a pipeline the weights stay gathered for the whole step.
    """
    n = c.shards
    rate = ring_rate(c, n, c.tp, k)
    bytes_moved = 3 * c.element * c.layer_weights * (n - 1) / n
    once = bytes_moved / rate + 3 * k["latency"] * np.log2(np.maximum(n, 2))
    once = once / np.where(c.pp > 1, m, 1.0)
    seconds = np.where(c.is_fsdp & (n > 1), once, 0.0)
    # gathered weights are copied out of their message, gradients into theirs
    copies = (6 + 4 / n) * c.element * c.layer_weights / c.bandwidth * (c.program != programs.FSDP_STYLE)
    copied = np.where(c.is_fsdp & (n > 1), copies / np.where(c.pp > 1, m, 1.0), 0.0)
    return beside(work, seconds, k["overlap"]) + copied


def beside(work: Floats, messages: Floats, overlap: Floats | float) -> Floats:
    """What messages add to work beside which they run: all of them with ``overlap`` 0, with much of it only what is longer."""
    q = 1 + overlap
    largest = np.maximum(work, messages)
    return largest * ((work / largest) ** q + (messages / largest) ** q) ** (1 / q) - work


def _own(c: Cases) -> Floats:
    """Parameters of the fullest rank before sharding."""
    return c.layer_weights * c.most_layers + c.embedding * (1 + ((c.pp == 1) & c.untied))


def _gradients(c: Cases, k: Values) -> Floats:
    """Reducing gradients over replicas that are no shards of each other, and gathering what ZeRO-1 updated."""
    n = c.replicas
    whole = _own(c) * c.element
    summed = np.maximum(c.element, 4.0) * _own(c)  # gradients add up in fp32
    rate = ring_rate(c, n, c.tp, k)
    reduce = k["exposed"] * 2 * (n - 1) / n * summed / rate
    gather = np.where(c.sharding == 1, (n - 1) / n * whole / rate, 0.0)
    # hsdp reduces its shards over the replicas of the sharded group
    outer = np.maximum(n / c.shards, 1)
    across = k["exposed"] * 2 * (outer - 1) / outer * whole / c.shards / (c.network * k["network"])
    return np.where(c.is_fsdp, across + _outside_layers(c, k), np.where(n > 1, reduce + gather, 0.0))


def _outside_layers(c: Cases, k: Values) -> Floats:
    """Seconds that FSDP takes to gather the embedding (and an output layer of its own) before the first layer and to scatter its
    gradients after the last: there is no work to hide either. Under a pipeline once a step."""
    n = c.shards
    weights = c.embedding * (1 + ((c.pp == 1) & c.untied))
    once = 2 * c.element * weights * (n - 1) / n / ring_rate(c, n, c.tp, k) + 2 * k["latency"] * np.log2(
        np.maximum(n, 2)
    )
    return np.where(c.is_fsdp & (n > 1), once * np.where(c.pp > 1, 1.0, c.micro_batches), 0.0)
