"""The time model's terms: what each follows from, and that a total is their sum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpcscale.cost import cases, programs
from hpcscale.cost.cases import Cases
from hpcscale.cost.constants import Kind, values_of
from hpcscale.cost.of_rows import described
from hpcscale.cost.time import TERMS, Step, ring_rate, step

ROW = {
    "model": "gpt-30b", "layers": 48, "hidden": 7168, "heads": 56, "ffn": 28672, "vocab": 50304, "seq": 2048,
    "gpus": 64, "nodes": 8, "gpu_type": "a100_80gb", "tp": 4, "pp": 4, "dp": 4, "mbs": 1, "gbs": 256, "ac_mode": "full",
    "sharding": "ddp", "precision": "bf16",
}  # fmt: skip


def made(*changes: dict[str, Any]) -> tuple[Cases, list[Kind]]:
    found = [described({**ROW, **change}) for change in changes]
    assert not any(each.reason for each in found), [each.reason for each in found]
    return cases.made([each.values or {} for each in found]), [each.kind for each in found]


def steps(*changes: dict[str, Any]) -> Step:
    found, kinds = made(*changes)
    return step(found, values_of(kinds))


def test_the_total_is_the_sum_of_the_named_terms() -> None:
    found = steps({}, {"pp": 1, "gpus": 16, "nodes": 2}, {"sharding": "fsdp", "tp": 1, "pp": 1, "dp": 64})
    assert list(found.terms) == list(TERMS)
    assert found.total == pytest.approx(sum(found.terms.values()))
    assert (found.total > 0).all()


def test_products_take_their_flops_over_the_rate() -> None:
    """24 B s d^2 a layer forward, four passes with recomputation, 12 layers a stage, 64 micro batches, tp 4; and half a wave."""
    found, kinds = made({})
    values = values_of(kinds)
    wave = 2 * (values["wave"][0] / 2) * (2 * 7168 + (7168 + 28672) / 4)
    flops = 64 * 12 * 4 * (24 * 2048 * 7168**2 / 4 + wave)
    assert step(found, values).terms["matmul"][0] == pytest.approx(
        flops / (312e12 * values["matmul"][0]) * values["overall"][0] * (1 + values["crowding"][0])
    )


def test_larger_micro_batches_fill_their_waves_better() -> None:
    one, two = steps({}, {"mbs": 2}).terms["matmul"]
    assert 0.85 * one < two < 0.97 * one


def test_the_bubble_is_stages_less_one_of_a_micro_batch() -> None:
    found, kinds = made({})
    terms = step(found, values_of(kinds)).terms
    stage = (
        sum(terms[name][0] for name in ("matmul", "attention", "memory", "logits", "launch", "tp", "cp", "p2p")) / 64
    )
    assert terms["bubble"][0] == pytest.approx(3 * stage * values_of(kinds)["bubble"][0])


def test_virtual_stages_divide_the_bubble() -> None:
    plain, interleaved = (steps({"vpp": v}).terms["bubble"][0] for v in (1, 4))
    assert plain / interleaved == pytest.approx(4, rel=0.1)


def test_each_virtual_stage_hands_on() -> None:
    once, four = (steps({"vpp": v}).terms["p2p"][0] for v in (1, 4))
    assert four == pytest.approx(4 * once)


def test_a_ring_over_a_slow_network_hides_no_more_than_its_attention() -> None:
    """Context parallelism at short sequences: the messages are longer than what they travel beside."""
    ring = {"pp": 1, "tp": 1, "dp": 1, "cp": 64, "gbs": 1}
    found, kinds = made(ring)
    values = values_of(kinds)
    starved = {**values, "network": values["network"] / 1000}
    terms = step(found, starved).terms
    # keys and values of 32 tokens, 63 meetings, forward, backward (twice) and recomputed, in 48 layers
    size = 2 * 32 * 7168 * 2
    rate = ring_rate(found, found.cp, found.tp, starved)[0]
    messages = 48 * 4 * 63 * (size / rate + values["latency"][0])
    assert step(found, values).terms["cp"][0] < terms["cp"][0] / 100
    assert terms["cp"][0] + terms["attention"][0] == pytest.approx(messages, rel=0.02)


def test_fsdp_hides_its_messages_only_where_they_overlap() -> None:
    found, kinds = made({"sharding": "fsdp", "tp": 1, "pp": 1, "dp": 64, "program": "hpcscale"})
    values = values_of(kinds)
    exposed, usual = (step(found, {**values, "overlap": q}).terms["dp"][0] for q in (0.0, values["overlap"]))
    assert exposed > 3 * usual


@pytest.mark.parametrize(("pp", "untied", "times"), [(1, False, 8), (1, True, 16), (4, False, 1), (4, True, 1)])
def test_fsdp_gathers_the_embedding_and_scatters_its_gradients_beside_nothing(
    pp: int, untied: bool, times: int
) -> None:
    """In each of eight micro batches, with an output layer of its own twice; once a step under a pipeline."""
    row = {"sharding": "fsdp", "tp": 1, "pp": pp, "dp": 8, "gpus": 8 * pp, "nodes": pp, "gbs": 64}
    found, kinds = made(row)
    values = {**values_of(kinds), "latency": np.zeros(1), "scale": np.zeros(1)}
    found = replace(found, untied=np.array([untied]))
    before, after = (step(replace(found, vocab=found.vocab * larger), values) for larger in (1, 2))
    link = found.link[0] * values["link"][0] if pp == 1 else ring_rate(found, found.shards, found.tp, values)[0]
    moved = 2 * 2 * found.embedding[0] * 7 / 8  # bf16, there and back
    added = times * moved / link * values["overall"][0]
    assert after.terms["dp"][0] - before.terms["dp"][0] == pytest.approx(added)


WAITED = ("matmul", "attention", "memory", "launch")  # of a layer


@pytest.mark.parametrize(
    ("change", "term"),
    [
        ({"pp": 1, "tp": 8, "dp": 8}, "tp"),
        ({"pp": 1, "tp": 2, "cp": 4, "dp": 8}, "tp"),
        ({"pp": 1, "tp": 1, "cp": 8, "dp": 8}, "cp"),
        ({"pp": 1, "tp": 1, "dp": 64, "sharding": "fsdp"}, "dp"),
        ({"pp": 1, "tp": 1, "dp": 64}, None),
        ({"pp": 4, "tp": 1, "dp": 16, "sharding": "fsdp"}, None),
    ],
)
def test_where_layers_have_collectives_the_slowest_rank_is_waited_for(change: dict[str, Any], term: str | None) -> None:
    found, kinds = made({**change, "ac_mode": "none"})
    values = {**values_of(kinds), "scale": np.zeros(1), "overlap": np.zeros(1), "ring": np.zeros(1)}  # each term alone
    before = step(found, {**values, "waiting": np.zeros(1)}).terms
    after = step(found, {**values, "waiting": np.array([0.5])}).terms
    added = {name: after[name][0] - before[name][0] for name in TERMS}
    overall = 0.5 * sum(before[name][0] for name in WAITED)
    assert added == pytest.approx({name: overall * (name == term) for name in TERMS}, abs=1e-9 * overall)


def test_fsdp2_copies_what_it_gathers() -> None:
    """Six times the weights and four times a shard of them pass through memory; FSDP1 gathers in place."""
    row = {"sharding": "fsdp", "tp": 1, "pp": 1, "dp": 64, "gpus": 64, "precision": "bf16", "program": "hpcscale"}
    found, kinds = made(row)
    values = values_of(kinds)
    both = [
        step(replace(found, program=np.array([float(program)])), values).terms["dp"][0]
        for program in (programs.OWN, programs.FSDP_STYLE)
    ]
    bytes_moved = (6 + 4 / 64) * 2 * found.layer_weights[0] * found.layers[0] * found.micro_batches[0]
    assert both[0] - both[1] == pytest.approx(bytes_moved / found.bandwidth[0] * values["overall"][0])


@pytest.mark.parametrize(
    ("change", "term"),
    [
        ({"tp": 1, "dp": 16}, "tp"), ({"pp": 1, "dp": 16}, "bubble"), ({"pp": 1, "dp": 16}, "p2p"), ({}, "cp"),
        ({"gpus": 16, "nodes": 2, "dp": 1}, "dp"), ({"gpus": 8, "nodes": 1, "dp": 1, "pp": 2}, "scale"),
    ],
)  # fmt: skip
def test_what_a_layout_does_not_do_costs_nothing(change: dict[str, Any], term: str) -> None:
    assert steps(change).terms[term][0] == 0


@pytest.mark.parametrize(
    ("slower", "faster"),
    [
        ({"ac_mode": "full"}, {"ac_mode": "none"}),
        ({"gpu_type": "a100_80gb"}, {"gpu_type": "h100_80gb"}),
        ({"heads": 56}, {"heads": 56, "kv_heads": 8}),  # grouped queries: fewer keys and values to make
        ({"heads": 64}, {"heads": 56}),  # 112 is a multiple of 8; what is slower is the smaller head
        ({"tp": 8, "pp": 2, "nodes": 16}, {"tp": 8, "pp": 2, "nodes": 8}),  # over the border of a node of 4
        ({"precision": "bf16", "gpu_type": "h100_80gb"}, {"precision": "fp8", "gpu_type": "h100_80gb"}),
        ({"precision": "fp8-row", "gpu_type": "h100_80gb"}, {"precision": "fp8", "gpu_type": "h100_80gb"}),
        ({"notes": "eager"}, {"notes": "compile"}),
        ({"notes": ""}, {"notes": "async TP"}),
        ({"sharding": "fsdp"}, {"sharding": "fsdp", "ac_mode": "selective-op"}),
    ],
)
def test_one_is_slower_than_the_other(slower: dict[str, Any], faster: dict[str, Any]) -> None:
    found = steps(slower, faster).total
    assert found[0] > found[1]


def test_a_head_size_that_is_no_multiple_of_eight_is_slow() -> None:
    odd, even = steps({"hidden": 14400, "heads": 80}, {"hidden": 14400, "heads": 75}).terms["matmul"]
    assert odd > 1.2 * even


def test_attention_grows_with_the_square_of_the_sequence() -> None:
    short, long = steps({"gbs": 256}, {"seq": 8192, "gbs": 64}).terms["attention"]
    assert long / short == pytest.approx(4, rel=0.01), "the same tokens, four times the sequence"


def test_half_the_nodes_of_a_weak_series_take_almost_the_same_time() -> None:
    half, whole = steps({"gpus": 32, "nodes": 4, "dp": 2, "gbs": 128}, {}).total
    assert half == pytest.approx(whole, rel=0.05)
    assert half < whole


def test_no_constant_is_left_unused() -> None:
    """A tenth more of each time constant moves some case's total."""
    found, kinds = made(
        {}, {"sharding": "fsdp", "tp": 1, "pp": 1, "dp": 64, "notes": "eager"},
        {"precision": "fp8-row", "gpu_type": "h100_80gb"}, {"model": "bert"},
        {"pp": 1, "cp": 4, "dp": 4}, {"hidden": 14400, "heads": 80},
    )  # fmt: skip
    base = values_of(kinds)
    before = step(found, base).total
    from hpcscale.cost.constants import names

    for name in names("time"):
        after = step(found, {**base, name: base[name] * 1.1}).total
        assert np.abs(after / before - 1).max() > 1e-6, name
