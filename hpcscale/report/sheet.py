"""What a text of a report consists of, whatever it is written as: tables under headings, and lines below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcscale.report import notes, text
from hpcscale.report.build import Report
from hpcscale.report.columns import Column, Layout, Row, lay_out
from hpcscale.report.styles import Style


@dataclass(frozen=True)
class Part:
    """One table. ``heading`` is empty where it is the only one."""

    heading: str
    layout: Layout


@dataclass(frozen=True)
class Sheet:
    """``remarks``: lines below the tables, under a title or (those of little weight) under none."""

    parts: tuple[Part, ...]
    remarks: tuple[tuple[str, tuple[str, ...]], ...]


def sheet(report: Report, style: Style | None = None) -> Sheet:
    """The report in hpcscale's own columns, or in a document's."""
    if style is not None:
        return _styled(report, style)
    sections = (
        ("Printed figures against what follows from their rows:", report.reproduction),
        ("Notes:", report.about_rows),
        ("", report.definitions),
    )
    parts = (Part("", lay_out(report.rows, report.numbered)),)
    return Sheet(parts, tuple((title, tuple(lines)) for title, lines in sections if lines))


def _styled(report: Report, style: Style) -> Sheet:
    """A table for each table of a document, each study, and what is only predicted of it."""
    groups: dict[tuple[str | None, str | None, bool], list[Row]] = {}
    for row in report.rows:
        groups.setdefault((row["source"], row["table"], row["origin"] == "predicted"), []).append(row)
    several = len({source for source, _, _ in groups}) > 1
    parts = []
    for (source, table, predicted), rows in groups.items():
        words = [source if several or not table else None, table, "(predicted)" if predicted else None]
        heading = " ".join(filter(None, words)) if len(groups) > 1 or predicted else ""
        parts.append(Part(heading, as_layout(style.tables.get(table or "", style.columns), rows)))
    ordered = [row for rows in groups.values() for row in rows]
    return Sheet(tuple(parts), _remarks(ordered, style))


def as_layout(columns: Sequence[Column], rows: Sequence[Row]) -> Layout:
    """All the columns, whether or not a row has a value there."""
    cells = tuple(
        tuple(cell if (cell := column.cell(row)) is not None else column.empty for column in columns) for row in rows
    )
    return Layout(tuple(columns), cells, ())


def _remarks(rows: Sequence[Row], style: Style) -> tuple[tuple[str, tuple[str, ...]], ...]:
    failed: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 1):
        if row["status"] != "completed" and not style.says_status:
            failed.setdefault(row["status"] or "unknown", []).append(number)
    about = [f"row{'s' * (len(n) > 1)} {text.ranges(n)}: {status}" for status, n in failed.items()]
    said = [*style.remarks, *(notes.conventions(rows) if style.convention else [])]
    computed = style.computed(rows) if style.computed else []
    sections = (("Notes:", about), ("", [*computed, *said]))
    return tuple((title, tuple(lines)) for title, lines in sections if lines)
