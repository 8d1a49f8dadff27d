"""Who writes a record's last line when the one who should cannot: a claim that only one process can hold."""

from __future__ import annotations

import json
import os
from pathlib import Path

CLAIM = "failure.claim"
RESERVE = "record.reserve"
RESERVE_BYTES = 64 * 1024  # a block of most parallel file systems


def claim(folder: Path, rank: int, host: str) -> bool:
    """Whether this rank may write the attempt's failure line: only the first to ask may, on whichever node it runs."""
    try:
        file = os.open(folder / CLAIM, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(file, json.dumps({"rank": rank, "host": host}).encode())
    finally:
        os.close(file)
    return True


def prepare(folder: Path) -> None:
    """At an attempt's start: takes room on the disk that can be given back, so that a full disk has room for the line that
    says so, and removes the claim of an earlier attempt in the same folder."""
    (folder / CLAIM).unlink(missing_ok=True)
    # Nothing that a file system could compress or leave as a hole.
    (folder / RESERVE).write_bytes(os.urandom(RESERVE_BYTES))


def give_back_reserve(folder: Path) -> None:
    (folder / RESERVE).unlink(missing_ok=True)
