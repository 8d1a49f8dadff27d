"""A point's description (the content of point.json) as columns of the table."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from hpcscale.cost.parameters import count
from hpcscale.record.json_text import dumps
from hpcscale.spec.model import Model


def described(point: dict[str, Any]) -> dict[str, Any]:
    """What ran where, layout and batch. Keys that a description lacks leave their columns empty."""
    layout, training, device, resources, model_keys = (
        _mapping(point, key) for key in ("layout", "training", "device", "resources", "model")
    )
    row: dict[str, Any] = {
        "source": point.get("study"),
        "point": point.get("point"),
        "hash": point.get("hash"),
        "machine": point.get("machine"),
        "device": device.get("name"),
        "resources": ",".join(f"{key}={value}" for key, value in resources.items()) or None,
        "nodes": point.get("nodes"),
        "devices": point.get("devices"),
        "ranks": point.get("ranks"),
        "model": model_keys.get("name"),
        "scaling": point.get("scaling"),
        "peak_tflops": device.get("peak_tflops"),
        **{axis: layout.get(axis) for axis in ("dp", "tp", "pp", "cp", "sharding")},
        **{
            key: training.get(key)
            for key in ("global_batch_size", "sequence_length", "activation_checkpointing", "precision")
        },
    }
    micro = training.get("micro_batch_size")
    row["micro_batch_size"] = micro if isinstance(micro, int) else None  # "auto" is known only after the run
    batch, length = row["global_batch_size"], row["sequence_length"]
    if batch and length:
        row["tokens_per_step"] = batch * length
    if batch and row["micro_batch_size"] and row["dp"]:
        row["gradient_accumulation"] = -(-batch // (row["micro_batch_size"] * row["dp"]))
    if length:
        row["parameters"] = _parameters(model_text(point), length, row["tp"] or 1)
    return row


@lru_cache(maxsize=1024)
def _parameters(model_text: str, length: int, tp: int) -> int | None:
    model = model_in(model_text)
    return None if model is None else count(model, length, tp).total


def _mapping(point: dict[str, Any], key: str) -> dict[str, Any]:
    value = point.get(key)
    return value if isinstance(value, dict) else {}


def model_text(point: dict[str, Any]) -> str:
    """JSON of the model that a description holds; for :func:`model_in`."""
    return dumps(point.get("model")).decode()


def model_of(point: dict[str, Any]) -> Model | None:
    """The model that a description holds in full; None if it does not or is of another version."""
    return model_in(model_text(point))


@lru_cache(maxsize=1024)
def model_in(text: str) -> Model | None:
    """The model that a JSON text holds. Thousands of points share a few models, and checking one takes a while."""
    try:
        return Model.model_validate(json.loads(text))
    except ValidationError:
        return None
