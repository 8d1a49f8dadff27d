"""The step loop: train, time, gather, record."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from hpcscale.train import communication, energy, measure, trace, traffic
from hpcscale.train.failures import Ended, out_of_time, signal_failure
from hpcscale.train.job_clock import JobClock
from hpcscale.train.journal import Journal
from hpcscale.train.point_file import Work
from hpcscale.train.stop_signal import StopSignal
from hpcscale.train.tensorboard import Board
from hpcscale.train.trainer import StepResult

MOST_SKIPPED_STEPS = 100  # in a row; a loss scale that is halved a hundred times is beyond any number


class Steps(Protocol):
    """What trains: hpcscale.train.trainer.Trainer."""

    def step(self, step: int) -> StepResult: ...


class Checkpointer(Protocol):
    """Saves on all ranks alike. ``seconds``: what the last checkpoint took, 0 before the first."""

    seconds: float

    def after_step(self, step: int, line: Mapping[str, Any]) -> None:
        """After each step that is recorded and after which training goes on."""
        ...

    def before_leaving(self, step: int) -> None:
        """After the last step, or the one after which all ranks stop because of a signal or the clock."""
        ...


@dataclass
class Session:
    """What the steps of a run share. Every rank makes one."""

    trainer: Steps
    work: Work
    device: torch.device
    journal: Journal
    stop: StopSignal
    clock: JobClock
    meter: energy.Meter = energy.NONE
    checkpointer: Checkpointer | None = None
    board: Board | None = None  # on rank 0 only
    axes: Mapping[str, str] = field(default_factory=dict)  # traffic.axes_of(mesh)
    trace_step: int | None = None


def run_steps(session: Session, steps: int, first: int = 1) -> float:
    """Trains the steps ``first`` to ``steps`` and returns the last one's loss.

    Raises Ended, on all ranks in the same step, if the loss is no number, any rank was asked to stop or the job's time is
    nearly over.
    """
    loss, longest, skipped = math.nan, 0.0, 0
    for step in range(first, steps + 1):
        # An attempt's first step, unless it is measured: counting takes a little time.
        count = step == first and session.work.protocol.warmup_steps > 0
        line, stop = _measured_step(session, step, count, longest)
        line["warmup"] = step - first < session.work.protocol.warmup_steps  # a resumed attempt is cold again
        session.journal.step(step=step, **line)
        if session.board is not None:
            session.board.step(step, line)
        if session.journal.rank == 0:
            print(_human(step, steps, line), flush=True)
        loss, longest = line["loss"], max(longest, line["step_seconds"])
        skipped = skipped + 1 if line.get("skipped") else 0
        _check_numbers(step, line, skipped)
        if step == steps:
            break
        if stop:
            session.stop.finished()  # heard; saving may take longer than the grace
            if session.checkpointer is not None:
                session.checkpointer.before_leaving(step)
            raise signal_failure(stop.signal, session.clock) if stop.signal else out_of_time(session.clock, step)
        if session.checkpointer is not None:
            session.checkpointer.after_step(step, line)
    if session.checkpointer is not None:
        session.checkpointer.before_leaving(steps)
    return loss


def _measured_step(session: Session, step: int, count: bool, longest: float) -> tuple[dict[str, Any], measure.Stop]:
    """One step, timed on this rank from the first token to the updated weights, and gathered from all ranks."""
    device = session.device
    traced = step == session.trace_step
    with contextlib.ExitStack() as observers:
        if traced:
            observers.enter_context(trace.recording(_trace_file(session.journal), session.journal.rank, device))
        counted = observers.enter_context(traffic.counting(session.axes)) if count else None
        measure.wait_for(device)
        joules_before = session.meter.joules()
        before = time.perf_counter()
        result = session.trainer.step(step)
        measure.wait_for(device)
        seconds = time.perf_counter() - before
        joules = session.meter.joules()
    checkpoint_seconds = session.checkpointer.seconds if session.checkpointer is not None else 0.0
    own = measure.RankStep(
        seconds=seconds,
        loss_share=result.loss.item(),
        peak_memory_bytes=measure.peak_memory_bytes(device),
        energy_joules=math.nan if joules is None or joules_before is None else joules - joules_before,
        stop_signal=session.stop.number,
        out_of_time=session.clock.is_nearly_over(max(longest, seconds), checkpoint_seconds),
    )
    line, stop = measure.combine(communication.gather_numbers(own.numbers(), device))
    training = session.work.training
    line |= {
        "gradient_norm": result.gradient_norm.item(),
        "learning_rate": result.learning_rate,
        "tokens": training.global_batch_size * training.sequence_length,
    }
    if result.loss_scale is not None:
        line |= {"loss_scale": result.loss_scale, "skipped": result.skipped}
    if traced:
        events = trace.read(_trace_file(session.journal))
        line["traced"] = {
            "send_seconds": trace.send_seconds(events),
            "overlapped_send_seconds": trace.overlap_seconds(events),
        }
    if counted is not None:
        line["collectives"] = traffic.combined(communication.gather_objects(counted.counts))
    return line, stop


def _check_numbers(step: int, line: dict[str, Any], skipped_in_a_row: int) -> None:
    """A skipped step left the weights as they were, whatever its loss; the next scale is lower."""
    if skipped_in_a_row >= MOST_SKIPPED_STEPS:
        raise Ended(
            "nan",
            f"the gradients of {skipped_in_a_row} steps in a row were no numbers, down to a loss scale of {line['loss_scale']}; "
            f"the last step was {step}",
        )
    if not math.isfinite(line["loss"]) and not line.get("skipped"):
        raise Ended("nan", f"the loss of step {step} is {line['loss']}, gradient norm {line['gradient_norm']}")


def _trace_file(journal: Journal) -> Path:
    assert journal.folder is not None, "the ranks have met: rank 0 has told its folder"
    return journal.folder / f"trace-rank{journal.rank}.json.gz"


def _human(step: int, steps: int, line: dict[str, Any]) -> str:
    seconds = line["step_seconds"]
    remark = "  (warm-up)" if line["warmup"] else ""
    remark += f"  (skipped, loss scale {line['loss_scale']:g})" if line.get("skipped") else ""
    return (
        f"step {step:{len(str(steps))}}/{steps}  loss {line['loss']:.4f}  {seconds:.3f} s  "
        f"{line['tokens'] / seconds:,.0f} tokens/s{remark}"
    )
