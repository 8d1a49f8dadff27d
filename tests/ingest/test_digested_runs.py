"""What is kept of a run beside its row: the measured steps, also after the cache's JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcscale.ingest import records
from hpcscale.ingest.run import Run, configuration, digest
from hpcscale.record.reader import Record


def test_the_measured_steps_are_kept_exactly(tmp_path: Path, write_run: Callable[..., Path]):
    attempt = write_run(tmp_path, [9.0, 9.0, 0.1, 1 / 3, 1e-9])
    record = attempt / "record.jsonl"
    record.write_text(record.read_text().replace('"loss": 2.0', '"energy_joules": 12.5, "loss": 2.0'))
    ((found,),) = records.grouped(tmp_path)
    again = Run(**json.loads(json.dumps(vars(found.run))))
    for run in (found.run, again):
        assert run.steps == [
            {"step": 3, "step_seconds": 0.1, "energy_joules": 12.5},
            {"step": 4, "step_seconds": 1 / 3},
            {"step": 5, "step_seconds": 1e-9},
        ]
        assert type(run.steps[0]["step"]) is int
    assert found.record == str(record)


def test_a_configuration_does_not_depend_on_the_order_of_its_keys(described_point: dict[str, Any]):
    turned = dict(reversed(described_point.items()))
    assert list(turned) != list(described_point)
    assert configuration(turned) == configuration(described_point)
    assert configuration({**described_point, "nodes": 77}) != configuration(described_point)


@pytest.mark.parametrize(
    ("steps", "warmup", "measured"),
    [
        ([(1, 5.0), (2, 1.0), (3, 2.0)], 1, [(2, 1.0), (3, 2.0)]),
        ([(1, 5.0), (2, 1.0), (3, 2.0)], -1, [(1, 5.0), (2, 1.0), (3, 2.0)]),
        ([(1, 5.0), (2, 1.0), (3, 2.0), (2, 1.5), (3, 2.5)], 1, [(2, 1.5), (3, 2.5)]),
        ([(1, 5.0), (2, 0.0), (3, -1.0), (4, 2.0)], 1, [(4, 2.0)]),
        ([(1, 5.0), (2, float("inf")), (3, float("nan")), (4, 2.0)], 1, [(4, 2.0)]),
        ([(1, 5.0), (2, 3), (3, None), (4, 2.0)], 1, [(2, 3.0), (4, 2.0)]),
    ],
    ids=["plain", "warm-up below zero", "twice", "no time", "not finite", "other kinds"],
)
def test_measured_are_the_last_runs_of_steps_with_a_time(
    described_point: dict[str, Any], steps: list[tuple[int, Any]], warmup: int, measured: list[tuple[int, float]]
):
    record = Record(Path("a/record.jsonl"), {"point": {}}, [{"step": n, "step_seconds": t} for n, t in steps])
    run = digest({**described_point, "protocol": {"warmup_steps": warmup}}, record)
    assert [(each["step"], each["step_seconds"]) for each in run.steps] == measured
    assert (run.odd, run.measured_steps) == ("", len(measured))


@pytest.mark.parametrize("rank", [[1], "1", None])
def test_a_slowest_rank_that_is_no_number_is_nobody(described_point: dict[str, Any], rank: object):
    lines = [{"step": n, "step_seconds": 1.0, "slowest_rank": rank, "median_rank_seconds": 0.5} for n in range(1, 30)]
    run = digest(described_point, Record(Path("a/record.jsonl"), {"point": {}, "ranks": 8}, lines))
    assert (run.odd, run.notes) == ("", [])
