"""``hpcscale data``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from hpcscale.cli import options
from hpcscale.cli.tables import print_facts
from hpcscale.train.documents import KINDS, Documents


@click.group()
def command() -> None:
    """Make training data: `data build` turns text files into a Megatron corpus (.bin and .idx)."""


@command.command()
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--tokenizer",
    required=True,
    metavar="FILE|bytes",
    help="A Hugging Face tokenizer.json; bytes: UTF-8 bytes, 257 ids.",
)
@click.option(
    "--output",
    metavar="PREFIX",
    help="Write PREFIX.bin and PREFIX.idx. Default: the first text's name without its ending, in this folder.",
)
@click.option(
    "--documents", type=click.Choice(KINDS),
    help="What one document is: a file, a paragraph between blank lines, a line of JSON. Default: jsonl for *.jsonl, else file.",
)  # fmt: skip
@click.option("--json-key", default="text", show_default=True, metavar="KEY", help="Where a line of JSON has its text.")
@click.option(
    "--end-of-document", "end", metavar="TOKEN", help="The token after each document, if it has an unusual name."
)
@click.option("--no-eod", is_flag=True, help="Write no token after a document.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@options.json_option
def build(
    texts: tuple[Path, ...],
    tokenizer: str,
    output: str | None,
    documents: Documents | None,
    json_key: str,
    end: str | None,
    no_eod: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Tokenize text files (UTF-8) and write them as Megatron's .bin and .idx.

    The order of the documents is that of the files; training shuffles them. Wrong input leaves nothing behind.
    """
    from hpcscale.spec.problems import InputError
    from hpcscale.train import corpus_build, tokenizers

    if no_eod and end is not None:
        raise InputError(f"--no-eod writes no token after a document, --end-of-document writes '{end}'; keep one")
    built = corpus_build.build(
        list(texts), output or texts[0].stem, tokenizers.load(tokenizer, end), documents, json_key, not no_eod, force
    )
    if as_json:
        options.print_json({**vars(built), "bin": str(built.bin), "idx": str(built.idx)})
        return
    print_facts(
        [
            ("wrote", f"{built.bin} and {built.idx}"),
            ("tokens", f"{built.tokens:,}"),
            ("documents", f"{built.documents:,}" + (f" (and {built.empty:,} empty ones left out)" if built.empty else "")),
            ("vocab", f"{built.vocab:,}"),
            ("token type", built.token_type),
        ]
    )  # fmt: skip
    click.echo("\nFor a study (NAME: a model of hpcscale models):")
    click.echo(f"data: {{kind: megatron, path: {_yaml(str(built.idx.with_suffix('')))}}}")
    click.echo(f"model: {{base: NAME, vocab: {built.vocab}}}")


def _yaml(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./+-]*", text) else json.dumps(text, ensure_ascii=False)
