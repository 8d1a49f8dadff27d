"""What a search says: the ranking, what was dropped and why, deadline and budget, the Pareto front, the study it writes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hpcscale.cost import hardware, layouts, search
from hpcscale.cost.as_study import study_of
from hpcscale.cost.predict import predict, predict_alike
from hpcscale.cost.search import Choice
from hpcscale.spec import study
from hpcscale.spec.expand import expand
from hpcscale.spec.machine import Calibration

from .questions import question

CALIBRATION = Calibration(date="2026-01-01", source="a test", constants={"matmul": 0.5, "process": 1e9})


def chosen(nodes: int = 6, **training: object) -> list[Choice]:
    return search.choices(search.rank(question(**training), nodes))


def test_the_fastest_layout_that_fits_comes_first() -> None:
    asked = question()
    ranked = search.rank(asked, 6, variants=True)
    found = search.choices(ranked)
    seconds = [each.seconds for each in found]
    assert all(after > before * 0.995 for before, after in pairwise(seconds))  # ties aside
    assert not any(each.verdict == "OOM" for each in found)
    assert ranked.fitting < ranked.legal
    everything = layouts.every(asked, 24)
    have = hardware.of_machine(asked.machine, "bf16", {}, 4)
    predictions = predict(layouts.as_cases(asked, everything, have), [have.kind] * len(everything))
    fits = np.array(predictions.verdict) != "OOM"
    assert ranked.legal == len(everything)
    assert ranked.fitting == fits.sum()
    assert found[0].seconds == pytest.approx(predictions.seconds[fits].min(), rel=5e-3)


def test_of_each_mesh_only_the_best_is_ranked_unless_variants_are_asked_for() -> None:
    meshes = [each.mesh for each in chosen()]
    assert len(set(meshes)) == len(meshes)
    every_one = search.choices(search.rank(question(), 6, variants=True))
    best = {each.mesh: each.seconds for each in reversed(every_one)}
    assert {each.mesh: each.seconds for each in chosen()}.items() >= best.items()


def test_of_two_layouts_that_take_the_same_time_the_simpler_one_comes_first() -> None:
    asked = question()
    everything = layouts.every(asked, 8)
    plain = everything[(everything.pp == 1) & (everything.tp == 1) & (everything.cp == 1)]
    plain = plain[np.arange(len(plain))[::-1]]
    order = search._order(plain, np.ones(len(plain)))
    first = plain.keys(int(order[0]))
    assert (first["ac"], first["sharding"]) == ("none", "ddp")


def test_a_machines_calibration_counts() -> None:
    asked = question()
    machine = asked.machine.model_copy(update={"calibration": CALIBRATION})
    calibrated = search.question(asked.model, machine, asked.training, {})
    assert search.choices(search.rank(calibrated, 6))[0].seconds > chosen()[0].seconds * 1.1


def test_one_machine_for_all_gives_what_each_case_alone_gives() -> None:
    asked = question()
    found = layouts.every(asked, 8)[::97]
    have = hardware.of_machine(asked.machine, "bf16", {}, 4)
    cases = layouts.as_cases(asked, found, have)
    alike = predict_alike(cases, have.kind, CALIBRATION)
    each = predict(cases, [have.kind] * len(cases), [CALIBRATION] * len(cases))
    for name in ("seconds", "low", "high", "memory"):
        assert getattr(alike, name) == pytest.approx(getattr(each, name))


def test_the_terms_times_the_correction_are_the_seconds_and_the_lines_are_the_memory() -> None:
    ranked = search.rank(question(), 6)
    p = ranked.predictions
    assert np.sum(list(p.step.terms.values()), axis=0) * p.correction == pytest.approx(p.seconds)
    assert np.maximum(sum(p.need.first.values()), sum(p.need.last.values())) == pytest.approx(p.memory)


def test_node_hours_count_the_nodes_that_the_queue_hands_out() -> None:
    asked = question("fugaku", precision="fp32", global_batch_size=512)
    ranked = search.rank(asked, 512)
    assert ranked.queue is not None
    assert (ranked.queue.name, ranked.paid) == ("large", 528)  # units of 48
    best = search.choices(ranked)[0]
    steps = 1e9 / (512 * 2048)
    assert best.node_hours(1e9) == pytest.approx(steps * best.seconds / 3600 * 528)


def test_more_nodes_than_a_machine_or_its_queues_have_are_refused_in_a_sentence() -> None:
    asked = question("fugaku", precision="fp32")
    assert "more than fugaku has" in str(search.refusal(asked, 200_000))
    assert "no queue of fugaku takes 20,000 nodes: small takes 1 to 384 nodes" in str(search.refusal(asked, 20_000))
    assert search.refusal(asked, 384) is None


def test_a_model_too_large_for_any_layout_says_what_the_most_frugal_needs() -> None:
    ranked = search.rank(question(of="gpt-30b"), 1)
    assert ranked.fitting == 0
    assert "most frugal needs" in str(search.why_empty(ranked))
    assert "of 40.0 GiB" in str(search.why_empty(ranked))


def test_a_node_count_without_a_layout_names_the_nearest_that_have_one() -> None:
    ranked = search.rank(question("fugaku", precision="fp32"), 41)
    assert ranked.legal == 0
    assert "(nearest that do: 40 and 42 nodes)" in str(search.why_empty(ranked))


def test_a_deadline_and_a_budget_leave_what_keeps_them() -> None:
    found = chosen()
    middle = found[len(found) // 2]
    left, why = search.within(found, 1e9, middle.hours(1e9), None)
    assert not why
    assert left
    assert all(each.seconds <= middle.seconds for each in left)
    assert len(left) < len(found)
    left, _ = search.within(found, 1e9, None, middle.node_hours(1e9))
    assert all(each.node_hours(1e9) <= middle.node_hours(1e9) for each in left)


def test_a_deadline_that_nothing_keeps_says_what_the_fastest_takes() -> None:
    found = chosen()
    left, why = search.within(found, 1e12, 1.0, None)
    assert not left
    hours = f"{found[0].hours(1e12):,.1f} hours"
    assert why.startswith("no layout trains 1e+12 tokens within 1 hours: the fastest takes " + hours)


def test_nothing_on_the_front_is_slower_and_dearer_than_another() -> None:
    found = [each for nodes in (2, 4, 8) for each in chosen(nodes)]
    front = search.front(found)
    assert {each.nodes for each in front} > {2}
    for each in front:
        assert not [
            other for other in found if other.seconds < each.seconds and other.node_hours(1.0) < each.node_hours(1.0)
        ]
    times = [each.seconds for each in front]
    assert times == sorted(times)


def test_a_range_is_its_ends_and_powers_of_two_and_three_times_them() -> None:
    assert search.steps_between(10, 100) == [10, 12, 16, 24, 32, 48, 64, 96, 100]
    assert search.steps_between(7, 7) == [7]


def test_the_written_study_expands_to_just_these_layouts(tmp_path: Path) -> None:
    found = [each for nodes in (2, 6) for each in chosen(nodes)[:4]]
    path = tmp_path / "found.yaml"
    path.write_text(study_of(found, "found", "hpcscale search ..."), encoding="utf-8")
    expansion = expand(study.read(str(path)))
    assert not expansion.skipped
    assert [point.layout for point in expansion.points] == [each.point.layout for each in found]
    assert [point.training for point in expansion.points] == [each.point.training for each in found]
    assert [point.nodes for point in expansion.points] == [each.nodes for each in found]
    for point, each in zip(expansion.points, found, strict=True):
        assert point.job.time is not None
        assert point.job.time >= 7 * each.high
