"""``hpcscale schema``."""

from __future__ import annotations

import click

from hpcscale.cli import options


@click.command()
@click.argument("kind", type=click.Choice(["machine", "model", "study", "settings"]))
def command(kind: str) -> None:
    """Print the JSON Schema of one kind of file, for editors and checkers."""
    from hpcscale.spec.job import SettingsFile
    from hpcscale.spec.machine import Machine
    from hpcscale.spec.model import Model
    from hpcscale.spec.study import StudyFile

    kinds = {"machine": Machine, "model": Model, "study": StudyFile, "settings": SettingsFile}
    schema = kinds[kind].model_json_schema(by_alias=True)
    options.print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
