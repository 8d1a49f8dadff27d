"""Records that are read as blocks of lines are the same as line by line with Python's own json, whatever stands in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hpcscale.record import reader
from hpcscale.record.json_text import dumps, loads
from hpcscale.record.writer import RecordWriter


def written(path: Path, steps: int = 30) -> Path:
    path.unlink(missing_ok=True)
    with RecordWriter(path) as writer:
        writer.run(point={"point": "p"}, versions={}, hosts=["h"], ranks=2, device={}, backend="gloo")
        for step in range(1, steps + 1):
            writer.step(step=step, step_seconds=0.1 + step / 7, loss=9.0 - step / 3, tokens=4096, gradient_norm=1e-05)
        writer.summary(steps=steps, wall_seconds=9.0, peak_memory_bytes=10**10)
    return path


def by_lines(path: Path) -> tuple[Any, ...]:
    """What the lines of a file are: each for itself."""
    objects, damaged = [], 0
    for raw in path.read_bytes().split(b"\n"):
        if raw.strip():
            try:
                line = json.loads(raw)
            except (ValueError, RecursionError):
                line = None
            objects += [line] if isinstance(line, dict) else []
            damaged += not isinstance(line, dict)
    of = {
        kind: [line for line in objects if line.get("schema") == kind] for kind in ("run", "step", "summary", "failure")
    }
    steps = [line for line in of["step"] if type(line.get("step")) is int]
    return ([*of["run"], {}][0], steps, [None, *of["summary"]][-1], [None, *of["failure"]][-1], damaged)


def same(path: Path) -> reader.Record:
    found = reader.read(path)
    assert (found.run, found.steps, found.summary, found.failure, found.damaged_lines) == by_lines(path)
    return found


def test_a_record_as_training_writes_it(tmp_path: Path) -> None:
    assert len(same(written(tmp_path / "record.jsonl")).steps) == 30


@pytest.mark.parametrize(
    ("old", "new", "damaged"),
    [
        (b'"step": 9,', b'"step": 9.0,', 0),
        (b'"loss": 4.0', b'"loss": NaN', 0),
        (b'"tokens": 4096', b'"tokens": "\\ud800"', 0),
        (b'"step": 12,', b'"step" 12,', 1),
        (b'"step": 12,', b'"step": [1\n2],', 2),
        (b'"step": 12,', b'"step": 12,\n', 2),
        (b'{"schema": "summary"', b'{"schema": "step", "step": 99} {"schema": "summary"', 1),
        (b'{"schema": "summary"', b'{"schema": "step", "step": 99}, {"schema": "summary"', 1),
        (b'{"schema": "summary"', b'{"schema": "step", "x": [1\n2]}\n{"a": 1}, {"b": 2}\n{"schema": "summary"', 3),
        (b'{"schema": "summary"', b'\r\n\n[]\n{"schema": "summary"', 1),
        (b'{"schema": "summary"', b"[" * 10_000 + b'\n{"schema": "summary"', 1),
    ],
)
def test_odd_and_damaged_lines(old: bytes, new: bytes, damaged: int, tmp_path: Path) -> None:
    path = written(tmp_path / "record.jsonl")
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    found = reader.read(path)
    assert found.damaged_lines == damaged
    if b"NaN" not in new:  # which differs from itself
        same(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(0, 5_000),
    places=st.lists(st.tuples(st.integers(0, 5_000), st.sampled_from([b"\n", b"}", b'"', b",", b"x", b"{", b"\r"])), max_size=2),
    block=st.integers(1, 6_000),
)  # fmt: skip
@example(cut=0, places=[], block=1)
def test_cut_off_or_damaged_anywhere_in_blocks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int, places: list[tuple[int, bytes]], block: int
) -> None:
    monkeypatch.setattr(reader, "_TOGETHER", block)
    path = written(tmp_path / "record.jsonl")
    data = path.read_bytes()
    for place, byte in places:
        data = data[:place] + byte + data[place + 1 :]
    path.write_bytes(data[: len(data) - cut])
    same(path)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANY)
def test_json_is_what_the_json_module_makes_of_it(value: Any) -> None:
    text = json.dumps(value).encode()
    assert repr(loads(text)) == repr(json.loads(text))
    written = dumps(value, sort_keys=True)
    if "inf" not in repr(value):  # which is written as null
        assert json.loads(written) == value
        assert dumps(json.loads(written), sort_keys=True) == written


@pytest.mark.parametrize("text", [b"NaN", b"[1e400]", b'"\\ud800"', b"[-Infinity]", b"[" * 900 + b"]" * 900])
def test_what_orjson_refuses_is_read_all_the_same(text: bytes) -> None:
    assert repr(loads(text)) == repr(json.loads(text))


def test_sorted_keys_say_the_same_of_the_same_things() -> None:
    assert dumps({"b": 1, "a": {"d": 2, "c": 3}}, sort_keys=True) == b'{"a":{"c":3,"d":2},"b":1}'


@pytest.mark.parametrize("value", [2**70, {1: 2}, "\ud800"])
def test_what_orjson_refuses_is_written_all_the_same(value: Any) -> None:
    assert dumps([value], sort_keys=True) == json.dumps([value], separators=(",", ":")).encode()


@pytest.mark.parametrize("text", [b"", b"{", b"{]", b"\xff"])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        loads(text)
