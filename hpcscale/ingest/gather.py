"""From what a person names (studies, folders of runs, CSV files) to one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hpcscale.ingest import predicted, published, records
from hpcscale.spec import locate, study
from hpcscale.spec.expand import expand
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError, suggestion

RUNS = Path("runs")


def gather(
    arguments: Sequence[str], runs: Path = RUNS, convention: str | None = None, foresee: bool = False
) -> pd.DataFrame:
    """The rows of all arguments, in their order. ``convention`` is that of measured and predicted rows.

    An argument is a folder of runs, a CSV file, or a study (path or name), which means its runs in ``runs`` and the
    published tables that it compares with; a bare name may also be a published table or a folder in ``runs``.
    ``foresee``: rows have predictions beside them, and every point of a study has a predicted row.
    """
    if not arguments:
        raise InputError("name a study, a folder of runs or a CSV file")
    tables = [table for argument in arguments for table in _tables(argument, runs, convention, foresee)]
    if foresee:
        tables = [predicted.beside(table) if _is_bare(table) else table for table in tables]
    return pd.concat(tables, ignore_index=True)


def _is_bare(table: pd.DataFrame) -> bool:
    """Without predictions: what no study was named for."""
    return bool(table["predicted_step_seconds"].isna().all())


def _tables(argument: str, runs: Path, convention: str | None, foresee: bool) -> list[pd.DataFrame]:
    path = Path(argument)
    known = [*locate.available("studies"), *locate.available(published.FOLDER, ".csv")]
    if path.is_dir() and (argument not in known or records.holds_runs(path)):
        return [records.read(path, convention)]
    if path.suffix == ".csv":
        return [published.read(_published_path(argument))]
    if path.suffix in (".yaml", ".yml") or argument in locate.available("studies"):
        return _study(study.read(argument), runs, convention, foresee)
    if argument in locate.available(published.FOLDER, ".csv"):
        return [published.read(_published_path(argument))]
    if (runs / argument).is_dir():
        return [records.read(runs / argument, convention)]
    if "/" in argument:
        raise InputError(f"there is no {argument}: a report needs a study, a folder of runs or a CSV file")
    raise InputError(f"there is no study, published table or folder of runs '{argument}'{suggestion(argument, known)}")


def folder_of_runs(argument: str, runs: Path = RUNS) -> Path | None:
    """The folder whose runs an argument means, as :func:`gather` takes it; None for a table. Raises InputError for a study that
    has not run."""
    path = Path(argument)
    if path.suffix == ".csv":
        return None
    is_study = path.suffix in (".yaml", ".yml") or argument in locate.available("studies")
    if path.is_dir() and (not is_study or records.holds_runs(path)):
        return path
    if is_study:
        asked = study.read(argument)
        if not (runs / asked.name).is_dir():
            raise InputError(
                f"{asked.name} has no runs in {runs / asked.name}; make some with: hpcscale run {asked.path}"
            )
        return runs / asked.name
    if argument not in locate.available(published.FOLDER, ".csv") and (runs / argument).is_dir():
        return runs / argument
    return None


def _published_path(name: str) -> Path:
    return locate.find(name, published.FOLDER, "published table", ".csv")


def _study(asked: study.Study, runs: Path, convention: str | None, foresee: bool) -> list[pd.DataFrame]:
    tables = []
    folder = runs / asked.name
    points = expand(asked).points
    if folder.is_dir() and records.holds_runs(folder):
        measured = _with_strangers_named(records.read(folder, convention), points)
        tables.append(predicted.beside(measured, points) if foresee else measured)
    if foresee and points:
        tables.append(predicted.rows_of(points, convention))
    compare = [asked.file.compare] if isinstance(asked.file.compare, str) else asked.file.compare
    tables += [_compared(name, points) for name in compare]
    if not tables:
        raise InputError(
            f"{asked.name} has no runs in {folder}; make some with: hpcscale run {asked.path}"
            if not folder.is_dir()
            else f"{folder} holds no run"
        )
    return tables


def _with_strangers_named(table: pd.DataFrame, points: Sequence[Point]) -> pd.DataFrame:
    """Rows of points that the study no longer has (or had only with --set) say so: their folders are kept."""
    known = {point.identity for point in points}
    strange = table["point"].notna() & ~table["point"].isin(known)
    word = "not a point of the study as it stands"
    notes = table["note"].where(table["note"].notna() & (table["note"] != ""), None)
    named = notes.map(lambda note: f"{note}; {word}", na_action="ignore").fillna(word)
    return table.assign(note=table["note"].where(~strange, named).astype(table["note"].dtype))


def _compared(name: str, points: Sequence[Point]) -> pd.DataFrame:
    """The published rows of the study's models: a document may hold tables of others too."""
    table = published.read(_published_path(name))
    models = {point.model.name for point in points}
    kept = table[table["model"].isin(models)]
    return (kept if len(kept) else table).reset_index(drop=True)
