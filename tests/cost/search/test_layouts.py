"""A search offers exactly what the rules allow and what hpcscale's trainer can run, as arrays that say what points say."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcscale.cost import hardware, layouts, of_points
from hpcscale.cost.layouts import MODES, SHARDINGS, Layouts, layout_of
from hpcscale.spec import rules
from hpcscale.spec.layout import Layout, Training
from hpcscale.spec.point import Point
from hpcscale.train.supported import not_built

from .questions import question

MACHINES = ("fugaku", "juwels-booster", "lumi-g")
MODELS = ("gpt-30b", "gpt-1.3b", "llama3-8b", "bert-large", "gpt-30b-7176", "tiny-llama")
SIZES = st.sampled_from([2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 48])
CHANGES = {
    **dict.fromkeys(("dp", "tp", "pp", "cp", "virtual", "micro_batch"), SIZES),
    "mode": st.integers(0, len(MODES) - 1), "sharding": st.integers(0, len(SHARDINGS) - 1), "sequence_parallel": st.just(True),
}  # fmt: skip
PLAIN = {**dict.fromkeys(CHANGES, 1), "mode": 0, "sharding": 0, "sequence_parallel": False}
# A few changes of a plain layout: with everything at random nearly all would break several rules at once.
ROW = st.sets(st.sampled_from(sorted(CHANGES)), max_size=4).flatmap(
    lambda names: st.fixed_dictionaries({name: CHANGES[name] for name in sorted(names)}).map(
        lambda row: {**PLAIN, **row}
    )
)
ASKED = st.builds(
    question,
    st.sampled_from(MACHINES),
    st.sampled_from(MODELS),
    sequence_length=st.sampled_from([96, 128, 512, 1000, 2048]),
    global_batch_size=st.sampled_from([1, 8, 36, 96, 1536]),
    precision=st.sampled_from(["fp32", "bf16"]),
)


def arrays(rows: list[dict[str, Any]]) -> Layouts:
    """Rows as layouts; hsdp gets two replicas."""
    rows = [{**row, "replicas": 2 if SHARDINGS[row["sharding"]] == "hsdp" else 0} for row in rows]
    return Layouts(**{each.name: np.array([row[each.name] for row in rows]) for each in fields(Layouts)})


def training_of(asked: Point, keys: dict[str, Any]) -> Training:
    return asked.training.model_copy(update={"micro_batch_size": keys["mbs"], "activation_checkpointing": keys["ac"]})


def violations(asked: Point, keys: dict[str, Any]) -> list[str]:
    """Of the layout itself: a table of positions that is too short is no layout's fault, and search refuses it before."""
    return list(rules.layout_violations(asked.model, layout_of(keys), training_of(asked, keys)))


@settings(max_examples=120, deadline=None)
@given(ASKED, st.lists(ROW, min_size=1, max_size=30))
def test_the_mask_is_the_rules(asked: Point, rows: list[dict[str, Any]]) -> None:
    found = arrays(rows)
    mask = layouts.legal(asked, found)
    for place in range(len(found)):
        reasons = violations(asked, found.keys(place))
        assert mask[place] == (not reasons), reasons


@pytest.mark.parametrize(("batch", "expected"), [(35, True), (36, False), (40, True)])
def test_interleaved_rounds_are_equally_long(batch: int, expected: bool) -> None:
    asked = question(global_batch_size=batch)
    found = arrays([{**PLAIN, "pp": 5, "virtual": 2}])
    assert layouts.legal(asked, found)[0] == expected
    assert (not violations(asked, found.keys(0))) == expected


@settings(max_examples=120, deadline=None)
@given(ASKED, st.lists(ROW, min_size=1, max_size=30))
def test_what_the_trainer_refuses_is_not_offered(asked: Point, rows: list[dict[str, Any]]) -> None:
    found = arrays(rows)
    mask = layouts.trainable(asked, found)
    cuda = asked.machine.device_facts.kind == "gpu"

    def refused(layout: Layout) -> set[str]:
        return set(not_built(asked.model, layout, asked.training, asked.data, asked.communication, cuda))

    for place in range(len(found)):
        reasons = refused(layout_of(found.keys(place))) - refused(Layout())
        assert mask[place] == (not reasons), reasons


@pytest.mark.parametrize(("name", "nodes", "ranks"), [("fugaku", 24, 24), ("juwels-booster", 6, 24), ("lumi-g", 3, 24)])
def test_every_layout_offered_uses_all_ranks_and_keeps_the_rules(name: str, nodes: int, ranks: int) -> None:
    asked = question(name, precision="fp16")
    found = layouts.every(asked, ranks)
    assert (found.dp * found.tp * found.pp * found.cp == ranks).all()
    for place in range(0, len(found), max(1, len(found) // 300)):
        assert not violations(asked, found.keys(place))
    machine, resources = asked.machine, asked.resources
    assert not list(rules.machine_violations(machine, asked.training, ranks, nodes, asked.ranks_per_node, resources))


def test_no_layout_is_offered_twice() -> None:
    found = layouts.every(question(), 24)
    rows = {tuple(getattr(found, each.name)[place] for each in fields(Layouts)) for place in range(len(found))}
    assert len(rows) == len(found)


def test_axes_schedules_shardings_and_checkpointing_are_all_offered() -> None:
    found = layouts.every(question("lumi-g"), 24)
    assert set(found.tp) == {1, 2, 4, 8}
    assert set(found.pp) == {1, 2, 3, 4, 6, 8, 12, 24}
    assert set(found.cp) == {1, 2, 4, 8}
    assert {1, 2, 3} < set(found.virtual)
    assert set(found.mode) == set(range(len(MODES)))
    assert set(found.sharding) == set(range(len(SHARDINGS)))
    assert set(found.sequence_parallel) == {False, True}


def test_a_single_rank_has_nothing_to_shard_or_cut() -> None:
    found = layouts.every(question("fugaku", precision="fp32"), 1)
    assert len(found)
    assert not found.sharding.any()
    assert not found.sequence_parallel.any()


def test_tensor_parallelism_crosses_nodes_only_where_they_are_small() -> None:
    assert max(layouts.every(question("fugaku", precision="fp32"), 32).tp) == 8
    assert max(layouts.every(question("juwels-booster"), 32).tp) == 8
    assert max(layouts.every(question("lumi-g"), 32).tp) == 8


def test_checkpointing_every_fourth_layer_needs_stages_of_four() -> None:
    found = layouts.every(question(), 24)
    quarter = found.mode == MODES.index("selective-layer:4")
    assert (24 // (found.pp * found.virtual))[quarter].min() == 4


@settings(max_examples=40, deadline=None)
@given(ASKED, st.data())
def test_arrays_say_what_the_same_points_say(asked: Point, data: st.DataObject) -> None:
    have = hardware.of_machine(asked.machine, "fp16", {}, asked.ranks_per_node)
    asked = replace(asked, training=asked.training.model_copy(update={"precision": "fp16"}))
    found = layouts.every(asked, 16)
    if not len(found):
        return
    place = data.draw(st.integers(0, len(found) - 1))
    keys = found.keys(place)
    point = replace(asked, layout=layout_of(keys), training=training_of(asked, keys))
    cases = layouts.as_cases(asked, found, have)
    for name, value in of_points.described(point, have).items():
        assert getattr(cases, name)[place] == pytest.approx(value, nan_ok=True), name
