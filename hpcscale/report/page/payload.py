"""What the page embeds of a report: columns instead of rows, each as small as it can be said (packed.py)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpcscale.cost import flops
from hpcscale.ingest import schema
from hpcscale.report.build import Report
from hpcscale.report.charts.paper import COLOURS
from hpcscale.report.columns import Column, Row, lay_out
from hpcscale.report.page import figures
from hpcscale.report.page.documents import documents_of
from hpcscale.report.page.losses import losses_of
from hpcscale.report.page.packed import packed
from hpcscale.report.page.specs import columns_of, points_of, specs_of
from hpcscale.report.page.terms import terms_of
from hpcscale.report.page.work import Work
from hpcscale.spec import device

# A table's column -> the schema's column whose raw values it shows, where its name does not say so.
_RAW = {
    "Seq. length": "sequence_length", "MBS": "micro_batch_size", "GBS": "global_batch_size", "DP printed": "dp_published",
    "Memory (GiB)": "peak_memory_bytes", "sec/it": "step_seconds", "sec/it interval": "step_seconds_low",
    "sec/it printed": "step_seconds_published", "sec/it predicted": "predicted_step_seconds",
    "predicted 80 %": "predicted_step_seconds_low", "iter/s": "steps_per_second", "iter/s printed": "steps_per_second_published",
    "samples/s": "samples_per_second", "samples/s printed": "samples_per_second_published", "tokens/s": "tokens_per_second",
    "tokens/s printed": "tokens_per_second_published", "tokens/s/device": "tokens_per_second_per_device",
    "tokens/s/device printed": "tokens_per_second_per_device_published", "TFLOPs/device": "tflops_per_device",
    "TFLOPs printed": "tflops_per_device_published", "PFLOPs in all": "aggregate_pflops",
    "PFLOPs printed": "aggregate_pflops_published", "MFU (%)": "mfu", "MFU printed": "mfu_published", "HFU (%)": "hfu",
    "HFU printed": "hfu_published", "Strong eff. (%)": "efficiency", "Weak eff. (%)": "efficiency",
    "Joules/step": "energy_joules_per_step", "W/device": "watts_per_device", "tokens/joule": "tokens_per_joule",
    "FLOPs counted as": "flops_convention", "AC": "activation_checkpointing",
}  # fmt: skip
_KINDS = {column.name: column.kind for column in schema.COLUMNS}
# Colours on a dark ground: COLOURS, those that would drown replaced by lighter ones.
_ON_DARK = {
    "#0072B2": "#3D9BE0",
    "#000000": "#F2F2F2",
    "#7F7F7F": "#9A9A9A",
    "#882255": "#D877A8",
    "#44580B": "#A8C256",
}


def payload(report: Report, arguments: Sequence[str], runs: Path) -> dict[str, Any]:
    """Everything that the page's scripts read."""
    points = points_of(arguments) if any(row["point"] for row in report.rows) else {}
    specs = specs_of(report.rows, points, arguments, runs)
    work = Work(report.rows, specs)
    rows = [{**row, **_beside(i, row, specs[i], work)} for i, row in enumerate(report.rows)]
    _add_references(rows)
    found = figures.ways(rows)
    layout = lay_out(report.rows) if report.rows else None
    return {
        "count": len(rows),
        "columns": [
            _column(column, [cells[i] for cells in layout.cells], report.rows)
            for i, column in enumerate(layout.columns)
        ]
        if layout
        else [],
        "common": layout.common if layout else (),
        "facts": _facts(rows),
        "meanings": {column.name: column.meaning for column in schema.COLUMNS},
        "words": figures.WORDS,
        "ways": [figures.described(way) for way in figures.WAYS],
        "figures": {figure: packed(positions) for figure, positions in found.items()},
        "flops": packed([work.said(i, row) for i, row in enumerate(rows)]),
        "conventions": _conventions(rows, work),
        "checks": [dataclasses.asdict(check) for check in report.checks],
        "specs": columns_of(specs),
        "documents": documents_of(rows, arguments),
        "terms": terms_of(rows, points),
        "losses": losses_of(rows),
        "colours": {"light": COLOURS, "dark": [_ON_DARK.get(each, each) for each in COLOURS]},
    }


