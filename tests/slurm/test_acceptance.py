"""Every script of every Slurm machine, put before a real Slurm that has that machine's partitions: sbatch --test-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcscale.jobs.lint import lint
from hpcscale.jobs.render import Request, render
from hpcscale.spec import locate, machine, study
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.machine import Machine
from hpcscale.spec.units import format_seconds

from .cluster import Cluster
from .conftest import need_slurm

MACHINES = [name for name in locate.available("machines")
            if machine.read(locate.find(name, "machines", "machine")).scheduler == "slurm"]  # fmt: skip
# One study a machine that no shipped study names: a small job and a large one on every such machine.
SIZES = """\
name: sizes
model: llama2-7b
training: {{sequence_length: 2048, global_batch_size: 1024, micro_batch_size: 1, precision: bf16}}
job: {{time: 00:30:00}}
layout: {{sharding: fsdp}}
machines: {{{name}: {{sweep: {{product: {{dp: [8, 64, 256]}}}}}}}}
"""


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A controller alone; each test gives it another machine's partitions and nodes, none of which ever comes up."""
    need_slurm()
    # Nodes that could be woken up count as there, those that never came up do not.
    cloud = ("SuspendProgram=/bin/true", "ResumeProgram=/bin/true", "SuspendTime=60", "ResumeTimeout=60")
    made = Cluster(tmp_path_factory.mktemp("controller"), nodes=0, accounting=False, extra=cloud)
    made.folder.mkdir(exist_ok=True)
    yield made
    made.stop()


def become(controller: Cluster, profile: Machine) -> None:
    """Restarts the controller as this machine, unless it is."""
    if controller.prefix == profile.name:
        return
    controller.prefix = profile.name
    if "slurmctld" in controller.daemons:
        controller.kill("slurmctld")
    count, cpus = profile.nodes, int(profile.node.cores) * profile.node.threads_per_core
    names = f"n[00001-{count:05d}]"
    controller.virtual_nodes = (
        f"NodeName={names} NodeAddr=127.0.0.1 Port={controller.controller_port + 1} Boards=1 Sockets=1 "
        f"CoresPerSocket={cpus // profile.node.threads_per_core} ThreadsPerCore={profile.node.threads_per_core} "
        f"RealMemory=900000 Gres=gpu:{profile.node.devices} Feature=gpu,hbm40g,hbm80g State=CLOUD"
    )
    partitions: dict[str, str] = {}
    for queue in profile.queues:
        name = str(queue.asked_with.get("partition", "main"))
        most = max(each.nodes[1] for each in profile.queues if each.asked_with.get("partition", "main") == name)
        longest = max(each.time.max for each in profile.queues if each.asked_with.get("partition", "main") == name)
        default = " Default=YES" if name in list(partitions)[:1] or not partitions else ""
        partitions[name] = (
            f"PartitionName={name} Nodes={names} MaxNodes={most} MaxTime={format_seconds(longest)}{default} State=UP"
        )
    controller.partitions = list(partitions.values())
    controller.configure()
    controller.start_slurmctld("-c")


def scripts(name: str) -> dict[str, str]:
    settings = SettingsFile.model_validate({"defaults": {"account": "root", "project": "root"}})
    found: dict[str, str] = {}
    folder = Path("/scratch/runs")
    for known in locate.available("studies"):
        asked = study.read(known)
        if name in asked.file.machines:
            found |= {
                each.point.identity: each.script
                for each in render(asked, Request((name,), out=folder), settings).points
            }
    return found


@pytest.mark.parametrize("name", MACHINES)
def test_slurm_takes_every_script_of_this_machine(name: str, controller: Cluster, tmp_path: Path) -> None:
    profile = machine.read(locate.find(name, "machines", "machine"))
    own = tmp_path / "sizes.yaml"
    own.write_text(SIZES.format(name=name))
    settings = SettingsFile.model_validate({"defaults": {"account": "root", "project": "root"}})
    sizes = render(study.read(str(own)), Request(out=tmp_path / "runs"), settings).points
    wanted = scripts(name) | {each.point.identity: each.script for each in sizes}
    become(controller, profile)
    refused = {}
    for identity, script in wanted.items():
        path = tmp_path / "job.sh"
        path.write_text(script)
        done = subprocess.run(["sbatch", "--test-only", str(path)], env=controller.environment, capture_output=True, text=True, check=False)  # fmt: skip
        if done.returncode != 0:
            refused[identity] = done.stderr.strip()
    assert len(wanted) >= 2
    assert refused == {}
    assert {identity: found for identity, script in wanted.items() if (found := lint(script, "job.sh", profile))} == {}


# machines.md 6.1: what a person gets wrong, and whether sbatch --test-only of 22.05 says so.
GOOD = [
    "#!/bin/bash",
    "#SBATCH --account=root",
    "#SBATCH --partition=develbooster",
    "#SBATCH --nodes=2",
    "#SBATCH --time=01:00:00",
]
WRONG = {
    "unknown option": (["#SBATCH --bogus-flag"], True),
    "too many nodes": (["#SBATCH --nodes=5"], True),
    "unknown partition": (["#SBATCH --partition=nosuch"], True),
    "two memories": (["#SBATCH --mem=1G", "#SBATCH --mem-per-cpu=1G"], True),
    "nine GPUs": (["#SBATCH --gres=gpu:9"], True),
    "a signal too early": (["#SBATCH --signal=USR1@70000"], True),
    "a bad open mode": (["#SBATCH --open-mode=foo"], True),
    "five hours on develbooster": (["#SBATCH --time=05:00:00"], None),  # only where EnforcePartLimits is on
    "a directive after the first command": (["hostname", "#SBATCH --exclusive"], False),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_sbatch_lets_through_is_caught_by_lint(name: str, controller: Cluster, tmp_path: Path) -> None:
    profile = machine.read(locate.find("juwels-booster", "machines", "machine"))
    become(controller, profile)
    lines, refused = WRONG[name]
    for kind, text in (("good", GOOD), ("wrong", [*GOOD, *lines])):
        (tmp_path / f"{kind}.sh").write_text("\n".join([*text, "hostname"]) + "\n")
    answers = {
        kind: subprocess.run(["sbatch", "--test-only", str(tmp_path / f"{kind}.sh")], env=controller.environment, capture_output=True, check=False).returncode
        for kind in ("good", "wrong")
    }  # fmt: skip
    assert answers["good"] == 0
    assert refused is None or (answers["wrong"] != 0) == refused
    found = lint((tmp_path / "wrong.sh").read_text(), "wrong.sh", profile)
    assert [each for each in found if each.severity == "error"], "lint catches it either way"
    assert lint((tmp_path / "good.sh").read_text(), "good.sh", profile) == []
