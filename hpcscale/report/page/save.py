"""Writing the page: what the command calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpcscale.jobs import files
from hpcscale.report.build import Report
from hpcscale.report.page.document import document
from hpcscale.report.page.payload import payload
from hpcscale.spec.problems import InputError

SUFFIXES = (".html", ".htm")


def check_suffix(path: Path) -> None:
    """Raises InputError for a file name that a browser would not open as a page."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a page is written as .html, not '{path.suffix}'")


def page(report: Report, arguments: Sequence[str], runs: Path) -> str:
    """The page of what ``arguments`` name, as ``report`` was built of them."""
    return document(report, ", ".join(map(_title, arguments)), payload(report, arguments, runs))


def _title(argument: str) -> str:
    """A file's name without its ending, a folder's name whole."""
    path = Path(argument)
    if path.suffix in (".csv", ".yaml", ".yml"):
        return path.stem
    return path.name or path.resolve().name


def save(report: Report, arguments: Sequence[str], runs: Path, path: Path) -> None:
    """Write the page to ``path``; a full disk leaves the old one."""
    text = page(report, arguments, runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(str(path), text, 0o644)
