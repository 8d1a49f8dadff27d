"""What a probe says of a machine: its rates, and the constants that follow from measured kernels and messages."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import harmonic_mean, median

import numpy as np

from hpcscale.cost.constants import values_of
from hpcscale.cost.hardware import Hardware
from hpcscale.cost.time import beside
from hpcscale.record.probe import Beside, Matmul, Message, Probe

# Operations of a transformer's layer that start a kernel, forward and backward; on a CPU none of it is hidden.
_KERNELS = 100
# Messages of at least this size show a link's bandwidth; smaller ones its latency.
_LARGE, _SMALL = 4 * 2**20, 64 * 2**10
_NOT_AT_ALL = 1e-3
_ALL, _HALVINGS = 20.0, 30  # an overlap that leaves nothing but what is longer than the work
_COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter")


def rates(probes: Sequence[Probe], precision: str) -> dict[str, float]:
    """``peak_flops`` and ``memory_bandwidth`` of a rank: the best product and the best pass over memory.

    For devices whose catalogue entry has neither. ``probes`` of one machine, that with the fewest ranks first: it counts.
    Empty where no probe came so far.
    """
    products = next((found for each in probes if (found := _products(each, precision))), [])
    passes = next((each.memory for each in probes if each.memory), ())
    found_rates = {}
    if products:
        found_rates["peak_flops"] = max(each.flops_per_second for each in products)
    if passes:
        found_rates["memory_bandwidth"] = max(each.bytes_per_second for each in passes)
    return found_rates


def constants(probes: Sequence[Probe], precision: str, have: Hardware) -> dict[str, float]:
    """Constants of cost/priors.yaml that probes of a machine measured, whose ranks have ``have``.

    ``probes``: that with the fewest ranks first. Kernels are taken from it, messages from the last, and how much ranks slow
    each other down from both.
    """
    first, last = probes[0], probes[-1]
    found: dict[str, float] = {}
    products = _products(first, precision)
    slower = bursts(first.matmuls)
    if products:
        found["matmul"] = min(1.0, _typical(products, have))
    attention = [each for each in first.attentions if each.dtype == precision] or list(first.attentions)
    if attention:
        shape = float(values_of([have.kind])["head_size"][0])
        # seconds of a whole square at the 16-bit peak, three and a half passes, over what was measured
        shares = [
            each.flops * 3.5 / 3 * (0.5 if each.causal else 1.0) / have.attention_peak
            * (1 + shape / each.head_size) / each.seconds
            for each in attention
        ]  # fmt: skip
        found["attention"] = median(shares) / slower
    if first.launches and have.kind.kind == "cpu":
        found["launch"] = _KERNELS * median(each.seconds for each in first.launches) * slower
    if have.kind.kind == "cpu" and first.memory:
        found["elementwise"] = slower  # the bandwidth was measured as such a pass reaches it
    if have.kind.kind == "cpu":
        # measured among others, kernels are as slow as they will be
        crowd = crowding(first, last) if last.ranks > first.ranks else _NOT_AT_ALL
        found.update({} if crowd is None else {"crowding": crowd})
    if last.ranks > 1 and last.matmuls:
        found["waiting"] = waiting(last.matmuls)
    found.update(_messages(last, have))
    return found


def overlap(found: Sequence[Beside]) -> float:
    """The constant ``overlap`` that says of each collective beside a product what it added (cost/time.py, ``beside``): their median.

    Where the two disturb each other nothing is hidden.
    """
    return max(_NOT_AT_ALL, median(_hiding(each) for each in found))


def _hiding(each: Beside) -> float:
    sizes = np.array([each.product_seconds]), np.array([each.collective_seconds])
    # what is added falls with the overlap: halve the range where the measured one lies
    low, high = 0.0, _ALL
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if beside(*sizes, middle)[0] > each.added_seconds else (low, middle)
    return low


def disturbance(found: Sequence[Beside]) -> float:
    """How many times longer a collective takes while its ranks compute, where that is longer: the median, at least 1."""
    return max(1.0, median(each.added_seconds / each.collective_seconds for each in found))


def crowding(alone: Probe, full: Probe) -> float | None:
    """How much slower the same products are where all ranks of a node work, as a share; None without a common shape."""
    single = {(each.dtype, each.m, each.n, each.k): each for each in alone.matmuls}
    common = [each for each in full.matmuls if (each.dtype, each.m, each.n, each.k) in single]
    if not common:
        return None
    before = sum(_in_a_row(single[each.dtype, each.m, each.n, each.k]) for each in common)
    return max(_NOT_AT_ALL, sum(_of_ranks(each) for each in common) / before - 1)


def bursts(products: Sequence[Matmul]) -> float:
    """How many times their median products take on average: at least 1, and 1 where the record has no means."""
    usual = sum(each.seconds for each in products)
    return max(1.0, sum(_in_a_row(each) for each in products) / usual) if products else 1.0


def waiting(products: Sequence[Matmul]) -> float:
    """How much longer than the average rank the slowest takes for one product, which is what collectives wait for, as a share.

    All shapes together, each as often as the other: a burst hits few of them.
    """
    longest = sum(_in_a_row(each) for each in products)
    return max(_NOT_AT_ALL, longest / sum(_of_ranks(each) for each in products) - 1)


def _in_a_row(each: Matmul) -> float:
    return each.mean_seconds or each.seconds


def _of_ranks(each: Matmul) -> float:
    return each.rank_seconds or each.seconds


def _products(probe: Probe, precision: str) -> list[Matmul]:
    return [each for each in probe.matmuls if each.dtype == precision]


def _typical(products: list[Matmul], have: Hardware) -> float:
    """Share of the peak that products reach once their operands' way through memory is taken off.

    seconds = flops / (peak x share) beside traffic x bytes / bandwidth, as cost/time.py adds them up. All FLOPs over all
    seconds, bursts included: large shapes rule both, as they do in training (the small ones are ruled by what the other
    constants say), and a clock that drifts while the probe runs is averaged.
    """
    traffic = float(values_of([have.kind])["traffic"][0])
    computing = 0.0
    for each in products:
        element = {"fp64": 8, "fp32": 4, "tf32": 4}.get(each.dtype, 2)
        operands = traffic * element * (each.m * each.k + each.k * each.n + each.m * each.n) / have.bandwidth
        left = _in_a_row(each) ** 2 - operands**2
        computing += left**0.5 if left > 0 else _in_a_row(each)
    return sum(each.flops for each in products) / have.peak / computing


def _messages(probe: Probe, have: Hardware) -> dict[str, float]:
    found: dict[str, float] = {}
    collectives = [each for each in probe.messages if each.kind in _COLLECTIVES]
    for constant, span, rate in (("link", "node", have.link), ("network", "job", have.network)):
        large = [each for each in collectives if each.span == span and each.bytes >= _LARGE]
        by_kind = [[each.bus_bytes_per_second for each in large if each.kind == kind] for kind in _COLLECTIVES]
        if large:
            # bytes that go through each kind in turn: the slow ones count as often as their share of the time
            found[constant] = harmonic_mean(median(each) for each in by_kind if each) / rate
            alike = [each for each in probe.besides if each.span == span]
            if alike:
                found[constant] /= disturbance(alike)
    if probe.besides:
        found["overlap"] = overlap(probe.besides)
    small: list[Message] = [each for each in collectives if each.bytes <= _SMALL]
    if small:
        found["latency"] = median(each.seconds / max(1.0, float(np.log2(each.ranks))) for each in small)
    return found
