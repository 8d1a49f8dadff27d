"""What does not fit, and the smallest change that does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpcscale.cost.nearest import nearest
from hpcscale.cost.of_points import foresee
from hpcscale.spec.layout import Layout
from hpcscale.spec.point import Point
from hpcscale.spec.workload import Workload

from .questions import question


def point(layout: Layout, **training: Any) -> Point:
    asked = question(of="gpt-13b", global_batch_size=64, **training)
    return replace(asked, layout=layout, nodes=layout.ranks // 4)


def changed(one: Point, keys: dict[str, Any]) -> Point:
    """The point with these keys set, as a study would."""
    layout = one.layout.model_dump() | {name: value for name, value in keys.items() if name in Layout.model_fields}
    names = {"mbs": "micro_batch_size", "ac": "activation_checkpointing"}
    training = {names[name]: value for name, value in keys.items() if name in names}
    return replace(one, layout=Layout(**layout), training=one.training.model_copy(update=training))


def verdict(one: Point) -> str:
    predictions = foresee([one]).predictions
    assert predictions is not None
    return predictions.verdict[0]


def found(one: Point) -> tuple[dict[str, Any], str]:
    answer = nearest(one)
    assert answer is not None
    return answer


def test_sequence_parallelism_comes_first_where_it_is_enough_it_costs_nothing() -> None:
    one = point(Layout(tp=4, pp=8), micro_batch_size=4, sequence_length=2176)
    assert verdict(one) == "OOM"
    assert found(one)[0] == {"sequence_parallel": True}


def test_checkpointing_or_a_smaller_micro_batch_before_anything_larger() -> None:
    one = point(Layout(dp=2, tp=4, pp=4, sequence_parallel=True), micro_batch_size=8)
    assert verdict(one) == "OOM"
    keys, sentence = found(one)
    assert len(keys) == 1
    ((name, value),) = keys.items()
    assert name in ("ac", "mbs")
    assert sentence.startswith(f"nearest that fits: {name}={value} (")
    assert "of 40.0 GiB" in sentence


def test_the_mesh_changes_only_where_nothing_else_helps() -> None:
    one = point(Layout(dp=32), activation_checkpointing="full")
    keys, _ = found(one)
    assert set(keys) <= {"sharding", "mbs"} and keys["sharding"] == "fsdp"
    asked = question(of="llama2-70b", activation_checkpointing="full")
    keys, _ = found(replace(asked, layout=Layout(pp=48), nodes=12))  # one copy, so nothing to shard
    assert set(keys) - {"sequence_parallel"} == {"tp", "pp"}
    assert keys["tp"] * keys["pp"] == 48


@pytest.mark.parametrize("layout", [Layout(dp=2, tp=4, pp=4), Layout(dp=32), Layout(dp=16, pp=2), Layout(dp=8, tp=4)])
@pytest.mark.parametrize("micro", [1, 4, 8])
def test_what_it_names_fits_on_the_same_ranks_with_the_same_batch(layout: Layout, micro: int) -> None:
    one = point(layout, micro_batch_size=micro)
    keys, _ = found(one)
    after = changed(one, keys)
    assert verdict(after) == "fits"
    assert after.layout.ranks == one.layout.ranks


def test_a_point_that_fits_needs_no_change() -> None:
    one = point(Layout(dp=2, tp=4, pp=4), activation_checkpointing="full")
    assert found(one)[0] == {}


def test_there_is_none_where_the_model_is_too_large_for_the_nodes() -> None:
    asked = question(of="llama2-70b")
    assert nearest(replace(asked, layout=Layout(tp=4), nodes=1)) is None


def test_a_program_is_only_offered_what_it_can_say() -> None:
    one = point(Layout(tp=4, pp=8), micro_batch_size=4, sequence_length=2176)
    assert found(one)[0] == {"sequence_parallel": True}
    keys, _ = found(replace(one, workload=Workload(name="megatron-deepspeed")))  # which has no such thing
    assert keys
    assert set(keys) <= {"ac", "mbs", "sharding"}
    assert keys.get("ac", "none") in ("none", "full")
