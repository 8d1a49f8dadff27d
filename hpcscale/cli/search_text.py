"""What ``hpcscale search`` prints: the ranking, the Pareto front, what the first one's time and memory go into."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from hpcscale.cli.tables import Column, print_explained, print_fitting, width
from hpcscale.cost import memory
from hpcscale.cost import time as times
from hpcscale.cost.flops import Convention, tflops_per_device
from hpcscale.cost.search import Choice, Ranked
from hpcscale.spec.point import Point

_GIB = 2.0**30


@dataclass(frozen=True)
class Shown:
    """The answer to one question. ``front``: empty for one node count; ``tokens``: what is to be trained, if that was said."""

    asked: Point
    ranked: Sequence[Ranked]
    choices: Sequence[Choice]
    front: Sequence[Choice]
    tokens: float | None
    convention: Convention
    refused: Sequence[str]
    variants: bool

    @property
    def counted(self) -> float:
        """Tokens that node-hours are of."""
        return 1e9 if self.tokens is None else self.tokens


def show(shown: Shown, explain: bool) -> None:
    limit = width()

    def say(text: str) -> None:
        click.echo(textwrap.fill(text, limit))

    say(_headline(shown))
    if shown.front:
        click.echo(f"\nPareto front: no layout found is both faster and cheaper ({_tokens(shown.counted)}).")
        print_fitting(_columns(shown, shown.front), limit)
    click.echo("\nCheapest first." if shown.front else "")
    print_fitting(_columns(shown, shown.choices), limit)
    if explain:
        click.echo()
        _explain(shown.choices[0], limit)
    click.echo()
    for note in notes(shown):
        say(note)


def _headline(shown: Shown) -> str:
    asked, training = shown.asked, shown.asked.training
    counts = [each.point.nodes for each in shown.ranked]
    nodes = f"{counts[0]:,} node{'s' if counts[0] > 1 else ''}"
    if len(counts) > 1:
        nodes = f"{', '.join(f'{each:,}' for each in counts)} nodes"
    legal, fitting = (sum(getattr(each, name) for each in shown.ranked) for name in ("legal", "fitting"))
    kept = sum(len(each.layouts) for each in shown.ranked)
    best = "" if shown.variants else f"; of each of {kept:,} dp x tp x pp x cp the best one is ranked"
    return (
        f"{asked.model.name} on {asked.machine.name}, {nodes}: global batch {training.global_batch_size:,} x "
        f"{training.sequence_length:,} tokens, {training.precision}. {legal:,} legal layouts, {legal - fitting:,} of them out of "
        f"memory{best}."
    )


def _columns(shown: Shown, found: Sequence[Choice]) -> list[Column]:
    priced = shown.tokens is not None or len(shown.ranked) > 1
    rate = "HFU" if shown.convention.hardware else "MFU"
    known = shown.asked.peak_tflops is not None

    def key(name: str) -> list[str]:
        return [str(each.keys[name]) for each in found]

    return [
        Column("#", [str(i) for i in range(1, len(found) + 1)]),
        Column("nodes", [str(each.nodes) for each in found], folds=len(shown.ranked) == 1),
        Column("dp", key("dp")),
        Column("tp", key("tp")),
        Column("pp", key("pp")),
        Column("cp", key("cp"), folds=True),
        Column("sharding", key("sharding"), 1, left=True, folds=True),
        Column("schedule", [_schedule(each) for each in found], 6, left=True, folds=True),
        Column("SP", ["yes" if each.keys["sequence_parallel"] else "no" for each in found], 7, left=True, folds=True),
        Column("MBS", key("mbs")),
        Column("AC", key("ac"), left=True),
        Column("sec/it", [f"{each.seconds:.4g}" for each in found]),
        Column("80 % interval", [f"{each.low:.4g}-{each.high:.4g}" for each in found], 4),
        Column("TFLOPs", [f"{tflops(each, shown.convention):.4g}" for each in found], 8),
        *([Column(rate, [f"{100 * (share(each, shown.convention) or 0):.1f} %" for each in found], 3)] if known else []),
        Column("GiB", [f"{each.memory / _GIB:.1f}" for each in found], 1),
        Column("verdict", [each.verdict for each in found], 2, left=True, folds=True),
        *([Column("node-h", [_amount(each.node_hours(shown.counted)) for each in found])] if priced else []),
        *([Column("days", [_amount(each.hours(shown.counted) / 24) for each in found], 5)] if priced else []),
    ]  # fmt: skip


def _amount(value: float) -> str:
    """Three digits, with a letter for thousands and more."""
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= scale:
            return f"{value / (1e3 if letter == 'k' else scale):.3g}{letter}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _schedule(each: Choice) -> str:
    virtual = each.keys["virtual_stages"]
    return f"interleaved x{virtual}" if virtual > 1 else "1f1b"


def tflops(each: Choice, convention: Convention) -> float:
    """TFLOP/s of one device."""
    point = each.ranked.point
    training = point.training
    tokens = training.global_batch_size * training.sequence_length / each.seconds
    devices = point.nodes * point.ranks_per_node / point.ranks_per_device
    work = convention.flops_per_token(point.model, training.sequence_length, each.keys["tp"], each.keys["ac"])
    return tflops_per_device(work, tokens / devices)


def share(each: Choice, convention: Convention) -> float | None:
    """Of the device's peak, 0 to 1."""
    peak = each.ranked.point.peak_tflops
    return None if peak is None else tflops(each, convention) / peak


