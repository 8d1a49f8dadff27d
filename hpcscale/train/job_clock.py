"""The job's own clock: when to stop by oneself, because the scheduler's warning comes too late or not at all.

PJM sends SIGXCPU 10 s before the end, which is less than a step or a checkpoint of a large model.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

START = "HPCSCALE_JOB_START"  # Unix seconds; the job script exports it before anything slow
LEAST_MARGIN_SECONDS = 30.0
# In a job of minutes, half a minute would be most of it.
LARGEST_SHARE_OF_LEAST_MARGIN = 0.1


class JobClock:
    """Time since the job began, of the time it may take. ``limit_seconds`` None: as long as it likes."""

    def __init__(self, limit_seconds: float | None, environment: Mapping[str, str] = os.environ):
        """Make it early: without HPCSCALE_JOB_START the job begins now."""
        self.limit_seconds = limit_seconds
        self._before = _seconds_before_now(environment.get(START))
        self._from = time.monotonic()

    def elapsed(self) -> float:
        return self._before + time.monotonic() - self._from

    def is_nearly_over(self, longest_step_seconds: float, checkpoint_seconds: float) -> bool:
        """Whether another step may be one too many: it, one like it, and a checkpoint have to fit in what is left."""
        if self.limit_seconds is None:
            return False
        least = min(LEAST_MARGIN_SECONDS, LARGEST_SHARE_OF_LEAST_MARGIN * self.limit_seconds)
        margin = max(least, 2 * longest_step_seconds + checkpoint_seconds)
        return self.elapsed() >= self.limit_seconds - margin

    def spent(self) -> str:
        limit = "" if self.limit_seconds is None else f" of the job's {self.limit_seconds:.0f} s"
        return f"{self.elapsed():.0f} s{limit}"


def _seconds_before_now(start: str | None) -> float:
    """How long ago the job began; 0 for what is no time of this job (nothing, text, the future)."""
    try:
        return max(0.0, time.time() - float(start)) if start else 0.0
    except ValueError:
        return 0.0
