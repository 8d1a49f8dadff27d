"""A step's memory rises and falls: what a pipeline rank holds at the moments that can be its highest.

start     ALiBi's biases are made, in double precision
loss      the last stage makes logits, with all of its activations there
backward  a layer's backward pass runs, with all activations in flight there
second    the next one, with one micro batch less and the first one's gradients
end       the embedding gets its gradient, after the layers' activations of this micro batch have gone
last      the same for the step's last micro batch
update    all gradients are there and no activations
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpcscale.cost import activations, programs
from hpcscale.cost.activations import Layer
from hpcscale.cost.cases import SELECTIVE_OP, ZERO1, Cases, Flags, Floats
from hpcscale.cost.in_flight import Held
from hpcscale.cost.logits import Loss, of_loss
from hpcscale.cost.stage_layers import StageLayers
from hpcscale.cost.states import States, states

Lines = dict[str, Floats]
# A backward pass for weights alone computes a layer again for each of its five to seven groups of weights, and torch's checkpoint
# lets go of that only with the layer (less what was used): found in dry runs of zbv and interleaved-zero-bubble.
_REPEATED = 4.8


@dataclass(frozen=True)
class Stage:
    """One pipeline rank of each case."""

    cases: Cases
    layers: StageLayers
    is_first: Flags
    is_last: Flags
    held: Held


@dataclass(frozen=True)
class _Facts:
    """Bytes [n] that several moments share. ``one``: activations of one pass through one of the rank's virtual stages; ``kept``:
    of all in flight; ``split``: what the first half of a backward pass in two parts leaves of such a pass."""

    stage: Stage
    own: States
    layer: Layer
    loss: Loss
    spread: Floats
    share_of_logits: Floats
    one: Floats
    kept: Floats
    split: Floats
    begun: Floats  # gradients that are there while most passes are in flight
    biases: Floats

    @property
    def nothing(self) -> Floats:
        return np.zeros(len(self.stage.cases))

    def lines(self, **changed: Floats) -> Lines:
        """What is there while most passes are in flight, but for what is ``changed``."""
        c, hidden = self.stage.cases, self.layer.hidden
        messages = hidden * (self.stage.held.sent + np.where(c.pp > 1, 2.0, 0.0) + np.where(c.tp > 1, 2.0, 0.0))
        usual = {
            "weights": self.own.weights, "gradients": self.begun, "states": self.own.states, "activations": self.kept,
            "work": self.nothing, "logits": self.nothing, "buffers": self.biases * c.virtual + messages,
        }  # fmt: skip
        return {**usual, **changed}


def lines_of_moments(stage: Stage, values: Mapping[str, Floats | float]) -> list[Lines]:
    """The lines of each moment, in bytes [n]."""
    facts = _facts(stage, values)
    return [moment(facts) for moment in (_start, _loss, _backward, _second, _end, _last, _update)]


def _facts(stage: Stage, k: Mapping[str, Floats | float]) -> _Facts:
    c, held = stage.cases, stage.held
    own, layer = states(c, stage.layers.count, stage.is_first, stage.is_last), activations.of_layer(c, stage.layers)
    spread = np.broadcast_to(np.asarray(k["activations"], dtype=float), len(c))
    in_chunk = stage.layers.count / np.where(c.pp > 1, c.virtual, 1.0)
    one = spread * in_chunk * layer.kept
    outputs = np.where((programs.of(c.program, "keeps_outputs") > 0) & (c.pp > 1), spread * layer.hidden, 0.0)
    # In the first round only a rank's last virtual stage has gone back.
    share = np.where(held.rounds | (c.virtual == 1), 1.0, own.last_stage)
    return _Facts(
        stage, own, layer, of_loss(c), spread, np.minimum(1.0, np.asarray(k["logits"], dtype=float)),
        one=one, kept=spread * _in_flight(stage, layer) + outputs * np.maximum(held.chunks - held.losses, 0.0),
        split=spread * in_chunk * layer.split, biases=activations.biases(c),
        begun=np.where(held.steady, np.maximum(own.gradients * share, own.gradients_first), own.gradients_first),
    )  # fmt: skip


def _in_flight(stage: Stage, layer: Layer) -> Floats:
    """Of all passes, virtual stage by virtual stage: they differ in layers, and in how many of them are computed again."""
    parts = zip(stage.held.by_stage, stage.layers.stages, strict=True)
    kept = [held * (again * layer.kept_again + (count - again) * layer.kept_plain) for held, (count, again) in parts]
    return np.sum(kept, axis=0)


def _start(f: _Facts) -> Lines:
    return f.lines(activations=f.nothing, buffers=4 * f.biases, gradients=f.own.gradients_first)


def _loss(f: _Facts) -> Lines:
    held = f.stage.held
    made = f.loss.peak * f.share_of_logits + f.loss.kept * (held.losses - 1)
    # Zero bubble: while losses wait for their gradients of weights, those of the first are there.
    there = f.own.gradients * f.own.last_stage * ((held.losses > 1) & f.stage.cases.zero_bubble)
    return f.lines(
        logits=np.where(f.stage.is_last, made, 0.0), work=f.split * np.maximum(held.waiting - 1, 0.0),
        gradients=np.maximum(f.begun, there),
    )  # fmt: skip


def _backward(f: _Facts) -> Lines:
    held, own = f.stage.held, f.own
    # When a layer's gradients are scattered its activations have gone.
    gone = f.spread * f.layer.kept
    computing = _computing(f) + f.spread * f.layer.at_work + own.matrix_work + np.maximum(own.message - gone, 0.0)
    # The loss lets go of its gradients when they have been handed over, for the second time if there is one.
    others = np.maximum(held.losses - (held.waiting == 0), 0.0)
    return f.lines(
        weights=own.weights + own.layers_at_work,
        work=np.maximum(computing, own.layer_work - gone),
        logits=np.where(f.stage.is_last, f.loss.kept * others + own.tied_gradient, 0.0),
    )


def _computing(f: _Facts) -> Floats:
    """What is computed again, while the gradients of inputs are made or in a backward pass for weights alone."""
    waiting, c = f.stage.held.waiting, f.stage.cases
    inputs = f.spread * f.layer.again + f.split * waiting
    # The layers of a virtual stage add up with selective-op, whose kept results are held by all of them.
    layers = np.where(c.checkpointing == SELECTIVE_OP, np.ceil(f.stage.layers.count / c.virtual), 1.0)
    weights = f.spread * _REPEATED * layers * f.layer.again + f.split * (waiting - 1)
    return np.where(waiting > 0, np.maximum(inputs, weights), inputs)


def _second(f: _Facts) -> Lines:
    piped = f.stage.cases.pp > 1
    before = _backward(f)
    share = np.where(f.stage.held.rounds | (f.stage.cases.virtual == 1), 1.0, f.own.last_stage)
    return {
        **before,
        "activations": np.where(piped, np.maximum(f.kept - f.one, 0.0), 0.0),
        "logits": np.where(piped, before["logits"], 0.0),
        "work": np.where(piped, before["work"], 0.0),
        "gradients": f.own.gradients * share,
    }


def _end(f: _Facts) -> Lines:
    return f.lines(
        activations=np.maximum(f.kept - f.one, 0.0),
        work=np.where(f.stage.is_first, f.own.embedding_work + f.layer.hidden, 0.0),
        logits=np.where(f.stage.is_last, f.own.tied_gradient, 0.0),
        gradients=np.where(f.stage.cases.pp == 1, f.own.gradients_end, f.begun),
    )


def _last(f: _Facts) -> Lines:
    c, own = f.stage.cases, f.own
    # The other virtual stages of a sharded rank have been scattered by then.
    share = np.where(c.is_fsdp | (c.sharding == ZERO1), own.first_stage, 1.0)
    return f.lines(
        weights=own.weights * share, gradients=own.gradients * share, activations=f.nothing,
        work=np.where(f.stage.is_first, own.embedding_work + f.layer.hidden, own.layer_work),
    )  # fmt: skip


def _update(f: _Facts) -> Lines:
    return f.lines(
        activations=f.nothing, gradients=f.own.gradients_update, work=f.own.update_work, buffers=f.biases * f.stage.cases.virtual
    )  # fmt: skip
