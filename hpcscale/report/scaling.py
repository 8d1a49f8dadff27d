"""Speedup and efficiency of the rows of a series.

Efficiency compares rows of a series whose work is comparable: the same global batch (strong scaling), or the same global
batch per device (weak scaling). Both are against the smallest such row, by tokens per second:

    speedup = (tokens/s) / (tokens/s of the smallest),  efficiency = speedup / (devices / devices of the smallest)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pandas as pd

from hpcscale.ingest import schema
from hpcscale.report import series

Row = series.Row


def with_scaling(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Row]]:
    """The table with ``series``, ``speedup``, ``efficiency`` and ``efficiency_kind`` filled in, and its rows.

    Rows that did not complete stay and take no part. A row without efficiency has the reason in ``efficiency_kind``.
    """
    rows = schema.rows(table)
    for row in rows:
        row.update(series=None, speedup=None, efficiency=None, efficiency_kind=None)
    everything = series.grouped(rows)
    names = series.names(everything)
    unsharded = _grouped((row for row in rows if row["dp"] == 1 and _takes_part(row)), _but_sharding)
    for identity, group in everything.items():
        for row in group:
            row["series"] = names[identity]
        taking_part = [row for row in group if _takes_part(row)]
        # One replica has nothing to shard: it is the start of every series that differs from it in sharding alone.
        # Copies, since such a guest keeps the efficiency that it has in its own series.
        guests = unsharded.get(_but_sharding(group[0]), []) if all(row["dp"] != 1 for row in taking_part) else []
        _scale(taking_part, [dict(row) for row in guests])
    filled = {
        name: pd.array([row[name] for row in rows], dtype=schema.DTYPES[name])
        for name in ("series", "speedup", "efficiency", "efficiency_kind")
    }
    return table.reset_index(drop=True).assign(**filled), rows


def _takes_part(row: Row) -> bool:
    return row["status"] == "completed" and bool(row["tokens_per_second"]) and bool(row["devices"])


def _but_sharding(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in series.COLUMNS if name != "sharding")


def _scale(rows: list[Row], guests: list[Row]) -> None:
    """Compare what can be compared: all rows if one rule fits them, else the largest parts that a rule fits."""
    if not rows:
        return
    group = rows + guests
    if len({row["devices"] for row in group}) == 1:
        _refuse(group, f"only one size, {group[0]['devices']} devices")
        return
    if any(row["global_batch_size"] is None for row in group):
        _refuse(group, "the global batch size is unknown")
        return
    rest = group
    for kind, batch in _rules(group):
        parts = _grouped(rest, batch).values()
        for part in parts:
            if len({row["devices"] for row in part}) > 1:
                _compare(part, kind)
        rest = [row for row in rest if row["efficiency_kind"] is None]
    _refuse(rest, "no other size has its global batch, in all or per device")


def _rules(group: list[Row]) -> list[tuple[str, Callable[[Row], Hashable]]]:
    """The two rules. What the study declares goes first, then strong if one global batch fits all, else weak."""
    strong = ("strong", lambda row: row["global_batch_size"])
    weak = ("weak", lambda row: row["global_batch_size"] / row["devices"])
    declared = {row["scaling"] for row in group}
    one_batch = len({row["global_batch_size"] for row in group}) == 1
    first_is_strong = declared == {"strong"} or (declared != {"weak"} and one_batch)
    return [strong, weak] if first_is_strong else [weak, strong]


def _compare(rows: list[Row], kind: str) -> None:
    # Two rows of the smallest size (another micro batch): the faster one, which flatters nothing.
    smallest = min(rows, key=lambda row: (row["devices"], -row["tokens_per_second"]))
    for row in rows:
        row["speedup"] = row["tokens_per_second"] / smallest["tokens_per_second"]
        row["efficiency"] = row["speedup"] * smallest["devices"] / row["devices"]
        row["efficiency_kind"] = kind


def _refuse(rows: Iterable[Row], reason: str) -> None:
    for row in rows:
        row["efficiency_kind"] = reason


def _grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
