"""``hpcscale calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcscale.cli import configurations, options
from hpcscale.jobs import files
from hpcscale.record import probe as probes
from hpcscale.spec import locate
from hpcscale.spec import machine as machines
from hpcscale.spec.machine import Calibration, Machine
from hpcscale.spec.problems import InputError

if TYPE_CHECKING:
    from hpcscale.cost.of_rows import Described

Row = dict[str, Any]


@click.command()
@click.argument("name", metavar="MACHINE")
@click.option(
    "--from", "sources", multiple=True, metavar="RUNS|CSV", help="Runs, a probe's runs, or a table. Repeatable. Default: runs."
)  # fmt: skip
@click.option(
    "--precision", metavar="P", help="The precision that a probe counts in; default: the rows', else the device's best."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Default: the profile, or machines/MACHINE.yaml."
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the block and write nothing.")
@options.json_option
def command(
    name: str, sources: tuple[str, ...], precision: str | None, output: Path | None, dry_run: bool, as_json: bool
) -> None:
    """Learn a machine's constants from what was measured on it, and write them into its profile.

    Folders of runs give the completed runs of this machine and its newest probe; a CSV file gives its rows, with the columns of
    `hpcscale predict --table`. The profile gets a `calibration:` block; nothing else of it changes.
    """
    from hpcscale.cost.block import with_block

    place = locate.find(name, "machines", "machine")
    profile = machines.read(place)
    rows, found = _gathered(profile, sources or ("runs",))
    block = _block(profile, rows, found, precision)
    target = output or _target(place, profile)
    if as_json:
        options.print_json(
            {"machine": profile.name, "file": None if dry_run else str(target), **block.model_dump(mode="json")}
        )
    text = with_block(place.read_text(encoding="utf-8"), block)
    if not dry_run:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.replace(str(target), text, 0o644)
    if not as_json:
        _tell(profile, block, None if dry_run else target)


def _gathered(profile: Machine, sources: tuple[str, ...]) -> tuple[list[Row], list[probes.Probe]]:
    """(measured rows of the machine, its newest probe for each number of ranks, fewest first).

    Raises InputError where there is neither.
    """
    from hpcscale.cost.tables import seconds_of

    rows: list[Row] = []
    found: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.suffix == ".csv":
            own = [row for row in configurations.read(path)[1] if row.get("system") in (None, "", profile.name)]
            if not own:
                raise InputError(f"{source} has no row whose system is {profile.name}")
            rows += own
        elif path.is_dir():
            found += probes.records(path, profile.name)
            rows += _runs(path, profile.name)
        else:
            raise InputError(f"there is no {source}: --from takes a folder of runs or a CSV file")
    rows = [row for row in rows if seconds_of(row) is not None]
    if not rows and not found:
        raise InputError(
            f"{', '.join(sources)}: nothing was measured on {profile.name}; measure with: hpcscale probe --machine {profile.name}"
        )
    newest = {probe.ranks: probe for probe in map(probes.read, found) if probe.measurements}
    return rows, [newest[ranks] for ranks in sorted(newest)]


def _runs(folder: Path, machine: str) -> list[Row]:
    from hpcscale.ingest import configurations, records

    return configurations.rows(folder, machine) if records.holds_runs(folder) else []


def _block(profile: Machine, rows: list[Row], measured: list[probes.Probe], precision: str | None) -> Calibration:
    from datetime import date

    from hpcscale.cost import hardware, of_probe
    from hpcscale.cost.of_rows import described
    from hpcscale.cost.tables import calibrated

    chosen = precision or _precision(profile, rows, measured)
    sources = [f"probe {each.path.parent.name}" for each in measured] + ([f"{len(rows)} rows"] if rows else [])
    rates = {} if profile.device_facts.memory_bandwidth else of_probe.rates(measured, chosen)
    bare = Calibration(date=date.today().isoformat(), source="; ".join(sources), measured=rates)  # type: ignore[arg-type]
    with_rates = profile.model_copy(update={"calibration": bare})
    start: dict[str, float] = {}
    if measured:
        try:
            start = of_probe.constants(measured, chosen, hardware.of_machine(with_rates, chosen))
        except hardware.Unknown as error:
            raise InputError(str(error)) from None
    if not rows:
        return bare.model_copy(update={"constants": {each: _short(value) for each, value in start.items()}})
    found = [described(row, with_rates) for row in rows]
    able = [i for i, each in enumerate(found) if each.values is not None]
    if not able:
        raise InputError(f"no row can be expressed; the first: {found[0].reason}")
    block = calibrated([rows[i] for i in able], [found[i] for i in able], bare.source, start=start)
    constants = {**{each: _short(value) for each, value in start.items()}, **block.constants}
    error = _left_out([rows[i] for i in able], [found[i] for i in able], start)
    return block.model_copy(update={"measured": rates, "constants": constants, "error": error})


def _left_out(rows: list[Row], found: list[Described], start: dict[str, float]) -> float | None:
    """Median relative error of the rows, each fifth of them predicted from the others; None for fewer than three."""
    import numpy as np

    from hpcscale.cost import cases
    from hpcscale.cost.predict import predict
    from hpcscale.cost.tables import calibrated, seconds_of

    if len(rows) < 3:
        return None
    errors: list[float] = []
    parts = min(5, len(rows))
    for part in range(parts):
        out = [i for i in range(len(rows)) if i % parts == part]
        known = [i for i in range(len(rows)) if i % parts != part]
        block = calibrated([rows[i] for i in known], [found[i] for i in known], "", start=start)
        made = predict(
            cases.made([found[i].values or {} for i in out]), [found[i].kind for i in out], [block] * len(out)
        )
        errors += [abs(float(made.seconds[k]) / (seconds_of(rows[i]) or 1) - 1) for k, i in enumerate(out)]
    return _short(float(np.median(errors)))


def _precision(profile: Machine, rows: list[Row], measured: list[probes.Probe]) -> str:
    """Of the rows, else the fastest that a probe measured."""
    if rows and rows[0].get("precision"):
        return str(rows[0]["precision"])
    products = [each for probe in measured for each in probe.matmuls]
    if not products:
        raise InputError(f"the probes of {profile.name} measured no matrix product; run it again: hpcscale probe")
    return max(products, key=lambda each: each.flops_per_second).dtype


def _target(place: Path, profile: Machine) -> Path:
    """The profile itself if it is a person's own; a copy of a packaged one goes to machines/ here, where it is found first."""
    packaged = locate.packaged("machines").resolve()
    if place.resolve().parent == packaged and packaged != Path("machines").resolve():
        return Path("machines") / f"{profile.name}.yaml"
    return place


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _tell(profile: Machine, block: Calibration, target: Path | None) -> None:
    from hpcscale.cost.block import text

    if target is None:
        click.echo(text(block), nl=False)
        return
    click.echo(f"{target}: calibrated from {block.source}")
    for name, value in block.measured.items():
        click.echo(f"  {name} {value:.4g}")
    if block.error is not None:
        click.echo(
            f"  median error {100 * block.error:.1f} %, each fifth of {len(block.rows)} rows predicted from the others"
        )
