"""``hpcscale energy``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.cli.tables import Column, print_fitting, width

if TYPE_CHECKING:
    from hpcscale.ingest.accounting import Accounted
    from hpcscale.report.laws.training import Training


@click.command()
@click.argument("study", metavar="STUDY|RUNS")
@click.option(
    "--sacct",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read this output of sacct instead of asking Slurm.",
)
@click.option("--stats", "statistics", type=click.Path(dir_okay=False, path_type=Path), multiple=True, metavar="FILE", help="A job statistics file of PJM; those beside the points are found. Repeatable.")  # fmt: skip
@click.option("--tokens", metavar="T", help="Energy of training on so many tokens: 300B, 1.4T.")
@click.option("--dry-run", is_flag=True, help="Note nothing beside the records.")
@options.json_option
@options.runs_option
def command(
    study: str,
    sacct: Path | None,
    statistics: tuple[Path, ...],
    tokens: str | None,
    dry_run: bool,
    as_json: bool,
    runs: Path,
) -> None:
    """Energy of a study's jobs from accounting, noted beside their records; tokens per joule, and energy to train.

    Counters that were read inside a job (NVML, RAPL) are in its record already and count first. Exit code 1 if no run has
    energy from anywhere.
    """
    from hpcscale.ingest import accounting, schema
    from hpcscale.report.build import build
    from hpcscale.report.laws.training import Training, amount

    training = Training(amount(tokens)) if tokens else None
    folder = Path(study) if Path(study).is_dir() else runs / _name(study)
    found = accounting.collect(folder, sacct, statistics)
    if not dry_run:
        accounting.note(found)
    rows = [row for row in schema.rows(build([str(folder)]).frame) if row["energy_joules_per_step"] is not None]
    if as_json:
        options.print_json(_document(found, rows, training))
    else:
        _show(found, rows, training)
    if not rows and not any(each.energy for each in found):
        sys.exit(FAILED)


def _name(study: str) -> str:
    from hpcscale.spec import study as studies

    return studies.read(study).name


def _show(found: Sequence[Accounted], rows: Sequence[dict[str, Any]], training: Training | None) -> None:
    from hpcscale.report.text import significant

    known = [each for each in found if each.energy]
    jobs = [(each, each.energy) for each in found if each.energy]
    if jobs:
        click.echo("From accounting, of whole jobs:")
        columns = [
            Column("point", [each.point for each, _ in jobs], left=True),
            Column("attempt", [each.attempt.name for each, _ in jobs], left=True),
            Column("source", [energy.source for _, energy in jobs], 1, left=True, folds=True),
            Column("kWh", [significant(energy.joules / 3.6e6) for _, energy in jobs]),
            Column("W/node", [significant(energy.watts / energy.nodes) if energy.nodes else "-" for _, energy in jobs]),
            Column("hours", [significant(energy.seconds / 3600, 3) for _, energy in jobs], 1),
        ]
        print_fitting(columns, width())
        for each, energy in jobs:
            if energy.note:
                click.echo(f"{each.point}, {each.attempt.name}: {energy.note}")
        click.echo()
    if rows:
        _show_rows(rows, training)
    reasons: dict[str, int] = {}
    for each in found:
        if each not in known:
            reasons[each.reason] = reasons.get(each.reason, 0) + 1
    for reason, count in list(reasons.items())[:8]:
        click.echo(f"no energy from accounting for {count} attempt{'s' * (count > 1)}: {reason}")


def _show_rows(rows: Sequence[dict[str, Any]], training: Training | None) -> None:
    from hpcscale.ingest.energy import covers
    from hpcscale.report.laws.training import bill
    from hpcscale.report.text import significant

    def cells(name: str) -> list[str]:
        return ["-" if row[name] is None else significant(row[name]) for row in rows]

    click.echo("Of the measured steps:")
    columns = [
        Column("point", [row["point"] or "-" for row in rows], left=True),
        Column("J/step", cells("energy_joules_per_step")),
        Column("W/device", cells("watts_per_device"), 1),
        Column("tokens/J", cells("tokens_per_joule")),
    ]
    if training:
        bills = [bill(row, training) for row in rows]
        megawatt_hours = [significant(each.megawatt_hours) if each and each.megawatt_hours else "-" for each in bills]
        columns.append(Column(f"MWh for {training.title}", megawatt_hours))
    columns.append(Column("source", [row["energy_source"] for row in rows], 2, left=True, folds=True))
    print_fitting(columns, width())
    for source in dict.fromkeys(row["energy_source"] for row in rows):
        click.echo(f"{source}: {covers(source)}.")


def _document(found: Sequence[Accounted], rows: Sequence[dict[str, Any]], training: Training | None) -> dict[str, Any]:
    from dataclasses import asdict

    from hpcscale.report.laws.training import bill

    names = (
        "point",
        "attempt",
        "devices",
        "step_seconds",
        "energy_joules_per_step",
        "watts_per_device",
        "tokens_per_joule",
        "energy_source",
    )
    bills = [bill(row, training) if training else None for row in rows]
    return {
        "jobs": [
            {"point": each.point, "attempt": each.attempt.name, "energy": each.energy and asdict(each.energy), "reason": each.reason}
            for each in found
        ],
        "rows": [
            {**{name: row[name] for name in names}, "megawatt_hours": each and each.megawatt_hours}
            for row, each in zip(rows, bills, strict=True)
        ],
        "training": training and training.title,
    }  # fmt: skip
