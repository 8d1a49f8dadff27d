"""One rank's run from start to end: who am I, can this be trained, train it, and whatever happens, say so.

Exit codes: 0 trained, 1 failed while training, 2 refused before it began.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from pathlib import Path

from hpcscale.record.attempt import attempt_folder
from hpcscale.spec.problems import InputError
from hpcscale.train.point_file import Work, read
from hpcscale.train.rendezvous import Rendezvous, RendezvousError, check_master, check_world_size, rendezvous
from hpcscale.train.stop_signal import StopSignal

TRAINED, FAILED, REFUSED = 0, 1, 2
# How long rank 0 waits for the word of a rank that it lost, and how much longer than rank 0 the others wait to be killed.
PATIENCE_SECONDS = 2.0


def run(point_file: Path, steps: int | None, attempt: Path | None) -> int:
    """Runs the point as this rank and returns the exit code."""
    started = time.monotonic()
    try:
        work, place = read(point_file), rendezvous(os.environ)
    except (InputError, RendezvousError) as error:
        return _refuse(str(error))
    stop = StopSignal(patience=PATIENCE_SECONDS if place.rank else 0.0)
    folder = attempt or attempt_folder(point_file.absolute().parent)
    if attempt is None and place.rank > 0 and folder.name.startswith("local-"):
        folder = None  # named after rank 0's process: rank 0 will tell
    try:
        rank = _Rank(work, place, folder, steps, stop, started)
    except OSError as error:
        return _refuse(f"the record cannot be written: {error}")
    return rank.run()


def _refuse(sentence: str) -> int:
    print(f"hpcscale.train: {sentence}", file=sys.stderr, flush=True)
    return REFUSED


class _Rank:
    """The pieces that the way through a run shares, whether it ends well or not."""

    def __init__(
        self, work: Work, place: Rendezvous, folder: Path | None, steps: int | None, stop: StopSignal, started: float
    ):
        # torch takes seconds to import: only now, when there is something to do with it
        import torch

        from hpcscale.train import communication, measure, provenance
        from hpcscale.train.journal import Journal

        self.work, self.place, self.stop, self.started = work, place, stop, started
        self.steps = work.protocol.steps if steps is None else steps
        cuda = self.cuda = work.device_kind == "gpu" and torch.cuda.is_available()
        self.device = communication.device_for(place, cuda)
        if work.threads is not None:
            torch.set_num_threads(work.threads)
        self.backend = "none" if place.world_size == 1 else communication.backend_for(work.communication, cuda)
        self.journal = Journal(
            folder,
            place.rank,
            {
                "point": work.document,
                "versions": provenance.versions(),
                "hosts": [socket.gethostname()],
                "ranks": place.world_size,
                "nodes": place.nodes,
                "launcher": place.launcher,
                "device": provenance.device_facts(self.device),
                "backend": self.backend,
                "git_commit": provenance.git_commit() if place.rank == 0 else None,
                "threads": torch.get_num_threads(),
                "memory_kind": measure.memory_kind(self.device),
                "environment": provenance.environment() if place.rank == 0 else {},
            },
        )

    def run(self) -> int:
        from hpcscale.train.communication import timeout_seconds
        from hpcscale.train.supported import refusals

        self.stop.on_grace_over(self._grace_is_over)
        sentences = refusals(self.work, self.cuda)
        try:
            check_world_size(self.place, self.work.layout.ranks)
            check_master(self.place)
            self.timeout = timeout_seconds()
        except RendezvousError as error:
            sentences = sentences or [str(error)]
        if sentences:
            return self._refused(sentences)
        try:
            self._train()
        except BaseException as error:
            return self._failed(error)
        self.stop.finished()
        return TRAINED

    def _train(self) -> None:
        from hpcscale.train import communication, initialise, measure
        from hpcscale.train.loop import run_steps
        from hpcscale.train.mesh import device_mesh
        from hpcscale.train.trainer import Trainer

        communication.connect(self.place, self.backend, self.device, self.timeout)
        met = communication.gather_objects((socket.gethostname(), self.journal.folder))
        self.journal.folder = met[0][1]
        trainer = Trainer(self.work, device_mesh(self.work.layout, self.device), self.device)
        self.journal.begin(
            hosts=sorted({host for host, _ in met}), model_parameters=initialise.parameter_count(trainer.model)
        )
        before = time.monotonic()
        loss = run_steps(trainer, self.work, self.steps, self.device, self.journal, self.stop, self.started)
        seconds = time.monotonic() - before
        peaks = communication.gather_numbers([measure.peak_memory_bytes(self.device)], self.device)
        by_rank = [int(row[0]) for row in peaks]
        self.journal.finish(
            steps=self.steps,
            wall_seconds=seconds,
            peak_memory_bytes=max(by_rank),
            peak_memory_bytes_by_rank=by_rank,
            final_loss=loss,
        )
        with contextlib.suppress(Exception):  # the record is complete: a rank that has left already changes nothing
            communication.disconnect()

    def _refused(self, sentences: list[str]) -> int:
        if self.place.rank == 0:
            self.journal.fail("error", "; ".join(sentences), rank=0)
            for sentence in sentences:
                _refuse(sentence)
        self.stop.finished()
        return REFUSED

    def _failed(self, error: BaseException) -> int:
        """Rank 0 writes the record's last line; another rank leaves a note, unless every rank knows already."""
        from hpcscale.train.failures import Ended, classify, evidence

        kind, text, rank = classify(error), evidence(error), self.place.rank
        own = kind != "node" and not isinstance(error, Ended)  # this rank's failure, not one that all ranks notice
        if rank == 0:
            note = self.journal.peers_note(PATIENCE_SECONDS) if kind == "node" else None
            if note is not None:
                kind, text, rank = note["kind"], note["evidence"], note["rank"]
            self.journal.fail(kind, text, rank)
        elif own:
            self.journal.leave_note(kind, text)
        if os.environ.get("HPCSCALE_TRACEBACK") == "1":
            traceback.print_exception(error)
        elif self.place.rank == 0 or own:
            print(f"hpcscale.train: rank {rank} ended with {kind}: {text}", file=sys.stderr, flush=True)
        self.stop.finished()
        return FAILED

    def _grace_is_over(self, number: int) -> None:
        """No step ended in time after a signal: say why and go, from the signal thread."""
        from hpcscale.train.failures import signal_failure

        note = self.journal.peers_note(0.0)
        if note is not None:
            self.journal.fail(note["kind"], note["evidence"], note["rank"])
        else:
            ended = signal_failure(number, time.monotonic() - self.started, self.work.time_limit_seconds)
            self.journal.fail(ended.kind, str(ended), self.place.rank)
        leave(FAILED)


def leave(code: int) -> None:
    """Ends the process now: lost peers make an orderly exit hang, and torch's threads may abort it after the record is written."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
