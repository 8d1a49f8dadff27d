"""Cases from rows of a table with published/calibration.csv's columns; a row that cannot be expressed says why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcscale.cost import cases, hardware, programs
from hpcscale.cost.constants import Kind
from hpcscale.cost.hardware import Hardware, Unknown
from hpcscale.spec import locate, machine
from hpcscale.spec.machine import Machine
from hpcscale.spec.problems import InputError

# What tables call the modes of checkpointing, sharding and precision, in small letters without separators.
_CHECKPOINTING = {
    "": "none", "no": "none", "none": "none", "false": "none", "0": "none", "off": "none", "nan": "none",
    "full": "full", "yes": "full", "true": "full", "1": "full", "on": "full", "block": "full", "uniform": "full",
    "selective": "core-attention", "coreattention": "core-attention", "selectivecore": "core-attention",
    "selectiveop": "selective-op", "op": "selective-op", "sac": "selective-op",
    "selectivelayer": "selective-layer:2", "layer": "selective-layer:2",
}  # fmt: skip
_SHARDING = {
    "": "ddp", "no": "ddp", "none": "ddp", "ddp": "ddp", "dp": "ddp", "zero0": "ddp", "noshard": "ddp", "nan": "ddp",
    "zero1": "zero1", "zero2": "zero1", "distopt": "zero1", "distributedoptimizer": "zero1", "shardgradop": "fsdp",
    "fsdp": "fsdp", "fsdp1": "fsdp", "fsdp2": "fsdp", "fullshard": "fsdp", "zero3": "fsdp", "hsdp": "hsdp", "hybridshard": "hsdp",
}  # fmt: skip
_PRECISIONS = ("fp8", "bf16", "fp16", "tf32", "fp32", "fp64")
_ENCODERS = re.compile(r"bert|roberta|encoder", re.IGNORECASE)
_GATED = re.compile(r"llama|mistral|qwen|gemma|olmo|deepseek", re.IGNORECASE)
OWN = "hpcscale"  # the column program of rows that hpcscale's own trainer measured
_NEEDED = ("layers", "hidden", "heads", "seq", "gbs")


@dataclass(frozen=True)
class Described:
    """A row as a case, or ``reason``: why it is none. ``note`` says what was assumed."""

    values: dict[str, float | bool] | None
    kind: Kind
    machine: Machine | None = None
    reason: str = ""
    note: str = ""


def described(row: Mapping[str, Any], profile: Machine | None = None) -> Described:
    """The case of a row: column -> cell; empty cells are None, "" or nan. ``profile``: the machine, whatever ``system`` says."""
    try:
        return _described(row, profile)
    except (Unknown, InputError) as error:
        return Described(None, Kind("gpu", ""), reason=str(error))


def _described(row: Mapping[str, Any], given: Machine | None) -> Described:
    missing = [name for name in _NEEDED if _number(row, name) is None]
    if missing:
        raise Unknown(f"the row lacks {', '.join(missing)}")
    precision = _precision(_text(row, "precision"))
    profile = given or _profile(_text(row, "system"))
    gpus = _number(row, "gpus")
    sizes = {name: _number(row, name) or 1.0 for name in ("tp", "pp", "cp")}
    inner = sizes["tp"] * sizes["pp"] * sizes["cp"]
    dp = _number(row, "dp") or (gpus / inner if gpus else 1.0)
    if dp < 1 or dp != round(dp):
        raise Unknown(f"{gpus:g} devices are no multiple of tp x pp x cp = {inner:g}")
    ranks = dp * inner
    if gpus and ranks != gpus:
        raise Unknown(f"dp x tp x pp x cp = {ranks:g}, but the row has {gpus:g} devices")
    found, note = _hardware(row, profile, precision, gpus or ranks)
    values = {**_shape(row, sizes["tp"]), **_work(row, dp), **_modes(row, precision, found, sizes, dp)}
    values.update(
        dp=dp, **sizes, virtual=_number(row, "vpp") or 1.0, peak=found.peak, attention_peak=found.attention_peak,
        bandwidth=found.bandwidth, link=found.link, network=found.network, node_ranks=float(found.node_ranks),
        memory=float("nan") if found.memory is None else found.memory,
    )  # fmt: skip
    return Described(values, found.kind, profile, note=note)


def _hardware(row: Mapping[str, Any], profile: Machine | None, precision: str, count: float) -> tuple[Hardware, str]:
    if profile is not None:
        ranks = _number(row, "ranks_per_node")
        return hardware.of_machine(profile, precision, _resources(row, profile), int(ranks) if ranks else None), ""
    name = _text(row, "gpu_type")
    if not name:
        raise Unknown("the row lacks gpu_type, and no machine profile is called as its system")
    found = hardware.of_device(name, precision, _number(row, "nodes"), count)
    return found, f"a usual machine with {name}: {found.node_ranks} a node, {found.network / 1e9:g} GB/s network each"


def _resources(row: Mapping[str, Any], profile: Machine) -> dict[str, int]:
    """Clock and power mode as the row states them; else a device's first mode, in which published runs were made."""
    modes = profile.device_facts.modes
    found = dict(modes[0].when) if modes else {}
    clock = _number(row, "freq_ghz")
    if clock is not None and "freq" in profile.resources:
        found["freq"] = round(clock * 1000)
    for name in profile.resources:
        text = _text(row, name)
        if text:
            found[name] = round(float(text))
    return found


def _profile(name: str) -> Machine | None:
    if not name or name not in locate.available("machines"):
        return None
    return machine.read(locate.find(name, "machines", "machine"))


