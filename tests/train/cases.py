"""The layouts that must train alike: for every number of ranks, named point documents in float64."""

from __future__ import annotations

from typing import Any

from .toys import document

FAMILIES = ("gpt", "mpt", "llama", "bert")
INTERLEAVED = {"schedule": "interleaved-1f1b", "virtual_stages": 2}
ZERO_BUBBLE = {"schedule": "interleaved-zero-bubble", "virtual_stages": 2}
ZBV = {"schedule": "zbv", "virtual_stages": 2}
SEQUENCE = {"sequence_parallel": True}

SCHEDULES: dict[str, dict[str, Any]] = {
    "1f1b": {},
    "gpipe": {"schedule": "gpipe"},
    "interleaved": INTERLEAVED,
    "zero-bubble": ZERO_BUBBLE,
    "zbv": ZBV,
}
TWO: dict[str, dict[str, Any]] = {
    "ddp": {"dp": 2},
    "zero1": {"dp": 2, "sharding": "zero1"},
    "fsdp": {"dp": 2, "sharding": "fsdp"},
    "tp": {"tp": 2},
    "tp+sp": {"tp": 2, **SEQUENCE},
    "cp": {"cp": 2},
    **{f"pp {name}": {"pp": 2, **schedule} for name, schedule in SCHEDULES.items()},
}
RECOMPUTING = ("full", "selective-op", "selective-layer:2", "core-attention")
FOUR: dict[str, dict[str, Any]] = {
    "hsdp 2x2": {"dp": 4, "sharding": "hsdp", "dp_replicate": 2},
    "ddp x tp": {"dp": 2, "tp": 2},
    "zero1 x tp": {"dp": 2, "tp": 2, "sharding": "zero1"},
    "fsdp x tp+sp": {"dp": 2, "tp": 2, "sharding": "fsdp", **SEQUENCE},
    "tp x pp": {"tp": 2, "pp": 2},
    "tp x zbv": {"tp": 2, "pp": 2, **ZBV},
    "tp+sp x zero-bubble": {"tp": 2, "pp": 2, **ZERO_BUBBLE, **SEQUENCE},
    "cp x pp zero-bubble": {"cp": 2, "pp": 2, **ZERO_BUBBLE},
    "cp x tp+sp": {"cp": 2, "tp": 2, **SEQUENCE},
    "cp x fsdp": {"cp": 2, "dp": 2, "sharding": "fsdp"},
    "cp 4": {"cp": 4},
    "pp x fsdp": {"dp": 2, "pp": 2, "sharding": "fsdp", **INTERLEAVED},
}
EIGHT: dict[str, dict[str, Any]] = {
    "ddp x tp x pp": {"dp": 2, "tp": 2, "pp": 2},
    "zero1 x tp x pp": {"dp": 2, "tp": 2, "pp": 2, "sharding": "zero1"},
    "fsdp x tp+sp x pp": {"dp": 2, "tp": 2, "pp": 2, "sharding": "fsdp", **SEQUENCE},
}
UNEVEN = {"pp": 2, "head_weight": 1}


def case(
    family: str,
    layout: dict[str, Any],
    model: dict[str, Any] | None = None,
    sabotage: str | None = None,
    **training: Any,
) -> dict[str, Any]:
    """16 sequences a step; without a pipeline 2 layers and ragged micro batches of 6, with one 4 layers and micro batches of 2
    or 4. (Few of both: each collective of so small a model takes longer than its work.)"""
    pipeline = layout.get("pp", 1) > 1
    micro = (2 if layout.get("dp", 1) > 1 else 4) if pipeline else 6
    shape = {"layers": 4 if pipeline else 2, **({"ffn": 50} if family == "llama" else {}), **(model or {})}
    parts = {"precision": "fp64", "global_batch_size": 16, "micro_batch_size": micro, **training}
    return {"document": document(family, layout, parts, shape), "sabotage": sabotage}


def cases(ranks: int) -> dict[str, dict[str, Any]]:
    """Everything that a world of ``ranks`` trains."""
    if ranks == 1:
        return {
            **{family: case(family, {}) for family in FAMILIES},
            **{f"{family} for pipelines": case(family, {}, {"layers": 4}) for family in FAMILIES},
            "alibi": case("mpt", {}, ALIBI),
            "alibi for pipelines": case("mpt", {}, {**ALIBI, "layers": 4}),
            "post-norm": case("bert", {}, POST_NORM),
            "post-norm for pipelines": case("bert", {}, {**POST_NORM, "layers": 4}),
            "five layers": case("gpt", {}, {"layers": 5}),
            "odd shards": case("llama", {}, ODD),
        }
    if ranks == 2:
        return {
            **{
                f"{family}: {name}": case(family, layout)
                for family in FAMILIES
                for name, layout in TWO.items()
                if family != "mpt" or name in ("fsdp", "tp+sp", "pp 1f1b")  # its parts are those of gpt
            },
            **{
                f"llama: {mode} {name}": case("llama", TWO[name], activation_checkpointing=mode)
                for mode in RECOMPUTING
                for name in ("fsdp", "tp+sp")
            },
            "llama: selective-op pp zero-bubble": case(
                "llama", TWO["pp zero-bubble"], activation_checkpointing="selective-op"
            ),
            **{f"alibi: {name}": case("mpt", TWO[name], ALIBI) for name in ("tp", "pp 1f1b")},
            "llama: full cp": case("llama", TWO["cp"], activation_checkpointing="full"),
            "llama: full pp 1f1b": case("llama", TWO["pp 1f1b"], activation_checkpointing="full"),
            **{f"post-norm: {name}": case("bert", TWO[name], POST_NORM) for name in ("tp+sp", "pp zbv")},
            "five layers: uneven stages": case("gpt", UNEVEN, {"layers": 5}),
            "odd shards: fsdp": case("llama", TWO["fsdp"], ODD),
            "sabotaged": case("llama", TWO["ddp"], sabotage="drop the all-reduce"),
        }
    table = FOUR if ranks == 4 else EIGHT
    grouped = ("fsdp x tp+sp",) if ranks == 4 else ()
    return {
        **{f"gpt: {name}": case("gpt", layout) for name, layout in table.items()},
        **{f"llama: {name}": case("llama", table[name]) for name in grouped},
    }


ALIBI = {"positions": "alibi", "biases": False}
POST_NORM = {"norm_placement": "post"}
ODD = {"ffn": 49}  # shards of different lengths
