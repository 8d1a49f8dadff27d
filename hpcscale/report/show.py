"""Printing a report: what commands call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_OF_A_FILE = 160  # columns where the output is no terminal


def console() -> Console:
    """Standard output. A pipe or a file has no width of its own."""
    import os

    from rich.console import Console

    wide = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else WIDTH_OF_A_FILE
    return Console(width=wide)


def show_study(study_name_or_path: str, runs: Path, console: Console) -> None:
    """Print the terminal table of one study: its runs in ``runs`` and the published tables it compares with."""
    from hpcscale.report.build import build
    from hpcscale.report.table import print_table

    print_table(build([study_name_or_path], runs), console)
