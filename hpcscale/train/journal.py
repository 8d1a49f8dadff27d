"""What a rank writes: rank 0 the record, another one at most a note about why it failed."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from hpcscale.record.attempt import RECORD
from hpcscale.record.schema import Failure
from hpcscale.record.writer import RecordWriter


class Journal:
    """One rank's side of the attempt folder.

    ``folder`` may be None on ranks that are yet to be told by rank 0. ``facts`` is what is known of the run before
    the ranks have met: it becomes the run line if the run fails before a better one is written.
    """

    def __init__(self, folder: Path | None, rank: int, facts: dict[str, Any]):
        self.folder, self.rank = folder, rank
        self._facts = facts
        self._lock = threading.Lock()  # the signal thread writes too
        self._begun = self._ended = False
        self._record = RecordWriter(folder / RECORD) if rank == 0 and folder is not None else None

    def begin(self, **values: Any) -> None:
        with self._lock:
            if self._record is not None and not self._begun:
                self._record.run(**{**self._facts, **values})
            self._begun = True

    def step(self, **values: Any) -> None:
        with self._lock:
            if self._record is not None and not self._ended:
                self._record.step(**values)

    def finish(self, **values: Any) -> None:
        """The summary, on disk before anything is torn down."""
        with self._lock:
            if self._record is not None and not self._ended:
                self._record.summary(**values)
                self._record.close()
            self._ended = True

    def fail(self, kind: Failure, evidence: str, rank: int) -> None:
        """Why the run ended; only the first reason counts."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            if self._record is not None:
                if not self._begun:
                    self._record.run(**self._facts)
                self._record.failure(kind, evidence, rank=rank)
                self._record.close()

    def leave_note(self, kind: Failure, evidence: str) -> None:
        """For rank 0, which may only notice that this rank is gone. Never raises: it is the last act of a failing rank."""
        if self.folder is None or self.rank == 0:
            return
        note = {"rank": self.rank, "kind": kind, "evidence": evidence, "time": time.time()}
        path = self.folder / f"failure-rank{self.rank}.json"
        try:
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(note), encoding="utf-8")
            part.replace(path)
        except OSError:
            pass

    def peers_note(self, patience_seconds: float) -> dict[str, Any] | None:
        """The earliest note of another rank; waits for it a little, since ranks notice a failure in any order."""
        deadline = time.monotonic() + patience_seconds
        while self.folder is not None:
            notes = [note for path in self.folder.glob("failure-rank*.json") if (note := _read(path)) is not None]
            if notes:
                return min(notes, key=lambda note: note["time"])
            if time.monotonic() >= deadline:
                break
            time.sleep(0.05)
        return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and {"rank", "kind", "evidence", "time"} <= note.keys() else None
