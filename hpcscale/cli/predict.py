"""``hpcscale predict``."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcscale.jobs import files
from hpcscale.spec.problems import InputError, Problem

if TYPE_CHECKING:
    from hpcscale.cost.tables import Predicted

COLUMNS = (
    "pred_sec_per_iter", "pred_sec_per_iter_low", "pred_sec_per_iter_high", "pred_mem_gib", "pred_verdict", "pred_reason",
)  # fmt: skip
# Without these no row can say what ran.
_NEEDED = ("layers", "hidden", "heads", "seq", "gbs")


@click.command()
@click.option(
    "--table", "source", required=True, type=click.Path(path_type=Path), metavar="IN.csv", help="`-` reads standard input."
)  # fmt: skip
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.csv", help="Default: standard output."
)
@click.option(
    "--pilot", type=click.IntRange(min=0), default=0, metavar="K",
    help="Fit on the first K measured rows of each system, then predict.",
)  # fmt: skip
def command(source: Path, output: Path | None, pilot: int) -> None:
    """Add predicted seconds per step and memory to a table of configurations.

    One row a configuration, with the columns of the page on predictions: model shape, layout, batch, device. A row that
    cannot be expressed keeps its cells, gets no numbers, and says why. Other columns pass through.
    """
    from hpcscale.cost.tables import predict_rows

    names, rows = _read(source)
    found = predict_rows(rows, pilot)
    text = _text(names, rows, found)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        files.replace(str(output), text, 0o644)
    for sentence in _summary(rows, found):
        click.echo(sentence, err=True)


def _read(source: Path) -> tuple[list[str], list[dict[str, str]]]:
    """(column names, rows). Raises InputError with the place of what is wrong with the table."""
    name = "<stdin>" if str(source) == "-" else str(source)
    try:
        text = sys.stdin.read() if name == "<stdin>" else source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            Problem(name, 0, 0, f"the file is not UTF-8 text ({error.reason} at byte {error.start})")
        ) from None
    except OSError as error:
        raise InputError(Problem(name, 0, 0, f"the table cannot be read: {error.strerror}")) from None
    lines = io.StringIO(text.replace("\r\n", "\n")).readlines()
    start = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    reader = csv.reader(lines[start:], strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if not header:
            raise InputError(Problem(name, 0, 0, "the table has no rows"))
        _check(name, start + 1, header)
        rows = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                message = f"the row has {len(cells)} cells, the header {len(header)} columns"
                raise InputError(Problem(name, start + reader.line_num, 1, message))
            rows.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise InputError(Problem(name, start + reader.line_num, 1, f"the line is no CSV: {error}")) from None
    if not rows:
        raise InputError(Problem(name, 0, 0, "the table has no rows"))
    return header, rows


def _check(name: str, line: int, header: Sequence[str]) -> None:
    twice = next((each for i, each in enumerate(header) if each in header[:i]), None)
    if twice is not None:
        raise InputError(Problem(name, line, 1, f"the column '{twice}' stands twice"))
    missing = [each for each in _NEEDED if each not in header]
    if missing:
        message = f"the table lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; hpcscale predict needs them"
        raise InputError(Problem(name, line, 1, message))


def _text(names: Sequence[str], rows: Sequence[dict[str, str]], found: Sequence[Predicted]) -> str:
    file = io.StringIO()
    kept = [name for name in names if name not in COLUMNS]
    writer = csv.DictWriter(file, [*kept, *COLUMNS], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row, each in zip(rows, found, strict=True):
        writer.writerow({**row, **_cells(each)})
    return file.getvalue()


def _cells(each: Predicted) -> dict[str, Any]:
    numbers = (each.seconds, each.low, each.high, None if each.memory is None else each.memory / 2**30)
    cells = ["" if number is None else f"{number:.6g}" for number in numbers]
    return dict(zip(COLUMNS, [*cells, "" if each.seconds is None else each.verdict, each.reason], strict=True))


def _summary(rows: Sequence[dict[str, str]], found: Sequence[Predicted]) -> list[str]:
    from statistics import median

    from hpcscale.cost.tables import seconds_of

    able = sum(each.seconds is not None for each in found)
    sentences = [f"{able} of {len(rows)} rows predicted" + ("" if able == len(rows) else "; pred_reason says why not")]
    errors: dict[str, list[float]] = {}
    for row, each in zip(rows, found, strict=True):
        seconds = seconds_of(row)
        if seconds is not None and each.seconds is not None and not each.is_pilot:
            errors.setdefault(row.get("system") or "the table", []).append(abs(each.seconds / seconds - 1))
    for system, some in errors.items():
        sentences.append(f"{system}: median error {100 * median(some):.1f} % of {len(some)} measured rows")
    return sentences
