"""Whether an archive's report follows from the records in it."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcscale.report.bundle.archive import unpack
from hpcscale.report.bundle.manifest import MANIFEST, Manifest, entry, parse, versions
from hpcscale.report.bundle.reports import FOLDER, FORMS, report_texts
from hpcscale.spec.problems import InputError, Problem

# Other processors and libraries may round the last digits otherwise.
_CLOSE = 1e-9
MOST_SHOWN = 20


@dataclass(frozen=True)
class Cell:
    """One figure of the report: as archived, and as it follows from the records."""

    row: int  # from 1; 0: the table as a whole
    what: str
    column: str
    archived: str
    recomputed: str


@dataclass(frozen=True)
class Verdict:
    """``damaged``: files that are not what the manifest says. ``texts``: formats of the report whose words differ though every figure
    of its CSV and JSON is the same. ``versions``: name -> (the archive's, this computer's), where they differ."""

    manifest: Manifest
    damaged: tuple[str, ...]
    cells: tuple[Cell, ...]
    compared: int
    texts: tuple[str, ...]
    versions: Mapping[str, tuple[str, str]]

    @property
    def same(self) -> bool:
        """Another version of hpcscale may word a report otherwise; figures must stay."""
        worded = bool(self.texts) and "hpcscale" not in self.versions
        return not self.damaged and not self.cells and not worded


def verify(archive: Path, most_bytes: int) -> Verdict:
    """Raises InputError for what is no archive of ours, or has nothing that can be reported."""
    with tempfile.TemporaryDirectory(prefix="hpcscale-verify-") as temporary:
        folder = Path(temporary)
        names = unpack(archive, folder, most_bytes)
        if MANIFEST not in names:
            raise InputError(Problem(str(archive), 0, 0, f"has no {MANIFEST}: it is no archive of hpcscale bundle"))
        manifest = parse((folder / MANIFEST).read_text(encoding="utf-8", errors="replace"), str(archive))
        for argument in manifest.report:
            _check_argument(argument, names, archive)
        if not manifest.report:
            raise InputError(Problem(str(archive), 0, 0, f"its {MANIFEST} names nothing to report on"))
        damaged = tuple(_damaged(folder, names, manifest))
        try:
            recomputed = report_texts(folder, manifest.report)
        except InputError as error:
            problems = [Problem(str(archive), 0, 0, f"no report can be made of it: {each}") for each in error.problems]
            raise InputError(problems) from None
        archived = {form: _text(folder / FOLDER / f"report.{form}") for form in recomputed}
    here = versions()
    other = {name: (was, here.get(name, "-")) for name, was in manifest.versions.items() if here.get(name) != was}
    cells, compared = compare_tables(archived["csv"], recomputed["csv"])
    if not cells and not _same_figures(archived["json"], recomputed["json"]):
        cells = [Cell(0, "", "figures of report.json", "others than in report.csv", "the same")]
    texts = (
        () if cells else tuple(form for form in ("json", "md") if not _alike(form, archived[form], recomputed[form]))
    )
    return Verdict(manifest, damaged, tuple(cells), compared, texts, other)


def _check_argument(argument: str, names: Sequence[str], archive: Path) -> None:
    """A stranger's manifest may not have this computer's files reported."""
    is_table = argument in names and argument.endswith(".csv")
    is_runs = argument.startswith("runs/") and any(name.startswith(f"{argument}/") for name in names)
    if not is_table and not is_runs:
        raise InputError(
            Problem(str(archive), 0, 0, f"reports on {argument!r}, which is neither runs nor a table in it")
        )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _damaged(folder: Path, names: Sequence[str], manifest: Manifest) -> Iterator[str]:
    there = set(names) - {MANIFEST}
    reports = {f"{FOLDER}/report.{form}" for form in FORMS}
    for name in sorted(there | set(manifest.files) | reports):
        if name not in there:
            yield f"{name} is missing"
        elif name not in manifest.files:
            yield f"{name} is not in the manifest"
        elif entry(folder / name) != manifest.files[name]:
            yield f"{name} has been changed"


def compare_tables(archived: str, recomputed: str) -> tuple[list[Cell], int]:
    """(cells that differ, cells compared) of two reports as CSV."""
    try:
        old, new = _rows(archived), _rows(recomputed)
    except (csv.Error, ValueError) as error:
        return [Cell(0, "", "table", f"cannot be read: {error}", "can")], 1
    if len(old) != len(new):
        return [Cell(0, "", "number of rows", str(len(old)), str(len(new)))], 1
    cells: list[Cell] = []
    compared = 0
    for number, (was, now) in enumerate(zip(old, new, strict=True), 1):
        for column in dict.fromkeys([*was, *now]):
            compared += 1
            before, after = was.get(column, ""), now.get(column, "")
            if not _same(before, after):
                cells.append(Cell(number, now.get("point") or now.get("model") or "", column, before, after))
    return cells, compared


def _rows(text: str) -> list[dict[str, str]]:
    """Raises csv.Error or ValueError for what a person would read otherwise than a program."""
    header, *lines = csv.reader(io.StringIO(text)) if text else [[]]
    if len(set(header)) < len(header):
        raise ValueError("a column stands twice")
    if any(len(line) != len(header) for line in lines):
        raise ValueError("a row is longer or shorter than the header")
    return [dict(zip(header, line, strict=True)) for line in lines]


def _same(before: str, after: str) -> bool:
    if before == after:
        return True
    try:
        return math.isclose(float(before), float(after), rel_tol=_CLOSE)
    except ValueError:
        return False


def _same_figures(archived: str, recomputed: str) -> bool:
    """Of two reports as JSON: all but the notes, which are words."""
    try:
        one, other = json.loads(archived), json.loads(recomputed)
        return all(_same_value(one[part], other[part]) for part in ("rows", "checks"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _alike(form: str, archived: str, recomputed: str) -> bool:
    if archived == recomputed or form != "json":
        return archived == recomputed
    try:
        return _same_value(json.loads(archived), json.loads(recomputed))
    except (ValueError, RecursionError):
        return False


def _same_value(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_value(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same_value, one, other))
    return one == other or _same(str(one), str(other))