def _column(column: Column, texts: Sequence[str], rows: Sequence[Row]) -> dict[str, Any]:
    """``raw`` names the fact that the column is sorted by; ``numbers`` stand in where it shows none."""
    cells = [None if text == column.empty else text for text in texts]
    name = _RAW.get(column.name) or column.name.lower()
    numeric = name in _KINDS and _KINDS[name] in ("int", "float")
    found: dict[str, Any] = {
        "title": column.title.split("\n"), "name": column.name, "left": column.left, "setting": column.setting,
        "rank": column.rank, "empty": column.empty and "–", "cells": packed(cells), "numeric": numeric,
    }  # fmt: skip
    if name in _KINDS:
        found["raw"] = name
    elif not column.left:
        numbers = [_number(text) for text in cells]
        if any(each is not None for each in numbers):
            found |= {"numeric": True, "numbers": packed(numbers)}
    return found


def _number(text: str | None) -> float | None:
    """Of a cell of a column that this module does not know."""
    try:
        return None if text is None else float(text.replace(",", "").rstrip(" %"))
    except ValueError:
        return None


def _beside(i: int, row: Row, spec: dict[str, Any] | None, work: Work) -> Row:
    """What formulas and charts need beside the schema's columns."""
    name = row["flops_convention"]
    counted = row["tflops_per_device"] is not None
    return {
        "model_flops_per_token": work.per_token(i, row, name) if name and counted else None,
        "recompute_factor": work.factor(i, row) if counted else None,
        "reference_tokens_per_second": None, "reference_devices": None, "reference": None,
        "device_memory_bytes": _memory(row, spec) if row["peak_memory_bytes"] is not None else None,
    }  # fmt: skip


def _memory(row: Row, spec: dict[str, Any] | None) -> int | None:
    described = (spec or {}).get("device")
    if isinstance(described, dict) and isinstance(described.get("memory_bytes"), int):
        return described["memory_bytes"]
    found = device.find(row["device"]) if row["device"] else None
    return found.memory if found else None


def _add_references(rows: Sequence[Row]) -> None:
    """The row that speedup and efficiency are against: what they were divided by says which."""
    sizes: dict[tuple[Any, ...], list[int]] = {}
    for i, row in enumerate(rows):
        if row["devices"] and row["tokens_per_second"]:
            sizes.setdefault((row["devices"], row["series"]), []).append(i)
            sizes.setdefault((row["devices"],), []).append(i)
    for row in rows:
        if row["efficiency"] is None or not row["speedup"]:
            continue
        throughput = row["tokens_per_second"] / row["speedup"]
        devices = round(row["efficiency"] * row["devices"] / row["speedup"])
        row.update(reference_tokens_per_second=throughput, reference_devices=devices)
        # of another series only where that is one replica, which has nothing to shard (scaling.py)
        for key in ((devices, row["series"]), (devices,)):
            found = (i for i in sizes.get(key, ()) if abs(rows[i]["tokens_per_second"] / throughput - 1) < 1e-9)
            row["reference"] = next(found, None)
            if row["reference"] is not None:
                break


def _facts(rows: Sequence[Row]) -> dict[str, Any]:
    """Raw values of every column that has any."""
    names = rows[0] if rows else ()
    return {name: packed([row[name] for row in rows]) for name in names if any(row[name] is not None for row in rows)}


def _conventions(rows: Sequence[Row], work: Work) -> list[dict[str, Any]]:
    """FLOPs a token of each row as each convention counts them, without recomputation."""
    able = [i for i, row in enumerate(rows) if row["tokens_per_second_per_device"] and row["peak_tflops"]]
    if not able:
        return []
    found = []
    for each in flops.CONVENTIONS:
        counts: list[float | None] = [None] * len(rows)
        for i in able:
            counts[i] = work.per_token(i, rows[i], each.name)
        about = {"name": each.name, "formula": each.formula, "source": each.source, "hardware": each.hardware}
        found.append(about | {"flops": packed(counts)})
    return found
