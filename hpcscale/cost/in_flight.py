"""How many micro batches a pipeline rank holds at once, by schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcscale.cost import programs
from hpcscale.cost.cases import Cases, Flags, Floats


@dataclass(frozen=True)
class Held:
    """Arrays [n]. ``chunks``: forward passes of one of the rank's (virtual) stages whose backward pass is to come;
    ``sent``: messages that have been sent and are still kept; ``losses``: of ``chunks``, those of the model's last stage;
    ``waiting``: those whose backward pass for inputs has been and the one for weights has not. ``steady``: forward passes follow
    backward passes while so many are held, so gradients are there too; ``rounds``: all virtual stages have gradients by then."""

    chunks: Floats
    by_stage: tuple[Floats, ...]  # of ``chunks``, those of each of the rank's virtual stages
    sent: Floats
    losses: Floats
    waiting: Floats
    steady: Flags
    rounds: Flags


def on_first(c: Cases) -> Held:
    return _held(c, np.zeros(len(c)), np.where(c.v_shape | (c.pp == 1), 1.0, 0.0))


def on_last(c: Cases) -> Held:
    return _held(c, c.pp - 1, np.where(c.v_shape & (c.pp > 1), 0.0, 1.0))


def _held(c: Cases, rank: Floats, has_loss: Floats) -> Held:
    """1F1B: a micro batch for each stage from here to the end (arXiv 2104.04473). Interleaved schedules run warm-up passes of
    all earlier virtual stages first, torch's with 2 more for every stage behind, or 1 and as many delayed weight gradients
    (zero bubble, arXiv 2401.10241); the V of zbv fills each rank with 2 P passes."""
    m, p, v = c.micro_batches, c.pp, c.virtual
    behind = p - 1 - rank
    round_ = m / np.maximum(1.0, np.floor(m / p))
    plain = (v - 1) * round_ + 2 * behind + 1
    delayed = (v - 1) * round_ + behind + 1 + rank
    chunks = np.select(
        [c.all_in_flight | ((v == 1) & (m < p)), c.v_shape, (v > 1) & c.zero_bubble, v > 1],
        [m * v, np.minimum(m, p + behind) + np.minimum(m, rank + 1), delayed, plain],
        behind + 1,
    )
    chunks = np.where(p > 1, np.minimum(chunks, m * v), 1.0)
    at_once = np.where(c.all_in_flight | ((v == 1) & (m < p)), m, np.where(c.zero_bubble & ~c.v_shape, 1.0 + rank, 1.0))
    split = c.zero_bubble & (p > 1)
    missing = np.maximum(2 * p - 2 - m, 0.0)  # micro batches that the V's schedule is made for, and that are not there
    losses = np.where(p > 1, np.minimum(at_once, m), 1.0) * has_loss
    waiting = np.where(
        split, np.minimum(np.where(c.v_shape, np.maximum(2 * rank - missing, 1.0), rank + 1), chunks), 0.0
    )
    # Those that nobody waits for before the step's end: outputs forward and gradients back, but none beyond the model's ends.
    ends = np.where(c.v_shape, np.where(rank == 0, 2.0, 0.0), np.where((rank == 0) | (behind == 0), 1.0, 0.0))
    kept = (v > 1) & (p > 1) & (programs.of(c.program, "keeps_sent") > 0)
    sent = np.where(kept, np.maximum(0.0, 2 * (m * v - chunks) - ends * m), 0.0)
    steady = np.where(p > 1, m * v > chunks, m > 1)
    return Held(
        chunks,
        _by_stage(c, chunks, round_, np.minimum(m, p + behind)),
        sent,
        losses,
        waiting,
        steady,
        steady & ((v == 1) | (m >= 2 * p)),
    )


def _by_stage(c: Cases, chunks: Floats, round_: Floats, of_v: Floats) -> tuple[Floats, ...]:
    """Passes go in rounds of as many micro batches, first through the rank's first virtual stage; zbv's first has ``of_v``."""
    cycles, rest = np.divmod(chunks, np.maximum(round_ * c.virtual, 1.0))
    found = []
    for stage in range(int(c.virtual.max(initial=1))):
        looped = cycles * round_ + np.clip(rest - stage * round_, 0.0, round_)
        mirrored = of_v if stage == 0 else chunks - of_v
        found.append(np.where(c.v_shape, mirrored, np.where(c.virtual > 1, looped, chunks if stage == 0 else 0.0)))
    return tuple(found)
