"""``hpcscale search``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options, search_text
from hpcscale.cost import flops
from hpcscale.cost import search as searching
from hpcscale.cost.search import Choice, Ranked
from hpcscale.spec import locate, machine, model
from hpcscale.spec.layout import Training
from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError, suggestion
from hpcscale.spec.units import parse_count, parse_seconds

PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "fp8", "fp64")


@click.command()
@click.option("--model", "model_name", required=True, metavar="NAME", help="A model of `hpcscale models`.")
@click.option("--machine", "machine_name", required=True, metavar="NAME", help="A machine of `hpcscale machines`.")
@click.option(
    "--nodes", "nodes_text", required=True, metavar="N|A-B|N,M", help="Node count, a range of them, or several."
)
@click.option("--gbs", type=click.IntRange(min=1), required=True, help="Global batch size in sequences.")
@click.option("--seq", type=click.IntRange(min=1), required=True, help="Sequence length in tokens.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Default: bf16 where the device has it, else fp32.")
@click.option("--tokens", metavar="T", help="Tokens to train on (300B, 1.5T): adds days and node-hours.")
@click.option("--deadline", metavar="HOURS", help="Only layouts that train the tokens in this time (200, 30d).")
@click.option("--budget", metavar="NODE-HOURS", help="Only layouts that train the tokens for this much (2M).")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many layouts are shown.")
@click.option("--variants", is_flag=True, help="Rank every layout, not only the best of each dp x tp x pp x cp.")
@click.option("--set", "sets", type=options.SetPair(), multiple=True, metavar="KEY=VALUE",
              help="A resource of the machine (freq, eco_state, ranks_per_node). Repeatable.")  # fmt: skip
@click.option(
    "--convention",
    default=flops.OWN,
    show_default=True,
    metavar="NAME",
    help="How FLOPs are counted for TFLOPs and MFU.",
)
@click.option("--explain", is_flag=True, help="What the first one's time and memory go into.")
@click.option(
    "--write", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a study of those shown."
)
@options.json_option
def command(
    model_name: str, machine_name: str, nodes_text: str, gbs: int, seq: int, precision: str | None, tokens: str | None,
    deadline: str | None, budget: str | None, top: int, variants: bool, sets: tuple[tuple[str, Any], ...], convention: str,
    explain: bool, write: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Which layout of a model is best on so many nodes of a machine: all legal ones are predicted and ranked.

    On one node count by seconds a step; over several by node-hours, with the Pareto front of time against node-hours.
    A range tries its ends and the powers of two, and three times them, between.
    """
    amount = None if tokens is None else _number("--tokens", tokens)
    limits = _hours(deadline), None if budget is None else _number("--budget", budget)
    if amount is None and limits != (None, None):
        raise InputError("--deadline and --budget are about training a number of tokens; say how many with --tokens")
    profile = machine.read(locate.find(machine_name, "machines", "machine"))
    training = Training(sequence_length=seq, global_batch_size=gbs, precision=precision or usual_precision(profile))  # type: ignore[arg-type]
    asked = searching.question(model.named(model_name), profile, training, _resources(profile, sets))
    found = _search(asked, _node_counts(nodes_text), variants)
    counted = amount if amount is not None else 1e9
    everything, why_none = searching.within(found.choices, counted, *limits)
    if why_none:
        raise InputError(why_none)
    shown = search_text.Shown(
        asked=asked, ranked=found.ranked, choices=everything[:top], front=searching.front(everything) if len(found.ranked) > 1 else [],
        tokens=amount, convention=flops.convention(convention), refused=found.refused, variants=variants,
    )  # fmt: skip
    if write is not None:
        _write(shown, write)
    if as_json:
        options.print_json(search_text.document(shown, explain))
        return
    search_text.show(shown, explain)
    if write is not None:
        click.echo(f"study written to {write}; next: hpcscale render {write}")


@dataclass(frozen=True)
class _Found:
    ranked: list[Ranked]
    choices: list[Choice]
    refused: list[str]


def _search(asked: Point, counts: Sequence[int], variants: bool) -> _Found:
    """Every node count's layouts, best first. Raises InputError where nothing at all is left."""
    searching.check(asked)
    reasons = {nodes: searching.refusal(asked, nodes) for nodes in counts}
    refused = [reason for reason in reasons.values() if reason]
    ranked = []
    for nodes in (each for each in counts if not reasons[each]):
        one = searching.rank(asked, nodes, variants)
        reason = searching.why_empty(one)
        if reason:
            refused.append(reason)
        else:
            ranked.append(one)
    if not ranked:
        raise InputError("\n".join(refused))
    choices = [each for one in ranked for each in searching.choices(one)]
    return _Found(ranked, searching.by_node_hours(choices) if len(ranked) > 1 else choices, refused)


def usual_precision(profile: Machine) -> str:
    """bf16 where the device has it, else fp32."""
    device = profile.device_facts
    return "bf16" if device.peak("bf16", profile.default_resources()) else "fp32"


def _resources(profile: Machine, sets: Sequence[tuple[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in sets:
        if name not in (*profile.resources, "ranks_per_node"):
            raise InputError(
                f"--set {name}: {profile.name} has no such resource{suggestion(name, [*profile.resources, 'ranks_per_node'])}"
            )
        if isinstance(value, bool) or not isinstance(value, int) or value < (name == "ranks_per_node"):
            raise InputError(f"--set {name}={value}: it must be a whole number")
        found[name] = value
    return found


def _node_counts(text: str) -> list[int]:
    single, between = re.fullmatch(r"[0-9]+(,[0-9]+)*", text), re.fullmatch(r"([0-9]+)-([0-9]+)", text)
    if single:
        counts = sorted({int(each) for each in text.split(",")})
    elif between and 0 < int(between[1]) <= int(between[2]):
        counts = searching.steps_between(int(between[1]), int(between[2]))
    else:
        counts = []
    if not counts or counts[0] < 1:
        raise InputError(f"--nodes {text}: write a node count (64), a range (16-256) or several (16,48,64)")
    return counts


def _number(option: str, text: str) -> float:
    try:
        return parse_count(text)
    except ValueError:
        raise InputError(f"{option} {text}: write a number above zero, for example 300B, 1.5T or 3e11") from None


def _hours(text: str | None) -> float | None:
    """``200`` are hours; ``30d``, ``36h`` and ``100:00:00`` say what they are."""
    if text is None:
        return None
    try:
        value = float(text) if re.fullmatch(r"[0-9.]+", text) else parse_seconds(text) / 3600
    except ValueError:
        value = 0.0
    if not value > 0:
        raise InputError(f"--deadline {text}: write hours (200) or a duration (30d, 36h)")
    return value


def _write(shown: search_text.Shown, path: Path) -> None:
    from hpcscale.cost.as_study import study_of

    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.") or "search"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(study_of(shown.choices, name, search_text.spelled(shown)), encoding="utf-8")
