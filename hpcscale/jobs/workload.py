"""A foreign workload's part of a job: what the launch line starts, workload.sh that it runs, and the files this reads.

Templates lie in templates/workloads: NAME.sh.j2 is the command, NAME.yaml.j2 (toml, json, py) a file beside point.json.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2

from hpcscale import __version__
from hpcscale.jobs import quoting
from hpcscale.spec import locate, workload
from hpcscale.spec.job import Settings, WorkloadPlaces
from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError, Problem

SCRIPT = "workload.sh"
KINDS = ("yaml", "toml", "json", "py")  # of the files that a system reads
_FRAME = "workload.sh.j2"
_PLACES = ("path", "data", "tokenizer", "weights")
_WHOLE = ("path", "weights")  # a tokenizer may be a name of the Hugging Face hub, and data a data set's
_BARE_EXPONENT = re.compile(r"^(-?[0-9]+)(?=e)")


def started(point: Point) -> dict[str, int]:
    """What the scheduler starts, under the names that templates know: the ranks, or one launcher a node."""
    if point.workload.foreign and workload.processes_of(point.workload) == "node":
        threads = point.threads_per_rank * _ranks_on_a_node(point)
        return {"ranks": point.nodes, "ranks_per_node": 1, "threads_per_rank": threads}
    per_node = min(point.ranks_per_node, point.ranks)
    return {"ranks": point.ranks, "ranks_per_node": per_node, "threads_per_rank": point.threads_per_rank}


def command(point: Point, python: str, module: str = "hpcscale.train") -> str:
    """What each started process runs, as it stands in job.sh; ``module``: hpcscale's own program, where it is that."""
    if point.workload.foreign:
        return f'bash "$point/{SCRIPT}"'
    return f'{python} -m {module} "$point/point.json"'


