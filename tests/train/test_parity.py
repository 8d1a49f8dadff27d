"""Every layout trains the same model: float64 losses and gradient norms against one process, on a learnable stream.

Two ranks are started once and run all cases; the batches are ragged (7 sequences by 3), clipping and decay are active.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from . import matrix
from .toys import TIMEOUT, clean_environment, document, free_port

FAMILIES = ("gpt", "mpt", "llama")
SHARDINGS = ("ddp", "fsdp")
TOLERANCE = 1e-10


def _case(family: str, dp: int, sharding: str = "ddp", sabotage: str | None = None, **training: Any) -> dict[str, Any]:
    content = document(family, {"dp": dp, "sharding": sharding}, {"precision": "fp64", **training})
    return {"document": content, "sabotage": sabotage}


CASES = {
    **{f"{family} {sharding}": _case(family, 2, sharding) for family in FAMILIES for sharding in SHARDINGS},
    **{f"recompute {sharding}": _case("llama", 2, sharding, activation_checkpointing="full") for sharding in SHARDINGS},
    **{f"bf16 {sharding}": _case("llama", 2, sharding, precision="bf16") for sharding in SHARDINGS},
    "sabotaged": _case("llama", 2, sabotage="drop the all-reduce"),
}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, matrix.Curve]:
    folder = tmp_path_factory.mktemp("matrix")
    (folder / "cases.json").write_text(json.dumps(CASES))
    command = [sys.executable, str(Path(matrix.__file__)), str(folder / "cases.json"), str(folder / "results.json")]
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            command, env={**clean_environment(), **master, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=TIMEOUT)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def one_rank() -> dict[str, matrix.Curve]:
    torch.set_num_threads(1)
    return {family: matrix.curve(_case(family, 1)["document"]) for family in FAMILIES}


def _difference(curve: matrix.Curve, reference: matrix.Curve) -> float:
    """The largest relative difference of any loss or norm."""
    return max(
        abs(mine - other) / abs(other)
        for step, expected in zip(curve, reference, strict=True)
        for mine, other in zip(step, expected, strict=True)
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_two_replicas_train_like_one_process(two_ranks, one_rank, family: str, sharding: str) -> None:
    assert _difference(two_ranks[f"{family} {sharding}"], one_rank[family]) < TOLERANCE


def test_a_dropped_all_reduce_is_seen(two_ranks, one_rank) -> None:
    assert _difference(two_ranks["sabotaged"], one_rank["llama"]) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_comparison_trains_and_clips(one_rank, family: str) -> None:
    losses, norms = zip(*one_rank[family], strict=True)
    assert losses[-1] < losses[0] - 0.1
    assert max(norms) > 0.5, "the norm never reached gradient_clip"


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_recomputing_activations_changes_no_digit(two_ranks, sharding: str) -> None:
    assert two_ranks[f"recompute {sharding}"] == two_ranks[f"llama {sharding}"]


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_bf16_trains_close_to_float64(two_ranks, one_rank, sharding: str) -> None:
    curve = two_ranks[f"bf16 {sharding}"]
    assert curve[-1][0] < curve[0][0] - 0.1
    assert math.isclose(curve[0][0], one_rank["llama"][0][0], rel_tol=5e-3)
    assert curve[0][0] != one_rank["llama"][0][0], "this was not bf16"
