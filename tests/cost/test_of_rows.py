"""Rows of tables as people write them: synonyms, gaps, and a reason for what cannot be expressed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.cost import cases
from hpcscale.cost.of_rows import described
from hpcscale.cost.tables import predict_rows

ROW = {
    "system": "somewhere", "model": "llama", "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336, "vocab": 128256,
    "seq": 8192, "gpus": 8, "nodes": 1, "gpu_type": "h100_80gb", "dp": 8, "tp": 1, "pp": 1, "cp": 1, "mbs": 1, "gbs": 16,
    "ac_mode": "full", "sharding": "FSDP2", "precision": "bf16",
}  # fmt: skip


def values(**changes: Any) -> dict[str, float | bool]:
    found = described({**ROW, **changes})
    assert found.values is not None, found.reason
    return found.values


@pytest.mark.parametrize(
    ("word", "code", "every"),
    [
        ("yes", cases.FULL, 1), ("True", cases.FULL, 1), ("full", cases.FULL, 1), ("", cases.NONE, 1), ("no", cases.NONE, 1),
        ("selective op", cases.SELECTIVE_OP, 1), ("selective", cases.CORE_ATTENTION, 1), ("selective layer", cases.SELECTIVE_LAYER, 2),
        ("selective-layer:4", cases.SELECTIVE_LAYER, 4),
    ],
)  # fmt: skip
def test_modes_of_checkpointing_have_many_names(word: str, code: int, every: int) -> None:
    found = values(ac_mode=word)
    assert (found["checkpointing"], found["every"]) == (code, every)


@pytest.mark.parametrize(
    ("word", "code"),
    [("FSDP2", cases.FSDP), ("FULL_SHARD", cases.FSDP), ("zero1", cases.ZERO1), ("ZeRO-1", cases.ZERO1), ("zero0", cases.DDP), ("", cases.DDP)],
)  # fmt: skip
def test_shardings_have_many_names(word: str, code: int) -> None:
    assert values(sharding=word)["sharding"] == code


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5e12),
        ("H100", 989.5e12),
        ("A100-SXM4-80GB", 312e12),
        ("mi250x", 191.5e12),
        ("a64fx", None),
    ],
)
def test_devices_are_found_however_they_are_spelled(name: str, peak: float | None) -> None:
    found = described({**ROW, "gpu_type": name})
    assert (found.values or {}).get("peak") == peak
    if peak is None:
        assert found.reason == "no bf16 peak of a64fx is known; known: fp16, fp32, fp64"


def test_a_gate_is_recognised_by_the_parameters_that_a_row_states() -> None:
    shape = {"model": "mine", "kv_heads": 32, "ffn": 11008, "vocab": 32000}
    assert values(**shape, n_params=6738415616)["mlp_matrices"] == 3
    assert values(**shape, n_params=5_300_000_000)["mlp_matrices"] == 2


def test_an_encoder_sees_both_ways_and_keeps_its_scores() -> None:
    found = values(model="bert-large")
    assert (found["causal"], found["fused_attention"]) == (False, False)


def test_data_parallelism_follows_from_the_devices() -> None:
    assert values(dp=None, tp=2)["dp"] == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden": ""}, "the row lacks hidden"),
        ({"gpus": 9}, "dp x tp x pp x cp = 8, but the row has 9 devices"),
        ({"gpus": 9, "dp": None, "tp": 2}, "9 devices are no multiple of tp x pp x cp = 2"),
        ({"gpu_type": "quantum"}, "there is no device 'quantum'"),
        ({"gpu_type": ""}, "the row lacks gpu_type, and no machine profile is called as its system"),
        ({"precision": "int3"}, "precision 'int3' is none of fp8, bf16, fp16, tf32, fp32, fp64"),
        ({"layers": "many"}, "layers 'many' is no number"),
        ({"gbs": "-4"}, "gbs is -4, which is not above zero"),
        ({"sharding": "magic"}, "sharding 'magic' is none of ddp, zero1, fsdp, hsdp"),
        ({"ac_mode": "sometimes"}, "ac_mode 'sometimes' is none of"),
    ],
)
def test_a_row_that_cannot_be_expressed_says_why(changes: dict[str, Any], reason: str) -> None:
    found = predict_rows([{**ROW, **changes}, ROW])
    assert found[0].seconds is None
    assert found[0].reason.startswith(reason)
    assert found[1].seconds is not None, "the other rows are predicted"


def test_a_system_with_a_profile_is_that_machine() -> None:
    found = described({**ROW, "system": "juwels-booster", "gpu_type": ""})
    assert found.machine is not None and found.note == ""
    assert (found.values or {})["node_ranks"] == 4


def test_a_system_without_one_is_a_usual_machine_and_says_so() -> None:
    assert described(ROW).note == "a usual machine with h100_80gb: 8 a node, 50 GB/s network each"


@given(
    st.dictionaries(
        st.sampled_from([*ROW, "notes", "vpp", "n_params"]),
        st.text(max_size=8) | st.integers() | st.floats() | st.none(),
    )
)
def test_no_cell_ends_in_anything_but_a_number_or_a_reason(cells: dict[str, Any]) -> None:
    (found,) = predict_rows([{**ROW, "system": "", **cells}])
    assert (found.seconds is not None and found.seconds >= 0) or found.reason
