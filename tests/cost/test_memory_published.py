"""Memory and verdicts against rows that others published (benchmarks/data/published_rows.csv)."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from hpcscale.cost import of_points, programs, tables
from hpcscale.spec import expand, study

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "prediction.py"
# tp, dp, checkpointing -> what happened to gpt-30b on Fugaku with DeepSpeed, pp 48 (DeepSpeedFugaku, 30b_benchmarking.md)
FUGAKU = {
    (1, 1, "full"): "OOM",
    (4, 1, "full"): "fits",
    (8, 1, "full"): "fits",
    (8, 1, "none"): "OOM",
    (4, 16, "full"): "fits",
}


def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("prediction", BENCHMARK)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_calibrated_memory_is_near_what_was_measured() -> None:
    prediction = benchmark()
    found = prediction.memory(prediction.read())
    assert found["median"] <= 0.10
    assert found["oom_missed"] <= 1
    assert found["false_alarms"] <= 0.05 * found["other_rows"]


def rows(system: str) -> list[dict[str, Any]]:
    with tables_file().open(encoding="utf-8") as file:
        return [
            row for row in csv.DictReader(file) if row["system"] == system and (row["mem_gib"] or row["oom"] == "yes")
        ]


def tables_file() -> Path:
    return BENCHMARK.parent / "data" / "published_rows.csv"


@pytest.mark.parametrize("system", ["fugaku", "jeanzay_a100_80gb", "meta_h100_96gb"])
def test_memory_without_calibration_is_right_to_an_eighth(system: str) -> None:
    measured = [row for row in rows(system) if row["oom"] != "yes"]
    found = tables.predict_rows(measured)
    errors = sorted(
        abs((each.memory or 0) / float(row["mem_gib"]) / tables.GIB - 1)
        for each, row in zip(found, measured, strict=True)
    )
    assert errors[len(errors) // 2] < 0.125


def test_rows_of_fugaku_fit_or_not_as_they_did() -> None:
    known = rows("fugaku")
    assert len(known) == len(FUGAKU)
    for row, found in zip(known, tables.predict_rows(known), strict=True):
        assert (found.verdict == "OOM") == (row["oom"] == "yes"), row


@pytest.mark.parametrize("workload", ["hpcscale", "megatron-deepspeed-fugaku"])
def test_points_on_fugaku_fit_or_not_as_they_did(workload: str, tmp_path: Path) -> None:
    (tmp_path / "known.yaml").write_text(
        "name: known\nmodel: gpt-30b\n"
        "training: {sequence_length: 2048, global_batch_size: 1536, precision: fp32}\nscaling: none\n"
        f"workload: {workload}\nmachines:\n  fugaku:\n    layout: {{pp: 48}}\n    sweep:\n      points:\n"
        + "".join(f"        - {{tp: {tp}, dp: {dp}, ac: {mode}}}\n" for tp, dp, mode in FUGAKU)
    )
    points = expand.expand(study.read(str(tmp_path / "known.yaml"))).points
    found = of_points.foresee(points).predictions
    assert found is not None
    verdicts = {
        (point.layout.tp, point.layout.dp, point.training.activation_checkpointing): verdict
        for point, verdict in zip(points, found.verdict, strict=True)
    }
    assert verdicts == FUGAKU


@pytest.mark.parametrize(
    ("sharding", "precision", "notes", "name"),
    [
        ("zero1", "fp16", "", "DeepSpeed fp16"), ("zero1", "bf16", "", "DeepSpeed bf16"), ("ddp", "bf16", "", "Megatron-LM"),
        ("distopt", "bf16", "", "Megatron-LM"), ("fsdp2", "bf16", "", "torchtitan"), ("fsdp", "bf16", "", "FSDP"),
        ("fsdp", "bf16", "torchtitan, eager", "torchtitan"),
    ],
)  # fmt: skip
def test_a_table_names_its_program_by_its_sharding(sharding: str, precision: str, notes: str, name: str) -> None:
    assert programs.PROGRAMS[programs.of_table(sharding, precision, notes)].name == name
