"""Series: rows that differ in nothing but the number of devices (and so of replicas and nodes) and the batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
Identity = tuple[Any, ...]

# Rows of one series agree in all of these. In the order in which they say most in a name.
COLUMNS = (
    "model", "tp", "pp", "cp", "sequence_length", "sharding", "activation_checkpointing", "precision", "machine",
    "device", "resources", "table", "source", "origin",
)  # fmt: skip
_ORIGIN = COLUMNS.index("origin")
_BEFORE = {"tp": "tp", "pp": "pp", "cp": "cp", "sequence_length": "seq ", "activation_checkpointing": "AC "}


def identity(row: Row) -> Identity:
    return tuple(row[name] for name in COLUMNS)


def grouped(rows: Iterable[Row]) -> dict[Identity, list[Row]]:
    """Rows by series, in their order."""
    groups: dict[Identity, list[Row]] = {}
    for row in rows:
        groups.setdefault(identity(row), []).append(row)
    return groups


def names(identities: Iterable[Identity]) -> dict[Identity, str]:
    """The shortest names that tell these series apart: values that say nothing more than others are left out."""
    distinct = list(dict.fromkeys(identities))
    kept = list(range(len(COLUMNS)))
    for i in reversed(range(1, len(COLUMNS))):
        without = [k for k in kept if k != i]
        if len({tuple(each[k] for k in without) for each in distinct}) == len(distinct):
            kept = without
    if len(kept) > 1 and len({each[0] for each in distinct}) == 1:
        kept = kept[1:]
    found = {each: " ".join(filter(None, (_word(k, each[k]) for k in kept))) for each in distinct}
    if _ORIGIN in kept or all(each[_ORIGIN] == "predicted" for each in distinct):
        return found
    # whatever tells them apart: nobody may take a prediction for a measurement
    return {each: f"{name} predicted" if each[_ORIGIN] == "predicted" else name for each, name in found.items()}


def _word(position: int, value: Any) -> str:
    return "" if value is None else _BEFORE.get(COLUMNS[position], "") + str(value)
