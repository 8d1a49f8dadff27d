"""Predictions as rows of the table, and beside measured and published ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from hpcscale.cost.deviation import far_off
from hpcscale.cost.flops import OWN, convention
from hpcscale.cost.memory import FITS, OOM
from hpcscale.cost.of_points import foresee
from hpcscale.cost.parameters import count
from hpcscale.cost.tables import predict_rows
from hpcscale.ingest import schema
from hpcscale.ingest.describe import described
from hpcscale.ingest.rates import rates
from hpcscale.spec.model import Model, named
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError

Row = dict[str, Any]
Seconds = tuple[float, float, float]  # predicted, and the ends of the 80 % interval


def rows_of(points: Sequence[Point], convention_name: str | None = None) -> pd.DataFrame:
    """A row for each point, run or not; repeats of one configuration are one."""
    first = [point for point in points if point.repeat == 1]
    foreseen = foresee(first)
    rows = []
    for point, position in zip(first, foreseen.position, strict=True):
        row: Row = {"origin": "predicted", "status": "missing", **described(point.document())}
        if isinstance(position, str) or foreseen.predictions is None:
            rows.append(row | {"note": f"not predicted: {position}"})
            continue
        found, verdict = foreseen.predictions, foreseen.predictions.verdict[position]
        row |= {
            "status": "oom" if verdict == OOM else "completed",
            "peak_memory_bytes": int(found.memory[position]), "memory_kind": "predicted",
            **_figures(row, (float(found.seconds[position]), float(found.low[position]), float(found.high[position]))),
            "note": _note(point, verdict),
        }  # fmt: skip
        rows.append(row | rates(row, point.model, convention(convention_name or OWN)))
    return schema.frame(rows)


def _figures(row: Row, seconds: Seconds) -> Row:
    step, low, high = seconds
    throughput = row["tokens_per_step"] / step
    return {
        "step_seconds": step, "step_seconds_low": low, "step_seconds_high": high, "steps_per_second": 1 / step,
        "tokens_per_second": throughput, "samples_per_second": row["global_batch_size"] / step,
        "tokens_per_second_per_device": throughput / row["devices"],
    }  # fmt: skip


def _note(point: Point, verdict: str) -> str | None:
    said = [] if verdict == FITS else [f"memory: {verdict}"]
    if point.workload.foreign:
        said.append(f"run by {point.workload.name}, predicted as the same layout in hpcscale's own trainer")
    return "; ".join(said) or None


def beside(table: pd.DataFrame, points: Sequence[Point] = ()) -> pd.DataFrame:
    """The table with predictions in measured and published rows; a measurement far outside its interval says so.

    ``points``: those that measured rows may be of; other rows are predicted from what their columns say.
    """
    rows = schema.rows(table)
    by_name = {(point.identity, point.hash): point for point in points}
    found = _from_points(rows, by_name)
    found |= _from_columns(rows, [i for i, row in enumerate(rows) if i not in found and row["origin"] != "predicted"])
    for i, (seconds, low, high) in found.items():
        row = rows[i]
        row.update(predicted_step_seconds=seconds, predicted_step_seconds_low=low, predicted_step_seconds_high=high)
        said = far_off(row["step_seconds"], seconds, low, high) if row["step_seconds"] else ""
        if said and row["origin"] == "measured":
            row["note"] = "; ".join(filter(None, (row["note"], said)))
    return schema.frame(rows)


def _from_points(rows: Sequence[Row], by_name: dict[tuple[str, str], Point]) -> dict[int, Seconds]:
    places = [i for i, row in enumerate(rows) if (row["point"], row["hash"]) in by_name]
    points = [_as_run(by_name[rows[i]["point"], rows[i]["hash"]], rows[i]["micro_batch_size"]) for i in places]
    foreseen = foresee(points)
    predictions = foreseen.predictions
    return {
        i: (float(predictions.seconds[p]), float(predictions.low[p]), float(predictions.high[p]))
        for i, p in zip(places, foreseen.position, strict=True)
        if isinstance(p, int) and predictions is not None
    }


def _as_run(point: Point, micro_batch_size: int | None) -> Point:
    """With the micro batch that was found by trying, or halved after running out of memory."""
    if micro_batch_size in (None, point.training.micro_batch_size):
        return point
    return replace(point, training=point.training.model_copy(update={"micro_batch_size": micro_batch_size}))


def _from_columns(rows: Sequence[Row], places: Sequence[int]) -> dict[int, Seconds]:
    models = {name: _model(name) for name in {rows[i]["model"] for i in places}}
    able = [i for i in places if models[rows[i]["model"]] is not None]
    predictions = predict_rows([columns(rows[i], models[rows[i]["model"]]) for i in able])
    return {
        i: (each.seconds, each.low, each.high)
        for i, each in zip(able, predictions, strict=True)
        if each.seconds is not None and each.low is not None and each.high is not None
    }


def _model(name: str | None) -> Model | None:
    try:
        return named(name) if name else None
    except InputError:
        return None  # a table may be of a model that the catalogue lacks


def configuration(row: Row) -> Row | None:
    """What a row ran, under the names of tables for ``hpcscale predict``; None if its model is not in the catalogue."""
    model = _model(row["model"])
    return None if model is None else columns(row, model)


def columns(row: Row, model: Model | None) -> Row:
    """The row under the names of tables for ``hpcscale predict``."""
    if model is None:
        return {}
    pairs = (part.partition("=") for part in str(row["resources"] or "").split(","))
    resources: Row = {name: value for name, equals, value in pairs if equals}
    return {
        **resources, "system": row["machine"], "gpu_type": row["device"], "nodes": row["nodes"],
        "gpus": row["ranks"] or row["devices"], "model": model.name, "layers": model.layers, "hidden": model.hidden,
        "heads": model.heads, "kv_heads": model.kv_heads, "ffn": model.ffn, "vocab": model.vocab,
        "n_params": count(model, row["sequence_length"] or 1, row["tp"] or 1).total, "seq": row["sequence_length"],
        "gbs": row["global_batch_size"], "mbs": row["micro_batch_size"], "dp": row["dp"], "tp": row["tp"], "pp": row["pp"],
        "cp": row["cp"], "ac_mode": row["activation_checkpointing"], "sharding": row["sharding"],
        "precision": row["precision"],
    }  # fmt: skip
