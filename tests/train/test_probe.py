"""Measuring: shapes and counts that can be checked by hand, when it stops, and real ranks over gloo and MPI."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hpcscale.record import probe as record
from hpcscale.spec.probe import FULL, Sizes
from hpcscale.train.failures import Ended
from hpcscale.train.probe import beside, memory, messages, precisions, products, repeat
from hpcscale.train.probe.clock import Clock
from hpcscale.train.probe.ranks import Ranks

from .test_mpi import MPIEXEC
from .toys import Start, clean_environment

CPU = torch.device("cpu")
TINY = {
    "seconds": 0.01,
    "hidden": [32],
    "tokens": [16],
    "sequences": [8],
    "array_bytes": 65536,
    "message_bytes": [4096, 8192],
}


def document(ranks: int = 1, **changes: Any) -> dict[str, Any]:
    """The content of a probe's point.json that takes a moment."""
    return {
        "schema": "probe", "machine": "local", "nodes": 1, "ranks": ranks, "ranks_per_node": ranks, "threads_per_rank": 1,
        "communication": "gloo", "device": {"name": "cpu-core", "kind": "cpu"}, "precisions": ["fp32"], "sizes": TINY, **changes,
    }  # fmt: skip


# --- when it stops


class Scripted(Clock):
    """A clock that says what it is told."""

    def __init__(self, seconds: Iterator[float]):
        self._seconds = seconds

    def seconds(self, call: Callable[[], object], times: int) -> float:
        return next(self._seconds)


def endless(*cycle: float) -> Iterator[float]:
    while True:
        yield from cycle


def test_a_median_that_is_stable_needs_few_repeats() -> None:
    timing = repeat.measure(lambda: None, Scripted(endless(0.5)), Ranks(CPU), seconds=60)
    assert (timing.median.value, timing.median.low, timing.median.high) == (0.5, 0.5, 0.5)
    assert repeat.FEWEST <= timing.repeats < 20


def test_one_that_is_not_is_repeated_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = endless(*range(1000))
    monkeypatch.setattr(repeat.time, "monotonic", lambda: next(ticks))
    timing = repeat.measure(lambda: None, Scripted(endless(1.0, 2.0, 3.0)), Ranks(CPU), seconds=30)
    assert timing.median.value == 2.0
    assert timing.median.low == 1.0 or timing.median.high == 3.0
    assert timing.repeats == 30, "one sample a tick"


def test_the_mean_has_the_bursts_that_the_median_leaves_out() -> None:
    timing = repeat.measure(lambda: None, Scripted(endless(1.0, 1.0, 1.0, 1.0, 6.0)), Ranks(CPU), seconds=1e-9)
    line = timing.line()
    assert (timing.repeats, line["seconds"], line["mean_seconds"], line["rank_seconds"]) == (5, 1.0, 2.0, 2.0)


def test_the_first_call_warms_up_and_is_not_counted() -> None:
    def seconds() -> Iterator[float]:
        yield 1000.0
        yield from endless(0.5)

    assert repeat.measure(lambda: None, Scripted(seconds()), Ranks(CPU), seconds=1).median.high == 0.5


def test_what_would_take_longer_than_a_measurement_may_is_left_out() -> None:
    rates = repeat.Rates(seconds=0.4)  # half of it for one call
    assert not rates.too_long(("matmul",), 10**12), "nothing is known yet"
    rates.add(("matmul",), 10**9, 0.1)
    assert not rates.too_long(("matmul",), 2 * 10**9)
    assert rates.too_long(("matmul",), 2 * 10**9 + 1)
    assert not rates.too_long(("attention",), 10**12), "another family"


def test_a_signal_stops_between_two_measurements() -> None:
    with pytest.raises(Ended, match="stopped by signal 15"):
        repeat.measure(lambda: None, Scripted(endless(0.5)), Ranks(CPU, lambda: 15), seconds=1)


# --- what is measured


