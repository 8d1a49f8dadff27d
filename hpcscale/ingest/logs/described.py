"""Facts of a log as the description of a point (the content of point.json). What a log does not say stays out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from hpcscale.cost.parameters import count
from hpcscale.spec import device as devices
from hpcscale.spec import locate, machine, model
from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError
from hpcscale.spec.yaml12 import Document

Facts = Mapping[str, Any]

AXES = ("dp", "tp", "pp", "cp")
_TRAINING = (
    "sequence_length", "global_batch_size", "micro_batch_size", "activation_checkpointing", "precision",
)  # fmt: skip
# A model is known when all of these are; what is left has one value in every tool that is read.
_SHAPE = (
    "family", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "positions", "norm", "mlp", "biases",
    "tied_embeddings",
)  # fmt: skip
# What a row lacks without: the order in which it is asked for.
WANTED = (
    "model", "devices", "training.sequence_length", "training.global_batch_size", "layout.dp", "layout.tp", "layout.pp",
    "training.precision", "device",
)  # fmt: skip


def description(facts: Facts) -> dict[str, Any]:
    """What was run, as far as it is known. Raises InputError where a person's model is none."""
    known = _completed(dict(facts))
    layout = {key: known.get(f"layout.{key}") for key in (*AXES, "sharding")}
    found: dict[str, Any] = {
        "machine": known.get("machine"),
        "nodes": known.get("nodes"),
        "ranks": known.get("devices"),
        "devices": known.get("devices"),
        "device": _device(known),
        "model": _model(known),
        "layout": {key: value for key, value in layout.items() if value is not None},
        "training": {key: known[f"training.{key}"] for key in _TRAINING if f"training.{key}" in known},
        "protocol": {"warmup_steps": known.get("protocol.warmup_steps", 0)},
    }
    return {key: value for key, value in found.items() if value not in (None, {})}


def unknown(told: Mapping[str, Any]) -> list[str]:
    """The keys, as --set takes them, of what the description lacks."""
    layout, training, its_model = (told.get(key, {}) for key in ("layout", "training", "model"))
    missing = {
        "model": _valid(its_model) is None,
        "devices": "devices" not in told,
        "device": "peak_tflops" not in told.get("device", {}) and "name" not in told.get("device", {}),
        **{f"layout.{axis}": axis not in layout for axis in AXES},
        **{f"training.{key}": key not in training for key in _TRAINING},
    }
    return [key for key in WANTED if missing[key]]


def hash_of(told: Mapping[str, Any]) -> str:
    """8 hex digits over what was run."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]


def _completed(known: dict[str, Any]) -> dict[str, Any]:
    """With what follows: a missing size of the layout from the number of devices, that number from a layout, nodes."""
    if "machine" in known:
        profile = machine.read(locate.find(str(known["machine"]), "machines", "machine"))
        known["machine"] = profile.name
        known.setdefault("device", profile.device_facts.name)
        if "devices" in known and int(profile.node.devices):
            known.setdefault("nodes", -(-known["devices"] // int(profile.node.devices)))
    # Those who have no context parallelism say nothing of it.
    if any(f"layout.{axis}" in known for axis in ("tp", "pp")):
        known.setdefault("layout.cp", 1)
    missing = [axis for axis in AXES if f"layout.{axis}" not in known]
    product = 1
    for axis in AXES:
        product *= known.get(f"layout.{axis}", 1)
    if not missing:
        known.setdefault("devices", product)
    elif len(missing) == 1 and known.get("devices") and known["devices"] % product == 0:
        known[f"layout.{missing[0]}"] = known["devices"] // product
    return known


def _device(known: Facts) -> dict[str, Any] | None:
    if "device" not in known:
        return None
    found = devices.find(str(known["device"]))
    if found is None:
        return {"name": str(known["device"])}
    precision = known.get("training.precision")
    peak = found.peak(precision) if precision else None
    return {"name": found.name, "kind": found.kind, "peak_tflops": peak, "memory_bytes": found.memory}


def _model(known: Facts) -> dict[str, Any] | None:
    """The whole model where its shape or its number of parameters says which; else what the log calls it."""
    parts = {name.partition(".")[2]: value for name, value in known.items() if name.startswith("model.")}
    text = parts.pop("text", None)
    if "model" in known:
        return _by_name(known["model"], parts)
    if all(key in parts for key in _SHAPE):
        shape = {**parts, "name": f"{parts['family']}-{parts['layers']}x{parts['hidden']}x{parts['heads']}"}
        try:
            return _with_catalogue_name(model.build(shape, Document(shape, ""), ())).model_dump(mode="json")
        except InputError:
            pass  # a tool may train what no Model can describe
    if found := _by_parameters(known, parts):
        return found.model_dump(mode="json")
    given = {**({"name": text} if text else {}), **parts}
    return given or None


def _by_name(name: Any, parts: dict[str, Any]) -> dict[str, Any]:
    keys = {"base": name, **{key: parts[key] for key in parts if key in _GIVEN}}
    return model.build(keys, Document({"model": keys}, "--set"), ("model",)).model_dump(mode="json")


# Of a model that a person names, the log may only say how large its vocabulary was made.
_GIVEN = ("vocab", "vocab_multiple")


def _with_catalogue_name(found: Model) -> Model:
    """The model under its name in the catalogue, if it is one of these."""
    for name in model.names():
        if _shape(model.named(name)) == _shape(found):
            return found.model_copy(update={"name": name})
    return found


def _shape(of: Model) -> tuple[Any, ...]:
    return tuple(getattr(of, key) for key in _SHAPE)


def _by_parameters(known: Facts, parts: Mapping[str, Any]) -> Model | None:
    """The one model of the catalogue with exactly this many parameters and no size that contradicts the log's."""
    number, length = known.get("parameters"), known.get("training.sequence_length")
    if number is None or length is None:
        return None
    found = [
        each
        for each in map(model.named, model.names())
        if count(each, length).total == number
        and all(getattr(each, key, value) == value for key, value in parts.items())
    ]
    return found[0] if len(found) == 1 else None


def _valid(keys: Mapping[str, Any]) -> Model | None:
    try:
        return Model.model_validate(keys)
    except ValueError:
        return None
