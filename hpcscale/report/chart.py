"""Static charts of a report: which kinds there are, and from a table to files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hpcscale.ingest import schema
from hpcscale.report.charts import energy, layouts, lines, loss, memory, scaling, step_time, utilisation
from hpcscale.report.charts.paper import PAGE, SUFFIXES, NothingToDraw, Paper, encoded, style
from hpcscale.report.columns import Row
from hpcscale.spec.problems import InputError, suggestion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[list[Row], Paper], "Figure"]

DEFAULT = "scaling"
KINDS: Mapping[str, Draw] = {
    DEFAULT: scaling.draw,
    **{kind: draw for kind, draw in lines.KINDS.items() if kind != "step-time"},
    "step-time": step_time.draw,
    "memory": memory.draw,
    "loss": loss.draw,
    "mfu": utilisation.draw,
    "layouts": layouts.draw,
    "energy": energy.draw,
}
ALL = "all"


def check_suffix(path: Path) -> None:
    """Raises InputError for a file name that says neither PNG, SVG nor PDF."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: a chart is written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, not '{path.suffix}'"
        )


def kinds(words: str) -> tuple[str, ...]:
    """The kinds that ``throughput,memory`` or ``all`` names. Raises InputError for one that does not exist."""
    names = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    for name in names:
        if name not in (*KINDS, ALL):
            raise InputError(f"there is no kind of chart '{name}'{suggestion(name, (*KINDS, ALL))}")
    if not names:
        raise InputError(f"--chart-kind names no kind of chart; valid: {', '.join((*KINDS, ALL))}")
    return tuple(KINDS) if ALL in names else names


def drawings(
    frame: pd.DataFrame, path: Path, wanted: Sequence[str] = (DEFAULT,), paper: Paper = PAGE, all_kinds: bool = False
) -> tuple[dict[Path, bytes], list[str]]:
    """The content of each file, and why kinds are left out. One kind is drawn into ``path``, several into files beside it
    with their names.

    Raises InputError if a kind has nothing to show; with ``all_kinds`` only if none has.
    """
    check_suffix(path)
    rows = schema.rows(frame)
    found: dict[str, bytes] = {}
    left_out: list[str] = []
    for kind in wanted:
        try:
            found[kind] = _drawn(kind, rows, path.suffix.lower(), paper)
        except NothingToDraw as error:
            if not all_kinds:
                raise
            left_out.append(str(error))
    if not found:
        raise InputError(f"there is nothing to draw: {scaling.NOTHING}")
    one = len(wanted) == 1
    return {
        path if one else path.with_name(f"{path.stem}-{kind}{path.suffix}"): each for kind, each in found.items()
    }, left_out


def _drawn(kind: str, rows: list[Row], suffix: str, paper: Paper) -> bytes:
    import matplotlib as mpl

    with mpl.rc_context(style(paper)), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box, which says it already.
        warnings.filterwarnings("ignore", message="Glyph")
        return encoded(KINDS[kind](rows, paper), suffix)


def save(frame: pd.DataFrame, path: Path, kind: str = DEFAULT, paper: Paper = PAGE) -> None:
    """Draw one chart of the table into ``path``."""
    ((_, content),) = drawings(frame, path, (kind,), paper)[0].items()
    path.write_bytes(content)
