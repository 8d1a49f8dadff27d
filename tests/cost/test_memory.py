"""What a rank needs agrees with what the trainer's dry run holds, and adds up."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpcscale.cost import cases, memory, of_points
from hpcscale.cost.constants import Kind
from hpcscale.cost.hardware import Hardware
from hpcscale.cost.memory import LINES, Need
from hpcscale.spec import expand, study
from hpcscale.spec.layout import Layout, Training
from hpcscale.spec.model import Model

from . import random_layouts

# A dry run counts tensors: no process, no gaps, nothing that a kernel takes for itself.
TENSORS = {"activations": 1.0, "logits": 1.0, "gaps": 1.0, "process": 0.0}
GOLDEN: list[dict[str, Any]] = json.loads(random_layouts.GOLDEN.read_text())


def cases_of(layouts: list[dict[str, Any]]) -> cases.Cases:
    """The layouts as a study's points would describe them."""
    template = expand.expand(study.read("quickstart")).points[0]
    rows = []
    for each in layouts:
        point = replace(
            template, model=Model.model_validate(each["model"]), layout=Layout.model_validate(each["layout"]),
            training=Training.model_validate(each["training"]),
        )  # fmt: skip
        rows.append(of_points.described(point, Hardware(Kind(each["kind"], ""), 1, 1, 1, 1, 1, 1, None)))
    return cases.made(rows)


def need_of(layouts: list[dict[str, Any]]) -> Need:
    return memory.need(cases_of(layouts), TENSORS)


def peak(ranks: dict[str, dict[str, int]]) -> int:
    """Bytes of the rank that holds most."""
    return max(each["peak"] for each in ranks.values())


def test_memory_is_that_of_the_dry_run() -> None:
    errors = need_of(GOLDEN).total / np.array([peak(each["ranks"]) for each in GOLDEN]) - 1
    wrong = {str(GOLDEN[i]["layout"]): f"{error:+.1%}" for i, error in enumerate(errors) if abs(error) > 0.10}
    assert len(GOLDEN) >= 50
    assert not wrong
    assert statistics.median(np.abs(errors)) < 0.03


def test_the_golden_layouts_are_those_of_their_seed() -> None:
    known = ("kind", "model", "layout", "training")
    assert [{key: each[key] for key in known} for each in GOLDEN] == random_layouts.drawn(2026, len(GOLDEN))


def test_dry_runs_still_hold_what_the_golden_file_says() -> None:
    chosen = sorted(GOLDEN, key=_size)[:3]
    assert random_layouts.dry_runs(chosen) == [each["ranks"] for each in chosen]


def _size(layout: dict[str, Any]) -> tuple[int, ...]:
    """What a dry run's time grows with."""
    training, grid = layout["training"], layout["layout"]
    passes = training["global_batch_size"] // (grid.get("dp", 1) * training.get("micro_batch_size", 1))
    return (grid.get("pp", 1), layout["model"]["layers"] * passes, training["global_batch_size"])


def test_the_lines_add_up_to_the_total() -> None:
    need = need_of(GOLDEN)
    assert set(need.worst) == set(LINES)
    assert np.allclose(sum(need.worst.values()), need.total)
    assert all((each >= 0).all() for each in need.worst.values())


def layout(model: dict[str, Any] | None = None, training: dict[str, Any] | None = None, **grid: Any) -> dict[str, Any]:
    usual = {
        "name": "m",
        "family": "gpt",
        "layers": 8,
        "hidden": 1024,
        "heads": 16,
        "kv_heads": 16,
        "ffn": 4096,
        "vocab": 32000,
    }
    family = random_layouts.catalogue()[0]["gpt"]
    return {
        "kind": "gpu", "model": {**family, **usual, **(model or {})}, "layout": grid,
        "training": {"sequence_length": 2048, "global_batch_size": 32, **(training or {})},
    }  # fmt: skip


def total(**given: Any) -> float:
    return float(need_of([layout(**given)]).total[0])


def line(name: str, **given: Any) -> float:
    return float(need_of([layout(**given)]).worst[name][0])


def test_sharding_cuts_states() -> None:
    assert line("states", dp=8, sharding="zero1") == pytest.approx(line("states", dp=8) / 8)
    assert total(dp=8, sharding="fsdp") < total(dp=8, sharding="zero1") < total(dp=8)


@pytest.mark.parametrize(
    ("less", "more"),
    [("full", "selective-op"), ("selective-op", "none"), ("selective-layer:2", "none"), ("full", "selective-layer:4")],
)
def test_recomputing_more_keeps_less(less: str, more: str) -> None:
    few, many = (total(training={"activation_checkpointing": each, "micro_batch_size": 8}) for each in (less, more))
    assert few < many


def test_gpipe_holds_every_micro_batch_and_1f1b_one_a_stage() -> None:
    piped = {"pp": 4, "training": {"global_batch_size": 16}}
    need = need_of([layout(schedule="gpipe", **piped), layout(schedule="1f1b", **piped)])
    gpipe, one_forward_one_backward = need.first["activations"]
    assert gpipe == pytest.approx(16 / 4 * one_forward_one_backward)


def test_a_share_near_the_limit_is_risky() -> None:
    assert memory.verdict(np.array([50.0, 95.0, 101.0, 1.0]), np.array([100.0, 100.0, 100.0, np.nan])) == [
        "fits", "risky", "OOM", "unknown",
    ]  # fmt: skip
