"""Trains points as one rank, with checkpoints: ``checkpointing.py jobs.json [communication]``.

A job is a point document, the folder of the point, the attempt's name, how many steps, and where to resume. Each attempt
writes its record as a run does. Exit codes are a run's too.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from hpcscale.train import communication, mesh
from hpcscale.train.checkpoint import Checkpointer
from hpcscale.train.checkpoint_resume import resume
from hpcscale.train.failures import Ended
from hpcscale.train.job_clock import JobClock
from hpcscale.train.journal import Journal
from hpcscale.train.loop import Session, run_steps
from hpcscale.train.point_file import parse
from hpcscale.train.rendezvous import rendezvous
from hpcscale.train.stop_signal import StopSignal
from hpcscale.train.trainer import Trainer

CPU = torch.device("cpu")
TRAINED, FAILED, REQUEUE = 0, 1, 75


def train(job: dict[str, Any], rank: int, ranks: int, stop: StopSignal) -> int:
    """One attempt; what run.py does between the process group and the record's last line."""
    work, point = parse(job["document"], "the job"), Path(job["folder"])
    attempt = point / "attempts" / job["attempt"]
    facts = {"point": job["document"], "versions": {}, "hosts": [], "ranks": ranks, "device": {}, "backend": ""}
    journal = Journal(attempt, rank, facts)
    trainer = Trainer(work, mesh.device_mesh(work.layout, CPU), CPU)
    named = Path(job["resume"]) if job.get("resume") else None
    checkpointer = None
    try:
        resumed = resume(trainer, point, attempt, named, job.get("fresh", False))
        checkpointer = Checkpointer(trainer, attempt, job["steps"], resumed)
        journal.begin(resume=resumed and resumed.line())
        if job.get("largest_file"):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"], resource.RLIM_INFINITY))
        session = Session(trainer, work, CPU, journal, stop, JobClock(None), checkpointer=checkpointer)
        loss = run_steps(session, job["steps"], resumed.manifest.step + 1 if resumed else 1)
    except Ended as error:
        journal.fail(error.kind, str(error), rank)
        asked = error.kind in ("timeout", "preempted") and checkpointer is not None and checkpointer.saved is not None
        return REQUEUE if asked else FAILED
    journal.finish(steps=job["steps"], wall_seconds=0.0, peak_memory_bytes=0, final_loss=loss)
    return TRAINED


def main() -> None:
    jobs = json.loads(Path(sys.argv[1]).read_text())
    wanted = sys.argv[2] if len(sys.argv) > 2 else "gloo"
    torch.set_num_threads(1)
    place = rendezvous(os.environ)
    stop = StopSignal()
    communication.connect(place, communication.backend_for(wanted, False), CPU, 60)
    code = TRAINED
    for job in jobs:
        if place.rank == 0:
            print(job["folder"], job["attempt"], file=sys.stderr, flush=True)  # which job hangs, if one does
        code = max(code, train(job, place.rank, place.world_size, stop))
    if code == TRAINED or wanted == "mpi":
        with contextlib.suppress(Exception):
            communication.disconnect()
    os._exit(code)


if __name__ == "__main__":
    main()
