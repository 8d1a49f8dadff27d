"""Whether the runs folder can hold runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hpcscale.jobs.doctor.check import Check

_BYTES, _FILES = 10 * 2**30, 10_000  # below so much a checkpoint or a study may not fit


def files(out: Path) -> list[Check]:
    """Can be written to, free space, room for files. What a quota leaves is not asked."""
    folder = Path(os.path.abspath(out))
    while not os.path.isdir(folder):  # Path.is_dir raises where a folder above may not be entered
        if os.path.lexists(folder):
            return [Check("runs folder", "problem", f"{folder} is no folder; choose another with --out")]
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        room = os.statvfs(folder)
    except OSError as error:
        way = "choose another folder with --out"
        return [Check("runs folder", "problem", f"{folder} cannot be written to ({error.strerror}); {way}")]
    free = room.f_bavail * room.f_frsize
    checks = [_room("runs folder", free, _BYTES, f"{free / 2**30:,.0f} GiB free in {folder}")]
    if room.f_files:  # some file systems count none
        checks.append(_room("runs folder", room.f_favail, _FILES, f"room for {room.f_favail:,} files in {folder}"))
    return checks


def _room(name: str, have: int, least: int, words: str) -> Check:
    if have >= least:
        return Check(name, "ok", words)
    return Check(name, "warning", f"only {words}; free some, or choose another folder with --out")
