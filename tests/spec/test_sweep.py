"""From a study to its points: sweeps, derived values, rules, identities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcscale.spec import study
from hpcscale.spec.expand import Expansion, expand
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError

Write = Callable[[str, str], Path]

BASE = """
name: s
model: gpt-30b
training: {sequence_length: 2048, global_batch_size: 1536}
layout: {tp: 4, pp: 48}
job: {time: 02:00:00}
machines: {fugaku: {training: {precision: fp32}}}
"""


@pytest.fixture
def points(write: Write) -> Callable[..., list[Point]]:
    def of(more: str = "", base: str = BASE, **overrides: Any) -> list[Point]:
        return expansion(write, base + more, **overrides).points

    return of


def expansion(write: Write, text: str, **overrides: Any) -> Expansion:
    return expand(study.read(str(write("s.yaml", text))), overrides=overrides)


def test_product_is_all_combinations_and_zip_goes_row_by_row(points: Callable[..., list[Point]]) -> None:
    found = points("sweep: {product: {dp: [1, 2]}, zip: {mbs: [1, 2], freq: [2000, 2200]}}\n")
    assert [(p.layout.dp, p.training.micro_batch_size, p.resources["freq"]) for p in found] == [
        (1, 1, 2000), (1, 2, 2200), (2, 1, 2000), (2, 2, 2200),
    ]  # fmt: skip


def test_a_list_of_sweeps_is_their_union_and_set_holds_for_one(points: Callable[..., list[Point]]) -> None:
    found = points("sweep: [{product: {dp: [1, 2]}}, {set: {tp: 8}, points: [{dp: 4}, {dp: 2, ac: full}]}]\n")
    assert [(p.layout.dp, p.layout.tp, p.training.activation_checkpointing) for p in found] == [
        (1, 4, "none"), (2, 4, "none"), (4, 8, "none"), (2, 8, "full"),
    ]  # fmt: skip


def test_exclude_takes_values_lists_and_expressions(points: Callable[..., list[Point]]) -> None:
    found = points(
        "sweep: {product: {dp: [1, 2, 4, 8], mbs: [1, 2]}, exclude: [{dp: [1, 2], mbs: 2}, 'dp * mbs >= 8']}\n"
    )
    assert [(p.layout.dp, p.training.micro_batch_size) for p in found] == [(1, 1), (2, 1), (4, 1)]


def test_derived_values_read_layout_machine_model_and_each_other(points: Callable[..., list[Point]]) -> None:
    base = BASE.replace(", global_batch_size: 1536", "")
    found = points("derive: {gbs: per_node * nodes, per_node: layers // 12}\nsweep: {product: {dp: [1, 2]}}\n", base)
    assert [p.training.global_batch_size for p in found] == [4 * 192, 4 * 384]


def test_nodes_follow_from_layout_and_machine(write: Write) -> None:
    text = "name: s\nmodel: gpt-13b\ntraining: {sequence_length: 2048, global_batch_size: 64}\nlayout: {tp: 4}\nmachines: {juwels-booster: {}}\nsweep: {product: {dp: [1, 3, 4]}, set: {gbs: 48}}\n"
    found = expansion(write, text).points
    assert [(p.layout.dp, p.ranks, p.nodes, p.devices) for p in found] == [(1, 4, 1, 4), (3, 12, 3, 12), (4, 16, 4, 16)]


def test_four_ranks_a_node_share_the_device_of_fugaku(points: Callable[..., list[Point]]) -> None:
    (point,) = points(ranks_per_node=4)
    assert (point.ranks, point.nodes, point.devices, point.threads_per_rank) == (192, 48, 48, 12)


@pytest.mark.parametrize(
    ("dp", "queue", "nodes"), [(1, "small", 192), (2, "small", 384), (4, "large", 768), (32, "large", 6144)]
)
def test_the_queue_follows_from_the_number_of_nodes(
    points: Callable[..., list[Point]], dp: int, queue: str, nodes: int
) -> None:
    (point,) = points(dp=dp)
    assert point.queue is not None
    assert (point.queue.name, point.nodes) == (queue, nodes)


def test_nodes_that_do_not_fill_the_torus_unit_are_a_warning(points: Callable[..., list[Point]]) -> None:
    (point,) = points(tp=7, pp=8, dp=8)
    assert point.warnings == ("large hands out nodes in units of 48: 448 nodes occupy 480",)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"tp": 5}, "tp 5 does not divide the 56 heads of gpt-30b (nearest that do: 4 and 7)"),
        ({"pp": 60}, "pp 60 wants 60 stages, but gpt-30b has 48 layers"),
        ({"dp": 7}, "global_batch_size 1536 is not divisible by dp 7 (nearest: 1533 or 1540)"),
        ({"mbs": 5}, "must be divisible by dp 1 x micro_batch_size 5 = 5 (nearest: 1535 or 1540)"),
        ({"dp": 128, "time": "01:00:00"}, "no queue takes 24576 nodes for 01:00:00"),
        ({"time": "100:00:00"}, "no queue takes 192 nodes for 100:00:00"),
        ({"queue": "larg"}, "fugaku has no queue 'larg'"),
        (
            {"dp": 4, "communication": "gloo"},
            "TCP/IP, which fugaku allows in jobs of up to 512 nodes, not 768; use mpi",
        ),
        ({"freq": 2100}, "freq 2100 is not possible on fugaku: it must be one of 2000, 2200"),
        ({"node_shape": "4x6x9"}, "node_shape 4x6x9 has 216 nodes, but the layout needs 192"),
        ({"node_shape": '4x6x8"; rm'}, "is no shape such as"),
        ({"sharding": "hsdp"}, "sharding hsdp needs dp_replicate"),
        ({"ranks_per_node": 5}, "ranks_per_node 5 is none of 1, 2, 4"),
        ({"cp": 3, "dp": 1}, "cuts a sequence into 6 equal chunks, but 6 does not divide 2048 tokens"),
    ],
)
def test_a_point_that_breaks_a_rule_is_skipped_with_the_numbers(
    write: Write, overrides: dict[str, Any], reason: str
) -> None:
    found = expansion(write, BASE, **overrides)
    assert found.points == []
    assert reason in found.skipped[0].reason


def test_identities_name_what_varies_and_hashes_do_not_move(points: Callable[..., list[Point]]) -> None:
    # The hash is written down on purpose: results of earlier runs are found again by it.
    found = points("sweep: {product: {dp: [1, 2]}}\n")
    assert [p.identity for p in found] == ["dp1-1d69477d", "dp2-ceaaf8be"]


def test_job_demands_change_no_hash_but_what_is_measured_does(points: Callable[..., list[Point]]) -> None:
    (plain,), (longer,), (clock,) = points(), points(time="05:00:00"), points(freq=2000)
    assert plain.hash == longer.hash != clock.hash


def test_repeats_are_points_of_their_own(points: Callable[..., list[Point]]) -> None:
    found = points("protocol: {repeats: 3}\n")
    assert [p.repeat for p in found] == [1, 2, 3]
    assert len({p.hash for p in found}) == 3


def test_a_point_that_stands_twice_is_made_once(write: Write) -> None:
    found = expansion(write, BASE + "sweep: [{product: {dp: [1, 2]}}, {points: [{dp: 2}]}]\n")
    assert len(found.points) == 2
    assert found.duplicates == 1


def test_mp_is_a_spelling_of_tp(points: Callable[..., list[Point]]) -> None:
    (point,) = points(base=BASE.replace("tp: 4", "mp: 4"))
    assert point.layout.tp == 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("sweep: {product: {dp: [1], layout.dp: [2]}}", "s.yaml:8:28: two values for one axis: 'layout.dp' is swept twice"),
        ("sweep: {product: {dp: [1]}, zip: {dp: [2]}}", "two values for one axis: 'dp' stands in more than one of set, product and zip"),
        ("sweep: {product: {gbs: [8]}}\nderive: {gbs: dp}", "'gbs' is derived and also swept or set"),
        ("sweep: {zip: {dp: [1, 2], mbs: [1]}}", "the lists of a zip must be of one length, but they have: dp 2, mbs 1"),
        ("sweep: {product: {nodes: [1]}}", "'nodes' follows from the layout and the machine and is never typed"),
        ("sweep: {product: {gbz: [1]}}", "s.yaml:8:19: 'gbz' is no key that can be set; did you mean 'gbs'?"),
        ("sweep: {product: {dp: []}}", "the list of 'dp' is empty"),
        ("derive: {dp: mbs, mbs: gbs // 2, gbs: dp}", "derived values go round in a circle: dp -> mbs -> gbs -> dp"),
        ("derive: {dp: nodez * 2}", "s.yaml:8:14: 'nodez * 2' reads 'nodez', which is neither a key nor derived; did you mean 'nodes'?"),
        ("derive: {dp: 3 / 2}", "the derived value does not fit: dp is 1.5; it must be a whole number"),
        ("derive: {dqp: 3}", "'dqp' is no key that can be set"),
        ("resources: {}", "'resources' is no key of a study"),
        ("sweep: {product: {ac: [ful]}}", "'ful' is none of none, full, selective-op"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_sweep_is_said_at_its_place(write: Write, more: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        expansion(write, BASE + more + "\n")
    assert message in str(caught.value)


def test_a_point_has_the_same_name_whichever_machines_are_asked_for() -> None:
    whole = expand(study.read("30b_scaling"))
    for name in ("fugaku", "juwels-booster"):
        part = expand(study.read("30b_scaling"), [name])
        assert [p.identity for p in part.points] == [p.identity for p in whole.points if p.machine.name == name]


def test_what_set_says_wins_over_swept_and_derived_values(points: Callable[..., list[Point]]) -> None:
    found = points("derive: {gbs: dp * 8}\nsweep: {product: {dp: [1, 2], mbs: [1, 2]}}\n", gbs=48, mbs=4)
    assert [(p.training.global_batch_size, p.training.micro_batch_size) for p in found] == [(48, 4), (48, 4)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "scaling: strong\nsweep: {zip: {dp: [1, 2], gbs: [96, 192]}}",
            "s.yaml:8:10: scaling: strong means one global batch size, but gpt-30b on fugaku has 96 at 192, 192 at 384 devices",
        ),
        (
            "scaling: weak\nsweep: {product: {dp: [1, 2]}}",
            "scaling: weak means one global batch size per device, but gpt-30b on fugaku has 4 at 384, 8 at 192 devices",
        ),
        ("scaling: strong\nsweep: {product: {dp: [1, 2], gbs: [96, 192]}}", None),
        ("scaling: weak\nsweep: {zip: {dp: [1, 2], gbs: [96, 192]}}", None),
    ],
)
def test_what_a_study_says_of_its_scaling_is_checked(write: Write, more: str, message: str | None) -> None:
    if message is None:
        assert expansion(write, BASE + more + "\n").points
        return
    with pytest.raises(InputError) as caught:
        expansion(write, BASE + more + "\n")
    assert message in str(caught.value)


def test_more_ranks_than_this_computer_holds_is_said_in_its_own_words(write: Write) -> None:
    text = "name: s\nmodel: tiny-gpt\ntraining: {sequence_length: 64, global_batch_size: 4096}\nmachines: {local: {}}\n"
    (skipped,) = expansion(write, text, dp=4096).skipped
    assert skipped.reason.startswith("4096 ranks are more than local holds (")


def test_exclude_sees_values_of_the_study_and_derived_ones(points: Callable[..., list[Point]]) -> None:
    base = BASE.replace(", global_batch_size: 1536", "") + "derive: {gbs: dp * 48}\n"
    found = points("sweep: {product: {dp: [1, 2, 4, 8]}, exclude: [{gbs: 96}, {seq: 2048, dp: [1, 4]}]}\n", base)
    assert [p.layout.dp for p in found] == [8]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("sweep: {product: {dp: [1]}, exclude: [{dp: '1'}]}", "dp is '1'; it must be a whole number"),
        ("sweep: {product: {dp: [1]}, exclude: ['nosuch > 1']}", "'nosuch', which is neither a key nor derived"),
        ("sweep: {product: {repeats: [1, 2]}}", "repeats is no axis"),
        ("sweep: {product: {ranks_per_node: [x]}}", "ranks_per_node is 'x'; it must be a whole number"),
        ("compare: nosuch", "s.yaml:8:10: there is no published table 'nosuch'"),
    ],
)
def test_more_that_is_wrong_with_a_study(write: Write, more: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        expansion(write, BASE + more + "\n")
    assert message in str(caught.value)


def test_points_that_are_the_same_in_other_words_are_one(write: Write) -> None:
    found = expansion(write, BASE + "sweep: {points: [{dp: 1}, {dp: 1, ac: none}]}\n")
    assert (len(found.points), found.duplicates) == (1, 1)


def test_a_queue_s_short_default_time_is_a_warning(points: Callable[..., list[Point]]) -> None:
    (point,) = points(base=BASE.replace("job: {time: 02:00:00}\n", ""))
    assert "job.time is not set: small gives 00:01:00" in point.warnings