def _tokens(amount: float) -> str:
    for scale, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if amount >= scale:
            return f"for {amount / scale:g}{letter} tokens"
    return f"for {amount:g} tokens"


def notes(shown: Shown) -> list[str]:
    """What a reader must know beside the numbers, in sentences."""
    asked, found = shown.asked, []
    if shown.tokens is not None or len(shown.ranked) > 1:
        more = "" if shown.tokens is not None else "; --tokens says how many"
        found.append(f"node-h (node-hours) and days are {_tokens(shown.counted)}{more}.")
    if any(each.verdict == memory.RISKY for each in (*shown.choices, *shown.front)):
        found.append(
            f"risky: more than {100 * memory.RISKY_ABOVE:.0f} % of the memory, which such an estimate may miss."
        )
    if any(each.verdict == memory.UNKNOWN for each in shown.choices):
        found.append(f"how much memory a rank of {asked.machine.name} has is not known: nothing was dropped for it.")
    found += _queues(shown)
    if asked.machine.calibration is None:
        found.append(
            f"{asked.machine.name} was never calibrated: the times are those of its class of machines, and its own may differ by "
            "more than these layouts do from each other; hpcscale calibrate makes them its own."
        )
    best = shown.choices[0].point
    from hpcscale.train.supported import not_built

    cuda = asked.machine.device_facts.kind == "gpu"
    for reason in not_built(best.model, best.layout, best.training, best.data, best.communication, cuda):
        found.append(f"hpcscale's own trainer does not run this: {reason}.")
    return found + [f"left out: {each}." for each in shown.refused]


def _queues(shown: Shown) -> list[str]:
    rounded = [one for one in shown.ranked if one.paid != one.point.nodes]
    said = []
    if rounded:
        units = ", ".join(f"{one.point.nodes:,} nodes as {one.paid:,}" for one in rounded)
        said = [f"nodes are handed out and paid in units: {units}."]
    queues = list(dict.fromkeys(one.queue.name for one in shown.ranked if one.queue is not None))
    return said + ([f"queue{'s' if len(queues) > 1 else ''}: {', '.join(queues)}."] if queues else [])


def _explain(best: Choice, limit: int) -> None:
    click.echo(f"Where the {best.seconds:.4g} s of # 1 go:")
    rows = [
        (name, f"{seconds:.4g}", f"{100 * portion:.1f} %", times.TERMS[name])
        for name, seconds, portion in _terms(best)
        if portion >= 5e-4
    ]
    rest = sum(seconds for _, seconds, portion in _terms(best) if portion < 5e-4)
    if rest:
        rows.append(("others", f"{rest:.2g}", "", "terms below 0.05 %"))
    correction = float(best.ranked.predictions.correction[best.place])
    total = sum(seconds for _, seconds, _ in _terms(best))
    if abs(correction - 1) > 1e-9:
        rows.append(("sum", f"{total:.4g}", "", ""))
        rows.append(
            ("correction", f"x {correction:.3f}", "", "what this machine's measured rows say of similar layouts")
        )
    rows.append(("a step", f"{best.seconds:.4g}", "100 %", ""))
    print_explained(("term", "seconds", "share", ""), rows, limit)
    click.echo()
    _explain_memory(best, limit)


