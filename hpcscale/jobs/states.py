"""What schedulers call the state of a job, in hpcscale's words.

A job is ``queued``, ``held``, ``running``; or it has ended: ``completed``, ``failed``, ``cancelled``, ``timeout``, ``oom``,
``node``, ``preempted``. A point is besides ``new`` (never submitted), ``submitting`` (somebody does it now) and ``missing`` (the
scheduler does not know its job and nothing was recorded).
"""

from __future__ import annotations

from dataclasses import dataclass

LIVE = ("queued", "held", "running")
ENDED = ("completed", "failed", "cancelled", "timeout", "oom", "node", "preempted")

# squeue(1) and sacct(1), "JOB STATE CODES", 22.05. A requeued job is pending again; one being requeued is about to be.
SLURM: dict[str, str] = {
    "PENDING": "queued", "CONFIGURING": "queued", "REQUEUED": "queued", "REQUEUE_FED": "queued", "REQUEUE_HOLD": "held",
    "RESV_DEL_HOLD": "held", "SPECIAL_EXIT": "held", "RUNNING": "running", "COMPLETING": "running", "RESIZING": "running",
    "SIGNALING": "running", "STAGE_OUT": "running", "STOPPED": "running", "SUSPENDED": "running",
    "COMPLETED": "completed", "FAILED": "failed", "BOOT_FAIL": "node", "NODE_FAIL": "node", "CANCELLED": "cancelled",
    "DEADLINE": "timeout", "TIMEOUT": "timeout", "OUT_OF_MEMORY": "oom", "PREEMPTED": "preempted", "REVOKED": "cancelled",
}  # fmt: skip

# pjstat, Command Reference J2UL-2549: states while a job lives; EXT and CCL by their PJM code.
PJM: dict[str, str] = {
    "ACC": "queued", "QUE": "queued", "RNA": "queued", "HLD": "held", "ERR": "held", "RNP": "running", "RUN": "running",
    "RNE": "running", "RNO": "running", "SPP": "running", "SPD": "running", "RSM": "running", "RJT": "failed",
}  # fmt: skip

# PJM codes (PC) of ended jobs: the word, and what the code says. Code 0: the exit code and the signal decide.
PJM_CODES: dict[int, tuple[str, str]] = {
    1: ("cancelled", "pjdel"),
    2: ("failed", "rejected"),
    3: ("failed", "gate check"),
    4: ("held", "pjhold"),
    6: ("cancelled", "step dependency"),
    7: ("timeout", "deadline schedule"),
    8: ("failed", "gate check"),
    9: ("node", "not restarted"),
    11: ("timeout", "elapse time limit"),
    12: ("oom", "memory limit of the job"),
    16: ("failed", "working directory or output file"),
    18: ("preempted", "adaptive elapse time ended"),
    20: ("node", "node down"),
    21: ("failed", "the script cannot be run"),
    22: ("node", "interconnect error"),
    23: ("oom", "out of memory"),
    25: ("failed", "hardware abstraction"),
    26: ("failed", "prologue or epilogue"),
    27: ("failed", "exit script"),
    28: ("failed", "job environment"),
    29: ("failed", "job environment"),
    30: ("failed", "suspend or resume"),
}

# In the attempt folder of a job without a scheduler: what its script ended with.
EXIT_STATUS = "exit-status"
KILLED = 137  # 128 + SIGKILL: what a shell and srun say of a rank that the kernel killed


@dataclass(frozen=True)
class JobState:
    """One job as the scheduler has it now. Times in the scheduler's own writing."""

    id: str
    word: str  # one of LIVE and ENDED
    state: str  # the scheduler's own word
    reason: str = ""  # why it waits, or what the scheduler adds about its end
    exit_code: int | None = None
    signal: int | None = None
    elapsed: str = ""
    time_left: str = ""
    start: str = ""  # when it began, or is expected to

    @property
    def ended(self) -> bool:
        return self.word in ENDED

    @property
    def killed(self) -> bool:
        return self.exit_code == KILLED or self.signal == 9
