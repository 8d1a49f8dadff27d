"""``hpcscale audit``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.spec import locate
from hpcscale.spec.problems import InputError, Problem

if TYPE_CHECKING:
    from hpcscale.audit.examine import Given, RowVerdict, TableVerdict

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_MOST_BYTES = 20_000_000


@click.command()
@click.argument("path", metavar="TABLE")
@click.option("--model", "model_name", metavar="NAME", help="The model of every row, whatever the table calls it.")
@click.option(
    "--machine", "machine_name", metavar="NAME", help="The machine of every row: its device and devices per node."
)
@options.json_option
def command(path: str, model_name: str | None, machine_name: str | None, as_json: bool) -> None:
    """Recompute a published scaling table from itself: does each row add up, and if not, why.

    TABLE is Markdown, HTML, CSV, TSV or plain text with one or several tables; `-` reads standard input. Exit code 1 if a
    row is inconsistent.
    """
    from hpcscale.audit.examine import audit

    text = _text(path)
    tables = audit(text, _separator(path, text), _given(model_name, machine_name))
    if not tables:
        raise InputError(Problem(path, 0, 0, "no table found; give Markdown, HTML, CSV, or columns parted by blanks"))
    if as_json:
        options.print_json(_document(path, tables))
    else:
        for table in tables:
            _print(table)
        click.echo(_summary(tables), err=True)
    if any(row.verdict == "inconsistent" for table in tables for row in table.rows):
        sys.exit(FAILED)


def _text(path: str) -> str:
    try:
        raw = sys.stdin.buffer.read(_MOST_BYTES + 1) if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InputError(Problem(path, 0, 0, f"cannot read the table: {error.strerror}; give a text file")) from None
    if len(raw) > _MOST_BYTES:
        raise InputError(Problem(path, 0, 0, "has more than 20 MB; give the part with the tables"))
    return raw.decode("utf-8", "replace")


def _separator(path: str, text: str) -> str | None:
    separator = _SEPARATORS.get(Path(path).suffix.lower())
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return ";" if separator == "," and first.count(";") > first.count(",") else separator


def _given(model_name: str | None, machine_name: str | None) -> Given:
    from hpcscale.audit.examine import Given
    from hpcscale.spec import machine, model

    given = model.named(model_name) if model_name else None
    if machine_name is None:
        return Given(model=given)
    found = machine.read(locate.find(machine_name, "machines", "machine"))
    return Given(given, found.device_facts.name, float(found.node.devices))


def _document(path: str, tables: list[TableVerdict]) -> dict[str, Any]:
    return {
        "file": path,
        "tables": [
            {
                "table": table.number, "line": table.line, "title": table.title, "models": list(table.models),
                "convention": table.convention, "columns": table.columns,
                "causes": [{"code": cause.code, "sentence": cause.sentence} for cause in table.causes],
            }
            for table in tables
        ],
        "rows": [_row_document(row) for table in tables for row in table.rows],
    }  # fmt: skip


def _row_document(row: RowVerdict) -> dict[str, Any]:
    return {
        "table": row.table, "line": row.line, "verdict": row.verdict, "causes": [cause.code for cause in row.causes],
        "sentences": [cause.sentence for cause in row.causes], "convention": row.convention,
        "error": None if row.error is None else round(row.error, 6),
        "recomputed": [
            {
                "quantity": check.quantity, "from": check.source, "printed": check.printed, "follows": check.expected,
                "error": round(check.error, 6), "tolerance": round(check.tolerance, 6), "holds": check.holds,
            }
            for check in row.checks
        ],
        "remarks": list(row.remarks),
    }  # fmt: skip


def _print(table: TableVerdict) -> None:
    title = f" ({table.title})" if table.title else ""
    models = ", ".join(table.models[:6]) + (", ..." if len(table.models) > 6 else "")
    about = [
        f"models: {models}" if models else "no model known",
        f"FLOPs as {table.convention}" if table.convention else "",
    ]
    click.echo(f"Table {table.number}, line {table.line}{title}: {'; '.join(each for each in about if each)}")
    for cause in table.causes:
        click.echo(f"  {cause.code}: {cause.sentence}")
    whole = {cause.sentence for cause in table.causes}
    for row in table.rows:
        click.echo(f"  {_line(row, whole)}")
    click.echo()


def _line(row: RowVerdict, whole: set[str]) -> str:
    parts = [f"line {row.line}: {row.verdict}"]
    if row.verdict == "reproduces":
        parts.append(f"to {100 * (row.error or 0.0):.2g} %")
    if row.verdict != "unverifiable" and row.convention:
        parts.append(f"as {row.convention}")
    causes = [cause.code if cause.sentence in whole else f"{cause.code}: {cause.sentence}" for cause in row.causes]
    if row.verdict == "inconsistent" and not causes:
        failing = [check for check in row.checks if not check.holds]
        causes = [
            f"{check.quantity} is {check.printed:.6g}, {check.expected:.6g} follows from {check.source}"
            for check in failing
        ]
        causes.append("no single change explains it")
    notes = [f"note: {remark}" for remark in row.remarks]
    return "; ".join([" ".join(parts), *causes, *notes])


def _summary(tables: list[TableVerdict]) -> str:
    rows = [row.verdict for table in tables for row in table.rows]
    counts = [
        f"{rows.count(verdict)} {verdict}"
        for verdict in ("reproduces", "inconsistent", "unverifiable")
        if verdict in rows
    ]
    count = f"{len(tables)} table{'s' if len(tables) != 1 else ''}, {len(rows)} row{'s' if len(rows) != 1 else ''}"
    words = ", ".join(counts).replace("reproduces", "reproduce")
    return f"{count}: {words}"