def _terms(best: Choice) -> list[tuple[str, float, float]]:
    step = best.ranked.predictions.step
    seconds = {name: float(step.terms[name][best.place]) for name in times.TERMS}
    total = sum(seconds.values())
    return [(name, value, value / total) for name, value in sorted(seconds.items(), key=lambda item: -item[1]) if value]


def _explain_memory(best: Choice, limit: int) -> None:
    first, last = _stages(best)
    usable = float(best.ranked.predictions.cases.memory[best.place])
    of = "" if usable != usable else f" of {usable / _GIB:.1f} GiB"
    click.echo(
        f"GiB of a rank of the first and last stage: {best.memory / _GIB:.1f}{of} at most, {best.verdict}"
    )
    rows = [
        (line, f"{first[line] / _GIB:.2f}", f"{last[line] / _GIB:.2f}", what)
        for line, what in memory.LINES.items()
        if first[line] or last[line]
    ]
    rows.append(("sum", f"{sum(first.values()) / _GIB:.2f}", f"{sum(last.values()) / _GIB:.2f}", ""))
    print_explained(("line", "first", "last", ""), rows, limit)


def _stages(best: Choice) -> tuple[dict[str, float], dict[str, float]]:
    need = best.ranked.predictions.need
    first, last = ({line: float(stage[line][best.place]) for line in memory.LINES} for stage in (need.first, need.last))
    return first, last


def spelled(shown: Shown) -> str:
    """The command that gives this answer, without what only concerns its printing."""
    asked, training = shown.asked, shown.asked.training
    nodes = ",".join(str(each.point.nodes) for each in shown.ranked)
    given = {
        key: value for key, value in asked.resources.items() if asked.machine.default_resources().get(key) != value
    }
    sets = "".join(f" --set {key}={value}" for key, value in given.items())
    return (
        f"hpcscale search --model {asked.model.name} --machine {asked.machine.name} --nodes {nodes} "
        f"--gbs {training.global_batch_size} --seq {training.sequence_length} --precision {training.precision}{sets}"
    )


def document(shown: Shown, explain: bool) -> dict[str, Any]:
    """Everything with raw numbers: seconds, bytes, shares of 1."""
    asked, training = shown.asked, shown.asked.training
    found: dict[str, Any] = {
        "model": asked.model.name, "machine": asked.machine.name, "nodes": [each.point.nodes for each in shown.ranked],
        "sequence_length": training.sequence_length, "global_batch_size": training.global_batch_size,
        "precision": training.precision, "tokens": shown.tokens, "flops_convention": shown.convention.name,
        "legal": sum(each.legal for each in shown.ranked), "fitting": sum(each.fitting for each in shown.ranked),
        "layouts": [_row(shown, each) for each in shown.choices], "front": [_row(shown, each) for each in shown.front],
        "notes": notes(shown),
    }  # fmt: skip
    if explain:
        best = shown.choices[0]
        first, last = _stages(best)
        found["explain"] = {
            "seconds": {name: seconds for name, seconds, _ in _terms(best)},
            "correction": float(best.ranked.predictions.correction[best.place]),
            "first_stage_bytes": first, "last_stage_bytes": last,
        }  # fmt: skip
    return found


def _row(shown: Shown, each: Choice) -> dict[str, Any]:
    usable = float(each.ranked.predictions.cases.memory[each.place])
    row = {
        "nodes": each.nodes, **each.keys, "seconds": each.seconds, "seconds_low": each.low, "seconds_high": each.high,
        "tflops": tflops(each, shown.convention), "utilisation": share(each, shown.convention), "memory_bytes": each.memory,
        "available_bytes": None if usable != usable else usable, "verdict": each.verdict,
        "queue": each.ranked.queue.name if each.ranked.queue else None,
    }  # fmt: skip
    if shown.tokens is not None:
        row |= {"hours": each.hours(shown.tokens), "node_hours": each.node_hours(shown.tokens)}
    return row
