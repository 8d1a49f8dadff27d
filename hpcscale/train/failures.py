"""Why a run ended early: from an exception to one of the record's failure words and a short piece of evidence."""

from __future__ import annotations

import re
import signal

from hpcscale.record.schema import Failure
from hpcscale.train.job_clock import JobClock

LONGEST_EVIDENCE = 600  # characters

# The first pattern found in "<type>: <text>" decides. Texts are torch's, Gloo's, NCCL's and the C library's.
SIGNS: tuple[tuple[Failure, str], ...] = (
    ("oom", r"out of memory|OutOfMemoryError|MemoryError|can't allocate memory|CUDA_ERROR_OUT_OF_MEMORY"),
    ("error", r"EADDRINUSE|address already in use"),
    ("node", r"connection (closed|reset|refused)|broken pipe|socket|timed out|timeout|DistNetworkError|DistStoreError"),
    (
        "node",
        r"remote process exited|network error|ncclRemoteError|ncclSystemError|uncorrectable ECC|fallen off the bus",
    ),
)


class Ended(Exception):
    """A run that ends early for a reason that is known, on all ranks alike."""

    def __init__(self, kind: Failure, evidence: str):
        self.kind: Failure = kind
        super().__init__(evidence)


def classify(error: BaseException) -> Failure:
    """The failure word for what was raised; ``error`` if nothing says better."""
    if isinstance(error, Ended):
        return error.kind
    text = f"{type(error).__name__}: {error}"
    for kind, pattern in SIGNS:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return "error"


def evidence(error: BaseException) -> str:
    """The error's own words, in a line, shortened in the middle."""
    text = str(error) if isinstance(error, Ended) else f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    if len(text) > LONGEST_EVIDENCE:
        half = LONGEST_EVIDENCE // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return text


def signal_failure(number: int, clock: JobClock) -> Ended:
    """What a signal means: SIGXCPU, or any once 90 % of the job's time is used, is the time limit; else preemption."""
    limit = clock.limit_seconds
    late = limit is not None and clock.elapsed() >= 0.9 * limit
    name = signal.Signals(number).name
    return Ended("timeout" if late or number == signal.SIGXCPU else "preempted", f"{name} after {clock.spent()}")


def out_of_time(clock: JobClock, steps_done: int) -> Ended:
    return Ended(
        "timeout", f"stopped by itself after step {steps_done}: {clock.spent()} are used, too many for another one"
    )
