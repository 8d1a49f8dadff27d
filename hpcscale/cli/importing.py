"""``hpcscale import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcscale.cli import options

if TYPE_CHECKING:
    from hpcscale.ingest.logs.importer import Imported


@click.command()
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format", "form", default="auto", show_default=True, metavar="NAME", help="The tool that wrote the logs."
)
@click.option(
    "--set", "sets", type=options.SetPair(), multiple=True, metavar="KEY=VALUE",
    help="What the logs do not say: model, layout.tp, seq, devices, machine, ... Repeatable.",
)  # fmt: skip
@click.option(
    "--study", default="imported", show_default=True, metavar="NAME", help="What the runs are called together."
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True, metavar="DIR",
    help="The folder of all runs; the imported ones get a folder in it.",
)  # fmt: skip
@options.json_option
def command(
    logs: tuple[Path, ...], form: str, sets: tuple[tuple[str, Any], ...], study: str, out: Path, as_json: bool
) -> None:
    """Turn logs of other frameworks into runs that `hpcscale report` shows.

    Reads what Megatron-LM, Megatron-DeepSpeed, DeepSpeedFugaku, nanotron, torchtitan, llm-foundry/composer, NeMo and
    FMEngine print, and JUBE's result tables; plain, .gz or .zst, whole or cut off. What a log does not say stays unknown.
    Importing a log again replaces what it gave before.
    """
    from hpcscale.ingest.logs.importer import import_logs
    from hpcscale.spec.problems import InputError

    if Path(study).name != study or study.startswith("."):
        raise InputError(f"--study {study}: it names a folder, so it has no slash and does not start with a dot")
    imported = import_logs(logs, out, study, form, sets)
    if as_json:
        options.print_json([_as_json(each) for each in imported])
        return
    for each in imported:
        _tell(each)
    click.echo(f"\nhpcscale report {out / study}")


def _tell(each: Imported) -> None:
    click.echo(f"{each.log}: {each.recognised}")
    attempts = f" in {each.attempts} attempts" if each.attempts > 1 else ""
    steps = (
        f"{each.lines:,} line{'s' * (each.lines != 1)} with steps, up to step {each.last_step:,}"
        if each.lines
        else "no step"
    )
    click.echo(f"  {steps}{attempts} -> {each.folder}")
    for remark in each.remarks:
        click.echo(f"  {remark}")
    if each.unknown:
        click.echo(f"  the log does not say {', '.join(each.unknown)} (fill in: --set {each.unknown[0]}=...)")


def _as_json(each: Imported) -> dict[str, Any]:
    return {
        "log": str(each.log),
        "format": each.recognised.format.name,
        "recognised_by_line": each.recognised.line or None,
        "folder": str(each.folder),
        "attempts": each.attempts,
        "lines": each.lines,
        "last_step": each.last_step,
        "unknown": list(each.unknown),
        "remarks": list(each.remarks),
    }
