"""What a rank writes: rank 0 the record, another one at most a note about why it failed, or the record's last line if
rank 0 is gone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from hpcscale.record import ending, outcome, reader
from hpcscale.record.attempt import RECORD
from hpcscale.record.schema import Failure
from hpcscale.record.writer import RecordWriter

# How long rank 0 tries to write why the run ended where the disk does not let it.
PERSISTENCE_SECONDS = 5.0
# Ranks stand in line to write rank 0's last line for it, so that the lowest one does: this far apart, and no later than this.
LINE_SECONDS, LONGEST_LINE_SECONDS = 0.05, 2.0


class Journal:
    """One rank's side of the attempt folder.

    ``folder`` may be None on ranks that are yet to be told by rank 0. ``facts`` is what is known of the run before
    the ranks have met: it becomes the run line if the run fails before a better one is written.
    """

    def __init__(self, folder: Path | None, rank: int, facts: dict[str, Any]):
        self.folder, self.rank = folder, rank
        self.host = socket.gethostname()
        self.hosts: list[str] = []  # by rank, once the ranks have met
        self._facts = facts
        self._lock = threading.Lock()  # the signal thread writes too
        self._begun = self._ended = False
        self._record: RecordWriter | None = None
        if rank == 0 and folder is not None:
            self._record = RecordWriter(folder / RECORD)
            ending.prepare(folder)

    @property
    def ranks(self) -> int:
        return self._facts["ranks"]

    def know(self, **values: Any) -> None:
        """More for the run line, should the run fail before :meth:`begin`."""
        with self._lock:
            self._facts.update(values)

    def begin(self, **values: Any) -> None:
        with self._lock:
            if self._record is not None and not self._begun:
                self._record.run(**{**self._facts, **values})
            self._begun = True

    def step(self, **values: Any) -> None:
        with self._lock:
            if self._record is not None and not self._ended:
                self._record.step(**values)

    def probe(self, **values: Any) -> None:
        with self._lock:
            if self._record is not None and not self._ended:
                self._record.probe(**values)

    def finish(self, **values: Any) -> None:
        """The summary, on disk before anything is torn down."""
        with self._lock:
            if self._record is not None and self.folder is not None and not self._ended:
                self._record.summary(**values)
                self._record.close()
                ending.give_back_reserve(self.folder)
            self._ended = True

    def fail(self, kind: Failure, evidence: str, rank: int, host: str | None = None, **values: Any) -> None:
        """Why the run ended; only the first reason counts. Never raises: where nothing can be written, it says so.

        ``rank`` and ``host``: whose failure it is; ``host`` None: this rank's.
        """
        with self._lock:
            if self._ended:
                return
            self._ended = True
            if self._record is None or self.folder is None:
                return
            with contextlib.suppress(OSError):
                ending.give_back_reserve(self.folder)
            try:
                if not ending.claim(self.folder, self.rank, self.host):
                    return  # another rank took this one for dead and has written
            except OSError:
                pass  # a folder that takes no claim of this rank takes none of others
            self._persist(kind, evidence, {"rank": rank, "host": host or self.host, **values})

    def _persist(self, kind: Failure, evidence: str, line: dict[str, Any]) -> None:
        """Writes the failure, for a while again and again if the disk is full."""
        assert self._record is not None
        deadline = time.monotonic() + PERSISTENCE_SECONDS
        while True:
            try:
                if self._record.closed:  # a full disk may only be noticed on closing
                    self._record = RecordWriter(self._record.path)
                if not self._begun:
                    self._record.run(**self._facts)
                    self._begun = True
                self._record.failure(kind, evidence, **line)
                self._record.close()
                return
            except OSError as error:
                if time.monotonic() >= deadline:
                    self._say_unwritten(kind, error)
                    return
            time.sleep(0.2)

    def wish(self, kind: Failure) -> None:
        """For the job script: this attempt stopped early, and another job may go on. Never raises."""
        if self.folder is not None:
            with contextlib.suppress(OSError):
                (self.folder / outcome.WISH).write_text(kind + "\n", encoding="utf-8")

    def wait_for_last_line(self, seconds: float) -> bool:
        """For another rank than 0, when a peer is lost: whether this rank need not write the record's last line, after
        waiting in the line of all ranks so that the lowest one comes first."""
        if self.folder is None:
            return True
        time.sleep(seconds + min(self.rank * LINE_SECONDS, LONGEST_LINE_SECONDS))
        # One question to the file system and no reading: thousands of ranks may ask.
        return (self.folder / ending.CLAIM).exists()

    def stand_in(self, kind: Failure, evidence: str, rank: int, host: str) -> None:
        """Writes rank 0's last line for it, unless the record has one. Never raises."""
        assert self.folder is not None, "only ranks that know the folder wait for the last line"
        try:
            if not ending.claim(self.folder, self.rank, self.host):
                return
            record = reader.read(self.folder / RECORD)
            if record.summary is not None or record.failure is not None:
                return
            with RecordWriter(self.folder / RECORD) as writer:
                if not record.run:
                    writer.run(**self._facts)
                writer.failure(kind, evidence, rank=rank, host=host, written_by_rank=self.rank)
            ending.give_back_reserve(self.folder)
        except OSError as error:
            self._say_unwritten(kind, error)

    def _say_unwritten(self, kind: Failure, error: OSError) -> None:
        print(f"hpcscale.train: the record lacks its last line, '{kind}': {error}", file=sys.stderr, flush=True)

    def host_of(self, rank: int) -> str:
        return self.hosts[rank] if rank < len(self.hosts) else ""

    def leave_note(self, kind: Failure, evidence: str) -> None:
        """For rank 0, which may only notice that this rank is gone. Never raises: it is the last act of a failing rank."""
        if self.folder is None or self.rank == 0:
            return
        note = {"rank": self.rank, "host": self.host, "kind": kind, "evidence": evidence, "time": time.time()}
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
