"""What was read of a folder of runs, kept in the user's own cache folder, so that a second report reads only what is new.

A file counts as unchanged if its size, its times of modification and of change (to the nanosecond), its inode and its device
are what they were; the second of these times no program can set back. A file that was younger than a few seconds when it was
read may change again within one tick of the file system's clock: it is not kept (git calls such entries racy). What was read
by another version of the code, or an edited one, is not used. Whatever is wrong with the cache, the files are read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from hpcscale.record.json_text import loads

VARIABLE = "HPCSCALE_CACHE"  # "off", or a folder of one's own
FEWEST_POINTS = 100  # fewer are read in no time
MOST_FILES = 32  # folders that are remembered
_FORMAT = 1
_CHECKSUM_BYTES = 41
_YOUNG_NS = 3 * 10**9
_ROOMS = ("spec", "record", "cost", "ingest")  # whose code decides what is read from a record

Stamp = list[int]


def switch_off() -> None:
    """For this program and what it starts."""
    os.environ[VARIABLE] = "off"


def stamp(status: os.stat_result) -> Stamp:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def stamp_of(path: str | Path) -> Stamp | None:
    """None where there is no such file."""
    try:
        return stamp(os.stat(path))  # noqa: PTH116 (a Path takes longer than the question)
    except (FileNotFoundError, NotADirectoryError):
        return None


class Cache:
    """Entries by the name of a point's folder. :meth:`save` writes them if any is new."""

    def __init__(self, folder: Path):
        self._file = _file(folder)
        self._old: dict[str, Any] = self._load()
        self._new: dict[str, Any] = {}
        self._started_ns = time.time_ns()
        self._read = 0

    def get(self, name: str) -> dict[str, Any]:
        """What is known of a point; an empty mapping if nothing."""
        found = self._old.get(name)
        return found if isinstance(found, dict) else {}

    def put(self, name: str, entry: dict[str, Any], fresh: bool) -> None:
        """``fresh``: something of it was read and not remembered."""
        self._new[name] = entry
        self._read += fresh

    def old_enough(self, *stamps: Stamp | None) -> bool:
        """Whether files with these stamps cannot change without their stamps doing so too."""
        return all(max(each[1], each[2]) < self._started_ns - _YOUNG_NS for each in stamps if each is not None)

    def save(self) -> None:
        """Writes what is known, whole and at once; of several programs that do the last one wins. A cache that cannot be written
        is none."""
        gone = len(self._old) > len(self._new)
        if self._file is None or not (self._read or gone) or len(self._new) < FEWEST_POINTS:
            return
        temporary = self._file.with_suffix(f".{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                content = json.dumps({"key": _key(), "points": self._new}).encode()
                temporary.write_bytes(_checksum(content) + content)
                temporary.replace(self._file)
            finally:
                temporary.unlink(missing_ok=True)
            _remove_oldest(self._file.parent)

    def _load(self) -> dict[str, Any]:
        if self._file is None:
            return {}
        try:
            data = self._file.read_bytes()
            if data[:_CHECKSUM_BYTES] != _checksum(data[_CHECKSUM_BYTES:]):
                return {}
            content = loads(data[_CHECKSUM_BYTES:])
            points = content["points"] if content["key"] == _key() else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        return points if isinstance(points, dict) else {}


def _file(folder: Path) -> Path | None:
    """Where entries of a folder are kept; None where nothing is to be kept."""
    wish = os.environ.get(VARIABLE, "")
    if wish.lower() in ("off", "0", "no"):
        return None
    if wish:
        base = Path(wish)
    elif os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME"):
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ["HOME"]) / ".cache") / "hpcscale"
    else:
        return None
    return base / "records" / (hashlib.sha1(os.fsencode(folder.resolve()), usedforsecurity=False).hexdigest() + ".json")


def _checksum(content: bytes) -> bytes:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest().encode() + b"\n"


def _key() -> str:
    """Changes whenever code does that decides what is read."""
    here = Path(__file__).parent.parent
    files = sorted(
        path for room in _ROOMS for path in (here / room).rglob("*.[py][ya]*") if path.suffix in (".py", ".yaml")
    )
    text = json.dumps([_FORMAT, *((str(path.relative_to(here)), stamp_of(path)) for path in files)])
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _remove_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[MOST_FILES:]:
        path.unlink(missing_ok=True)
