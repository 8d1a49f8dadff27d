"""What a row's step consists of, as predicted: the terms of cost/time.py in groups that a chart can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcscale.cost import cases
from hpcscale.cost.explain import explain
from hpcscale.cost.of_rows import OWN, described
from hpcscale.cost.predict import predict
from hpcscale.ingest.predicted import columns
from hpcscale.spec.model import Model

Row = dict[str, Any]

# what a chart calls them -> terms of cost/time.py; every term stands in one group
GROUPS: dict[str, tuple[str, ...]] = {
    "products": ("matmul", "logits"),
    "attention": ("attention",),
    "memory, kernels": ("memory", "launch"),
    "tensor and context parallel": ("tp", "cp"),
    "pipeline": ("bubble", "p2p"),
    "data parallel": ("dp",),
    "optimizer, other": ("optimizer", "fixed", "scale"),
}


def by_group(rows: Sequence[Row], models: Sequence[Model | None]) -> list[dict[str, float] | None]:
    """Seconds of each group, adding up to the row's prediction; None for a row without one.

    The shares are of a prediction from the row's columns; the sum is what its study's point was predicted to take.
    """
    wanted = [i for i, row in enumerate(rows) if models[i] is not None and _predicted_seconds(row)]
    cells = [described(_columns(rows[i], models[i])) for i in wanted]
    able = [(i, each) for i, each in zip(wanted, cells, strict=True) if each.values is not None]
    found: list[dict[str, float] | None] = [None] * len(rows)
    if not able:
        return found
    blocks = [each.machine.calibration if each.machine is not None else None for _, each in able]
    predictions = predict(cases.made([each.values or {} for _, each in able]), [each.kind for _, each in able], blocks)
    for place, (i, _) in enumerate(able):
        terms = {term.name: term.seconds for term in explain(predictions, place).terms}
        scale = (_predicted_seconds(rows[i]) or 0.0) / sum(terms.values())
        found[i] = {group: scale * sum(terms[name] for name in names) for group, names in GROUPS.items()}
    return found


def _predicted_seconds(row: Row) -> float | None:
    return row["step_seconds"] if row["origin"] == "predicted" else row["predicted_step_seconds"]


def _columns(row: Row, model: Model | None) -> Row:
    own = {} if row["origin"] == "published" else {"program": OWN}
    return columns(row, model) | own
