"""The report of an archive's folder, which is a working directory: made there, it needs nothing else and names no other place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpcscale.ingest import cache
from hpcscale.report import table
from hpcscale.report.build import build

FOLDER = "report"
FORMS = {"csv": table.csv, "json": table.as_json, "md": table.markdown}


def write_reports(folder: Path, arguments: Sequence[str]) -> None:
    """``report/report.csv``, ``.json`` and ``.md``."""
    (folder / FOLDER).mkdir(exist_ok=True)
    for form, text in report_texts(folder, arguments).items():
        (folder / FOLDER / f"report.{form}").write_text(text, encoding="utf-8")


def report_texts(folder: Path, arguments: Sequence[str]) -> dict[str, str]:
    """The report by format, from what lies below ``folder`` alone: of its runs and tables, as ``hpcscale report`` names them."""
    with _working_in(folder):
        report = build(arguments, Path("runs"))
    return {form: write(report) for form, write in FORMS.items()}


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Names mean the folder's files, nobody's settings count, and nothing is remembered of a folder that will be gone."""
    ours = {"HPCSCALE_CONFIG_HOME": str(folder / "configuration"), cache.VARIABLE: "off"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