def _shape(row: Mapping[str, Any], tp: float) -> dict[str, float | bool]:
    d, layers = _need(row, "hidden"), _need(row, "layers")
    heads = _need(row, "heads")
    kv_heads = _number(row, "kv_heads") or heads
    matrices, ffn = _mlp(row, d, layers, heads, kv_heads)
    vocab = _number(row, "vocab") or 50304.0
    kv = kv_heads * d / heads
    blocks = layers * (2 * d * d + 2 * d * kv + matrices * d * ffn)
    total = _number(row, "n_params")
    # More than blocks and one embedding: the output layer has a matrix of its own.
    untied = bool(total) and float(total or 0) > blocks + 1.5 * vocab * d
    return {
        "layers": layers, "hidden": d, "heads": heads, "kv_heads": kv_heads, "ffn": ffn, "mlp_matrices": matrices,
        "vocab": -(-vocab // tp) * tp, "untied": untied, "causal": not _ENCODERS.search(_text(row, "model")), "positions": 0.0,
    }  # fmt: skip


def _mlp(row: Mapping[str, Any], d: float, layers: float, heads: float, kv_heads: float) -> tuple[float, float]:
    """(matrices of the MLP, its size): 3 with a gate, by the parameters that the row states, else by the model's name."""
    ffn, total = _number(row, "ffn"), _number(row, "n_params")
    gated = bool(_GATED.search(_text(row, "model")))
    if ffn is None:
        return (3.0, 8 / 3 * d) if gated else (2.0, 4 * d)
    if total is not None:
        left = total - layers * (2 * d * d + 2 * d * d * kv_heads / heads)
        vocab = (_number(row, "vocab") or 0) * d
        fits = {
            (matrices, copies): abs(left - copies * vocab - layers * matrices * d * ffn)
            for matrices in (2.0, 3.0)
            for copies in (1, 2)
        }
        (best, _), error = min(fits.items(), key=lambda item: item[1])
        if error < 0.05 * total:
            return best, ffn
    return (3.0 if gated else 2.0), ffn


def _work(row: Mapping[str, Any], dp: float) -> dict[str, float | bool]:
    batch = _need(row, "gbs")
    return {
        "sequence": _need(row, "seq"),
        "batch": batch,
        "micro_batch": min(_number(row, "mbs") or 1.0, max(1.0, batch / dp)),
    }


def _modes(
    row: Mapping[str, Any], precision: str, found: Hardware, sizes: Mapping[str, float], dp: float
) -> dict[str, float | bool]:
    notes = _text(row, "notes").lower()
    checkpointing, every = _checkpointing(_text(row, "ac_mode"))
    sharding = _SHARDING.get(_plain(_text(row, "sharding")))
    if sharding is None:
        raise Unknown(f"sharding '{row['sharding']}' is none of ddp, zero1, fsdp, hsdp")
    code = cases.SHARDING[sharding]
    compiled = 0.0 if "compile" in notes else 1.0 if "eager" in notes else 0.3
    gated = bool(_GATED.search(_text(row, "model")))  # models with a gate have RMS norms and rotary positions too
    encoder = bool(_ENCODERS.search(_text(row, "model")))
    own = _text(row, "program") == OWN
    fused = own or (not encoder and hardware.fuses_attention(found.kind))  # which is causal or full, never padded
    program = programs.OWN if own else programs.of_table(_plain(_text(row, "sharding")), precision, notes)
    return {
        "checkpointing": float(checkpointing), "every": every, "element": {"fp32": 4.0, "tf32": 4.0, "fp64": 8.0}.get(precision, 2.0),
        "fp8": precision == "fp8", "rowwise": "row" in _text(row, "precision").lower(), "eager": compiled,
        "fused_attention": fused, "async_tp": "async" in notes, "zero_bubble": "zero bubble" in notes or "zbv" in notes,
        "all_in_flight": "gpipe" in notes or "afab" in notes, "sequence_parallel": sharding in ("fsdp", "hsdp") and sizes["tp"] > 1,
        "sharding": float(code), "shards": dp * sizes["cp"] if code else 1.0,
        "program": float(program), "cpu": found.kind.kind == "cpu",
        "rms": gated, "rotary": gated,
    }  # fmt: skip


def _checkpointing(text: str) -> tuple[int, float]:
    plain = _plain(text)
    counted = re.fullmatch(r"selectivelayer(\d+)", plain)
    word = f"selective-layer:{counted[1]}" if counted else _CHECKPOINTING.get(plain)
    if word is None:
        raise Unknown(f"ac_mode '{text}' is none of none, full, selective-op, selective-layer:k, core-attention")
    if word.startswith("selective-layer"):
        return cases.SELECTIVE_LAYER, float(word.partition(":")[2])
    return cases.CHECKPOINTING[word], 1.0


def _precision(text: str) -> str:
    found = next((each for each in _PRECISIONS if each in text.lower()), None)
    if found is None and text.lower() in ("", "nan", "mixed", "amp"):
        return "bf16"
    if found is None:
        raise Unknown(f"precision '{text}' is none of {', '.join(_PRECISIONS)}")
    return found


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None or value != value else str(value).strip()


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """A cell as a number above zero; None where it is empty. Raises Unknown for words."""
    text = _text(row, name)
    if not text:
        return None
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        raise Unknown(f"{name} '{text}' is no number") from None
    if value != value:
        return None
    if value <= 0:
        raise Unknown(f"{name} is {value:g}, which is not above zero")
    return value


def _need(row: Mapping[str, Any], name: str) -> float:
    value = _number(row, name)
    assert value is not None, "checked before"
    return value
