"""The step loop: train, time, gather, record."""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from hpcscale.train import communication, measure
from hpcscale.train.failures import Ended, signal_failure
from hpcscale.train.journal import Journal
from hpcscale.train.point_file import Work
from hpcscale.train.stop_signal import StopSignal
from hpcscale.train.trainer import Trainer


def run_steps(
    trainer: Trainer, work: Work, steps: int, device: torch.device, journal: Journal, stop: StopSignal, started: float
) -> float:
    """Trains ``steps`` steps and returns the last one's loss. ``started``: time.monotonic() when the process began.

    Raises Ended, on all ranks in the same step, if the loss is no number or any rank was asked to stop.
    """
    tokens = work.training.global_batch_size * work.training.sequence_length
    loss = math.nan
    for step in range(1, steps + 1):
        line, signal_number = _measured_step(trainer, step, work, device, stop)
        line |= {"tokens": tokens, "warmup": step <= work.protocol.warmup_steps}
        journal.step(step=step, **line)
        loss = line["loss"]
        if journal.rank == 0:
            print(_human(step, steps, line), flush=True)
        if not math.isfinite(loss):
            raise Ended("nan", f"the loss of step {step} is {loss}, gradient norm {line['gradient_norm']}")
        if signal_number and step < steps:
            raise signal_failure(signal_number, time.monotonic() - started, work.time_limit_seconds)
    return loss


def _measured_step(
    trainer: Trainer, step: int, work: Work, device: torch.device, stop: StopSignal
) -> tuple[dict[str, Any], int]:
    """One step, timed on this rank from the first token to the updated weights, and gathered from all ranks."""
    measure.wait_for(device)
    before = time.perf_counter()
    loss, norm, rate = trainer.step(step)
    measure.wait_for(device)
    seconds = time.perf_counter() - before
    own = measure.RankStep(
        seconds=seconds,
        loss=loss.item(),
        loss_share=1 / work.layout.dp,
        peak_memory_bytes=measure.peak_memory_bytes(device),
        stop_signal=stop.number,
    )
    line, signal_number = measure.combine(communication.gather_numbers(own.numbers(), device))
    return line | {"gradient_norm": norm.item(), "learning_rate": rate}, signal_number


def _human(step: int, steps: int, line: dict[str, Any]) -> str:
    seconds = line["step_seconds"]
    warmup = "  (warm-up)" if line["warmup"] else ""
    return (
        f"step {step:{len(str(steps))}}/{steps}  loss {line['loss']:.4f}  {seconds:.3f} s  "
        f"{line['tokens'] / seconds:,.0f} tokens/s{warmup}"
    )
