"""A report: the table with scaling filled in, and everything that is said about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hpcscale.audit.recompute import Check, recompute
from hpcscale.audit.slow_runs import slow_runs
from hpcscale.cost import flops
from hpcscale.ingest.gather import RUNS, gather
from hpcscale.ingest.records import no_search_for_cycles
from hpcscale.report import notes
from hpcscale.report.columns import Row
from hpcscale.report.scaling import with_scaling


@dataclass(frozen=True)
class Report:
    """What a table, a chart or a program shows. ``lines`` stand below the table, one sentence each."""

    frame: pd.DataFrame
    rows: list[Row]
    checks: list[Check]
    reproduction: list[str]
    about_rows: list[str]
    definitions: list[str]

    @property
    def numbered(self) -> bool:
        """Whether a line below the table names rows by their number."""
        return any(re.search(r"\brows? \d", line) for line in [*self.reproduction, *self.about_rows, *self.definitions])


def build(arguments: Sequence[str], runs: Path = RUNS, convention: str | None = None, foresee: bool = False) -> Report:
    """The report on studies, folders of runs and CSV files. ``convention`` counts all rows' FLOPs one way; without it
    measured rows use hpcscale's own and published rows their document's. ``foresee``: with predictions."""
    name = flops.convention(convention).name if convention else None
    with no_search_for_cycles():
        frame, checks = recompute(gather(arguments, runs, name, foresee), name)
        frame, rows = with_scaling(frame)
    definitions = notes.definitions(rows)
    if name and checks:
        definitions.append(f"Columns count FLOPs as {name}; printed figures are checked as their documents counted.")
    about_rows = [*notes.about_rows(rows), *slow_runs(rows)]
    return Report(frame, rows, checks, notes.reproduction(rows, checks), about_rows, definitions)