def test_a_hidden_size_is_multiplied_in_the_shapes_of_its_layers() -> None:
    cases = list(products.matmuls(Sizes(hidden=(256,), tokens=(512,)), "fp32", CPU))
    assert [(each.line["m"], each.line["n"], each.line["k"]) for each in cases] == [
        (256, 256, 256),  # square
        (512, 256, 256),  # attention's output
        (512, 704, 256),  # SwiGLU: 8/3 of 256 is 682.7, and 704 the next multiple of 64
        (512, 768, 256),  # Q, K and V
        (512, 256, 1024),  # the MLP's way back
        (512, 1024, 256),  # and there
    ]
    assert cases[1].line["flops"] == 2 * 512 * 256 * 256
    assert cases[1].prepare()().shape == (512, 256)  # type: ignore[attr-defined]


def test_all_sizes_come_once_and_the_least_work_first() -> None:
    for cases in (list(products.matmuls(FULL, "bf16", CPU)), list(products.attentions(FULL, "bf16", CPU))):
        amounts = [each.amount for each in cases]
        assert amounts == sorted(amounts)
        assert len({str(each.line) for each in cases}) == len(cases)


def test_attention_goes_forward_and_backward() -> None:
    (first, *_) = products.attentions(Sizes(sequences=(1024,)), "fp32", CPU)
    assert first.line["flops"] == first.amount == 12 * 1 * 4 * 1024**2 * 64
    gradients = first.prepare()()
    assert [tuple(each.shape) for each in gradients] == [(1, 4, 1024, 64)] * 3  # type: ignore[attr-defined]


def test_bytes_are_those_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "cache_bytes", lambda: 100 * 2**20)
    copy, add, launch = memory.cases(None, ranks_on_node=1, device=CPU)
    assert (copy.line["bytes"], add.line["bytes"]) == (200 * 2**20, 300 * 2**20)
    assert launch.line == {"kind": "launch", "dtype": "fp32"}


def test_arrays_leave_memory_to_the_other_ranks_of_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "cache_bytes", lambda: 2**60)
    one, eight = memory.array_bytes(1, CPU), memory.array_bytes(8, CPU)
    assert one // 8 - 4 <= eight <= one // 8


