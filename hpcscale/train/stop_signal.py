"""Signals that ask a run to stop: heard at once, obeyed at the end of the step, or after a while without one.

A Python handler runs only between bytecodes, and a rank may sit in a collective for minutes. So the C-level handler
writes to a pipe (``signal.set_wakeup_fd``) and a thread reads it. Waiting for the end of the step tells a real request
(every rank still answers) from a launcher that stops the others because one rank died.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

# Signal -> seconds until the run is ended in the middle of a step. Slurm and torchrun kill 30 s after SIGTERM, PJM 10 s
# after SIGXCPU; SIGUSR1 and SIGUSR2 are early warnings (sbatch --signal).
GRACE_SECONDS = {signal.SIGTERM: 20.0, signal.SIGXCPU: 5.0, signal.SIGUSR1: 60.0, signal.SIGUSR2: 60.0}


class StopSignal:
    """``number`` is 0 until one of the signals arrives. Make it in the main thread, before anything slow."""

    def __init__(self, patience: float = 0.0):
        """``patience``: seconds on top of the grace, for ranks that let another one speak first."""
        self.number = 0
        self._patience = patience
        self._done = threading.Event()
        self._give_up: Callable[[int], None] | None = None
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        for number in GRACE_SECONDS:
            signal.signal(number, self._heard)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reading,), name="stop-signal", daemon=True).start()

    def on_grace_over(self, give_up: Callable[[int], None]) -> None:
        """What ends the run when no step ends in time; called in the watching thread with the signal's number."""
        self._give_up = give_up

    def finished(self) -> None:
        """The run has ended by itself: signals mean nothing any more."""
        self._done.set()

    def _heard(self, number: int, _frame: object) -> None:
        self.number = self.number or number

    def _watch(self, reading: int) -> None:
        number = 0
        while number not in GRACE_SECONDS:  # other signals (SIGINT) come through the pipe too
            number = os.read(reading, 1)[0]
        self.number = self.number or number
        if not self._done.wait(GRACE_SECONDS[signal.Signals(number)] + self._patience) and self._give_up is not None:
            self._give_up(number)
