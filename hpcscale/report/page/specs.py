"""The resolved spec behind each row: point.json beside its record, or the point of the study that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcscale.ingest.records import DESCRIPTION
from hpcscale.report.page.packed import ABSENT, packed
from hpcscale.spec import locate, study
from hpcscale.spec.expand import expand
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError

Row = Mapping[str, Any]
Spec = dict[str, Any]
Points = Mapping[tuple[str, str], Point]  # by identity and hash
Path_ = tuple[str, ...]  # the keys that lead to a value


def points_of(arguments: Sequence[str]) -> Points:
    """The points of those arguments that are studies."""
    found: dict[tuple[str, str], Point] = {}
    for argument in arguments:
        if Path(argument).suffix not in (".yaml", ".yml") and argument not in locate.available("studies"):
            continue
        try:
            found |= {(point.identity, point.hash): point for point in expand(study.read(argument)).points}
        except InputError:
            continue  # the report was made of a folder of that name
    return found


def specs_of(rows: Sequence[Row], points: Points, arguments: Sequence[str], runs: Path) -> list[Spec | None]:
    """A spec for each row; None for rows of documents, and where nothing that can be read describes what ran."""
    folders = [Path(argument) for argument in arguments if Path(argument).is_dir()]
    return [_spec(row, points, folders, runs) for row in rows]


def _spec(row: Row, points: Points, folders: Sequence[Path], runs: Path) -> Spec | None:
    if row["point"] is None:
        return None
    if row["origin"] == "predicted" and (row["point"], row["hash"]) in points:
        return points[row["point"], row["hash"]].document()
    for path in _places(row, folders, runs):
        content = _read(path.read_bytes)
        if content is not None and _is_of(content, row):
            return content
    return _in_record(Path(row["record"])) if row["record"] else None


def _is_of(content: Spec, row: Row) -> bool:
    """A folder may hold another point, or one that was rendered anew since it ran."""
    return all(content.get(name) in (None, row[name]) for name in ("point", "hash"))


def _in_record(record: Path) -> Spec | None:
    """What the attempt says that it ran."""

    def first_line() -> bytes:
        with record.open("rb") as lines:
            return lines.readline()

    found = (_read(first_line) or {}).get("point")
    return found if isinstance(found, dict) else None


def _read(content: Callable[[], bytes]) -> Spec | None:
    try:
        found = json.loads(content())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _places(row: Row, folders: Sequence[Path], runs: Path) -> Iterator[Path]:
    """Where the row's point.json may lie."""
    if row["record"]:
        yield Path(row["record"]).parent.parent.parent / DESCRIPTION
        return
    names = [(), (row["point"],), (row["source"] or "", row["point"])]
    for folder in [*folders, runs]:
        yield from (folder.joinpath(*each, DESCRIPTION) for each in names)


def columns_of(specs: Sequence[Spec | None]) -> list[dict[str, Any]]:
    """The specs by key instead of by row: what they share is kept once. ``[{"path": [...], "values": packed}, ...]``"""
    flat = [dict(_flat(spec, ())) if spec is not None else {} for spec in specs]
    paths = list(dict.fromkeys(path for each in flat for path in each))
    return [{"path": path, "values": packed([each.get(path, ABSENT) for each in flat])} for path in paths]


def _flat(value: Spec, path: Path_) -> Iterator[tuple[Path_, Any]]:
    for key, each in value.items():
        if isinstance(each, dict) and each:
            yield from _flat(each, (*path, key))
        else:
            yield (*path, key), each
