"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class ListByDefault(click.Group):
    """A group whose ``list`` command is meant where none is named: ``hpcscale machines --json``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


class SetPair(click.ParamType):
    """``key=value``; the value is read as YAML reads it."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"'{value}' is not key=value", param, ctx)
        from hpcscale.spec.job import parse_value

        # these are names, whatever YAML would make of them: an account may be 0123
        return key, text if key.rpartition(".")[2] in (
            "account",
            "group",
            "project",
            "python",
            "venv",
        ) else parse_value(text)


def set_option(function: F) -> F:
    return click.option(
        "--set", "sets", type=SetPair(), multiple=True, metavar="KEY=VALUE",
        help="Replace a key of the study (time, gbs, layout.tp) or a setting of yours (account, fugaku.group). Repeatable.",
    )(function)  # fmt: skip


def machine_option(function: F) -> F:
    return click.option(
        "--machine", "machines", multiple=True, metavar="NAME", help="Only this machine of the study. Repeatable."
    )(function)


def point_option(function: F) -> F:
    return click.option("--point", metavar="GLOB", help="Only points whose name matches, for example '*dp8*'.")(
        function
    )


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def runs_option(function: F) -> F:
    return click.option(
        "--runs", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True, metavar="DIR",
        help="The folder of all runs.",
    )(function)  # fmt: skip


def out_option(function: F) -> F:
    return click.option(
        "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True, metavar="DIR",
        help="The folder of all runs; the study gets a folder in it.",
    )(function)  # fmt: skip


def points_options(function: F) -> F:
    """Which points of a study are meant: ``machines``, ``point``, ``sets`` and ``out``."""
    return machine_option(point_option(set_option(out_option(function))))


def print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def nothing_left(identities: Sequence[str], pattern: str | None) -> str:
    """Why no point is left, with the way out. ``identities``: the points that break no rule."""
    if pattern is None or not identities:
        return "no point is left: every one breaks a rule"
    from hpcscale.spec.problems import suggestion

    near = suggestion(pattern, identities) if len(identities) > 1 and "*" not in pattern else ""
    hint = near if "did you mean" in near else f"; the first of {len(identities)} is {identities[0]}"
    return f"no point's name matches '{pattern}'{hint} (a pattern covers the whole name, as in 'dp4-*')"
