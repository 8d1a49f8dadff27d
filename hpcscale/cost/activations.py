"""What the forward pass leaves for the backward pass: bytes of one layer and micro batch, by activation checkpointing.

Counted as Korthikanti et al. 2022 do (arXiv 2205.05198, section 4), but value by value, since programs differ (programs.py)
and models too: grouped queries, gates, rotary positions, RMS norms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcscale.cost import programs
from hpcscale.cost.cases import CORE_ATTENTION, FULL, SELECTIVE_LAYER, SELECTIVE_OP, Cases, Flags, Floats
from hpcscale.cost.stage_layers import StageLayers


@dataclass(frozen=True)
class Layer:
    """Bytes [n] of one layer and one micro batch. ``kept``: until its backward pass, on the average of a rank's
    layers; ``kept_again``, ``kept_plain``: of one that selective-layer:k computes again, and of one that it does not; ``again``: what recomputing adds while that
    layer's backward pass runs; ``at_work``: gradients and intermediate results beside them; ``split``: what a backward pass for
    inputs alone leaves for the one for weights. ``hidden``: one hidden state."""

    kept: Floats
    kept_again: Floats
    kept_plain: Floats
    again: Floats
    at_work: Floats
    split: Floats
    hidden: Floats


def of_layer(c: Cases, layers: StageLayers) -> Layer:
    """What each layer of a case keeps, on the average of its rank's layers."""
    t, e = c.tokens, c.element
    own = programs.of(c.program, "rms_bytes")
    hidden = c.hidden / np.where(c.sequence_parallel, c.tp, 1.0)  # between the parallel regions
    entered = np.where(programs.of(c.program, "keeps_gathered") > 0, c.hidden, hidden)
    gated = c.mlp_matrices == 3
    queries, keys, ffn = c.hidden / c.tp, c.kv_width / c.tp, c.ffn / c.tp
    # Each norm keeps its input, and if it is an RMS norm without a kernel of its own two copies of it in fp32 instead.
    norms = 2 * hidden * np.where(c.rms & (own > 0), own, e)
    joined = queries + 2 * keys
    rotated = np.where(c.rotary, queries + np.where(c.cp > 1, 0.0, keys), 0.0)
    # A ring keeps its own keys and values once more, and of rotated queries and keys not the ones before.
    ring = np.where(c.cp > 1, 2 * keys, 0.0)
    joined_kept = np.where(c.rotary & (c.cp > 1), 0.0, joined)
    scores = _scores(c)
    matrices = e * (joined_kept + rotated + ring)
    # Without a kernel for biases, queries, keys and values are kept in fp32.
    matrices = np.where(_own_scores(c), 3 * queries * np.maximum(e, 4.0), matrices)
    mlp = np.where(gated, 4.0, 2.0) * ffn * e
    sums = 4.0 * c.heads / c.tp
    core = e * queries + sums
    whole = t * (norms + 2 * entered * e + matrices + core + mlp) + scores
    block = t * e * hidden
    op = block + t * (e * (joined + ffn + np.where(gated, c.hidden, 0.0)) + core * _meetings(c)) + scores
    ac = c.checkpointing
    share = layers.recomputed
    kept = np.select(
        [ac == FULL, ac == SELECTIVE_OP, ac == SELECTIVE_LAYER, ac == CORE_ATTENTION],
        [block, op, block * share + whole * (1 - share), whole - scores],
        whole,
    )
    again = np.select(
        [ac == FULL, ac == SELECTIVE_OP, ac == SELECTIVE_LAYER, ac == CORE_ATTENTION],
        [whole - block, whole - op, whole - block, scores],
        0.0,
    )
    outputs = joined + 4 * c.hidden + ffn * np.where(gated, 2.0, 1.0)  # whose gradients those of weights need
    # Before a layer is computed again, those after it have let go of more, but where nothing comes after.
    counts = np.where(c.zero_bubble & (c.pp > 1), share > 0, layers.ends_recomputed)
    again = np.maximum(again, 0.0) * np.where(ac == SELECTIVE_LAYER, counts, 1.0)
    return Layer(
        kept,
        np.where(ac == SELECTIVE_LAYER, block, kept),
        np.where(ac == SELECTIVE_LAYER, whole, kept),
        again,
        _at_work(c, scores),
        t * e * outputs,
        block,
    )


def biases(c: Cases) -> Floats:
    """Bytes of ALiBi's biases, where they are made: [heads, sequence, sequence] in fp32 for each stage of a rank."""
    return np.where(_own_scores(c), c.heads * c.sequence**2 * np.maximum(c.element, 4.0), 0.0)


def _own_scores(c: Cases) -> Flags:
    """Whether scores are made because of ALiBi's biases."""
    return c.alibi & (programs.of(c.program, "fuses_bias") == 0)


def _scores(c: Cases) -> Floats:
    """Bytes of attention's scores that are kept; none with a fused kernel."""
    count = c.tokens * c.sequence * c.heads / c.tp
    unfused = np.where(
        c.fused_attention, 0.0, count * (2 * c.element + 1)
    )  # before and after softmax, and dropout's mask
    return np.where(_own_scores(c), count * np.maximum(c.element, 4.0), unfused)


def _meetings(c: Cases) -> Floats:
    """Of ring attention selective-op keeps each meeting's result; a causal one has half of the queries, or all (the mean)."""
    return 1 + (c.cp - 1) * np.where(c.causal, 0.75, 1.0)


def _at_work(c: Cases, scores: Floats) -> Floats:
    """The most beside what is kept: the MLP's gradients, a ring's travelling ones, or those of scores."""
    t, e = c.tokens, c.element
    queries, keys, ffn = c.hidden / c.tp, c.kv_width / c.tp, c.ffn / c.tp
    mlp = t * e * (c.hidden + ffn * np.where(c.mlp_matrices == 3, 2.0, 1.0))
    ring = np.where(c.cp > 1, t * (4 * queries + 16 * keys + e * (3 * queries + 4 * keys)), 0.0)
    return np.maximum(np.maximum(mlp, ring), 2 * scores)
