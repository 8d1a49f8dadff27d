"""A plan's rows: what they say of memory, time and node-hours, what cannot run, and that explanations add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcscale.cost import plan as plans
from hpcscale.cost.compare import Tables
from hpcscale.cost.deviation import far_off
from hpcscale.cost.explain import BOUNDS, explain, parts
from hpcscale.cost.job_time import START_SECONDS
from hpcscale.cost.plan import plan
from hpcscale.cost.time import TERMS
from hpcscale.spec import study
from hpcscale.spec.expand import expand
from hpcscale.spec.point import Point

STUDY = """\
name: s
model: gpt-30b
training: {sequence_length: 2048, global_batch_size: 768, activation_checkpointing: full}
job: {time: 24:00:00}
machines: {juwels-booster: {layout: {tp: 4, pp: 12}}}
protocol: {warmup_steps: 2, measured_steps: 5}
"""
Write = Callable[[str, str], Path]


@pytest.fixture
def points(write: Write) -> Callable[..., list[Point]]:
    def expanded(more: str = "", **sets: Any) -> list[Point]:
        return expand(study.read(str(write("s.yaml", STUDY + more))), (), sets).points

    return expanded


def test_node_hours_are_nodes_times_the_start_and_the_protocols_steps(points: Callable[..., list[Point]]) -> None:
    (row,) = plan(points()).rows
    assert row.step_seconds and row.node_hours
    assert row.node_hours == pytest.approx(12 * (START_SECONDS + 7 * row.step_seconds) / 3600)


def test_repeats_are_one_row_and_cost_what_they_cost(points: Callable[..., list[Point]], write: Write) -> None:
    (once,) = plan(points()).rows
    text = STUDY.replace("measured_steps: 5", "measured_steps: 5, repeats: 3") + "sweep: {product: {dp: [1, 2]}}\n"
    found = plan(expand(study.read(str(write("three.yaml", text)))).points).rows
    assert [row.repeats for row in found] == [3, 3]
    assert found[0].node_hours == pytest.approx(3 * (once.node_hours or 0))


def test_tokens_are_steps_of_the_global_batch_in_as_many_jobs_as_the_queue_makes_of_them(
    points: Callable[..., list[Point]],
) -> None:
    tokens = 1e9
    (row,) = plan(points(), tokens=tokens).rows
    (same,) = plan(points(), steps=636).rows
    assert row.long and row.step_seconds and row.long == same.long
    assert row.long.steps == 636  # 1e9 / (768 x 2048), rounded up
    assert row.long.jobs == -(-636 * row.step_seconds // (24 * 3600 - START_SECONDS))
    assert row.long.seconds == pytest.approx(636 * row.step_seconds + row.long.jobs * START_SECONDS)
    assert row.long.node_hours == pytest.approx(12 * row.long.seconds / 3600)


def test_a_point_that_does_not_fit_says_so_and_names_a_point_that_does(
    points: Callable[..., list[Point]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_nearest_layout", lambda _: "")
    planned = plan(points("sweep: {product: {pp: [1, 12]}}\n"))
    found, totals = planned.rows, planned.totals
    assert found[0].problem.startswith("out of memory: a rank needs ") and found[0].problem.endswith(" of 40.0 GiB")
    assert found[0].way == f"{found[1].point.identity} would run"
    assert found[1].problem == ""
    assert totals == {"juwels-booster": found[1].node_hours}


def test_the_point_that_is_named_instead_has_the_most_similar_number_of_nodes(
    points: Callable[..., list[Point]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_nearest_layout", lambda _: "")
    rows = plan(points("sweep: {points: [{dp: 32, pp: 1}, {dp: 1, pp: 12}, {dp: 4, pp: 12}]}\n")).rows
    assert [row.point.nodes for row in rows] == [32, 12, 48]
    assert rows[0].way == f"{rows[2].point.identity} would run"


def test_a_protocol_longer_than_its_queue_or_its_job_says_which(points: Callable[..., list[Point]]) -> None:
    (short,) = plan(points(**{"job.time": "00:10:00"})).rows
    assert "and its job has 00:10:00; write job.time: auto" in short.problem
    (long,) = plan(points(measured_steps=100000)).rows
    assert long.problem.endswith("and booster gives 24:00:00 at most")


def test_an_unknown_peak_is_a_reason_and_not_a_number(points: Callable[..., list[Point]]) -> None:
    (row,) = plan(points(precision="fp8")).rows
    assert row.step_seconds is None and row.verdict == ""
    assert row.reason.startswith("no fp8 peak of a100-40gb is known")


def test_the_best_are_marked_among_points_that_run_and_do_the_same_work(points: Callable[..., list[Point]]) -> None:
    rows = plan(points("sweep: {product: {dp: [1, 4], seq: [2048, 4096]}}\n")).rows
    for length in (2048, 4096):
        group = [row for row in rows if row.point.training.sequence_length == length]
        assert [row.point.layout.dp for row in group if row.fastest] == [4]
        assert [row.point.layout.dp for row in group if row.cheapest] == [1]
    fastest = max(rows, key=lambda row: row.tokens_per_second or 0)
    assert fastest.fastest


def test_published_rows_stand_beside_the_points_that_they_are() -> None:
    rows = plan(expand(study.read("30b_scaling")).points, ["megatron_30b_fugaku"]).rows
    found = {
        (row.point.nodes, row.point.layout.tp, row.point.training.activation_checkpointing): [
            (each.status, each.step_seconds) for each in row.published
        ]
        for row in rows
        if row.point.machine.name == "fugaku"
    }
    assert found[192, 4, "full"] == [("completed", 3720.0), ("completed", 3534.8833)]  # measured twice
    assert found[384, 4, "full"] == [("completed", 1841.59885)]
    assert found[384, 8, "full"] == [("completed", 2338.8)]
    assert found[384, 8, "none"] == [("oom", None)]
    assert found[48, 1, "full"] == [("oom", 17212.8)]
    assert not any(row.published for row in rows if row.point.machine.name != "fugaku")


def test_another_machine_of_the_same_kind_has_no_published_row() -> None:
    (point, *_) = expand(study.read("30b_scaling")).points
    elsewhere = replace(point, machine=point.machine.model_copy(update={"name": "elsewhere"}))
    tables = Tables(["megatron_30b_fugaku"])
    assert len(tables.of(point)) == 2 and tables.of(elsewhere) == ()


def test_published_throughput_is_seconds_per_step_too() -> None:
    (point, *_) = expand(study.read("torchtitan_llama")).points
    (row,) = Tables(["torchtitan"]).of(point)
    rates = {"llama3-8b": 2904}
    assert row.step_seconds == pytest.approx(64 * 8192 / (64 * rates[point.model.name]))


def test_an_explanation_adds_up(points: Callable[..., list[Point]]) -> None:
    found = plan(points("sweep: {product: {dp: [1, 4]}}\n"))
    assert found.predictions is not None
    for i, row in enumerate(found.rows):
        told = explain(found.predictions, i)
        assert told.seconds == pytest.approx(row.step_seconds)
        assert sum(term.share for term in told.terms) == pytest.approx(1)
        assert max(told.first, told.last or 0) == pytest.approx(row.memory_bytes)
        assert told.bound in BOUNDS


def test_every_term_of_time_belongs_to_one_bound() -> None:
    assert sorted(name for names in BOUNDS.values() for name in names) == sorted(TERMS)


def test_printed_parts_add_up_to_the_printed_sum() -> None:
    values = list(np.random.default_rng(1).uniform(0, 3, 13))
    assert sum(parts(values, 1)) == pytest.approx(round(sum(values), 1))
    assert parts([0.04, 0.04, 0.04], 1) == [0.0, 0.1, 0.0]


def test_only_what_is_far_outside_the_interval_is_flagged() -> None:
    assert far_off(1.1, 1.0, 0.85, 1.18) == ""
    assert far_off(1.3, 1.0, 0.85, 1.18) == ""  # outside, as one run in ten is
    assert far_off(1.5, 1.0, 0.85, 1.18).startswith(
        "50 % above the predicted 1 s (80 %: 0.85 to 1.18): likely a straggler"
    )
    assert far_off(3.0, 1.0, 0.85, 1.18).startswith("3.0 times the predicted")
    assert "less than its description" in far_off(0.5, 1.0, 0.85, 1.18)


def test_a_search_for_another_layout_is_made_for_some_points_only(
    points: Callable[..., list[Point]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(plans, "_nearest_layout", lambda point: asked.append(point) or "try tp 8")
    batches = ", ".join(str(12 * (i + 1)) for i in range(plans.MOST_WAYS + 5))
    rows = plan(points(f"sweep: {{set: {{pp: 1}}, product: {{gbs: [{batches}]}}}}\n")).rows
    assert all(row.out_of_memory for row in rows) and len(asked) == plans.MOST_WAYS
    assert rows[0].way == "try tp 8"
