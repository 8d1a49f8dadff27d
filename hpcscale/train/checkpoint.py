"""Saving while training goes on, so that a run can be killed at any instant and go on as if nothing had happened.

The ranks plan once, in the foreground, who writes what. After that a thread of each rank writes its part from a copy in
host memory and talks to no other rank: only one thread may call MPI. While a checkpoint is under way the ranks tell each
other after each step how far they are; when all have written, rank 0 makes it complete.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan
from torch.distributed.checkpoint.storage import WriteResult

from hpcscale.train import checkpoint_files, checkpoint_store, communication
from hpcscale.train.checkpoint_boxes import BoxSavePlanner, boxes
from hpcscale.train.checkpoint_format import Manifest, StoredFile, folder_name
from hpcscale.train.checkpoint_resume import Resumed
from hpcscale.train.failures import Ended
from hpcscale.train.rank_zero import own_from_rank_0, rank, to_rank_0
from hpcscale.train.trainer import Trainer

RUNNING, DONE, FAILED = 0.0, 1.0, 2.0

Written = tuple[list[WriteResult], dict[str, StoredFile]]


class Checkpointer:
    """One rank's side; all ranks call the same methods after the same steps.

    ``attempt``: the attempt's folder; ``steps``: the last step of this run; ``resumed``: where it began, if not from nothing.
    ``seconds``: what the last checkpoint took of this rank, waiting for others left out. ``saved``: the step of the newest
    complete one that this run could be continued from.
    """

    def __init__(self, trainer: Trainer, attempt: Path, steps: int, resumed: Resumed | None = None):
        self.trainer, self.steps, self.resumed = trainer, steps, resumed
        self.settings = trainer.work.training.checkpoint
        self.home = attempt / checkpoint_store.FOLDER
        self.seconds = 0.0
        self.saved: int | None = resumed.manifest.step if resumed is not None else None
        self._plan: _Plan | None = None
        self._flight: _Flight | None = None

    def after_step(self, step: int, line: Mapping[str, Any]) -> None:
        """Begins a checkpoint if one is due. It waits for the one before: at most one is under way."""
        self._advance(wait=False)
        if self._due(step):
            self._advance(wait=True)
            self._begin(step, self.settings.asynchronous)
            if not self.settings.asynchronous:
                self._advance(wait=True)

    def before_leaving(self, step: int) -> None:
        """After the last step, or the one after which the run stops because it was asked to: returns when all is on disk."""
        if not self.settings.enabled:
            return
        self._advance(wait=True)
        stopped = step < self.steps
        if self.saved != step and (stopped or self.settings.at_end or self._due(step)):
            self._begin(step, asynchronous=False)
            self._advance(wait=True)

    def _due(self, step: int) -> bool:
        return self.settings.every_steps is not None and step % self.settings.every_steps == 0

    def _begin(self, step: int, asynchronous: bool) -> None:
        if self._plan is None:
            self._plan = _make_plan(self.trainer)
        plan, planner = self._plan.own, self._plan.planner
        planner.set_up_planner(dict(boxes([*self.trainer.pieces(), *self.trainer.optimizer_pieces()])))
        before = time.perf_counter()
        if asynchronous:
            self._plan.stage(self.trainer.device)
        else:
            planner.staged.clear()
        part = checkpoint_store.part_folder(self.home, step, self._plan.token)
        flight = self._flight = _Flight(step, part, self._manifest(step))
        flight.seconds = time.perf_counter() - before
        flight.start(lambda: checkpoint_files.write(part, plan, planner))

    def _advance(self, wait: bool) -> None:
        """Brings the checkpoint under way to its end, or (without ``wait``) as far as it is. Raises Ended, on all ranks, if it failed."""
        while (flight := self._flight) is not None:
            if wait:
                flight.join()
            states = [row[0] for row in communication.gather_numbers([flight.state], self.trainer.device)]
            if FAILED in states:
                self._give_up(flight)
            if RUNNING in states:
                return
            if flight.published:
                self._flight, self.saved, self.seconds = None, flight.step, flight.seconds
                return
            gathered = to_rank_0(flight.result)
            flight.published = True
            if gathered is not None:
                flight.start(lambda flight=flight, gathered=gathered: self._publish(flight, gathered))

    def _publish(self, flight: _Flight, gathered: list[Written]) -> None:
        """On rank 0, when all ranks have written: what makes the folder a checkpoint."""
        assert self._plan is not None and self._plan.metadata is not None
        files = checkpoint_files.write_metadata(flight.part, self._plan.metadata, [results for results, _ in gathered])
        for _, stored in gathered:
            files |= stored
        manifest = dataclasses.replace(flight.manifest, files=files, time=time.time())
        checkpoint_store.publish(flight.part, manifest)
        homes = {self.home, *(self.resumed.earlier if self.resumed is not None else ())}
        checkpoint_store.prune(homes, self.settings.keep)

    def _manifest(self, step: int) -> Manifest:
        """All but time and files; taken at once, for training goes on."""
        work, scale, resumed = self.trainer.work, self.trainer.loss_scale, self.resumed
        attempts = (*(resumed.attempts if resumed is not None else ()), self.home.parent.name)
        return Manifest(
            step=step,
            time=0.0,
            point=work.document["point"],
            hash=work.document["hash"],
            model=work.model.model_dump(mode="json"),
            precision=work.training.precision,
            layout=work.layout.model_dump(mode="json"),
            optimizer_steps=self.trainer.optimizer.steps,
            loss_scale=None if scale is None else dataclasses.asdict(scale),
            attempts=tuple(dict.fromkeys(attempts)),
            origin=resumed.origin if resumed is not None else None,
            files={},
        )

    def _give_up(self, flight: _Flight) -> None:
        flight.join()
        errors = communication.gather_objects(None if flight.error is None else _sentence(flight.error))
        self._flight = None
        if rank() == 0:
            checkpoint_store.remove(flight.part)  # on a full disk somebody may need the room
        where, error = next((where, error) for where, error in enumerate(errors) if error is not None)
        rest = "no other was written" if self.saved is None else f"that of step {self.saved} is whole"
        raise Ended(
            "error", f"the checkpoint of step {flight.step} could not be written by rank {where}: {error}; {rest}"
        )


class _Flight:
    """A checkpoint under way, on this rank: a thread and what became of it."""

    def __init__(self, step: int, part: Path, manifest: Manifest):
        self.step, self.part, self.manifest = step, part, manifest
        self.seconds = 0.0  # that this rank has worked on it
        self.published = False  # the ranks have written, and rank 0 has begun to make it complete
        self.result: Any = None
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, task: Callable[[], Any]) -> None:
        def run() -> None:
            before = time.perf_counter()
            try:
                self.result = task()
            except BaseException as error:
                self.error = error
            self.seconds += time.perf_counter() - before

        self._thread = threading.Thread(target=run, name=folder_name(self.step), daemon=True)
        self._thread.start()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    @property
    def state(self) -> float:
        if self._thread is not None and self._thread.is_alive():
            return RUNNING
        return DONE if self.error is None else FAILED


class _Plan:
    """Who writes what: this rank's part, on rank 0 also the metadata of the whole. It holds for the whole run, since the
    layout does. ``token`` is the same on all ranks."""

    def __init__(self, planner: BoxSavePlanner, own: SavePlan, metadata: Metadata | None, token: str):
        self.planner, self.own, self.metadata, self.token = planner, planner.finish_plan(own), metadata, token

    def stage(self, device: torch.device) -> None:
        """Copies what this rank writes to host memory, which is kept for the next time."""
        planner = self.planner
        kept, planner.staged = planner.staged, {}
        for item in self.own.items:
            live = planner.lookup_object(item.index)
            if item.index not in kept:
                kept[item.index] = torch.empty_like(live, device="cpu", pin_memory=device.type == "cuda")
            kept[item.index].copy_(live, non_blocking=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        planner.staged = kept


def _make_plan(trainer: Trainer) -> _Plan:
    """Collective. Rank 0 sees to it that what several ranks hold is written by one of them, and that nothing is missing."""
    planner = BoxSavePlanner()
    planner.set_up_planner(dict(boxes([*trainer.pieces(), *trainer.optimizer_pieces()])), is_coordinator=rank() == 0)
    plans = to_rank_0(planner.create_local_plan())
    metadata, orders = None, None
    if plans is not None:
        try:
            planned, metadata = planner.create_global_plan(plans)
            token = f"{time.time_ns():x}"
            orders = [(plan, token) for plan in checkpoint_files.with_file_names(planned)]
        except ValueError as error:  # a piece too few or twice: a mistake of ours that every rank must hear of
            orders = [error] * len(plans)
    own = own_from_rank_0(orders)
    if isinstance(own, ValueError):
        raise own
    return _Plan(planner, own[0], metadata, own[1])


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    return f"{type(error).__name__}: {error}"
