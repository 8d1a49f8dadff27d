"""One point as one job script: what the templates may read, and the templates themselves."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox

from hpcscale import __version__
from hpcscale.jobs import python_environment, quoting, workload
from hpcscale.jobs.profile_lines import ProfileLines
from hpcscale.spec import locate
from hpcscale.spec.job import Job, Settings
from hpcscale.spec.machine import Machine, Queue
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError, suggestion
from hpcscale.spec.units import format_seconds

# Job keys as the schedulers spell them. What a scheduler has no word for is refused, never dropped.
SPELLING: dict[str, dict[str, str]] = {
    "slurm": {
        "mail_user": "mail-user",
        "mail_type": "mail-type",
        "reservation": "reservation",
        "qos": "qos",
        "exclude": "exclude",
        "nodelist": "nodelist",
    },
    "pjm": {"mail_user": "--mail-list", "mail_type": "-m", "priority": "-p"},
    "local": {},
}
# Options that the templates write themselves: a second one would contradict the first.
RESERVED: dict[str, tuple[str, ...]] = {
    "slurm": (
        "nodes",
        "ntasks",
        "ntasks-per-node",
        "cpus-per-task",
        "time",
        "output",
        "partition",
        "account",
        "job-name",
    ),
    "pjm": ("-g", "--mpi", "-N", "-o", "-j", "-S", "-s", "--spath", "-L", "--rsc-list", "-x"),
    "local": (),
}
# What the templates export, for launchers that pass on only variables they are told of.
EXPORTED = ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "HPCSCALE_ATTEMPT", "HPCSCALE_JOB_START")
_OWN = ("time", "queue", "node_shape", "retries", "on_oom", "directives")  # keys that the templates place themselves
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_OPTION = re.compile(r"-{0,2}[A-Za-z][A-Za-z0-9-]*\Z")


@dataclass(frozen=True)
class Program:
    """What each rank starts where no foreign workload does, and a line for people (empty: what the point trains)."""

    module: str = "hpcscale.train"
    summary: str = ""


TRAINING = Program()


class Scripts:
    """Writes the scripts of one machine for one person. Templates are read and compiled once."""

    def __init__(self, machine: Machine, settings: Settings):
        self.machine, self.settings = machine, settings
        self._environment = _templates()
        try:
            self._template = self._environment.get_template(f"{machine.scheduler}.sh.j2")
            self._before = self._environment.get_template("environment.sh.j2")
        except jinja2.TemplateSyntaxError as error:
            raise InputError(f"{error.filename}, line {error.lineno}: {error.message}") from None
        self._python = python_environment.resolve(machine, settings)
        self._fixed = self._what_no_point_changes()
        exported = tuple(dict.fromkeys((*EXPORTED, *self._fixed["variables"])))
        self._lines = ProfileLines(machine, self._environment, exported)
        self._environments: dict[int, str] = {}

    def _what_no_point_changes(self) -> dict[str, Any]:
        variables = {**self.machine.variables, **self.settings.environment.variables}
        for name in variables:
            if not _VARIABLE.match(name):
                raise InputError(f"'{name}' cannot name an environment variable (letters, digits and '_' only)")
        return {
            "machine": self.machine,
            "settings": self.settings,
            "variables": variables,
            "host_suffix": self.machine.slurm.host_suffix,
            "version": __version__,
            "start": self._python,
        }

    def render(self, point: Point, folder: Path, program: Program = TRAINING) -> str:
        """The text of job.sh for a point whose files lie in ``folder`` (an absolute path)."""
        started = workload.started(point)
        requests = _requests(point.job, self.machine, point.queue)
        values = {**self._fixed, **_point_values(point, folder), **requests, **started}
        values["chosen"] = _chosen_resources(point)
        values["summary"] = program.summary or summary(point)
        outside = quoting.shell(self._python.python)
        prefix = self._python.prefix(point, workload.outside(point, self.settings))
        inside = prefix + outside
        try:
            values["environment"] = self._environment_of(point, folder)
            values["launch"] = self._lines.launch(point, inside, started)
            # a launcher that is Python itself runs in the container, and so does what it starts
            contained = inside not in values["launch"]
            values["command"] = workload.command(point, inside if contained else outside, program.module)
            if point.workload.foreign and contained:
                values["command"] = prefix + values["command"]
            values["site_directives"] = [*self._python.directives, *self._lines.directives(point)]
            return self._template.render(values)
        except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
            raise InputError(f"the script of {self.machine.name} cannot be written: {error}") from None

    def _environment_of(self, point: Point, folder: Path) -> str:
        threads = point.threads_per_rank
        if self._python.archive:
            line = self._lines.on_each_node(point, quoting.shell(f"{folder}/%j.unpack"))
            return self._before.render(self._fixed, threads_per_rank=threads, on_each_node=line).rstrip()
        if threads not in self._environments:
            self._environments[threads] = self._before.render(self._fixed, threads_per_rank=threads).rstrip()
        return self._environments[threads]

    def files(self, point: Point, folder: Path) -> dict[str, str]:
        """Further files of the point, by name: those that a foreign workload reads."""
        if not point.workload.foreign:
            return {}
        return workload.files(point, folder, self.settings, self._environment, self._python.python)


def _point_values(point: Point, folder: Path) -> dict[str, Any]:
    seconds = point.job_seconds
    text = str(folder)
    special = "%" if "%" in text else "\\" if "\\" in text else ""
    if special and point.machine.scheduler != "local":
        # Slurm: % starts a pattern, and a backslash turns patterns off (seen with 22.05); PJM: % starts a pattern
        raise InputError(
            f"{text} holds a '{special}', which schedulers read as a pattern; choose another folder with --out"
        )
    return {
        "title": f"{point.study}: {point.identity}",
        "job": point.job,
        "job_name": quoting.job_name(point.study, point.hash),
        "job_seconds": seconds,
        "time": format_seconds(seconds) if seconds else None,
        "time_source": point.time_source,
        "queue": point.queue,
        "nodes": point.nodes,
        "folder": text,
        "retries": point.job.retries,
        "notice_seconds": _notice_seconds(seconds),
        "comment": f"hpcscale/{point.identity}",
        "successor": _successor_line(point),
    }


def _notice_seconds(seconds: int | None) -> int | None:
    """How long before the end Slurm tells the ranks. The trainer's own clock is earlier, unless a step is longer than it
    thought; Slurm may speak up to a minute early, so a job of minutes gets no notice."""
    return 120 if seconds is not None and seconds >= 1800 else None


def _successor_line(point: Point) -> str:
    """The ledger's line for a job that goes on after another one, as printf prints it: its id, the other's, the time."""
    keys = {"kind": "submitted", "point": point.identity, "hash": point.hash, "job": "%s", "after": "%s"}
    # printf reads % and \\, the shell reads '; identities hold none of them
    return json.dumps(keys)[:-1] + ', "time": %s}'


def _requests(job: Job, machine: Machine, queue: Queue | None) -> dict[str, Any]:
    """The person's own directives and job keys, under the scheduler's names; those of machine and queue give way."""
    words = SPELLING[machine.scheduler]
    requests: dict[str, Any] = {}
    for key in job.model_fields_set:
        value = getattr(job, key)
        if key in _OWN or value is None:
            continue
        if key not in words:
            valid = ", ".join(words) or "none"
            raise InputError(f"job.{key} means nothing to {machine.scheduler} on {machine.name}; it knows: {valid}")
        requests[words[key]] = value
    if job.node_shape is not None and machine.scheduler != "pjm":
        raise InputError(f"job.node_shape means nothing to {machine.scheduler} on {machine.name}; remove it")
    for name in job.directives:
        option = name.lstrip("-") if machine.scheduler == "slurm" else _pjm_option(name)
        if option in RESERVED[machine.scheduler]:
            raise InputError(
                f"job.directives: '{name}' is written by hpcscale itself; set the key of the study that it follows from"
            )
        if not _OPTION.match(name):
            raise InputError(f"job.directives: '{name}' is no option name{suggestion(name, words.values())}")
    if machine.scheduler == "slurm":
        own = {name.lstrip("-"): value for name, value in job.directives.items()}
        asked = {k: v for k, v in (queue.asked_with if queue else {}).items() if k not in own}
        both = {k: v for k, v in {**machine.slurm.directives, **own}.items() if k not in asked}
        return {"asked_with": _said(asked, requests), "directives": _said(both, requests), "requests": requests}
    requests |= {_pjm_option(name): value for name, value in job.directives.items() if value is not False}
    if machine.scheduler == "local" and requests:
        raise InputError(f"job.directives mean nothing on {machine.name}, which has no scheduler; remove them")
    return {"directives": {}, "requests": requests}


def _said(options: dict[str, Any], requests: dict[str, Any]) -> dict[str, Any]:
    """Without what is switched off, and what a job key says in its own line."""
    return {name: value for name, value in options.items() if value is not False and name not in requests}


def _pjm_option(name: str) -> str:
    bare = name.lstrip("-")
    return ("-" if len(bare) == 1 else "--") + bare


def _chosen_resources(point: Point) -> list[str]:
    """Resource values that the script names: those that differ from the machine's default, or always where it says so."""
    chosen = []
    for name, resource in point.machine.resources.items():
        value = point.resources.get(name, resource.default)
        if resource.emit == "always" or (resource.emit == "changed" and value != resource.default):
            chosen.append(f"{name}={value}")
    return chosen


def summary(point: Point) -> str:
    """One line for people: model, layout, sizes."""
    layout = point.layout
    program = "" if not point.workload.foreign else f"{quoting.comment(point.workload.name)}: "
    words = [f"{axis} {getattr(layout, axis)}" for axis in ("dp", "tp", "pp", "cp") if getattr(layout, axis) > 1]
    training = point.training
    return (
        f"{program}{quoting.comment(point.model.name)}, {' x '.join(words) or '1 rank'} ({layout.sharding}), "
        f"{point.nodes} node{'s' if point.nodes > 1 else ''}, {point.ranks} rank{'s' if point.ranks > 1 else ''}, "
        f"sequence length {training.sequence_length}, batch {training.global_batch_size} in micro batches of "
        f"{training.micro_batch_size}, {training.precision}, activation checkpointing {training.activation_checkpointing}"
    )


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    folders = [str(path) for path in locate.folders("templates")]
    # sandboxed: a profile of somebody else is text, not a program that runs on the login node
    environment = jinja2.sandbox.SandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # scripts are no HTML; every value passes one of the filters below
    )
    environment.filters.update(shell=quoting.shell, directive=quoting.directive, comment=quoting.comment)
    environment.filters.update(workload.FILTERS)
    return environment
