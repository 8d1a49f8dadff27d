"""A file is whole or not there: an interruption in the middle of writing leaves the old one and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcscale.jobs import files


@pytest.mark.parametrize("interruption", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_cut_off_in_the_middle_leaves_the_old_file(
    interruption: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "job.sh"
    path.write_text("old")
    write = os.write

    def half(handle: int, data: bytes) -> int:
        write(handle, data[: len(data) // 2])
        raise interruption

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(type(interruption)):
        files.replace(str(path), "new and longer", 0o644)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["job.sh"]


def test_a_reader_never_sees_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies under the name at the instant of every write is the old text, whole."""
    path = tmp_path / "job.sh"
    path.write_text("old")
    write, seen = os.write, []

    def looked_at(handle: int, data: bytes) -> int:
        written = write(handle, data[:3])
        seen.append(path.read_text())
        return written

    monkeypatch.setattr(os, "write", looked_at)
    files.replace(str(path), "new and longer", 0o644)
    monkeypatch.undo()
    assert set(seen) == {"old"}
    assert path.read_text() == "new and longer"
