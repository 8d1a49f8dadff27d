"""``hpcscale weights``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options
from hpcscale.cli.tables import print_facts
from hpcscale.cost.parameters import count
from hpcscale.spec.model import Model, catalogue
from hpcscale.spec.problems import InputError
from hpcscale.spec.units import parse_bytes
from hpcscale.train.huggingface import config


@click.group()
def command() -> None:
    """Hugging Face weights: `weights show FOLDER` says what model they are, `weights export` makes them of a run."""


@command.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@options.json_option
def show(folder: Path, as_json: bool) -> None:
    """Show the model of a folder of Hugging Face weights, as a study writes it."""
    found = config.model_of(config.read(folder), folder.resolve().name, str(folder / config.NAME))
    parameters = count(found, found.max_positions or 1).total
    if as_json:
        options.print_json({**found.model_dump(mode="json"), "parameters": parameters})
        return
    print_facts([("folder", folder), ("parameters", f"{parameters:,}")])
    click.echo("\nFor a study:")
    click.echo(f"model: {_yaml(_as_written(found))}")
    click.echo(f"training: {{weights: {folder}}}")


@command.command()
@click.argument("source", metavar="POINT|CHECKPOINT", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to make; none may be there.",
)
@click.option(
    "--dtype",
    type=click.Choice(["fp32", "bf16", "fp16", "fp64"]),
    default="fp32",
    show_default=True,
    help="What is written.",
)
@click.option("--file-size", default="5 GB", show_default=True, metavar="SIZE", help="Most that one file holds.")
def export(source: Path, out: Path, dtype: str, file_size: str) -> None:
    """Write a run's newest checkpoint as Hugging Face weights, which transformers loads.

    POINT is a point's folder (or an attempt's), CHECKPOINT one of its checkpoints. One tensor at a time is in memory.
    """
    try:
        most = parse_bytes(file_size)
    except ValueError as error:
        raise InputError(f"--file-size: {error}") from None
    program = [sys.executable, "-m", "hpcscale.train.huggingface"]  # torch lives in a process of its own
    done = subprocess.run([*program, source, out, "--dtype", dtype, "--most-bytes", str(most)], check=False)
    sys.exit(done.returncode)


def _as_written(found: Model) -> dict[str, Any]:
    """The keys that a study must write: those that are not the family's anyway."""
    defaults = {key: field.default for key, field in Model.model_fields.items()}
    defaults |= {"kv_heads": found.heads, "ffn": 4 * found.hidden, **catalogue()[0][found.family]}
    written = found.model_dump(mode="json", exclude={"name", "vocab_multiple"})
    return {key: value for key, value in written.items() if value != defaults[key] or key == "family"}


def _yaml(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
