"""Measured runs as rows of the table that predictions read: one row a point, with the columns of ``hpcscale predict --table``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpcscale.cost.of_rows import OWN
from hpcscale.ingest import records, schema
from hpcscale.ingest.describe import model_of


def rows(folder: Path, machine: str) -> list[dict[str, Any]]:
    """The completed runs below ``folder`` that were made on ``machine``, with ``sec_per_iter`` and ``mem_gib``.

    Raises InputError if the folder holds no run at all.
    """
    table = schema.rows(records.read(folder))
    found = []
    for row in table:
        if row["machine"] != machine or row["status"] != "completed" or not row["step_seconds"] or not row["record"]:
            continue
        description = _description(Path(row["record"]))
        if description is not None:
            found.append(_row(row, description))
    return found


def _description(record: Path) -> dict[str, Any] | None:
    """The point.json of an attempt's record; imported and hand-made records may have none."""
    try:
        found = json.loads((record.parent.parent.parent / records.DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and model_of(found) is not None else None


def _row(row: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    model, layout, training = (description[name] for name in ("model", "layout", "training"))
    foreign = (description.get("workload") or {}).get("name")
    compiled = training.get("compile") is True
    return {
        "system": row["machine"], "source": str(row["point"]), "model": model["name"], "n_params": row["parameters"],
        **{name: model[name] for name in ("layers", "hidden", "heads", "kv_heads", "ffn", "vocab")},
        "seq": training["sequence_length"], "gpus": row["ranks"], "nodes": row["nodes"], "gpu_type": row["device"],
        **{name: layout[name] for name in ("dp", "tp", "pp", "cp", "sharding")}, "vpp": layout.get("virtual_stages", 1),
        "mbs": row["micro_batch_size"], "gbs": training["global_batch_size"], "ac_mode": training["activation_checkpointing"],
        "precision": training["precision"], "ranks_per_node": description.get("ranks_per_node"), "program": foreign or OWN,
        "notes": "compile" if compiled else "eager", **(description.get("resources") or {}),
        "sec_per_iter": row["step_seconds"], "mem_gib": (row["peak_memory_bytes"] or 0) / 2**30 or None,
    }  # fmt: skip
