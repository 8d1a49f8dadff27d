"""``hpcscale models``."""

from __future__ import annotations

from typing import Any

import click

from hpcscale.cli import options
from hpcscale.cli.tables import print_facts, print_table
from hpcscale.cost.parameters import count
from hpcscale.spec import model
from hpcscale.spec.model import Model

_SEQUENCE = click.option(
    "--seq", "sequence_length", type=click.IntRange(min=1), default=2048, show_default=True, metavar="TOKENS",
    help="Sequence length: learned position tables have a row a token.",
)  # fmt: skip


@click.group(cls=options.ListByDefault)
def command() -> None:
    """List models with their exact parameter counts; `models show NAME` shows one."""


@command.command("list")
@_SEQUENCE
@options.json_option
def list_(sequence_length: int, as_json: bool) -> None:
    """List models with their exact parameter counts."""
    models = [model.named(name) for name in model.names()]
    if as_json:
        options.print_json([_document(each, sequence_length) for each in models])
        return
    rows = [
        (
            m.name,
            m.family,
            m.layers,
            m.hidden,
            m.heads,
            m.kv_heads,
            m.ffn,
            f"{m.vocab:,}",
            f"{count(m, sequence_length).total:,}",
        )
        for m in models
    ]
    titles = ("name", "family", "layers", "hidden", "heads", "kv heads", "ffn", "vocab", "parameters")
    print_table(titles, rows, right=range(2, 9))


@command.command()
@click.argument("name")
@_SEQUENCE
@click.option(
    "--tp", type=click.IntRange(min=1), default=1, show_default=True, help="Tensor-parallel size (pads the vocabulary)."
)
@options.json_option
def show(name: str, sequence_length: int, tp: int, as_json: bool) -> None:
    """Show one model and where its parameters sit."""
    found = model.named(name)
    if as_json:
        options.print_json(_document(found, sequence_length, tp))
        return
    print_facts([(key, value) for key, value in found.model_dump().items() if value is not None])
    click.echo()
    parts = count(found, sequence_length, tp)
    rows = [(key.replace("_", " "), f"{getattr(parts, key):,}") for key in parts.__dataclass_fields__ if key != "layer"]
    rows.append(("total", f"{parts.total:,}"))
    print_table((f"parameters (seq {sequence_length}, tp {tp})", ""), rows, right=(1,))


def _document(found: Model, sequence_length: int, tp: int = 1) -> dict[str, Any]:
    parts = count(found, sequence_length, tp)
    parameters = {key: getattr(parts, key) for key in parts.__dataclass_fields__} | {"total": parts.total}
    return {**found.model_dump(mode="json"), "sequence_length": sequence_length, "tp": tp, "parameters": parameters}
