"""Predictions beside measured rows, and what is said of a measurement far outside its interval."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcscale.ingest import gather, predicted, records, schema
from hpcscale.report.build import build
from hpcscale.spec import study
from hpcscale.spec.expand import expand
from hpcscale.spec.point import Point

STUDY = """\
name: s
model: llama2-7b
training: {sequence_length: 4096, global_batch_size: 8, micro_batch_size: 2, activation_checkpointing: full}
job: {time: 01:00:00}
machines: {juwels-booster: {layout: {dp: 4, sharding: fsdp}}}
sweep: {product: {tp: [1, 4]}}
protocol: {warmup_steps: 1, measured_steps: 3}
"""
Run = Callable[..., Path]


@pytest.fixture
def points(tmp_path: Path) -> list[Point]:
    (tmp_path / "s.yaml").write_text(STUDY)
    return expand(study.read(str(tmp_path / "s.yaml"))).points


def seconds_of(point: Point) -> float:
    (row,) = schema.rows(predicted.rows_of([point]))
    return row["step_seconds"]


def measured(runs: Path, write_run: Run, point: Point, times_slower: float) -> dict[str, Any]:
    step = seconds_of(point) * times_slower
    write_run(runs, [9.0, step, step, step], **point.document())
    (row,) = schema.rows(predicted.beside(records.read(runs / "s"), [point]))
    return row


def test_a_measured_row_has_its_points_prediction_beside_it(
    tmp_path: Path, write_run: Run, points: list[Point]
) -> None:
    row = measured(tmp_path / "runs", write_run, points[0], 1.1)
    assert row["step_seconds"] == pytest.approx(1.1 * row["predicted_step_seconds"])
    assert row["predicted_step_seconds_low"] < row["predicted_step_seconds"] < row["predicted_step_seconds_high"]
    assert not row["note"]


def test_a_run_far_outside_its_interval_is_flagged_with_the_likely_causes(
    tmp_path: Path, write_run: Run, points: list[Point]
) -> None:
    row = measured(tmp_path / "runs", write_run, points[0], 3)
    assert row["note"].startswith("3.0 times the predicted ")
    assert "straggler" in row["note"] and "clock" in row["note"] and "network" in row["note"]


def test_a_run_with_another_micro_batch_is_compared_with_that_one(
    tmp_path: Path, write_run: Run, points: list[Point]
) -> None:
    halved = replace(points[0], training=points[0].training.model_copy(update={"micro_batch_size": 1}))
    document = points[0].document()
    document["training"]["micro_batch_size"] = 1
    write_run(tmp_path / "runs", [1.0, 1.0, 1.0], **document)
    (row,) = schema.rows(predicted.beside(records.read(tmp_path / "runs" / "s"), points))
    assert row["predicted_step_seconds"] == pytest.approx(seconds_of(halved))


def test_a_folder_of_runs_without_its_study_is_predicted_from_what_its_rows_say(
    tmp_path: Path, write_run: Run, points: list[Point]
) -> None:
    write_run(tmp_path / "runs", [1.0, 1.0, 1.0], **points[0].document())
    (row,) = schema.rows(gather.gather([str(tmp_path / "runs")], foresee=True))
    assert row["predicted_step_seconds"] == pytest.approx(seconds_of(points[0]), rel=0.1)


def test_a_row_that_cannot_be_predicted_stays_as_it_was(tmp_path: Path, write_run: Run) -> None:
    write_run(tmp_path / "runs", [1.0, 1.0, 1.0, 1.0], model={"name": "mine"})
    table = gather.gather([str(tmp_path / "runs")])
    assert schema.rows(predicted.beside(table)) == schema.rows(table)


def test_every_point_has_a_predicted_row_with_rates_and_memory_run_or_not(
    tmp_path: Path, write_run: Run, points: list[Point]
) -> None:
    write_run(tmp_path / "runs", [1.0, 1.0, 1.0, 1.0], **points[0].document())
    report = build([str(tmp_path / "s.yaml")], tmp_path / "runs", foresee=True)
    assert [row["origin"] for row in report.rows] == ["measured", "predicted", "predicted"]
    for row in report.rows[1:]:
        assert row["status"] == "completed" and 0 < row["mfu"] < 1 and row["memory_kind"] == "predicted"
    assert any(line.startswith("Predictions: 80 % intervals") for line in report.definitions)


def test_a_point_that_will_not_fit_takes_no_part_in_scaling(tmp_path: Path) -> None:
    text = STUDY.replace("sharding: fsdp", "sharding: ddp").replace("tp: [1, 4]", "tp: [1]")
    (tmp_path / "big.yaml").write_text(text)
    (row,) = schema.rows(predicted.rows_of(expand(study.read(str(tmp_path / "big.yaml"))).points))
    assert (row["status"], row["note"]) == ("oom", "memory: OOM")


def test_a_status_shows_the_prediction_beside_a_running_step(points: list[Point]) -> None:
    from hpcscale.cli.status import _rows, document
    from hpcscale.jobs.progress import Progress
    from hpcscale.jobs.status import PointStatus, StudyStatus

    step = 3 * seconds_of(points[0])
    running = PointStatus(
        points[0], Path(), "running", progress=Progress(Path(), step=3, step_seconds=step, has_record=True)
    )
    new = PointStatus(points[1], Path())
    shown, untouched = _rows([running, new])
    assert shown[6] == f"{step:.4g} (predicted {step / 3:.4g})" and "straggler" in shown[8]
    assert untouched[6] == ""
    first, second = document("s", StudyStatus([running, new]))["points"]
    assert first["predicted_step_seconds"] == pytest.approx(step / 3) and first["far_off"].startswith("3.0 times")
    assert second["predicted_step_seconds"] is None
    warming = replace(running, progress=replace(running.progress, step=1))  # type: ignore[type-var]
    assert "straggler" not in _rows([warming])[0][8]
    assert json.dumps(document("s", StudyStatus([warming])))
    assert "predicted" not in _rows([replace(running, word="completed")])[0][6]  # reports compare those


def test_a_predicted_series_is_called_so_beside_others(tmp_path: Path) -> None:
    names = {row["series"]: row["origin"] for row in build(["30b_scaling"], tmp_path, foresee=True).rows}
    assert {origin for name, origin in names.items() if "predicted" in name} == {"predicted"}
    assert {origin for name, origin in names.items() if "predicted" not in name} == {"published"}
