"""How much memory a rank needs: a table per pipeline stage whose lines add up, and whether it fits.

    weights, gradients, optimizer states by sharding; activations by checkpointing and by the micro batches that the
    schedule holds at once; logits; what one layer works with; buffers; the process itself.

Activations follow Korthikanti et al. 2022 (arXiv 2205.05198) with fused attention (no scores kept) where the case says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpcscale.cost.cases import CORE_ATTENTION, FULL, SELECTIVE_LAYER, SELECTIVE_OP, ZERO1, Cases, Flags, Floats

Values = Mapping[str, Floats | float]

# line -> what a person reads
LINES = {
    "weights": "weights that are computed with, and FSDP's gathered ones",
    "gradients": "gradients",
    "states": "master weights and the optimizer's averages",
    "activations": "what the backward pass needs of every micro batch in flight",
    "work": "what one layer holds while it computes",
    "logits": "logits and their gradients",
    "buffers": "messages between stages and ranks",
    "process": "the process, libraries, the device's context, the allocator's gaps",
}
FITS, RISKY, OOM, UNKNOWN = "fits", "risky", "OOM", "unknown"
# The share of usable memory above which an estimate that is right to a tenth may be wrong.
RISKY_ABOVE = 0.93


@dataclass(frozen=True)
class Need:
    """Bytes by line, arrays [n], of the first and of the last pipeline stage (the same where there is one)."""

    first: dict[str, Floats]
    last: dict[str, Floats]

    @property
    def total(self) -> Floats:
        """Bytes of the stage that needs most."""
        return np.maximum(_sum(self.first), _sum(self.last))

    @property
    def worst(self) -> dict[str, Floats]:
        """The lines of that stage."""
        first = _sum(self.first) >= _sum(self.last)
        return {line: np.where(first, self.first[line], self.last[line]) for line in LINES}


def _sum(lines: dict[str, Floats]) -> Floats:
    return np.sum(list(lines.values()), axis=0)


def need(cases: Cases, values: Values) -> Need:
    """Bytes per rank. ``values``: constants ``weights_bytes``... of constants.py, numbers or arrays [n]."""
    c = cases
    single = c.pp == 1
    ones = np.ones(len(c), dtype=bool)
    m = c.micro_batches
    held = np.minimum(np.where(c.virtual > 1, c.pp * (1 + (c.pp - 1) / (c.pp * c.virtual)), c.pp), m)
    held = np.where(c.all_in_flight, m, held)
    first = _stage(c, values, c.most_layers, held, ones, single)
    last = _stage(c, values, c.last_layers, np.where(c.all_in_flight, m, np.minimum(m, 1.0)), single, ones)
    return Need(first, last)


def verdict(bytes_needed: Floats, usable: Floats) -> list[str]:
    """fits, risky or OOM; unknown where ``usable`` is nan."""
    share = bytes_needed / usable
    words = np.select([np.isnan(share), share > 1, share > RISKY_ABOVE], [UNKNOWN, OOM, RISKY], FITS)
    return [str(word) for word in words]


def _stage(c: Cases, k: Values, layers: Floats, held: Floats, is_first: Flags, is_last: Flags) -> dict[str, Floats]:
    t = c.tokens
    norms = c.hidden * 4
    layer = c.layer_weights + norms
    # A tied matrix lies on the first and on the last stage.
    matrices = np.where(is_first & is_last, 1.0 + c.untied, is_first | is_last)
    own = layer * layers + c.embedding * matrices + c.positions * c.hidden * is_first
    stored, whole = activations(c)
    works = np.where(c.checkpointing == 0, 0.0, np.where(c.checkpointing == FULL, whole, 0.5 * whole))
    # the widest product's output and its gradient
    works = works + 2 * t * c.element * c.ffn / c.tp
    spread = k["activations"]
    logits = t * c.vocab / c.tp * (8 + c.element) * is_last
    lines = _states(c, own, layer, layers)
    lines["activations"] = layers * stored * held * spread
    lines["work"] = works * spread
    lines["logits"] = logits * np.minimum(1.0, k["logits"])
    lines["buffers"] = np.where(c.pp > 1, 4 * t * c.hidden * c.element, 0.0) + np.where(
        c.tp > 1, 2 * t * c.hidden * c.element, 0.0
    )
    gaps = _sum(lines) * (k["gaps"] - 1)
    lines["process"] = k["process"] + gaps
    return {line: lines[line] for line in LINES}


def _states(c: Cases, own: Floats, layer: Floats, layers: Floats) -> dict[str, Floats]:
    """Bytes of weights, gradients and states: 16 a parameter in all, or 2 + 4 + 12 with fp32 gradients in mixed precision.

    ZeRO-1 shards the 12. FSDP shards weights, gradients and states in fp32 and holds, in 16 bits, two gathered layers; under a
    pipeline all of them, and their whole gradients in fp32, until the step's end.
    """
    full = c.element >= 4
    shards = np.maximum(c.shards, 1)
    apart = np.where(c.sharding == ZERO1, shards, 1.0)
    plain = {
        "weights": np.where(full, 4.0, c.element) * own,
        "gradients": 4.0 * own,
        "states": np.where(full, 8.0, 12.0) / apart * own,
    }
    gathered = np.where(shards > 1, np.where(c.pp > 1, layer * layers, 2 * layer), 0.0) * c.element
    fsdp = {
        "weights": gathered,
        "gradients": 4.0 * own / shards + np.where((c.pp > 1) & (shards > 1), 4.0 * layer * layers, 0.0),
        "states": 12.0 * own / shards,
    }
    return {line: np.where(c.is_fsdp, fsdp[line], plain[line]) for line in plain}


def activations(c: Cases) -> tuple[Floats, Floats]:
    """Bytes that (one layer keeps for the backward pass, it keeps without checkpointing), for one micro batch.

    Without checkpointing, values a token: 4 hidden sizes that tensor parallelism leaves whole (inputs of the two norms, of
    queries and of the MLP), queries, keys, values and attention's output, the activation function's input and output (4 arrays
    with a gate); and, unfused, two copies of the scores and a mask.
    """
    t, b = c.tokens, c.element
    outer = c.hidden / np.where(c.sequence_parallel, c.tp, 1.0)
    gate = np.where(c.mlp_matrices == 3, 4.0, 2.0)
    scores = np.where(c.fused_attention, 0.0, t * c.heads / c.tp * c.sequence * (2 * b + 1))
    inner = t * b * (2 * c.hidden + 2 * c.kv_width) / c.tp
    whole = t * b * (4 * outer + gate * c.ffn / c.tp) + inner + scores
    block = t * b * outer
    kept = t * b * (3 * outer + 2 * c.hidden / c.tp + c.ffn / c.tp)
    ac = c.checkpointing
    stored = np.select(
        [ac == FULL, ac == SELECTIVE_OP, ac == SELECTIVE_LAYER, ac == CORE_ATTENTION],
        [block, kept, block / c.every + whole * (1 - 1 / c.every), whole - scores],
        whole,
    )
    return stored, whole
