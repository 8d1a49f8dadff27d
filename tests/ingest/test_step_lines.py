"""Steps taken apart at once are the same as line by line, whatever stands in the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcscale.ingest import step_lines
from hpcscale.record import reader
from hpcscale.record.writer import RecordWriter

NAMES = ("step", "step_seconds", "loss", "peak_memory_bytes", "slowest_rank", "median_rank_seconds", "traced")


def written(path: Path, steps: int = 30, **changes: Any) -> Path:
    with RecordWriter(path) as writer:
        writer.run(point={"point": "p"}, versions={}, hosts=["h"], ranks=2, device={}, backend="gloo")
        for step in range(1, steps + 1):
            line = {
                "step_seconds": 0.1 + step / 7, "fastest_rank_seconds": 0.1, "median_rank_seconds": 0.1, "slowest_rank": step % 2,
                "loss": 9.0 - step / 3, "peak_memory_bytes": 10**10 + step, "gradient_norm": 1e-05, "learning_rate": 1e-4,
                "tokens": 4096, "warmup": step <= 2,
            }  # fmt: skip
            extra = {"collectives": {"dp.all_reduce": {"calls": 3, "bytes": 4}}} if step == 1 else {}
            writer.step(step=step, **line, **extra, **changes)
        writer.summary(steps=steps, wall_seconds=9.0, peak_memory_bytes=10**10)
    return path


def same(path: Path) -> bool:
    """Whether all is as the reader has it; returns whether it went the short way."""
    record, steps = step_lines.read(path)
    expected = reader.read(path)
    long = step_lines.Steps(expected.steps)
    try:
        columns = {name: steps.column(name) for name in NAMES}
    except step_lines.Unusual:
        return False
    for name in NAMES:
        assert list(map(repr, columns[name])) == list(map(repr, long.column(name)))
        assert repr((steps.largest(name), steps.ends(name))) == repr((long.largest(name), long.ends(name)))
    assert (record.run, record.summary, record.failure) == (expected.run, expected.summary, expected.failure)
    assert (record.status, record.damaged_lines) == (expected.status, expected.damaged_lines)
    return isinstance(steps, step_lines.UsualSteps)


def test_a_record_as_training_writes_it_goes_the_short_way(tmp_path: Path):
    assert same(written(tmp_path / "record.jsonl"))
    assert same(written(tmp_path / "energy.jsonl", energy_joules=12.5, loss_scale=65536.0))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"loss": 4.0', b'"loss": "nan"'),
        (b'"step": 9,', b'"step": 9.0,'),
        (b'"step": 9,', b'"step": 8,'),
        (b'"peak_memory_bytes": 10000000009', b'"peak_memory_bytes": 1e10'),
        (b'"learning_rate": 0.0001, "tokens"', b'"tokens"'),
        (b'"slowest_rank": 1', b'"slowest_rank": null'),
        (b'"warmup": false', b'"warmup": false, "traced": {"send_seconds": 1}'),
        (b'"schema": "step", "version": 1, "step": 12', b'"schema": "step" "version": 1, "step": 12'),
        (b'"step": 13, "step_seconds": ', b'"step": 13, "step_seconds": 1.2.'),
        (b'{"schema": "summary"', b'{"schema": "step", "step": 99, "step_seconds": 1}\n{"schema": "summary"'),
    ],
    ids=[
        "nan",
        "no whole step",
        "twice",
        "memory as a float",
        "a key less",
        "null",
        "traced",
        "damaged",
        "no number",
        "late step",
    ],
)
def test_anything_else_goes_the_long_way_to_the_same_end(tmp_path: Path, old: bytes, new: bytes):
    path = written(tmp_path / "record.jsonl")
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    same(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(0, 12_000),
    places=st.lists(
        st.tuples(st.integers(0, 12_000), st.sampled_from([b"\n", b"}", b'"', b",", b"x", b"{"])), max_size=2
    ),
)
def test_a_record_cut_off_or_damaged_anywhere_is_read_alike(tmp_path: Path, cut: int, places: list[tuple[int, bytes]]):
    path = tmp_path / "record.jsonl"
    path.unlink(missing_ok=True)
    data = written(path, 40).read_bytes()
    for place, byte in places:
        data = data[:place] + byte + data[place + 1 :]
    path.write_bytes(data[: len(data) - cut])
    same(path)


def test_what_the_scheduler_said_of_a_record_without_end_counts(tmp_path: Path):
    path = written(tmp_path / "record.jsonl")
    path.write_bytes(path.read_bytes().rpartition(b'{"schema": "summary"')[0])
    (tmp_path / "outcome.json").write_text(json.dumps({"kind": "oom", "evidence": "x"}))
    assert same(path)
    assert step_lines.read(path)[0].status == "oom"
