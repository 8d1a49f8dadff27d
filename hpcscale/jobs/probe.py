"""A probe as a job: point.json and job.sh like a study's point, for so many nodes and ranks of one machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpcscale.jobs import quoting
from hpcscale.jobs.render import SCRIPT, Rendered, compared, personal_settings, split_sets
from hpcscale.jobs.script import Program, Scripts
from hpcscale.record.probe import FOLDER
from hpcscale.spec import keys, locate, machine
from hpcscale.spec.expand import expand
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.machine import Machine
from hpcscale.spec.point import Point
from hpcscale.spec.probe import FULL, Chip, Probe, Sizes, precisions
from hpcscale.spec.problems import InputError
from hpcscale.spec.study import Study, StudyFile
from hpcscale.spec.typed import validate
from hpcscale.spec.yaml12 import Document

JOB_TIME = "00:15:00"  # minutes of measuring at most; the rest is starting thousands of ranks
NODES = 2  # of a job, if nobody says how many: the network between two is what a single one cannot tell
MODULE = "hpcscale.train.probe"


@dataclass(frozen=True)
class Asked:
    """What a person asked for. ``nodes`` and ``ranks``: None follows from the other, or from the machine."""

    machine: str = "local"
    nodes: int | None = None
    ranks: int | None = None
    sizes: Sizes = FULL
    sets: tuple[tuple[str, Any], ...] = ()
    out: Path = Path("runs")


def render(asked: Asked, settings: SettingsFile) -> Rendered:
    """The probe's files, in memory. Raises InputError for all that is wrong with what was asked."""
    profile = machine.read(locate.find(asked.machine, "machines", "machine"))
    point, personal = _point(profile, asked)
    where = f"{_counted(point.nodes, 'node')}-{_counted(point.ranks, 'rank')}"
    folder = Path(os.path.abspath(asked.out)) / FOLDER / profile.name / where
    probe = Probe(
        machine=profile.name,
        nodes=point.nodes,
        ranks=point.ranks,
        ranks_per_node=point.ranks_per_node,
        threads_per_rank=point.threads_per_rank,
        communication=point.communication,
        device=Chip(name=profile.device_facts.name, kind=profile.device_facts.kind),
        precisions=precisions(profile.device_facts),
        sizes=asked.sizes,
    )
    point = replace(point, study="probe", identity=f"{profile.name}-{where}")
    own = personal_settings([profile], settings, personal)
    script = Scripts(profile, own[profile.name]).render(point, folder, Program(MODULE, _summary(probe)))
    return compared(Rendered(point, folder, probe.text(), script, "new"))


def submit_with(rendered: Rendered) -> str:
    """The command that a person types to run the script."""
    command = {"slurm": "sbatch", "pjm": "pjsub"}.get(rendered.point.machine.scheduler, "bash")
    return f"{command} {quoting.shell(rendered.folder / SCRIPT)}"


def _point(profile: Machine, asked: Asked) -> tuple[Point, dict[str, Any]]:
    """(a point that starts the probe's ranks, the personal settings of ``--set``).

    A study in memory brings the rules, the choice of a queue and ``--set``. What it would train nobody reads.
    """
    precision = precisions(profile.device_facts)[0]
    content: dict[str, Any] = {
        "name": "probe",
        "model": "tiny-gpt",
        "training": {"sequence_length": 128, "global_batch_size": 1, "precision": precision},
        "job": {"time": JOB_TIME, "retries": 0},
        "machines": {asked.machine: None},
    }
    document = Document(content, "hpcscale probe")
    overrides, personal = split_sets(Study(validate(StudyFile, document), document, Path()), asked.sets)
    ranks, ranks_per_node = _counts(profile, asked, _checked(overrides, profile))
    content["layout"], content["training"]["global_batch_size"] = {"dp": ranks}, ranks
    content["machines"][asked.machine] = {"resources": {"ranks_per_node": ranks_per_node}}
    expansion = expand(Study(validate(StudyFile, document), document, Path()), overrides=overrides)
    if expansion.skipped:
        raise InputError(f"{profile.name} cannot run this probe: {expansion.skipped[0].reason}")
    return expansion.points[0], personal


def _checked(overrides: dict[str, Any], profile: Machine) -> int | None:
    """The ranks of a node that ``--set`` gives. Raises InputError for a key that changes nothing of a probe."""
    given = None
    for name, value in overrides.items():
        try:
            key = keys.resolve(name, profile.resources)
        except ValueError as error:
            raise InputError(f"--set: {error}") from None
        if key[0] not in ("job", "resources") and key != ("training", "communication"):
            raise InputError(
                f"--set {name} changes nothing of a probe, which trains nothing; it knows job.*, communication, "
                f"{', '.join([*profile.resources, 'ranks_per_node'])}, and your settings (account, environment.venv)"
            )
        if key == ("resources", "ranks_per_node") and type(value) is int and value > 0:
            given = value
    return given


def _counts(profile: Machine, asked: Asked, ranks_per_node: int | None) -> tuple[int, int]:
    """(ranks, ranks of a node)."""
    usual = ranks_per_node or profile.launch.ranks_per_node or int(profile.node.devices)
    if asked.ranks is None:
        return (asked.nodes or min(NODES, profile.nodes)) * usual, usual
    if asked.nodes is None:
        return asked.ranks, usual
    each, rest = divmod(asked.ranks, asked.nodes)
    if rest or not each:
        raise InputError(f"{asked.ranks} ranks are not equally many on each of {asked.nodes} nodes; give a multiple of {asked.nodes}")  # fmt: skip
    if profile.device_facts.kind == "gpu" and each > int(profile.node.devices):
        raise InputError(f"{each} ranks of a node are more than the {profile.node.devices} devices of one on {profile.name}; give more nodes")  # fmt: skip
    return asked.ranks, each


def _summary(probe: Probe) -> str:
    return (
        f"A probe: {_counted(probe.nodes, 'node', ' ')}, {_counted(probe.ranks, 'rank', ' ')}, {' and '.join(probe.precisions)}, "
        f"about {probe.sizes.seconds:g} s a measurement"
    )


def _counted(count: int, what: str, separator: str = "-") -> str:
    return f"{count}{separator}{what}{'s' if count > 1 else ''}"
