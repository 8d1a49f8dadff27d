"""The lines of a record, and the words for what became of an attempt.

One JSON object a line, each with ``schema`` (what kind of line it is) and ``version``. Numbers are raw and carry their
unit in the name (``step_seconds``, ``peak_memory_bytes``); nothing is rounded before a person reads it.

``run``      once, first: the resolved spec and where it runs
``probe``    in a probe's record: one thing that was measured, several times (probe.py has the kinds and their keys)
``step``     once a step, warm-up included
``summary``  once, last: the attempt completed
``failure``  instead of the summary: why it did not
"""

from __future__ import annotations

from typing import Literal

VERSION = 1

Kind = Literal["run", "step", "probe", "summary", "failure"]
Failure = Literal["oom", "timeout", "preempted", "node", "nan", "error"]
Status = Literal["completed", "oom", "timeout", "preempted", "node", "nan", "error", "unfinished", "unreadable"]

FAILURES: dict[str, str] = {
    "oom": "out of memory",
    "timeout": "the time limit was reached",
    "preempted": "the scheduler took the nodes back",
    "node": "a node or a peer was lost",
    "nan": "the loss is not a number",
    "error": "the program ended with an error",
}

# What each kind of line holds at least; docs and readers may count on nothing else. Training also writes:
#   run      energy_source, resume {step, attempt, point, checkpoint, skipped} where the attempt goes on from one
#   step     fastest_rank_seconds, median_rank_seconds, slowest_rank, gradient_norm, learning_rate, peak_memory_bytes (of
#            the rank with most), warmup; energy_joules where devices count it; loss_scale and skipped under fp16;
#            traced {send_seconds, overlapped_send_seconds} of rank 0 where the profiler slowed the step; in an attempt's
#            first step collectives {"tp.all_reduce": {calls and bytes of the rank with most, ranks, bytes_of_all_ranks}}
#   summary  peak_memory_bytes_by_rank
#   failure  rank and host (whose failure it is), written_by_rank where that is not rank 0
# Records of imported logs also have
#   run      imported_from_line, peak_memory_bytes, memory_kind
#   step     averaged_steps (the line is the mean of so many steps), and what the tool printed under the names of columns,
#            as tflops_per_device_published; step_seconds and tokens are null where the log does not tell
# A reader ignores keys that it does not know; a writer gives at least these.
REQUIRED: dict[str, tuple[str, ...]] = {
    "run": ("time", "point", "versions", "hosts", "ranks", "device", "backend"),
    "step": ("step", "step_seconds", "loss", "tokens"),
    "probe": ("kind", "dtype", "seconds", "seconds_low", "seconds_high", "repeats"),
    "summary": ("time", "steps", "wall_seconds", "peak_memory_bytes"),
    "failure": ("time", "kind", "evidence"),
}
