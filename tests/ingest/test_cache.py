"""What was read is remembered, and nobody can tell from the figures."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcscale.ingest import cache, records, schema
from hpcscale.record import reader

Write = Callable[..., Path]
Rows = list[dict[str, Any]]


@pytest.fixture
def remembering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, that remembers a single point and files that are new."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "FEWEST_POINTS", 1)
    monkeypatch.setattr(cache, "_YOUNG_NS", 0)
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The records that were read."""
    seen: list[Path] = []
    real = reader.read

    def watched(path: Path) -> Any:
        seen.append(path)
        return real(path)

    monkeypatch.setattr(reader, "read", watched)
    return seen


def rows(folder: Path) -> Rows:
    return schema.rows(records.read(folder))


def test_unchanged_records_are_read_once_and_give_the_same_rows(
    tmp_path: Path, write_run: Write, remembering: Path, reads: list[Path]
):
    write_run(tmp_path / "runs", [9.0, 8.0, *[1.0 + 0.01 * i for i in range(20)]])
    write_run(tmp_path / "runs", [1.0, 1.0, 3.0], point="oom", end="oom")
    first = rows(tmp_path / "runs")
    assert len(reads) == 2
    assert rows(tmp_path / "runs") == first
    assert len(reads) == 2
    assert len(list(remembering.rglob("*.json"))) == 1


def test_a_record_of_the_same_size_and_time_is_read_again(tmp_path: Path, write_run: Write, remembering: Path):
    record = write_run(tmp_path / "runs", [1.0, 1.0, 4.0]) / "record.jsonl"
    before = record.stat()
    assert rows(tmp_path / "runs")[0]["step_seconds"] == 4.0
    record.write_text(record.read_text().replace("4.0", "5.0"))
    os.utime(record, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = record.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert rows(tmp_path / "runs")[0]["step_seconds"] == 5.0


def test_a_record_that_was_just_written_is_not_remembered(
    tmp_path: Path, write_run: Write, remembering: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "_YOUNG_NS", 3600 * 10**9)
    write_run(tmp_path / "runs", [1.0, 1.0, 4.0])
    rows(tmp_path / "runs")
    rows(tmp_path / "runs")
    assert len(reads) == 2


def test_a_changed_point_a_new_attempt_and_the_schedulers_word_count_at_once(
    tmp_path: Path, write_run: Write, remembering: Path
):
    attempt = write_run(tmp_path / "runs", [1.0, 1.0, 4.0], end="")
    (row,) = rows(tmp_path / "runs")
    assert row["status"] == "unfinished"
    (attempt / "outcome.json").write_text(json.dumps({"kind": "oom", "evidence": "killed"}))
    (row,) = rows(tmp_path / "runs")
    assert (row["status"], row["note"]) == ("oom", "killed")
    other = write_run(tmp_path / "more", [1.0, 1.0, 2.0], started=5.0)
    other.rename(attempt.parent / "2.0")
    (row,) = rows(tmp_path / "runs")
    assert (row["status"], row["step_seconds"], row["attempt"]) == ("completed", 2.0, "2.0")
    point = attempt.parent.parent / "point.json"
    point.write_text(point.read_text().replace('"warmup_steps": 2', '"warmup_steps": 0'))
    (row,) = rows(tmp_path / "runs")
    assert (row["step_seconds"], row["measured_steps"]) == (1.0, 3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"4.0", b"7.0"),
        lambda data: b"\x00" * len(data),
        lambda data: cache._checksum(b"[1]") + b"[1]",
    ],
    ids=["empty", "cut off", "another digit", "zeros", "another kind"],
)
def test_a_damaged_cache_is_ignored(
    tmp_path: Path, write_run: Write, remembering: Path, damage: Callable[[bytes], bytes]
):
    write_run(tmp_path / "runs", [1.0, 1.0, 4.0])
    expected = rows(tmp_path / "runs")
    (file,) = remembering.rglob("*.json")
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    assert rows(tmp_path / "runs") == expected


def test_entries_of_edited_code_are_not_used(
    tmp_path: Path, write_run: Write, remembering: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
):
    write_run(tmp_path / "runs", [1.0, 1.0, 4.0])
    rows(tmp_path / "runs")
    monkeypatch.setattr(cache, "_key", lambda: "other code")
    rows(tmp_path / "runs")
    assert len(reads) == 2


def test_it_can_be_switched_off_and_a_folder_that_cannot_be_written_is_no_fault(
    tmp_path: Path, write_run: Write, remembering: Path, monkeypatch: pytest.MonkeyPatch
):
    write_run(tmp_path / "runs", [1.0, 1.0, 4.0])
    monkeypatch.setenv(cache.VARIABLE, "off")
    rows(tmp_path / "runs")
    assert not remembering.exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    assert rows(tmp_path / "runs")[0]["step_seconds"] == 4.0


def test_a_few_points_are_not_worth_a_file(tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    write_run(tmp_path / "runs", [1.0, 1.0, 4.0])
    rows(tmp_path / "runs")
    assert not (tmp_path / "cache").exists()


def test_nothing_is_written_into_the_folder_of_runs(tmp_path: Path, write_run: Write, remembering: Path):
    write_run(tmp_path / "runs", [1.0, 1.0, 4.0])
    before = sorted((tmp_path / "runs").rglob("*"))
    rows(tmp_path / "runs")
    assert sorted((tmp_path / "runs").rglob("*")) == before
