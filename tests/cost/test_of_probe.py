"""Constants of the time model from what a probe measured, with numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcscale.cost import of_probe
from hpcscale.cost.constants import values_of
from hpcscale.cost.hardware import Hardware, of_device
from hpcscale.cost.time import beside
from hpcscale.record.probe import Attention, Beside, Launch, Matmul, Memory, Message, Probe

MIB = 2**20


@pytest.fixture(scope="module")
def have() -> Hardware:
    """An A64FX with round numbers."""
    rates = {"peak": 1e12, "bandwidth": 1e15, "link": 1e10, "network": 1e9}  # memory costs products nothing
    return replace(of_device("a64fx", "fp32", 1, 1), **rates)


def timed(kind: str, seconds: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "dtype": "fp32",
        "seconds": seconds,
        "seconds_low": seconds,
        "seconds_high": seconds,
        "repeats": 9,
    }


def product(rate: float, m: int = 1000) -> Matmul:
    return Matmul(m=m, n=1000, k=1000, **timed("matmul", 2 * m * 1e6 / rate))


def message(kind: str, bus: float, size: int = 16 * MIB, span: Any = "node") -> Message:
    """Between two ranks, at a bus bandwidth."""
    factor = {"all_reduce": 1.0}.get(kind, 0.5)
    return Message(bytes=size, ranks=2, span=span, **timed(kind, size * factor / bus))


def together(product_ms: float, collective_ms: float, both_ms: float, span: Any = "node") -> Beside:
    return Beside(
        collective="all_gather", bytes=16 * MIB, ranks=2, span=span, m=512, n=3072, k=256,
        product_seconds=product_ms / 1e3, collective_seconds=collective_ms / 1e3, **timed("beside", both_ms / 1e3),
    )  # fmt: skip


def probe(*measurements: Any, ranks: int = 2) -> Probe:
    return Probe(Path("record.jsonl"), {"ranks": ranks}, measurements)


def test_rates_are_the_best_product_and_the_best_pass_over_memory() -> None:
    passes = [Memory(operation="copy", bytes=10**9, **timed("memory", each)) for each in (0.1, 0.2)]
    found = of_probe.rates([probe(product(1e11), product(3e11), *passes)], "fp32")
    assert found == {"peak_flops": pytest.approx(3e11), "memory_bandwidth": pytest.approx(1e10)}
    assert of_probe.rates([probe(product(1e11))], "bf16") == {}, "measured in another precision"


def test_products_reach_all_their_flops_over_all_their_seconds(have: Hardware) -> None:
    lines = [product(5e11, m=8000), product(2e11, m=4000), product(1e9, m=10)]  # 32, 40 and 20 ms
    found = of_probe.constants([probe(*lines)], "fp32", have)
    assert found["matmul"] == pytest.approx((16 + 8 + 0.02) / (32 + 40 + 20), rel=1e-3)


def test_ranks_in_company_are_as_much_slower_as_the_same_products_are(have: Hardware) -> None:
    alone = probe(product(2e11), product(2e11, m=2000), ranks=1)
    full = probe(product(1.6e11), product(1.6e11, m=2000), product(1e9, m=3000), ranks=2)
    assert of_probe.constants([alone, full], "fp32", have)["crowding"] == pytest.approx(0.25)


def test_products_that_come_in_bursts_are_slower_in_a_row_than_their_median(have: Hardware) -> None:
    steady, uneven = product(2e11), replace(product(2e11, m=3000), mean_seconds=0.05)  # 10 ms, 30 ms
    scores = Attention(batch=1, heads=4, sequence=128, head_size=64, **timed("attention", 1e-3))
    others = (Launch(**timed("launch", 5e-6)), Memory(operation="copy", bytes=10**9, **timed("memory", 0.1)), scores)
    even = of_probe.constants([probe(steady, replace(uneven, mean_seconds=None), *others)], "fp32", have)
    found = of_probe.constants([probe(steady, uneven, *others)], "fp32", have)
    assert found["elementwise"] == pytest.approx(even["elementwise"] * 1.5)
    assert found["attention"] == pytest.approx(even["attention"] / 1.5)
    assert found["matmul"] == pytest.approx(0.2 * 40 / 60, rel=1e-3)
    assert found["launch"] == pytest.approx(100 * 5e-6 * 1.5)
    assert of_probe.bursts([replace(steady, mean_seconds=0.001)]) == 1.0, "no mean makes it faster"


def test_company_slows_what_ranks_take_on_average_and_waiting_is_the_rest(have: Hardware) -> None:
    alone = probe(replace(product(2e11), mean_seconds=0.0125), ranks=1)
    full = probe(replace(product(1e11), mean_seconds=0.0225, rank_seconds=0.015), product(1e11, m=3000), ranks=2)
    found = of_probe.constants([alone, full], "fp32", have)
    assert found["crowding"] == pytest.approx(0.2), "15 ms where 12.5 ms were taken alone"
    assert found["waiting"] == pytest.approx((22.5 + 60) / (15 + 60) - 1), "a shape without means has nothing to add"
    assert "waiting" not in of_probe.constants([alone], "fp32", have), "a single rank waits for nobody"


def test_a_link_is_the_harmonic_mean_over_the_kinds_of_large_messages(have: Hardware) -> None:
    large = (message("all_reduce", 1e9), message("all_gather", 4e8), message("reduce_scatter", 2e8))
    small = message("all_reduce", 1.0, size=4096)
    found = of_probe.constants([probe(*large, small)], "fp32", have)
    assert found["link"] == pytest.approx(3 / (1 + 2.5 + 5) * 1e9 / 1e10)
    assert found["latency"] == pytest.approx(4096.0), "a small one is all latency"
    assert "network" not in found, "no message left the node"
    assert "overlap" not in found, "none was measured beside a product"


@pytest.mark.parametrize("overlap", [0.3, 1.0, 4.0])
def test_overlap_is_what_the_time_model_makes_of_it(overlap: float) -> None:
    """A collective whose addition follows from a known overlap gives that overlap back."""
    lines = []
    for product_ms, collective_ms in ((10.0, 4.0), (3.0, 5.0), (6.0, 6.0)):
        added = float(beside(np.array([product_ms]), np.array([collective_ms]), overlap)[0])
        lines.append(together(product_ms, collective_ms, product_ms + added))
    assert of_probe.overlap(lines) == pytest.approx(overlap, rel=1e-6)


def test_what_is_wholly_hidden_overlaps_much_and_what_is_added_whole_not_at_all() -> None:
    assert of_probe.overlap([together(10, 4, 10)]) > 10
    assert of_probe.overlap([together(10, 4, 14)]) == 1e-3


def test_collectives_that_computing_disturbs_make_a_slower_link(have: Hardware) -> None:
    messages = (message("all_reduce", 1e9), message("all_reduce", 5e8, span="job"))
    alone = of_probe.constants([probe(*messages)], "fp32", have)
    disturbed = of_probe.constants([probe(*messages, together(10, 4, 16), together(10, 4, 20))], "fp32", have)
    assert disturbed["link"] == pytest.approx(alone["link"] / 2), "6 and 10 ms are added where 4 were measured alone"
    assert disturbed["network"] == alone["network"], "nothing was measured beside products over nodes"
    assert disturbed["overlap"] == 1e-3


def test_one_that_is_hidden_leaves_the_link_as_fast_as_it_is_alone(have: Hardware) -> None:
    messages = (message("all_reduce", 1e9),)
    hidden = of_probe.constants([probe(*messages, together(10, 4, 11))], "fp32", have)
    assert hidden["link"] == of_probe.constants([probe(*messages)], "fp32", have)["link"]
    assert hidden["overlap"] > 0.3


def test_a_cpus_kernels_are_as_many_launches(have: Hardware) -> None:
    found = of_probe.constants([probe(Launch(**timed("launch", 5e-6)))], "fp32", have)
    assert found["launch"] == pytest.approx(100 * 5e-6)


def test_every_constant_is_one_of_the_time_models(have: Hardware) -> None:
    passes = Memory(operation="copy", bytes=10**9, **timed("memory", 0.1))
    lines = (product(1e11), passes, Launch(**timed("launch", 5e-6)), message("all_reduce", 1e9), together(10, 4, 11))
    found = of_probe.constants([probe(*lines, ranks=1), probe(*lines)], "fp32", have)
    assert set(found) <= set(values_of([have.kind]))
    assert all(value > 0 for value in found.values()), "fits work on logarithms"