def _ranks_on_a_node(point: Point) -> int:
    return -(-point.ranks // point.nodes)


def outside(point: Point, settings: Settings) -> list[str]:
    """The files and folders that a foreign workload reads, for a container to see."""
    if not point.workload.foreign:
        return []
    places = _places(point, settings)
    data = places.pop("data")
    found = [*places.values(), str(PurePosixPath(data).parent) if data else None]  # data may be a prefix of files
    return [each for each in dict.fromkeys(found) if each and each.startswith("/")]


def files(
    point: Point, folder: Path, settings: Settings, templates: jinja2.Environment, interpreter: str
) -> dict[str, str]:
    """workload.sh and what it reads, by file name. Raises InputError where something is missing or cannot be written."""
    asked = point.workload
    values = _values(point, folder, settings, quoting.shell(interpreter))
    found: dict[str, str] = {}
    try:
        for kind in KINDS if not asked.command else ():
            if any((place / f"{asked.name}.{kind}.j2").is_file() for place in locate.folders(workload.FOLDER)):
                text = templates.get_template(f"workloads/{asked.name}.{kind}.j2").render(values)
                found[f"workload.{kind}"] = _with_arguments(text, point) if kind == "yaml" else text
        body = (
            templates.from_string(asked.command)
            if asked.command
            else templates.get_template(f"workloads/{asked.name}.sh.j2")
        )
        frame = templates.get_template(_FRAME)
        return {**found, SCRIPT: frame.render(values, body=body.render(values).strip())}
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{error.filename or 'workload.command'}, line {error.lineno}: {error.message}") from None
    except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the workload {asked.name} of {point.identity} cannot be written: {error}") from None


def _values(point: Point, folder: Path, settings: Settings, python: str) -> dict[str, Any]:
    training, layout = point.training, point.layout
    micro = training.micro_batch_size
    # A micro batch larger than a replica's share is cut to it, as hpcscale's own trainer does.
    replica = training.global_batch_size // layout.dp
    return {
        "point": point,
        "machine": point.machine,
        "model": point.model,
        "layout": layout,
        "training": training,
        "optimizer": training.optimizer,
        "protocol": point.protocol,
        "steps": point.protocol.steps,
        "ranks": point.ranks,
        "nodes": point.nodes,
        "ranks_per_node": _ranks_on_a_node(point),
        "threads_per_rank": point.threads_per_rank,
        "micro_batch": min(micro, replica) if isinstance(micro, int) else micro,
        "micro_batches": -(-replica // micro) if isinstance(micro, int) else None,
        "replica_batch": replica,
        "arguments": point.workload.arguments,
        "folder": str(folder),
        "python": python,
        "torchrun": _torchrun(point, python),
        "version": __version__,
        "name": point.workload.name,
        **_places(point, settings),
    }


def _places(point: Point, settings: Settings) -> dict[str, str | None]:
    """Where code, data, tokenizer and weights lie: what the study says, else the person's settings."""
    asked, name = point.workload, point.workload.name
    own = settings.workloads.get(name, WorkloadPlaces())
    places: dict[str, str | None] = {key: getattr(asked, key) or getattr(own, key) for key in _PLACES}
    if point.data.kind == "megatron" and point.data.path:
        places["data"] = point.data.path
    facts = workload.facts_of(asked)
    problems = []
    for key in facts.needs if facts else ():
        if not places[key]:
            way = f"give --set workloads.{name}.{key}=PLACE, or write it under {point.machine.name} in your settings"
            problems.append(f"{name} needs its {key}, and no script is written without it; {way}")
    for key, value in places.items():
        if value and (value.startswith("~") or "$" in value or (key in _WHOLE and not value.startswith("/"))):
            problems.append(f"workload.{key} '{value}' is not expanded in scripts; write the whole path")
    if problems:
        raise InputError([Problem("", 0, 0, each) for each in problems])
    return places


def _torchrun(point: Point, python: str) -> str:
    """The words that start this node's ranks, up to the program; SLURM_NODEID is read on the node itself."""
    machine: Machine = point.machine
    words = machine.launch.torchrun or f"{python} -m torch.distributed.run"
    words += f" --nnodes={point.nodes} --nproc-per-node={_ranks_on_a_node(point)} --rdzv-backend=c10d"
    if machine.scheduler == "local":
        return f"{words} --rdzv-endpoint=127.0.0.1:0"
    # is_host: a node cannot tell by its name that it is the first one where the address is another network's
    host = '--rdzv-conf=is_host="$((SLURM_NODEID == 0))"'
    return f'{words} --rdzv-id="$SLURM_JOB_ID" {host} --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT"'


def _with_arguments(text: str, point: Point) -> str:
    """The file with the further arguments in it, for a system that reads no command line."""
    facts = workload.facts_of(point.workload)
    if facts is None or facts.arguments != "file" or not point.workload.arguments:
        return text
    import yaml

    document = yaml.safe_load(text)
    for name, value in point.workload.arguments.items():
        *outer, last = name.split(".")
        inner = document
        for step in outer:
            inner = inner.get(step) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or last not in inner:
            raise InputError(f"workload.arguments: '{name}' is no key of the file that {point.workload.name} reads")
        inner[last] = value
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def written(value: Any) -> str:
    """A value as YAML, TOML and JSON read it alike. ``1e-08`` has no point, and would be text to YAML 1.1."""
    if isinstance(value, float):
        value = float(f"{value:.15g}")  # 0.1 * 3e-4 is 3e-05 to a reader
    text = json.dumps(value, allow_nan=False)
    return _BARE_EXPONENT.sub(r"\1.0", text) if isinstance(value, float) else text


def options(arguments: dict[str, Any]) -> Iterable[str]:
    """``{lr: 1, a: true, b: [1, 2]}`` as ``--lr 1 --a --b 1 2``, one entry an option; false and null leave it out."""
    for name, value in arguments.items():
        if value is None or value is False:
            continue
        words = [] if value is True else value if isinstance(value, list) else [value]
        yield " ".join([f"--{name}", *(shlex.quote(str(word)) for word in words)])


def assignments(arguments: dict[str, Any]) -> Iterable[str]:
    """``{a.b: 1}`` as ``a.b=1``, one entry an argument, values as YAML."""
    for name, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield quoting.shell(f"{name}={text}")


FILTERS = {"written": written, "options": options, "assignments": assignments}
