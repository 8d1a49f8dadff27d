"""Cases from points: what hpcscale's own trainer, or the program that a study names, will do with a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcscale.cost import cases, hardware, programs
from hpcscale.cost.constants import Kind
from hpcscale.cost.hardware import Hardware, Unknown
from hpcscale.cost.predict import Predictions, predict
from hpcscale.spec.point import Point

_ZERO_BUBBLE = ("interleaved-zero-bubble", "zbv")
_ELEMENT = {"fp32": 4.0, "tf32": 4.0, "fp64": 8.0}


@dataclass(frozen=True)
class Foreseen:
    """Predictions for those of ``points`` that can be predicted; ``position[i]`` is point i's place in them, or why it has none."""

    predictions: Predictions | None
    position: tuple[int | str, ...]


def foresee(points: Sequence[Point]) -> Foreseen:
    """Predictions for all points at once."""
    found: list[dict[str, float | bool]] = []
    kinds: list[Kind] = []
    calibrations = []
    position: list[int | str] = []
    known: dict[tuple[object, ...], Hardware | str] = {}
    for point in points:
        have = _hardware(point, known)
        if isinstance(have, str):
            position.append(have)
            continue
        position.append(len(found))
        found.append(described(point, have))
        kinds.append(have.kind)
        calibrations.append(point.machine.calibration)
    if not found:
        return Foreseen(None, tuple(position))
    return Foreseen(predict(cases.made(found), kinds, calibrations), tuple(position))


def _hardware(point: Point, known: dict[tuple[object, ...], Hardware | str]) -> Hardware | str:
    key = (point.machine.name, point.training.precision, point.ranks_per_node, *point.resources.items())
    if key not in known:
        try:
            known[key] = hardware.of_machine(
                point.machine, point.training.precision, point.resources, point.ranks_per_node
            )
        except Unknown as error:
            known[key] = str(error)
    return known[key]


def described(point: Point, have: Hardware) -> dict[str, float | bool]:
    """The case of a point, by the names of the fields of Cases."""
    model, layout, training = point.model, point.layout, point.training
    replica = training.global_batch_size // layout.dp
    micro = training.micro_batch_size if isinstance(training.micro_batch_size, int) else 1
    mode = training.activation_checkpointing
    word, _, every = mode.partition(":")
    sharding = cases.SHARDING[layout.sharding]
    shards = layout.dp * layout.cp // (layout.dp_replicate or 1) if sharding else 1
    compiled = training.compile is True or (training.compile == "auto" and have.kind.kind == "gpu")
    return {
        "layers": model.layers, "hidden": model.hidden, "heads": model.heads, "kv_heads": model.kv_heads, "ffn": model.ffn,
        "mlp_matrices": model.mlp_matrices, "vocab": model.padded_vocab(layout.tp), "untied": not model.tied_embeddings,
        "causal": model.causal,
        "positions": (model.max_positions or training.sequence_length) if model.positions == "learned" else 0,
        "sequence": training.sequence_length, "micro_batch": max(1, min(micro, replica)), "batch": training.global_batch_size,
        "checkpointing": cases.SELECTIVE_LAYER if every else cases.CHECKPOINTING[word], "every": float(every or 1),
        "element": _ELEMENT.get(training.precision, 2.0), "fp8": training.precision == "fp8", "rowwise": False,
        "eager": 0.0 if compiled else 1.0, "fused_attention": hardware.fuses_attention(have.kind) or not point.workload.foreign, "async_tp": False,
        "dp": layout.dp, "tp": layout.tp, "pp": layout.pp, "cp": layout.cp, "virtual": layout.virtual_stages,
        "zero_bubble": layout.schedule in _ZERO_BUBBLE, "all_in_flight": layout.schedule == "gpipe",
        "sequence_parallel": layout.sequence_parallel, "sharding": sharding, "shards": max(1, shards),
        "peak": have.peak, "attention_peak": have.attention_peak, "bandwidth": have.bandwidth, "link": have.link,
        "network": have.network, "node_ranks": have.node_ranks,
        "memory": float("nan") if have.memory is None else have.memory,
        "program": programs.of_workload(point.workload.name, training.precision), "cpu": have.kind.kind == "cpu", "rms": model.norm == "rmsnorm",
        "rotary": model.positions == "rope", "alibi": model.positions == "alibi", "mlm": model.head == "mlm",
        "v_shape": layout.schedule == "zbv",
    }  # fmt: skip
