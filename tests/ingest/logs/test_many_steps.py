"""Logs of nothing but steps are read by the block, and give the records that reading them line by line gives."""

from __future__ import annotations

import itertools
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcscale.ingest.logs import bulk

from .conftest import Importing, sample, steps_of

# What a line of a step looks like, and its number in it.
STEPS: dict[str, tuple[bytes, bytes]] = {
    "megatron-lm": (rb"[^\n]* iteration [^\n]*\n", rb"(iteration +)\d+()"),
    "megatron-deepspeed": (rb"[^\n]* iteration [^\n]*\n", rb"(iteration +)\d+()"),
    "deepspeed-fugaku": (rb"[^\n]* iteration [^\n]*\n", rb"(iteration +)\d+()"),
    "nanotron": (rb"[^\n]*iteration: [^\n]*\n", rb"(iteration: )\d+()"),
    "torchtitan": (rb"[^\n]*step: [^\n]*\n", rb"(step: +)\d+()"),
    "composer": (rb"\[batch=[^\n]*\n(?:[^\n]*Train [^\n]*\n)+", rb"(\[batch=)\d+()"),
    "nemo": (rb"Training epoch[^\n]*\n", rb"(global_step: )\d+()"),
    "fmengine": (rb"[^\n]*Step=[^\n]*\n[^\n]*s/step\n[^\n]*tokens/s\n", rb"(Step= *)\d+()"),
}


