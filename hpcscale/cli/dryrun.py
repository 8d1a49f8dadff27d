"""``hpcscale dryrun``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from hpcscale.cli import options
from hpcscale.cli.errors import FAILED
from hpcscale.cli.tables import print_table
from hpcscale.spec import study
from hpcscale.spec.expand import expand
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError
from hpcscale.spec.sets import split_sets

# column -> the kinds of memory that it shows, of fake_rank.Memory.peak_by_kind
KINDS = {
    "weights": ("weights", "gathered_weights"),
    "gradients": ("gradients",),
    "states": ("optimizer_states",),
    "activations": ("activations",),
}


@click.command()
@click.argument("name", metavar="STUDY")
@options.machine_option
@options.point_option
@options.set_option
@click.option(
    "--rank", "ranks", type=click.IntRange(min=0), multiple=True, metavar="R", help="This rank of the job. Repeatable."
)
@click.option("--all-stages", is_flag=True, help="The first rank of every pipeline stage.")
@options.json_option
def command(
    name: str,
    machines: tuple[str, ...],
    point: str | None,
    sets: tuple[tuple[str, Any], ...],
    ranks: tuple[int, ...],
    all_stages: bool,
    as_json: bool,
) -> None:
    """Run single ranks of a job here, without the others and without their memory: do they fit, and what would fail?

    The real program runs a step on tensors that have shapes but no bytes. Without --rank, the first rank of the first, a
    middle and the last pipeline stage.
    """
    if ranks and all_stages:
        raise InputError("--rank and --all-stages name two choices of ranks; give one")
    points = _points(name, machines, point, sets)
    choice = [f"--rank={rank}" for rank in ranks] or (["--all-stages"] if all_stages else [])
    found: list[dict[str, Any]] = []
    refused: list[str] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="hpcscale-dryrun-") as folder:
        by_file = {str(Path(folder) / f"{number}.json"): each for number, each in enumerate(points)}
        for file, each in by_file.items():
            Path(file).write_text(each.text(), encoding="utf-8")
        for file, lines in _by_file(_run([*by_file, *choice])):
            one = by_file[file]
            done = [_with_room(one, line) for line in lines if "peak_bytes" in line]
            found += done
            refused += [f"{one.identity}: {reason}" for line in lines for reason in line.get("refused", [])]
            if done and not as_json:
                _print(one, done, blank=len(found) > len(done))
            for line in lines:
                if "failed" in line:
                    failed = True
                    click.echo(f"{one.identity}: rank {line['rank']} would fail: {line['failed']}", err=True)
    if as_json:
        options.print_json(found)
    if failed:
        sys.exit(FAILED)
    if refused:
        raise InputError("\n".join(refused))


def _points(name: str, machines: tuple[str, ...], glob: str | None, sets: tuple[tuple[str, Any], ...]) -> list[Point]:
    asked = study.read(name)
    overrides, _ = split_sets(asked, sets)  # account and the like make no difference here
    expansion = expand(asked, machines, overrides)
    for each in expansion.skipped:
        click.echo(each, err=True)
    points = [each for each in expansion.points if glob is None or fnmatchcase(each.identity, glob)]
    foreign = [each for each in points if each.workload.foreign]
    if foreign:
        raise InputError(
            f"{foreign[0].identity} is run by {foreign[0].workload.name}; a dry run knows hpcscale's own trainer"
        )
    if not points:
        names = [each.identity for each in expansion.points]
        raise InputError(f"{asked.name}: {options.nothing_left(names, glob)}")
    return points


def _run(arguments: list[str]) -> Iterator[dict[str, Any]]:
    """What the dry run prints, line by line as it comes. It is a process of its own: commands do without torch."""
    command = [sys.executable, "-m", "hpcscale.train.dryrun", *arguments]
    with (
        tempfile.TemporaryFile("w+") as words,  # a pipe that nobody reads would stop the process when it is full
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True) as process,
    ):
        assert process.stdout is not None
        lines = 0
        for line in process.stdout:
            lines += 1
            yield json.loads(line)
        if process.wait() not in (0, 1, 2) or not lines:
            words.seek(0)
            last = (words.read().strip().splitlines() or ["it said nothing"])[-1]
            raise OSError(f"the dry run ended with exit status {process.returncode}: {last}")


def _by_file(lines: Iterator[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Consecutive lines of the same point together."""
    file, together = None, []
    for line in lines:
        if file is not None and line["file"] != file:
            yield file, together
            together = []
        file = line["file"]
        together.append(line)
    if file is not None:
        yield file, together


def _with_room(point: Point, line: dict[str, Any]) -> dict[str, Any]:
    """The line with what memory a rank has on this machine, and whether the peak fits into it."""
    memory = _memory_of_a_rank(point)
    fits = None if memory is None else line["peak_bytes"] <= memory
    own = {key: value for key, value in line.items() if key != "file"}
    return {"study": point.study, "machine": point.machine.name, **own, "available_bytes": memory, "fits": fits}


def _memory_of_a_rank(point: Point) -> int | None:
    """Bytes; None where nobody knows. Ranks that share a device share its memory, a CPU's is what a job may take of the node."""
    device, node = point.machine.device_facts, point.machine.node
    if device.kind == "gpu":
        return None if device.memory is None else device.memory // point.ranks_per_device
    usable = node.usable_memory or node.memory
    return usable // point.ranks_per_node if isinstance(usable, int) else None


def _print(point: Point, lines: list[dict[str, Any]], blank: bool) -> None:
    first = lines[0]
    if blank:
        click.echo()
    click.echo(f"{point.identity}: {first['ranks']:,} rank{'s' if first['ranks'] > 1 else ''}, {_micro_batches(first)}")
    titles = ("rank", "stage", "layers", "parameters", *KINDS, "peak GiB", "of GiB", "fits", "seconds", "process GiB")
    rows = [
        (
            line["rank"],
            "+".join(map(str, line["stages"])),
            "+".join(_layers(*each) for each in line["layers"]),
            f"{line['own_parameters']:,}",
            *(_gib(sum(line["peak_by_kind"][kind] for kind in kinds)) for kinds in KINDS.values()),
            _gib(line["peak_bytes"]),
            "unknown" if line["available_bytes"] is None else _gib(line["available_bytes"]),
            {None: "unknown", True: "yes", False: "no"}[line["fits"]],
            f"{line['seconds']:.1f}",
            _gib(line["process_memory_bytes"]),
        )
        for line in lines
    ]
    print_table(titles, rows, right=(0, *range(3, 4 + len(KINDS) + 2), 4 + len(KINDS) + 3, 4 + len(KINDS) + 4))
    if first["available_bytes"] is None:
        device = point.machine.device_facts.name
        click.echo(f"how much memory a rank has is not known: neither {device} nor {point.machine.name} says")


def _micro_batches(line: dict[str, Any]) -> str:
    run, real = line["micro_batches"], line["micro_batches_of_the_job"]
    if run == real:
        return f"{real} micro batch{'es' if real > 1 else ''} a step"
    return f"{run} of the {real} micro batches of a step, which is enough for the peak"


def _layers(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"
