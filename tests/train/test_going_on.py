"""What an attempt leaves for the job script and for the next attempt: the wish to go on, half the micro batch."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from hpcscale.ingest import records
from hpcscale.record import outcome
from hpcscale.record.attempt import RECORD
from hpcscale.train.micro_batch import smaller_than_what_failed

from .toys import Start, document

ENDLESS = ("--steps", "1000000")


def attempt(folder: Path, name: str, kind: str, size: int | None, hash_: str = "00000000") -> None:
    path = folder / "attempts" / name
    path.mkdir(parents=True)
    lines: list[dict[str, Any]] = [
        {"schema": "run", "time": float(len(list(folder.glob("attempts/*")))), "point": {"hash": hash_}},
        {"schema": "failure", "kind": kind, "evidence": "x"},
    ]
    if size is not None:
        lines[0]["micro_batch_size"] = size
    (path / RECORD).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("failed", "given", "expected"),
    [
        ([], 8, 8),
        ([("oom", 8)], 8, 4),
        ([("oom", 8), ("oom", 4)], 8, 2),
        ([("oom", None)], 8, 4),  # it ran out before it could say with what: with what was asked for
        ([("oom", 6)], 6, 3),
        ([("oom", 9)], 9, 3),  # half of 9 divides no batch of 9s
        ([("oom", 1)], 1, 1),
        ([("node", 8), ("error", 8)], 8, 8),
    ],
)
def test_the_next_micro_batch_is_smaller_than_all_that_failed(
    tmp_path: Path, failed: list[tuple[str, int | None]], given: int, expected: int
) -> None:
    for number, (kind, size) in enumerate(failed):
        attempt(tmp_path, f"{number}.0", kind, size)
    attempt(tmp_path, "other.0", "oom", 2, hash_="ffffffff")  # of another configuration
    assert smaller_than_what_failed(given, tmp_path, "00000000") == expected


def test_an_attempt_killed_for_memory_counts_by_the_schedulers_word(tmp_path: Path) -> None:
    folder = tmp_path / "attempts" / "1.0"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(
        '{"schema": "run", "time": 1.0, "point": {"hash": "00000000"}, "micro_batch_size": 4}\n'
    )
    assert smaller_than_what_failed(4, tmp_path, "00000000") == 4
    outcome.write(folder, "oom", "scheduler: OUT_OF_MEMORY")
    assert smaller_than_what_failed(4, tmp_path, "00000000") == 2


def test_after_out_of_memory_the_next_attempt_halves_and_the_table_says_so(start: Start, tmp_path: Path) -> None:
    attempt(tmp_path, "1.0", "oom", 7)
    asked = document(training={"micro_batch_size": 7}, job={"time_seconds": 600, "on_oom": "halve_mbs"})
    asked["training"]["global_batch_size"] = 14
    run = start(asked, arguments=("--steps", "3"))
    assert run.wait() == [0], run.outputs
    row = records.read(tmp_path).iloc[0]
    assert (row["status"], row["micro_batch_size"], row["gradient_accumulation"]) == ("completed", 1, 14)
    assert row["note"] == "micro batch 1: the study's 7 ran out of memory"


@pytest.mark.parametrize(
    ("checkpoint", "number", "wish"),
    [
        ({}, signal.SIGTERM, True),  # preempted: another attempt loses nothing by beginning anew
        ({"every_steps": 5}, signal.SIGUSR2, True),
        ({}, signal.SIGXCPU, False),  # out of time with nothing saved: the next one would end in the same way
    ],
)
def test_an_attempt_that_was_stopped_asks_to_go_on_if_that_can_help(
    start: Start, checkpoint: dict[str, int], number: signal.Signals, wish: bool, tmp_path: Path
) -> None:
    run = start(document(training={"checkpoint": checkpoint}), arguments=ENDLESS)
    run.wait_for_step(2)
    run.processes[0].send_signal(number)
    run.wait()
    (folder,) = tmp_path.glob("attempts/*")
    assert (folder / outcome.WISH).exists() == wish
