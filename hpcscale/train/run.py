"""One rank's run from start to end: who am I, can this be trained, train it, and whatever happens, say so.

Exit codes: 0 trained, 1 failed while training, 2 refused before it began, 75 stopped early with a checkpoint to go on from.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcscale.cost import parameters
from hpcscale.record.attempt import attempt_folder
from hpcscale.spec.problems import InputError
from hpcscale.train.job_clock import JobClock
from hpcscale.train.point_file import Work, read
from hpcscale.train.rendezvous import Rendezvous, RendezvousError, check_master, check_world_size, locate
from hpcscale.train.stop_signal import StopSignal

if TYPE_CHECKING:
    from hpcscale.train.checkpoint import Checkpointer
    from hpcscale.train.checkpoint_resume import Resumed
    from hpcscale.train.last_words import Reason
    from hpcscale.train.trainer import Trainer

TRAINED, FAILED, REFUSED = 0, 1, 2
REQUEUE = 75  # EX_TEMPFAIL of sysexits.h: try again later
# How long rank 0 waits for the word of a rank that it lost, and how much longer than rank 0 the others wait to be killed.
PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Options:
    """What the command line says beside the point. ``resume_from`` and ``fresh``: see checkpoint_resume.py."""

    steps: int | None = None  # instead of the protocol's
    attempt: Path | None = None  # the folder to write to
    trace_step: int | None = None
    resume_from: Path | None = None
    fresh: bool = False


def run(point_file: Path, options: Options = Options()) -> int:
    """Runs the point as this rank and returns the exit code."""
    try:
        work = read(point_file)
        place = locate(os.environ, work.communication, work.layout.ranks)
    except (InputError, RendezvousError) as error:
        return _refuse(str(error))
    clock = JobClock(work.time_limit_seconds)
    stop = StopSignal(patience=PATIENCE_SECONDS if place.rank else 0.0)
    folder = options.attempt or attempt_folder(point_file.absolute().parent)
    if options.attempt is None and place.rank > 0 and folder.name.startswith("local-"):
        folder = None  # named after rank 0's process: rank 0 will tell
    try:
        rank = _Rank(work, place, point_file.absolute().parent, folder, options, stop, clock)
    except OSError as error:
        return _refuse(f"the record cannot be written: {error}")
    return rank.run()


def _refuse(sentence: str) -> int:
    print(f"hpcscale.train: {sentence}", file=sys.stderr, flush=True)
    return REFUSED


def _parameters(work: Work) -> int:
    """Parameters of the whole model, its vocabulary padded as this layout pads it."""
    return parameters.count(work.model, work.training.sequence_length, work.layout.tp).total


class _Rank:
    """The pieces that the way through a run shares, whether it ends well or not."""

    checkpointer: Checkpointer | None = None

    def __init__(
        self, work: Work, place: Rendezvous, point_folder: Path, folder: Path | None, options: Options, stop: StopSignal,
        clock: JobClock,
    ):  # fmt: skip
        # torch takes seconds to import: only now, when there is something to do with it
        import torch

        from hpcscale.train import communication, measure, provenance
        from hpcscale.train.journal import Journal

        self.work, self.place, self.stop, self.clock, self.options = work, place, stop, clock, options
        self.point_folder = point_folder
        self.steps = work.protocol.steps if options.steps is None else options.steps
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
        from hpcscale.train import tensorboard
        from hpcscale.train.communication import timeout_seconds
        from hpcscale.train.supported import refusals

        self.stop.on_grace_over(self._grace_is_over)
        sentences = refusals(self.work, self.cuda)
        without_board = tensorboard.refusal(self.work.document)
        sentences += [without_board] if without_board else []
        try:
            check_world_size(self.place, self.work.layout.ranks)
            if self.work.communication != "mpi":  # MPI needs no address
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
        from hpcscale.train import communication, energy, measure, tensorboard
        from hpcscale.train.loop import Session, run_steps
        from hpcscale.train.mesh import device_mesh
        from hpcscale.train.trainer import Trainer

        fitting, evidence = self._micro_batch()
        communication.connect(self.place, self.backend, self.device, self.timeout)
        met = communication.gather_objects((socket.gethostname(), self.journal.folder))
        self.journal.folder = met[0][1]
        self.journal.hosts = [host for host, _ in met]
        self._agree_on_micro_batch(fitting, evidence)
        mesh = device_mesh(self.work.layout, self.device)
        for group in mesh.groups:
            communication.limit_wait(group, self.timeout)
        trainer = Trainer(self.work, mesh, self.device)
        resumed = self._checkpoints(trainer)
        meter = energy.meter(self.device)
        self.journal.begin(
            hosts=sorted(set(self.journal.hosts)),
            model_parameters=_parameters(self.work),
            energy_source=meter.source,
            resume=None if resumed is None else resumed.line(),
        )
        board = None
        if self.place.rank == 0 and tensorboard.wanted(self.work.document):
            board = tensorboard.Board(self.journal.folder)
        session = Session(
            trainer, self.work, self.device, self.journal, self.stop, self.clock,
            meter=meter, checkpointer=self.checkpointer, board=board, axes=mesh.axis_of_group, trace_step=self.options.trace_step,
        )  # fmt: skip
        before = time.monotonic()
        loss = run_steps(session, self.steps, 1 if resumed is None else resumed.manifest.step + 1)
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

    def _checkpoints(self, trainer: Trainer) -> Resumed | None:
        """Sees to checkpoints if any are written or read; what was loaded, if anything was."""
        options, folder = self.options, self.journal.folder
        assert folder is not None, "rank 0 has told it"
        if not self.work.training.checkpoint.enabled and options.resume_from is None:
            return None
        # A second's work for a process, and many files for thousands of them.
        from hpcscale.train.checkpoint import Checkpointer
        from hpcscale.train.checkpoint_resume import resume

        resumed = resume(trainer, self.point_folder, folder, options.resume_from, options.fresh, self.steps)
        self.checkpointer = Checkpointer(trainer, folder, self.steps, resumed)
        if resumed is not None and self.place.rank == 0:
            print(resumed.told(), flush=True)
        return resumed

    def _micro_batch(self) -> tuple[int, str]:
        """(the largest micro batch that fits this rank if the study leaves that open, evidence if none does)."""
        from hpcscale.train import micro_batch

        given = self.work.training.micro_batch_size
        if isinstance(given, int):
            if self.work.halves_on_oom:
                given = micro_batch.smaller_than_what_failed(given, self.point_folder, self.work.document.get("hash"))
            return given, ""
        try:
            return micro_batch.largest_that_fits(self.work, self.place, self.device), ""
        except micro_batch.NothingFits as error:
            return 0, str(error)

    def _agree_on_micro_batch(self, fitting: int, evidence: str) -> None:
        from hpcscale.train import communication, micro_batch
        from hpcscale.train.failures import Ended

        answers = communication.gather_objects((fitting, evidence))
        smallest = min(range(len(answers)), key=lambda rank: answers[rank][0])
        size, evidence = answers[smallest]
        if size == 0:
            raise Ended("oom", f"not even one sequence fits into the memory of rank {smallest}: {evidence}")
        self.work = micro_batch.with_micro_batch(self.work, size)
        self.journal.know(micro_batch_size=size)

    def _refused(self, sentences: list[str]) -> int:
        if self.place.rank == 0:
            self.journal.fail("error", "; ".join(sentences), rank=0)
            for sentence in sentences:
                _refuse(sentence)
        self.stop.finished()
        return REFUSED

    def _failed(self, error: BaseException) -> int:
        """Rank 0 writes the record's last line; another rank leaves a note, unless every rank knows already."""
        from hpcscale.train import last_words
        from hpcscale.train.failures import Ended

        reason = last_words.say(error, self.journal, PATIENCE_SECONDS)
        if os.environ.get("HPCSCALE_TRACEBACK") == "1":
            traceback.print_exception(error)
        elif self.place.rank == 0 or reason.own:
            print(f"hpcscale.train: {reason}", file=sys.stderr, flush=True)
        if reason.kind == "node":
            last_words.stand_in(reason, self.journal, PATIENCE_SECONDS)
        self._leave_mpi(error, reason)
        self.stop.finished()
        # The loop stops for these only after before_leaving has returned.
        stopped = isinstance(error, Ended) and error.kind in ("preempted", "timeout")
        saved = self.checkpointer is not None and self.checkpointer.saved is not None
        if self.place.rank == 0 and self._another_attempt_may_do_better(reason.kind, stopped, saved):
            self.journal.wish(reason.kind)
        return REQUEUE if stopped and saved else FAILED

    def _another_attempt_may_do_better(self, kind: str, stopped: bool, saved: bool) -> bool:
        """Out of time without a checkpoint, the next job would end in the same way."""
        if kind == "oom":
            return self.work.halves_on_oom and self.work.training.micro_batch_size != 1
        return stopped and (saved or kind == "preempted")

    def _leave_mpi(self, error: BaseException, reason: Reason) -> None:
        """An MPI program ends whole: by all ranks together if all know why, else at once by the first that fails."""
        from hpcscale.train import communication, last_words, mpi
        from hpcscale.train.failures import Ended

        if not mpi.loaded():
            return
        if isinstance(error, Ended):
            with contextlib.suppress(Exception):
                communication.disconnect()
            return
        if reason.own:  # rank 0 sits in a collective, and will be killed there
            last_words.speak_for_rank_0(reason, self.journal, PATIENCE_SECONDS)
        communication.abort(FAILED)

    def _grace_is_over(self, number: int) -> None:
        """No step ended in time after a signal: say why and go, from the signal thread."""
        from hpcscale.train import last_words
        from hpcscale.train.failures import signal_failure

        note = self.journal.peers_note(0.0)
        if note is not None:
            self.journal.fail(note["kind"], note["evidence"], note["rank"], note.get("host"))
        else:
            reason = last_words.say(signal_failure(number, self.clock), self.journal, PATIENCE_SECONDS)
            last_words.stand_in(reason, self.journal, 0.0)
        leave(FAILED)


def leave(code: int) -> None:
    """Ends the process now: lost peers make an orderly exit hang, and torch's threads may abort it after the record is written."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
