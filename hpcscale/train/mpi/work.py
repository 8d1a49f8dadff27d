"""The handle of an operation under way, as c10d wants it: wait with a time-out, ask whether it is complete, take a future."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch._C._distributed_c10d as c10d  # torch.distributed exports Work under names that changed

from hpcscale.train.mpi.engine import ENGINE
from hpcscale.train.mpi.library import MPI


class CommunicationError(RuntimeError):
    """An operation that did not end as it should; the text is one sentence, with "timed out" or "connection" for a lost rank."""


@dataclass
class Transfer:
    """One MPI call of an operation: how to start it, what to do with what arrived, and the buffers that must live until then."""

    start: Callable[[], MPI.Request]
    finish: Callable[[], None] | None = None
    keep: tuple[Any, ...] = field(default=())


class Work(c10d.Work):
    """An operation of one or more transfers. ``finish`` runs in the thread that waits, unless a future was asked for."""

    def __init__(
        self,
        operation: str,
        size: int,
        where: str,
        timeout: timedelta,
        transfers: Sequence[Transfer],
        outputs: Sequence[torch.Tensor],
        statuses: list[MPI.Status] | None = None,
        background: bool = True,
        group: str = "",
    ):
        super().__init__()
        self.operation, self.size, self.start, self.group = operation, size, 0, group
        self.requests: list[MPI.Request] | None = None
        self.statuses = statuses
        self.arrived = False
        self._where, self._timeout, self._outputs = where, timeout, list(outputs)
        self._transfers = list(transfers)
        self._lock = threading.RLock()
        self._finished = False
        self._error: Exception | None = None
        self._future: torch.futures.Future[list[torch.Tensor]] | None = None
        try:
            ENGINE.post(self, [transfer.start for transfer in self._transfers], background)
        except MPI.Exception as error:
            raise self._failure(error) from None

    def arrive(self, error: MPI.Exception | None) -> None:
        """The engine's word that all transfers are through, or that one failed."""
        with self._lock:
            if error is not None:
                self._error = self._failure(error)
            self.arrived = True
            if self._future is not None:
                self._finish()

    def wait(self, timeout: timedelta | None = None) -> bool:
        limit = timeout if timeout and timeout > timedelta() else self._timeout  # c10d says "none given" with zero
        if not self.arrived and not ENGINE.wait(self, limit.total_seconds()):
            raise self._too_late(limit)
        self._finish()
        if self._error is not None:
            raise self._error
        return True

    def is_completed(self) -> bool:
        if not (self.arrived or ENGINE.test(self)):
            return False
        self._finish()
        return True

    def is_success(self) -> bool:
        return self.is_completed() and self._error is None

    def exception(self) -> Exception | None:
        return self._error

    def synchronize(self) -> None:
        self.wait()

    def result(self) -> list[torch.Tensor]:
        self.wait()
        return self._outputs

    def get_future(self) -> torch.futures.Future[list[torch.Tensor]]:
        with self._lock:
            if self._future is None:
                self._future = torch.futures.Future()
                if self._finished:
                    self._settle(self._future)
                elif self.arrived:
                    self._finish()
                else:
                    ENGINE.wake()
            return self._future

    def _source_rank(self) -> int:
        """Who sent what a receive from any source received, as a rank of the group."""
        assert self.statuses is not None, "only receives are asked for their source"
        return self.statuses[0].Get_source()

    def expire(self) -> None:
        """Fails the future of an operation whose time is over: nobody waits for that but the future's callbacks."""
        with self._lock:
            late = not self.arrived and time.perf_counter_ns() - self.start > self._timeout.total_seconds() * 1e9
            if late and self._future is not None and not self._future.done():
                self._error = self._too_late(self._timeout)
                self._settle(self._future)

    def _too_late(self, limit: timedelta) -> CommunicationError:
        return CommunicationError(
            f"MPI {self.operation} {self._where} timed out after {limit.total_seconds():g} s: "
            "a rank is lost, hangs or is far behind"
        )

    def _failure(self, error: MPI.Exception) -> CommunicationError:
        text = " ".join(error.Get_error_string().split())
        return CommunicationError(f"MPI {self.operation} {self._where} failed: {text}")

    def _finish(self) -> None:
        with self._lock:
            if self._finished:
                return
            finishes = [transfer.finish for transfer in self._transfers if transfer.finish is not None]
            if finishes and self._error is None:
                try:
                    with torch.no_grad():
                        for finish in finishes:
                            finish()
                except Exception as error:
                    self._error = error
            self._transfers = []  # the buffers may go
            self._finished = True
            if self._future is not None and not self._future.done():
                self._settle(self._future)

    def _settle(self, future: torch.futures.Future[list[torch.Tensor]]) -> None:
        if self._error is None:
            future.set_result(self._outputs)
        else:
            future.set_exception(self._error)  # pyright: ignore[reportArgumentType] its annotation is that of a result


class Joined(c10d.Work):
    """Several operations waited for as one."""

    def __init__(self, works: Sequence[Work]):
        super().__init__()
        self._works = list(works)

    def wait(self, timeout: timedelta | None = None) -> bool:
        for work in self._works:
            work.wait(timeout)
        return True

    def is_completed(self) -> bool:
        return all(work.is_completed() for work in self._works)

    def get_future(self) -> torch.futures.Future[list[torch.Tensor]]:
        def flat(futures: torch.futures.Future[Any]) -> list[torch.Tensor]:
            return [tensor for future in futures.value() for tensor in future.value()]

        return torch.futures.collect_all([work.get_future() for work in self._works]).then(flat)
