"""Every layout trains the same model: float64 losses and gradient norms step by step against one process.

Ranks are started once for each number of them and run all cases. Data can be learnt, batches are ragged where they may
be, weight decay is on and the gradient is clipped in most steps; vocabularies are padded, embeddings tied (gpt, mpt,
bert), queries grouped (llama).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from . import cases, forks, matrix
from .toys import TIMEOUT, clean_environment

TOLERANCE = 1e-10
World = dict[str, Any]


def _run(folder: Path, ranks: int, content: dict[str, Any], communication: str = "gloo") -> World:
    """What a world of real processes makes of the cases."""
    (folder / "cases.json").write_text(json.dumps(content))
    program, files = str(Path(matrix.__file__)), [str(folder / "cases.json"), str(folder / "results.json")]
    if communication == "mpi":
        command = [
            str(Path(sys.executable).with_name("mpiexec")),
            "-n",
            str(ranks),
            sys.executable,
            program,
            *files,
            "mpi",
        ]
        done = subprocess.run(
            command, env=clean_environment(), capture_output=True, text=True, timeout=5 * TIMEOUT, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        forks.world([program], files, ranks, folder)
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def one() -> dict[str, matrix.Curve]:
    torch.set_num_threads(1)
    return {name: matrix.curve(**each) for name, each in cases.cases(1).items()}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> World:
    return _run(tmp_path_factory.mktemp("two"), 2, cases.cases(2))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> World:
    return _run(tmp_path_factory.mktemp("four"), 4, cases.cases(4))


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> World:
    return _run(tmp_path_factory.mktemp("eight"), 8, cases.cases(8))


MPI_CASES = (
    "llama: fsdp",
    "gpt: zero1",
    "gpt: tp+sp",
    "gpt: cp",
    "gpt: pp 1f1b",
    "bert: pp zbv",
    "llama: pp zero-bubble",
)
MPI_CASES_OF_FOUR = ("gpt: fsdp x tp+sp", "gpt: pp x fsdp", "gpt: tp x pp")


@pytest.fixture(scope="module")
def mpi(tmp_path_factory: pytest.TempPathFactory) -> World:
    pytest.importorskip("mpi4py")
    chosen = {name: each for name, each in cases.cases(2).items() if name in MPI_CASES}
    return _run(tmp_path_factory.mktemp("mpi"), 2, chosen, "mpi")


@pytest.fixture(scope="module")
def mpi_four(tmp_path_factory: pytest.TempPathFactory) -> World:
    pytest.importorskip("mpi4py")
    chosen = {name: each for name, each in cases.cases(4).items() if name in MPI_CASES_OF_FOUR}
    return _run(tmp_path_factory.mktemp("mpi_four"), 4, chosen, "mpi")


def difference(curve: matrix.Curve, reference: matrix.Curve) -> float:
    """The largest relative difference of any loss or norm."""
    return max(
        abs(mine - other) / abs(other)
        for step, expected in zip(curve, reference, strict=True)
        for mine, other in zip(step, expected, strict=True)
    )


def _alone(name: str) -> str:
    """The case of one process that a case is compared with."""
    kind, _, layout = name.partition(":")
    return f"{kind} for pipelines" if "pp" in layout or "zero-bubble" in layout or "zbv" in layout else kind


def _same(world: World, one: dict[str, matrix.Curve], name: str) -> None:
    assert difference(world[name]["curve"], one[_alone(name)]) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in cases.cases(2) if name != "sabotaged"])
def test_two_ranks_train_like_one_process(two: World, one, name: str) -> None:
    _same(two, one, name)


@pytest.mark.parametrize("name", cases.cases(4))
def test_four_ranks_train_like_one_process(four: World, one, name: str) -> None:
    _same(four, one, name)


@pytest.mark.parametrize("name", cases.cases(8))
def test_eight_ranks_train_like_one_process(eight: World, one, name: str) -> None:
    _same(eight, one, name)


@pytest.mark.parametrize("name", MPI_CASES)
def test_two_ranks_over_mpi_train_like_one_process(mpi: World, one, name: str) -> None:
    _same(mpi, one, name)


@pytest.mark.parametrize("name", MPI_CASES_OF_FOUR)
def test_four_ranks_over_mpi_train_like_one_process(mpi_four: World, one, name: str) -> None:
    _same(mpi_four, one, name)


def test_a_dropped_all_reduce_is_seen(two: World, one) -> None:
    assert difference(two["sabotaged"]["curve"], one["llama"]) > 1e-3


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_the_comparison_trains_and_clips(one, family: str) -> None:
    losses, norms = zip(*one[family], strict=True)
    assert losses[-1] < losses[0] - 0.05
    assert sum(norm > 0.5 for norm in norms) > len(norms) / 2, "the norm seldom reached gradient_clip"


@pytest.mark.parametrize("mode", cases.RECOMPUTING)
def test_recomputing_activations_changes_no_digit(two: World, mode: str) -> None:
    for name in ("fsdp", "tp+sp", "cp", "pp 1f1b"):
        if f"llama: {mode} {name}" in two:
            assert two[f"llama: {mode} {name}"]["curve"] == two[f"llama: {name}"]["curve"]


@pytest.mark.parametrize("name", ["tp x pp", "tp x zbv", "tp+sp x zero-bubble"])
def test_communication_runs_backward_once_a_layer_and_micro_batch(four: World, name: str) -> None:
    """Schedules that split the backward pass run a function twice if it takes both activations and weights; ours do not."""
    micro_batches, layers, steps = 4, 4, matrix.STEPS
    into, out = ("gather", "scatter") if "sp" in name else ("copy", "reduce")
    ranks = four[f"gpt: {name}"]["backward"]
    for kind, whole in ((into, 2 * layers + 1), (out, 2 * layers + 1)):  # attention, MLP; embedding or head
        assert sum(rank.get(kind, 0) for rank in ranks) == 2 * whole * micro_batches * steps


def test_a_ring_runs_backward_once_a_layer_and_micro_batch(four: World) -> None:
    ranks = four["gpt: cp x pp zero-bubble"]["backward"]
    assert sum(rank["ring"] for rank in ranks) == 2 * 4 * 4 * matrix.STEPS
