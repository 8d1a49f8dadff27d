"""Every call into MPI, one at a time, and the progress of what was posted.

MPI is initialised with MPI_THREAD_SERIALIZED, so one lock guards every call. The calling thread posts an operation itself (a
hand-over to another thread would cost two switches), a waiting thread polls for its own, and while nobody waits a background
thread polls, so that transfers go on while Python computes: most MPI libraries move data only inside their calls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from hpcscale.train.mpi.library import MPI
from hpcscale.train.mpi.traffic import TRAFFIC

# A waiting thread polls this often (2 us each) before it sleeps between polls; its pauses grow from the first to the second.
SPINS = 20
WAITER_SECONDS = (20e-6, 200e-6)
# The background thread's pause between polls grows from the first to the second while nothing completes.
PROGRESS_SECONDS = (100e-6, 500e-6)
# How many of the posted operations the background thread asks for in one turn; any call drives them all.
PROGRESS_WIDTH = 8


class Posted(Protocol):
    """What the engine needs to know of an operation under way."""

    operation: str
    group: str  # the process group's name
    size: int
    start: int
    arrived: bool
    requests: list[MPI.Request] | None
    statuses: list[MPI.Status] | None

    def arrive(self, error: MPI.Exception | None) -> None: ...

    def expire(self) -> None: ...


class Engine:
    """The one user of MPI in this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._pending: dict[int, Posted] = {}
        self._waiting = 0
        self._something_pending = threading.Event()
        self._thread: threading.Thread | None = None

    def post(self, work: Posted, starts: Iterable[Callable[[], MPI.Request]], background: bool) -> None:
        """Starts the operation's transfers. From here until they arrive the engine keeps ``work`` and its buffers alive.

        ``background``: whether the caller goes on without it. If it waits at once, waking the other thread would only cost time.
        """
        with self.lock:
            work.start = time.perf_counter_ns()
            work.requests = [start() for start in starts]
            TRAFFIC.posted(work.operation, work.size, work.group)
            self._pending[id(work)] = work
        if background:
            self.wake()

    def wake(self) -> None:
        """Makes the background thread poll for what is pending."""
        self._something_pending.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._progress, name="hpcscale-mpi", daemon=True)
            self._thread.start()

    def test(self, work: Posted) -> bool:
        """Whether ``work`` has arrived; asking makes everything under way progress."""
        error = None
        with self.lock:
            if work.requests is None:
                return work.arrived
            try:
                done = MPI.Request.Testall(work.requests, work.statuses)
            except MPI.Exception as caught:
                done, error = True, caught
            if done:
                work.requests = None
                del self._pending[id(work)]
                TRAFFIC.completed(work.operation, work.start, time.perf_counter_ns(), work.size)
        if done:
            work.arrive(error)
        return done

    def wait(self, work: Posted, seconds: float) -> bool:
        """Polls until ``work`` has arrived or ``seconds`` are over; returns whether it has."""
        deadline = time.monotonic() + seconds
        self._waiting += 1
        try:
            polls, pause = 0, WAITER_SECONDS[0]
            while not self.test(work):
                if time.monotonic() > deadline:
                    return False
                polls += 1
                if polls > SPINS:
                    time.sleep(pause)
                    pause = min(1.05 * pause, WAITER_SECONDS[1])
        finally:
            self._waiting -= 1
        return True

    def drain(self, seconds: float) -> None:
        """Waits for everything that was posted and never waited for; gives up after ``seconds``."""
        deadline = time.monotonic() + seconds
        for work in list(self._pending.values()):
            self.wait(work, max(deadline - time.monotonic(), 0.0))

    def _progress(self) -> None:
        pause = PROGRESS_SECONDS[0]
        while True:
            if not self._pending:
                self._something_pending.clear()
                if not self._pending:  # nothing was posted between the two lines
                    self._something_pending.wait()
                pause = PROGRESS_SECONDS[0]
            time.sleep(pause)
            moved = False
            if not self._waiting:  # a waiting thread drives everything
                for work in self._next():
                    moved |= self.test(work)
                    work.expire()
            pause = PROGRESS_SECONDS[0] if moved else min(1.3 * pause, PROGRESS_SECONDS[1])

    def _next(self) -> list[Posted]:
        """The operations whose turn it is, which go to the end of the queue."""
        with self.lock:
            turn = list(self._pending.items())[:PROGRESS_WIDTH]
            if len(self._pending) > PROGRESS_WIDTH:
                for key, work in turn:
                    del self._pending[key]
                    self._pending[key] = work
        return [work for _, work in turn]


ENGINE = Engine()  # one process, one MPI library, one lock