def texts(name: str, steps: list[int]) -> list[bytes]:
    """The start of a sample, and its last step for each of these numbers."""
    log = sample(f"{name}.txt")
    step, number = STEPS[name]
    found = list(re.finditer(step, log))
    start, last = log[: found[0].start()], found[-1][0]
    return [start, *(re.sub(number, rb"\g<1>%d\g<2>" % each, last) for each in steps)]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps were read at once, each time."""
    sizes: list[int] = []
    many = bulk.Collector.many

    def counting(self: Any, ranks: Any, steps: Any, *rest: Any) -> bool:
        told = many(self, ranks, steps, *rest)
        sizes.append(len(steps) if told else 0)
        return told

    monkeypatch.setattr(bulk.Collector, "many", counting)
    return sizes


def both_ways(importing: Importing, content: bytes) -> tuple[Any, Any]:
    """Records and what is known of the runs: read by the block, and line by line."""
    found = []
    for way in (bulk.Reader.read, lambda *_: False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bulk.Reader, "read", way)
            imported = importing.all(content)
        found.append(
            [(each.attempts, each.last_step, each.remarks, *(steps_of(each, n + 1) for n in range(each.attempts))) for each in imported]
        )  # fmt: skip
    return found[0], found[1]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch):
    """The start and the first steps are one block; what follows is read at once."""
    monkeypatch.setattr("hpcscale.ingest.logs.blocks.BLOCK", 16000)


@pytest.mark.parametrize("name", STEPS)
def test_regular_steps_are_read_at_once_and_are_the_same(name: str, importing: Importing, counted: list[int]):
    log = b"".join(texts(name, [*range(50, 61), *range(70, 800, 3)]))
    at_once, by_line = both_ways(importing, log)
    assert sum(counted) > 150
    assert at_once == by_line and len(at_once[0][3]) == 255


def test_steps_that_many_ranks_print_are_read_at_once_too(importing: Importing, counted: list[int]):
    (start, *steps) = texts("torchtitan", list(range(50, 150)))
    lines = [start]
    for number, line in enumerate(steps):
        for rank in range(3):
            slower = b"tps: 4,%03d" % (900 - 7 * ((number + rank) % 3))
            larger = b"memory: %d.27GiB" % (30 + (number * rank) % 4)
            changed = re.sub(rb"memory: [0-9.]+GiB", larger, re.sub(rb"\[rank\d\]", b"[rank%d]" % rank, line))
            lines.append(re.sub(rb"tps: \S+", slower, changed))
    at_once, by_line = both_ways(importing, b"".join(lines))
    assert sum(counted) > 200
    assert at_once == by_line and len(at_once[0][3]) == 100
    assert len({step["step_seconds"] for step in at_once[0][3]}) == 1  # the slowest of each, whichever it was


def test_a_restart_among_regular_steps_is_seen(importing: Importing, counted: list[int]):
    start, *steps = texts("megatron-lm", [*range(50, 200), *range(120, 300)])
    found = importing.one(start + b"".join(steps))
    assert [(steps_of(found, n)[0]["step"], steps_of(found, n)[-1]["step"]) for n in (1, 2)] == [(50, 199), (120, 299)]


def test_a_restart_where_other_output_parts_the_steps_is_seen(importing: Importing):
    start, *steps = texts("megatron-lm", [*range(50, 150), *range(120, 220)])
    steps.insert(100, b"RuntimeError: a peer is gone\n")
    found = importing.one(start + b"".join(steps))
    assert [(steps_of(found, n)[0]["step"], steps_of(found, n)[-1]["step"]) for n in (1, 2)] == [(50, 149), (120, 219)]


def test_an_error_in_the_line_of_the_last_step_ended_the_training(importing: Importing):
    start, *steps = texts("megatron-lm", list(range(50, 150)))
    log = start + b"".join(steps).replace(b"/      40", b"/     200").removesuffix(b"\n") + b"RuntimeError: no\n"
    assert importing.row(log)["status"] == "error"


def test_joules_of_regular_steps_are_those_of_all_gpus(importing: Importing, counted: list[int]):
    log = b"".join(texts("megatron-lm", list(range(50, 250))))
    at_once, by_line = both_ways(
        importing, log.replace(b"| learning rate", b"| energy per GPU (J/iter/GPU): 1992.5 | learning rate")
    )
    assert sum(counted) > 100 and at_once == by_line
    assert {step["energy_joules"] for step in at_once[0][3]} == {1992.5 * 32}


def test_ranks_that_run_apart_are_told_line_by_line(importing: Importing):
    start, *steps = texts("torchtitan", list(range(50, 120)))
    other = [line.replace(b"[rank1]", b"[rank0]") for line in steps]
    late = list(itertools.zip_longest(steps, [b""] * 3 + other[:-3]))
    at_once, by_line = both_ways(importing, start + b"".join(map(b"".join, late)))
    assert at_once == by_line and [step["step"] for step in at_once[0][3]] == list(range(50, 120))


def test_an_error_that_steps_follow_is_no_failure(importing: Importing):
    start, *steps = texts("megatron-lm", list(range(50, 150)))
    steps.insert(60, b"RuntimeError: retrying\n")
    row = importing.row(start + b"".join(steps).replace(b"/      40", b"/     200"))
    assert row["status"] == "unfinished"


def test_the_planned_steps_of_the_last_line_count(importing: Importing):
    start, *steps = texts("megatron-lm", list(range(1, 101)))
    assert importing.row(start + b"".join(steps).replace(b"/      40", b"/     100"))["status"] == "completed"


@pytest.mark.parametrize("name", STEPS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_irregular_steps_are_the_same_too(name: str, data: st.DataObject):
    pieces = texts(name, list(range(50, 250)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(20, len(pieces) - 1))
        kind = data.draw(st.sampled_from(["gone", "twice", "back", "noise", "torn", "damaged", "end"]))
        if kind == "gone":
            del pieces[at : at + 5]
        elif kind == "twice":
            pieces[at] *= 2
        elif kind == "back":
            pieces[at] = pieces[at - 12]
        elif kind == "noise":
            pieces[at] += data.draw(
                st.sampled_from([b"RuntimeError: no\n", b"\x1b[31m warning \x1b[0m\n", b"a\rb\n", b"memory: 3GiB\n"])
            )
        elif kind == "end":
            pieces[at] = pieces[at].replace(b"\n", b"\r\n")
        else:
            place = data.draw(st.integers(0, len(pieces[at]) - 1))
            junk = data.draw(
                st.sampled_from([b"nan", b"-1", b"1e999", b"|", b"\n", b"+1", b"00", b"9" * 20, b" x: 5 "])
            )
            cut = 0 if kind == "torn" else 3
            pieces[at] = pieces[at][:place] + junk + pieces[at][place + cut :]
        if len(pieces) < 60:
            break
    with tempfile.TemporaryDirectory() as folder:
        at_once, by_line = both_ways(Importing(Path(folder)), b"".join(pieces))
        assert at_once == by_line