def test_each_cache_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.os, "sched_getaffinity", lambda _: {0, 1, 2})
    for core, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3")):
        for index, (level, size) in enumerate((("1", "32K"), ("3", "16384K"))):
            folder = tmp_path / f"cpu{core}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, text in (("level", level), ("size", size), ("shared_cpu_list", shared)):
                (folder / name).write_text(text + "\n")
    assert memory.cache_bytes(tmp_path) == 2 * 16 * 2**20
    assert memory.cache_bytes(tmp_path / "nothing") == 0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("flags : fpu avx512f", ["fp32"]),
        ("flags : fpu amx_bf16 amx_tile", ["bf16", "fp32"]),
        ("Features : fp asimd asimdhp sve", ["fp32", "fp16"]),
        ("", ["fp32"]),
    ],
)
def test_a_cpu_measures_what_it_has_instructions_for(
    words: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(words + "\n")
    read = precisions.cpu_words
    monkeypatch.setattr(precisions, "cpu_words", lambda: read(tmp_path / "cpuinfo"))
    assert precisions.native(("bf16", "fp32", "fp16", "tf32"), CPU) == found


@pytest.mark.parametrize(
    ("hosts", "each"), [("aabb", 2), ("abab", None), ("aab", None), ("aaaa", 4), ("abcd", 1), ("aaabbc", None)]
)
def test_nodes_are_groups_only_where_they_are_equal_and_in_order(hosts: str, each: int | None) -> None:
    assert messages.ranks_per_node(list(hosts)) == each


def test_a_collective_is_begun_before_the_product_and_waited_for_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Work:
        def wait(self) -> None:
            said.append("done")

    def begin(async_op: bool) -> Work:
        said.append(f"begun, async {async_op}")
        return Work()

    monkeypatch.setattr(beside, "COLLECTIVES", {"all_reduce": lambda *_: begin})
    monkeypatch.setattr(beside.products, "linear", lambda *_: lambda: said.append("product"))
    group = messages.Group(None, 2, "node", None)  # type: ignore[arg-type]
    (case,) = beside.cases(group, Sizes(hidden=(32,), tokens=(16,)), "fp32", CPU)
    case.prepare()()
    assert said == ["begun, async True", "product", "done"]
    case.parts["product_seconds"]()()
    assert said[3:] == ["product"]


# --- real ranks

TWO_NODES = """
import os, socket, sys
from pathlib import Path
host = f"node{int(os.environ['RANK']) // 2}"
socket.gethostname = lambda: host
from hpcscale.train.probe.clock import Clock
from hpcscale.train.probe.run import run
seconds = Clock.seconds
late = 0.002 if os.environ["RANK"] == "3" else 0.0
Clock.seconds = lambda self, call, times: seconds(self, call, times) + late
from hpcscale.train.run import leave
leave(run(Path(sys.argv[1])))
"""


def read(folder: Path) -> record.Probe:
    (path,) = folder.glob("attempts/*/record.jsonl")
    return record.read(path)


def test_four_ranks_on_two_nodes_measure_within_and_across_them(start: Start, tmp_path: Path) -> None:
    patient = {**TINY, "seconds": 0.1}  # however busy this computer is, no size is left out
    started = start(document(4, sizes=patient), ranks=4, program=("-c", TWO_NODES))
    assert started.wait() == [0, 0, 0, 0], started.outputs
    found = read(tmp_path)
    assert (found.status, found.damaged_lines, found.nodes, found.ranks) == ("completed", 0, 2, 4)
    assert found.run["hosts"] == ["node0", "node1"]
    assert {each.kind for each in found.measurements} == set(record.KINDS)
    # inside a node, all ranks, and one rank of each node
    assert {(each.span, each.ranks) for each in found.messages} == {("node", 2), ("job", 4), ("job", 2)}
    sends = {(each.span, each.ranks, each.stride) for each in found.messages if each.kind == "send_recv"}
    assert sends == {("node", 2, 1), ("job", 4, 2)}, "over nodes every message leaves its node"
    assert {each.bytes for each in found.messages} == {4096, 8192}
    assert {(each.span, each.ranks) for each in found.besides} == {("node", 2), ("job", 4), ("job", 2)}
    assert found.besides[0].collective == "all_reduce"
    for each in found.besides:
        assert (each.m, each.k, each.n, each.bytes) == (16, 32, 12 * 32, 4 * 12 * 32**2), (
            "a layer's weights, both times"
        )
        assert each.product_seconds > 0.002 < each.collective_seconds, "alone, too, the slowest rank counts"
    for each in found.measurements:
        assert 0.002 < each.seconds_low <= each.seconds <= each.seconds_high, "the slowest rank counts, by 2 ms rank 3"
        assert each.repeats >= repeat.FEWEST
        assert each.mean_seconds and each.rank_seconds
        assert 0.002 < each.mean_seconds > each.rank_seconds > 0.0005, "of rank 3's 2 ms a quarter is everybody's"


@pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec here; the extra `mpi` (pip install mpich) brings one")
def test_messages_through_mpi_are_measured_too(tmp_path: Path) -> None:
    point = tmp_path / "point.json"
    point.write_text(json.dumps(document(2, communication="mpi")))
    assert MPIEXEC is not None
    command = [MPIEXEC, "-n", "2", sys.executable, "-W", "ignore", "-m", "hpcscale.train.probe", str(point)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path)
    assert (found.status, found.backend) == ("completed", "mpi4py")
    assert {each.kind for each in found.messages} == {"all_reduce", "all_gather", "reduce_scatter", "send_recv"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ranks": 2}, "the layout needs 2 ranks, but no launcher was found: 1 rank runs"),
        ({"device": {"name": "a100-40gb", "kind": "gpu"}}, "the probe is for a100-40gb, but this rank sees no GPU"),
        ({"precisions": []}, "precisions: Tuple should have at least 1 item"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(changes: dict[str, Any], words: str, start: Start) -> None:
    started = start({**document(), **changes}, program=("-m", "hpcscale.train.probe"))
    assert started.wait() == [2]
    ((_, errors),) = started.outputs
    assert words in errors
    assert "Traceback" not in errors
