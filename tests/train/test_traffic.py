"""Calls and bytes of collectives by mesh axis, and traces of a step: what two real ranks sent, and when."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpcscale.train import trace, traffic

from . import forks, observed_ranks


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """By rank: what observed_ranks.py saw."""
    result = tmp_path_factory.mktemp("observed") / "result.json"
    forks.world([str(Path(observed_ranks.__file__))], [str(result)], 2, result.parent)
    return json.loads(result.read_text())


def _count(calls: int, size: int) -> dict[str, int]:
    return {"calls": calls, "bytes": size}


def test_collectives_are_counted_by_axis_with_their_payload(observed: list[dict[str, Any]]) -> None:
    expected = {
        "pp.all_reduce": _count(2, 32),  # one of them functional
        "dp.all_reduce": _count(1, 16), "dp.all_gather": _count(1, 32), "dp.broadcast": _count(1, 16), "dp.barrier": _count(1, 0),
    }  # fmt: skip
    assert [rank["plain"] for rank in observed] == [expected, expected]


def test_groups_without_an_axis_are_told_apart_from_the_world(observed: list[dict[str, Any]]) -> None:
    assert observed[0]["unnamed"]["other.all_reduce"] == _count(2, 32)
    assert observed[0]["unnamed"]["all.all_reduce"] == _count(1, 16)


def test_sharded_training_is_counted_in_its_backward_pass_too(observed: list[dict[str, Any]]) -> None:
    layer = (observed_ranks.WIDTH**2 + observed_ranks.WIDTH) * 4
    assert observed[0]["fsdp"] == {"dp.all_gather": _count(4, 4 * layer), "dp.reduce_scatter": _count(2, 2 * layer)}


def test_what_a_distributed_tensor_sends_by_itself_is_counted(observed: list[dict[str, Any]]) -> None:
    assert observed[0]["dtensor"] == {"dp.all_reduce": _count(1, 4)}


def test_a_pipeline_sends_one_tensor_a_micro_batch_each_way(observed: list[dict[str, Any]]) -> None:
    size = observed_ranks.MICRO_BATCHES * 3 * observed_ranks.WIDTH * 4
    expected = {
        "pp.send": _count(observed_ranks.MICRO_BATCHES, size),
        "pp.recv": _count(observed_ranks.MICRO_BATCHES, size),
    }
    assert [rank["pipeline"] for rank in observed] == [expected, expected]


def test_counting_does_not_put_off_compiling(observed: list[dict[str, Any]]) -> None:
    counts, compilations = observed[0]["compiled"]
    assert compilations == 1
    assert counts == {"pp.all_reduce": _count(1, 16)}


def test_the_ranks_counts_become_the_most_of_any_rank_and_the_sum() -> None:
    every = [{"pp.send": _count(4, 400)}, {"pp.send": _count(2, 500), "pp.recv": _count(4, 400)}]
    assert traffic.combined(every) == {
        "pp.recv": {"calls": 4, "bytes": 400, "ranks": 1, "bytes_of_all_ranks": 400},
        "pp.send": {"calls": 4, "bytes": 500, "ranks": 2, "bytes_of_all_ranks": 900},
    }


def test_a_trace_shows_how_long_a_send_was_on_its_way_beside_compute(observed: list[dict[str, Any]]) -> None:
    sender, receiver = (rank["trace"] for rank in observed)
    assert sender["operations"] == ["all_reduce", "send", "send"]
    assert receiver["operations"] == ["all_reduce", "recv", "recv"]
    assert sender["bytes"] == [4 * observed_ranks.SENT] * 2
    assert {"rank 0", "communication"} <= set(sender["rows"])
    assert 0 < sender["overlap_seconds"] < sender["send_seconds"]  # of the second send it does not
    assert receiver["overlap_seconds"] == receiver["send_seconds"] == 0


def _event(name: str, start: float, end: float, category: str = "cpu_op") -> dict[str, Any]:
    return {"ph": "X", "cat": category, "name": name, "ts": start * 1e6, "dur": (end - start) * 1e6}


def test_overlap_is_time_in_which_both_happen_and_waiting_is_no_compute() -> None:
    events = [
        _event("send", 1, 4, trace.CATEGORY), _event("send", 3, 6, trace.CATEGORY), _event("recv", 0, 20, trace.CATEGORY),
        _event("aten::mm", 0, 2), _event("aten::linear", 5, 9), _event("aten::mm", 5, 8),
        _event("aten::add", 2, 4), _event("_c10d_functional::wait_tensor", 2.5, 4), _event("backward", 0, 20),
    ]  # fmt: skip
    assert trace.send_seconds(events) == pytest.approx(5)
    assert trace.overlap_seconds(events) == pytest.approx(1 + 0.5 + 1)


def test_overlap_on_a_gpu_is_between_kernels() -> None:
    events = [
        _event("ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)", 0, 4, "kernel"), _event("gemm", 3, 9, "kernel"),
        _event("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 0, 9, "kernel"), _event("aten::mm", 0, 9),
    ]  # fmt: skip
    assert (trace.send_seconds(events), trace.overlap_seconds(events)) == (pytest.approx(4), pytest.approx(1))


def test_counting_does_not_load_the_compiler() -> None:
    program = (
        "import sys, torch; from hpcscale.train import traffic\n"
        "with traffic.counting(): torch.ones(2) + 1\n"
        "sys.exit(traffic.COMPILER in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
