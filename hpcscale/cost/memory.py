"""How much memory a rank needs: a table per pipeline stage whose lines add up, and whether it fits.

    weights, gradients, optimizer states by sharding (states.py); activations by checkpointing (activations.py) and by the
    micro batches that the schedule holds at once (in_flight.py); logits; messages; the process itself.

A step's memory rises and falls. Some moments are counted, and the largest is told:

    start     ALiBi's biases are made, in double precision
    loss      the last stage makes logits, with all of its activations there
    backward  a layer's backward pass begins, with all activations in flight there
    end       the first stage's embedding gets its gradient, after the layers' activations have gone
    update    all gradients are there and no activations
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpcscale.cost import activations, in_flight, programs
from hpcscale.cost.activations import Layer
from hpcscale.cost.cases import ZERO1, Cases, Flags, Floats, recomputed_share
from hpcscale.cost.in_flight import Held
from hpcscale.cost.logits import of_loss
from hpcscale.cost.states import States, states

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
# A backward pass for weights alone computes a layer again for each of its five to seven groups of weights, and torch's checkpoint
# lets go of that only with the layer (less what was used).
_REPEATED = 4.8
MOMENTS = ("start", "loss", "backward", "second", "end", "last", "update")


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


def _sum(lines: Mapping[str, Floats]) -> Floats:
    return np.sum(list(lines.values()), axis=0)


def need(cases: Cases, values: Values) -> Need:
    """Bytes per rank. ``values``: constants ``activations``... of constants.py, numbers or arrays [n]."""
    c = cases
    alone = c.pp == 1
    ones = np.ones(len(c), dtype=bool)
    first = _Stage(c, c.most_layers, ones, alone | c.v_shape, in_flight.on_first(c), recomputed_share(c, last=False))
    last = _Stage(c, c.last_layers, alone, alone | ~c.v_shape, in_flight.on_last(c), recomputed_share(c, last=True))
    return Need(_lines(first, values), _lines(last, values))


def verdict(bytes_needed: Floats, usable: Floats) -> list[str]:
    """fits, risky or OOM; unknown where ``usable`` is nan."""
    share = bytes_needed / usable
    words = np.select([np.isnan(share), share > 1, share > RISKY_ABOVE], [UNKNOWN, OOM, RISKY], FITS)
    return [str(word) for word in words]


@dataclass(frozen=True)
class _Stage:
    """One pipeline rank."""

    cases: Cases
    layers: Floats
    is_first: Flags
    is_last: Flags
    held: Held
    recomputed: Floats  # the part of its layers that selective-layer:k computes again


def _lines(stage: _Stage, k: Values) -> dict[str, Floats]:
    """The lines of the moment that needs most."""
    c = stage.cases
    own, layer = states(c, stage.layers, stage.is_first, stage.is_last), activations.of_layer(c, stage.recomputed)
    moments = [_moment(each, stage, own, layer, k) for each in MOMENTS]
    largest = np.argmax([_sum(each) for each in moments], axis=0)
    lines = {line: np.choose(largest, [each[line] for each in moments]) for line in LINES if line != "process"}
    gaps = _sum(lines) * (k["gaps"] - 1)
    return {**lines, "process": k["process"] + gaps}


def _moment(moment: str, stage: _Stage, own: States, layer: Layer, k: Values) -> dict[str, Floats]:
    c, held = stage.cases, stage.held
    in_chunk = np.where(c.pp > 1, stage.layers / c.virtual, stage.layers)
    spread = np.asarray(k["activations"])
    outputs = np.where((programs.of(c.program, "keeps_outputs") > 0) & (c.pp > 1), layer.hidden, 0.0)
    one = spread * in_chunk * layer.kept
    kept = one * held.chunks + spread * outputs * np.maximum(held.chunks - held.losses, 0.0)
    split = spread * in_chunk * layer.split
    # While the gradients of inputs are made, and in a backward pass for weights alone.
    inputs = spread * layer.again + split * held.waiting
    weights = spread * _REPEATED * in_chunk * layer.repeated + split * (held.waiting - 1)
    recomputing = np.where(held.waiting > 0, np.maximum(inputs, weights), inputs)
    loss, biases = of_loss(c), activations.biases(c)
    nothing = np.zeros(len(c))
    begun = np.where(held.steady, own.gradients, own.gradients_first)
    lines = {
        "weights": own.weights, "gradients": begun, "states": own.states, "activations": kept, "work": nothing, "logits": nothing,
        "buffers": biases * c.virtual + layer.hidden * (held.sent + np.where(c.pp > 1, 2.0, 0.0) + np.where(c.tp > 1, 2.0, 0.0)),
    }  # fmt: skip
    if moment == "start":
        lines["activations"], lines["buffers"], lines["gradients"] = nothing, biases * 4, own.gradients_first
    elif moment == "loss":
        made = loss.peak * np.minimum(1.0, k["logits"]) + loss.kept * (held.losses - 1)
        lines["logits"] = np.where(stage.is_last, made, 0.0)
        lines["work"] = split * np.maximum(held.waiting - 1, 0.0)
        # The last stage goes back at once, the rank's other ones after it.
        at_once = own.gradients * own.last_stage * (held.steady | (held.losses > 1) & c.zero_bubble)
        lines["gradients"] = np.where(held.rounds, begun, np.maximum(own.gradients_first, at_once))
    elif moment in ("backward", "second"):
        lines["weights"] = own.weights + own.layers_at_work
        # When a layer's gradients are scattered its activations have gone.
        computing = recomputing + spread * layer.at_work + own.matrix_work
        lines["work"] = np.maximum(computing, own.layer_work - spread * layer.kept)
        lines["logits"] = np.where(stage.is_last, loss.kept * np.maximum(held.losses - 1, 0.0) + own.tied_gradient, 0.0)
    elif moment == "end":
        lines["activations"] = np.maximum(kept - one, 0.0)
        lines["work"] = np.where(stage.is_first, own.embedding_work + layer.hidden, 0.0)
        lines["logits"] = np.where(stage.is_last, own.tied_gradient, 0.0)
        lines["gradients"] = np.where(c.pp == 1, own.gradients_end, begun)
    elif moment == "last":
        share = np.where(c.is_fsdp | (c.sharding == ZERO1), own.first_stage, 1.0)
        lines["weights"], lines["gradients"] = own.weights * share, own.gradients * share
        lines["work"] = np.where(stage.is_first, own.embedding_work + layer.hidden, own.layer_work)
        lines["activations"] = nothing
    else:
        lines["activations"] = nothing
        lines["gradients"] = own.gradients_update
        lines["work"] = own.update_work
        lines["buffers"] = nothing
    if moment == "second":
        lines["activations"] = np.where(c.pp > 1, np.maximum(kept - one, 0.0), 0.0)
        lines["logits"] = np.where(c.pp > 1, lines["logits"], 0.0)
        lines["work"] = np.where(c.pp > 1, lines["work"], 0.0)
        lines["gradients"] = own.gradients * np.where(held.rounds | (c.virtual == 1), 1.0, own.last_stage)
    return lines
