"""Why a run ended early: from an exception to one of the record's failure words and a short piece of evidence."""

from __future__ import annotations

import re
import signal

from hpcscale.record.schema import Failure

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


def signal_failure(number: int, elapsed_seconds: float, time_limit_seconds: float | None) -> Ended:
    """What a signal means: SIGXCPU, or any once 90 % of the job's time is used, is the time limit; else preemption."""
    name = signal.Signals(number).name
    spent = f"{name} after {elapsed_seconds:.0f} s"
    if time_limit_seconds is not None:
        spent += f" of the job's {time_limit_seconds:.0f} s"
    late = time_limit_seconds is not None and elapsed_seconds >= 0.9 * time_limit_seconds
    return Ended("timeout" if late or number == signal.SIGXCPU else "preempted", spent)
