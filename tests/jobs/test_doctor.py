"""`hpcscale doctor` with stand-ins for the schedulers' commands: what it finds, and the patch that it prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcscale.jobs.doctor import ask, limits
from hpcscale.spec import locate, machine

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]

# One line a partition, as scontrol of Slurm 22.05 prints it.
PARTITION = (
    "PartitionName={name} AllowGroups=ALL AllowAccounts={accounts} AllowQos=ALL AllocNodes=ALL Default=NO QoS=N/A "
    "DefaultTime={default} DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes={nodes} MaxTime={time} MinNodes=0 "
    "LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=jwb[0001-0936] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO "
    "OverSubscribe=EXCLUSIVE OverTimeLimit=NONE PreemptMode=OFF State={state} TotalCPUs=89856 TotalNodes=936 "
    "SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED "
    "TRES=cpu=89856,mem=468000G,node=936,billing=89856,gres/gpu=3744"
)
AS_PROFILED = (("booster", "384", "1-00:00:00", "01:00:00"), ("largebooster", "936", "1-00:00:00", "NONE"),
               ("develbooster", "4", "02:00:00", "NONE"))  # fmt: skip

# The table of `pjacl --rg small` in the Fugaku user guide 1.52, section 5.1.3, shortened.
ACL = """\
#
# JOBACL information
#

pjsub option parameters
    (-L/--rsc-list)                         lower            upper            default
        (elapse=)                           00:01:00         {elapse}         00:01:00
        (adaptive elapsed time max)         00:01:01         144:00:00        144:00:00
        (node elapse)                       1                unlimited        -
        (node=)                             {low}            {high}           {low}
        (node-mem=)                         1                unlimited        unlimited
    (--interact -L)                         lower            upper            default
        (elapse=)                           00:00:10         06:00:00         00:00:10
        (node=)                             1                12               1
"""


def partition(name: str, nodes: str, time: str, default: str, accounts: str = "ALL", state: str = "UP") -> str:
    return PARTITION.format(name=name, nodes=nodes, time=time, default=default, accounts=accounts, state=state)


@pytest.fixture
def node(tmp_path: Path, write: Write, cli: Cli) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``node({"scontrol": "echo x"}, ...)`` runs doctor where these commands are, and no scheduler's others."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for tool in ("bash", "id", "sleep", "cat", "python3", "sh", "env"):
        (commands / tool).symlink_to(shutil.which(tool) or tool)

    def call(
        stand_ins: dict[str, str], *arguments: str, settings: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        for name, body in stand_ins.items():
            path = write(f"bin/{name}", f"#!/bin/bash\n{body}\n")
            path.chmod(0o755)
        if settings:
            write("configuration/settings.yaml", settings)
        home = {"HOME": str(tmp_path), "SYSTEMNAME": "", **variables}
        return cli("doctor", *arguments, PATH=str(commands), **home)

    return call


def slurm(text: str = "\n".join(partition(*each) for each in AS_PROFILED), accounts: str = "mine") -> dict[str, str]:
    say = f"cat <<'EOF'\n{text}\nEOF"
    return {
        **dict.fromkeys(("sbatch", "squeue", "scancel", "srun"), "exit 1"),
        "scontrol": say,
        "sacctmgr": f"printf '{accounts}\\n'",
    }


def pjm(small: str = ACL.format(elapse="72:00:00", low=1, high=384)) -> dict[str, str]:
    large = ACL.format(elapse="24:00:00", low=385, high=12288)
    unknown = 'echo "[ERR.] PJM 0058 pjacl rscgrp=$2 does not exist." >&2; exit 1'
    body = f"case $2 in small*) cat <<'EOF'\n{small}\nEOF\n;; large|spot-*) cat <<'EOF'\n{large}\nEOF\n;; *) {unknown} ;; esac"
    return {**dict.fromkeys(("pjsub", "pjstat", "pjdel"), "exit 1"), "pjacl": body, "id": "echo users hp000000"}


JUWELS = "machines: {juwels-booster: {account: mine, environment: {setup: 'source env.src'}}}"
FUGAKU = "machines: {fugaku: {group: hp000000}}"


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_a_healthy_login_node_has_no_problem(node: Cli) -> None:
    done = node(slurm(), settings=JUWELS)
    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(done)
    assert found[:2] == ["juwels-booster:", "ok commands sbatch, squeue, scancel, scontrol, srun"]
    assert found[2].startswith("ok scheduler the Slurm controller answers, in 0.")
    assert "ok account mine is an account of yours" in found
    assert "ok queues booster, largebooster, develbooster: as the profile says" in found
    assert any("GiB free in" in line for line in found)


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
def test_differences_are_a_patch_that_applies_and_then_there_are_none(node: Cli, tmp_path: Path) -> None:
    profile = tmp_path / "machines" / "juwels-booster.yaml"
    profile.parent.mkdir()
    shutil.copy(locate.packaged("machines") / "juwels-booster.yaml", profile)
    before = profile.read_text()
    changed = [partition("booster", "256", "12:00:00", "00:30:00"), partition("largebooster", "UNLIMITED", "UNLIMITED", "NONE"),
               partition("develbooster", "8", "03:00:00", "NONE")]  # fmt: skip
    done = node(slurm("\n".join(changed)), settings=JUWELS)
    assert done.returncode == 1
    assert (
        "problem queues booster: the most nodes is 256, and the profile says 384: such jobs would be refused or wait for ever; apply the patch below"
        in lines(done)
    )
    assert (
        "warning queues develbooster: the longest time is 03:00:00, and the profile says 02:00:00: the profile is stricter than needed; apply the patch below"
        in lines(done)
    )
    subprocess.run(["patch", "-p0"], input=done.stdout, text=True, cwd=tmp_path, check=True, capture_output=True)
    after = profile.read_text()
    assert "{name: booster, nodes: [1, 256], time: {default: 00:30:00, max: 12:00:00}, verified: false," in after
    changes = [(a, b) for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b]
    assert len(changes) == 2, "booster and develbooster; every comment is kept"
    again = node(slurm("\n".join(changed)), settings=JUWELS)
    assert again.returncode == 0
    assert "---" not in again.stdout


def test_a_scheduler_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    start = time.monotonic()
    answer = ask.ask(["bash", "-c", f"sleep 60 & echo $! > {tmp_path}/child; sleep 60"], 0.5)
    assert time.monotonic() - start < 10
    assert answer.failure == "bash gave no answer in 0.5 seconds"
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    assert not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_controller_that_is_down_is_a_problem_and_accounting_that_is_down_is_not(node: Cli) -> None:
    down = {
        **slurm(),
        "scontrol": "echo 'slurm_load_partitions error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
    }
    done = node(down, settings=JUWELS)
    assert done.returncode == 1
    assert "the Slurm controller does not answer: scontrol failed: slurm_load_partitions error" in done.stdout
    silent = {**slurm(), "sacctmgr": "echo 'You are not running a supported accounting_storage plugin' >&2; exit 1"}
    done = node(silent, settings=JUWELS)
    assert done.returncode == 0
    assert (
        "warning  account      whether mine is an account of yours cannot be said: sacctmgr failed: You are not"
        in done.stdout
    )


def test_an_account_of_others_is_a_problem_and_yours_are_named(node: Cli) -> None:
    done = node(slurm(accounts="alpha\\nbeta"), settings=JUWELS)
    assert done.returncode == 1
    assert (
        "problem account mine is no account of yours: they are alpha, beta; correct it in the settings file"
        in "\n".join(lines(done))
    )


def test_a_partition_that_is_closed_gone_or_for_others_is_told(node: Cli) -> None:
    text = "\n".join([partition(*AS_PROFILED[0], state="DOWN"), partition(*AS_PROFILED[1], accounts="big")])
    found = lines(node(slurm(text), settings=JUWELS))
    assert "warning queues booster is closed at the moment; jobs wait until it opens" in found
    assert any(
        line.startswith("warning queues Slurm has no partition develbooster; it has booster, largebooster")
        for line in found
    )
    assert any(line.startswith("warning account mine may not use largebooster") for line in found)


def test_a_missing_command_says_where_to_go(node: Cli) -> None:
    done = node({}, "--machine", "fugaku")
    assert done.returncode == 1
    assert "problem commands pjsub is not on PATH; log in to a login node of fugaku" in "\n".join(lines(done))


def test_fugaku_is_read_by_pjacl_and_id(node: Cli) -> None:
    done = node(pjm(), settings=FUGAKU)
    found = lines(done)
    assert "ok scheduler PJM answers" in found
    assert "ok group hp000000 is a group of yours" in found
    wider = ACL.format(elapse="48:00:00", low=1, high=384)
    done = node(pjm(wider), settings=FUGAKU)
    assert done.returncode == 1
    assert "problem queues small: the longest time is 48:00:00, and the profile says 72:00:00" in "\n".join(lines(done))
    assert "+  - {name: small, nodes: [1, 384], time: {min: 00:01:00, default: 00:01:00, max: 48:00:00}}" in done.stdout


def test_what_pjacl_says_otherwise_is_not_guessed(node: Cli) -> None:
    assert limits.resource_group("small", "node 1-384, elapse up to 72 h") is None
    assert (
        limits.resource_group("int", ACL.split("    (-L/", maxsplit=1)[0] + ACL[ACL.index("    (--interact") :]) is None
    )
    done = node(pjm("something else"), settings=FUGAKU)
    assert (
        "warning queues what pjacl says of small, small-s1 cannot be read; compare it by hand: pjacl --rg small"
        in "\n".join(lines(done))
    )


def test_a_group_of_others_and_a_missing_volume_are_problems(node: Cli, tmp_path: Path) -> None:
    settings = f"machines: {{fugaku: {{group: hp999999, volumes: [{tmp_path}, /vol9999]}}}}"
    found = lines(node(pjm(), settings=settings))
    assert (
        "problem group hp999999 is no group of yours; they are users, hp000000: correct it in the settings file"
        in found
    )
    assert f"ok volumes {tmp_path} is there" in found
    assert "problem volumes /vol9999 is no directory here; correct volumes in the settings file" in found


def test_modules_are_loaded_as_the_job_does(node: Cli, tmp_path: Path) -> None:
    profile = """module() { case "$*" in *Gone*) echo 'Lmod has detected the following error: unknown module Gone' >&2;; esac; }"""
    (tmp_path / ".bash_profile").write_text(profile)
    own = "machines: {juwels-booster: {account: mine, environment: {modules: [%s], setup: x}}}"
    assert "ok modules Stages/2025 GCC load" in lines(node(slurm(), settings=own % "Stages/2025, GCC"))
    done = node(slurm(), settings=own % "Gone")
    assert done.returncode == 1
    assert "Gone do not load (Lmod has detected the following error: unknown module Gone)" in done.stdout
    (tmp_path / ".bash_profile").write_text("unset -f module")
    assert "there is no module command" in node(slurm(), settings=own % "GCC").stdout


def test_interpreter_and_virtual_environment_are_those_of_the_job(node: Cli, tmp_path: Path) -> None:
    venv = tmp_path / "venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "activate").write_text(f"PATH={venv}:$PATH\n")
    (venv / "python3").write_text("#!/bin/bash\necho torch >&2; exit 1\n")
    (venv / "python3").chmod(0o755)
    own = f"machines: {{juwels-booster: {{account: mine, environment: {{venv: {venv.parent}}}}}}}"
    found = "\n".join(lines(node(slurm(), settings=own)))
    assert f"ok venv {venv}/activate is there" in found
    assert "problem interpreter python3: lacks torch; install it there, or set environment.venv" in found


def test_a_python_that_only_the_job_unpacks_is_not_looked_for_here(node: Cli, tmp_path: Path) -> None:
    packed = tmp_path / "environment.tar.gz"
    packed.touch()
    own = "machines: {juwels-booster: {account: mine, environment: {%s}}}"
    done = node(slurm(), settings=own % f"archive: {packed}, venv: inst/venv")
    assert done.returncode == 0, done.stdout
    assert "ok interpreter python3 is that of environment.archive and is not tried on this node" in lines(done)
    gone = "\n".join(lines(node(slurm(), settings=own % "archive: /gone.tar")))
    assert "problem archive /gone.tar is not there; make it, or correct environment.archive" in gone
    done = node(slurm(), settings=own % "container: 'docker://pytorch/pytorch'")
    assert done.returncode == 0, done.stdout
    assert "ok interpreter python3 is that of environment.container and is not tried on this node" in lines(done)


def test_an_environment_that_no_script_can_be_written_from_is_a_problem(node: Cli) -> None:
    own = "machines: {juwels-booster: {account: mine, environment: {archive: /data/environment.zip}}}"
    done = node(slurm(), settings=own)
    assert done.returncode == 1
    assert (
        "problem environment environment.archive '/data/environment.zip' is no archive that scripts can unpack"
        in "\n".join(lines(done))
    )


def test_a_resource_group_that_pjm_refuses_does_not_hide_the_others(node: Cli) -> None:
    gone = {**pjm(), "pjacl": pjm()["pjacl"].replace("small*)", "smaller*)")}
    found = lines(node(gone, settings=FUGAKU))
    assert "ok scheduler PJM answers" in found
    assert any(
        line.startswith("warning queues small is not to be had: pjacl failed: [ERR.] PJM 0058") for line in found
    )
    assert any("large, spot-" in line and "as the profile says" in line for line in found) or any(
        "large: " in line for line in found
    )
    down = {**pjm(), "pjacl": "echo '[ERR.] PJM 0390 pjacl PJM daemon is not present.' >&2; exit 1"}
    assert "problem scheduler PJM does not answer: pjacl failed: [ERR.] PJM 0390" in "\n".join(
        lines(node(down, settings=FUGAKU))
    )


def test_a_runs_folder_below_a_file_is_a_problem(node: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = node(slurm(), "--out", "file/runs", settings=JUWELS)
    assert done.returncode == 1
    assert f"problem runs folder {tmp_path}/file is no folder; choose another with --out" in lines(done)


def test_a_folder_that_cannot_be_written_to_is_a_problem(node: Cli, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        done = node(slurm(), "--out", "/proc/runs", settings=JUWELS)
    else:
        (tmp_path / "closed").mkdir(mode=0o555)
        done = node(slurm(), "--out", str(tmp_path / "closed"), settings=JUWELS)
    assert done.returncode == 1
    assert "cannot be written to" in done.stdout


def test_without_a_name_the_node_says_which_machine_it_is(node: Cli) -> None:
    assert lines(node(pjm()))[0] == "fugaku:"
    assert lines(node(slurm(), SYSTEMNAME="juwelsbooster"))[0] == "juwels-booster:"
    both = "machines: {fugaku: {group: hp000000}, juwels-booster: {account: mine}}"
    assert [line for line in lines(node({}, settings=both, SYSTEMNAME="juwelsbooster")) if line.endswith(":")] == [
        "juwels-booster:"
    ]


def test_a_node_of_no_known_machine_is_asked_to_be_named(node: Cli) -> None:
    done = node({})
    assert done.returncode == 2
    assert "which machine this is cannot be told; name it: hpcscale doctor --machine NAME (fugaku, " in done.stderr


def test_json_holds_checks_and_patch(node: Cli) -> None:
    done = node(slurm(partition("booster", "256", "12:00:00", "00:30:00")), "--json", settings=JUWELS)
    (report,) = json.loads(done.stdout)
    assert report["machine"] == "juwels-booster"
    assert report["healthy"] is False
    assert {check["status"] for check in report["checks"]} >= {"ok", "problem"}
    assert report["patch"].startswith("--- juwels-booster.yaml\n+++ juwels-booster.yaml\n")


def test_no_limit_is_no_number() -> None:
    found = limits.partitions(partition("p", "UNLIMITED", "UNLIMITED", "NONE"))["p"]
    assert (found.nodes_max, found.seconds_max, found.seconds_default) == (936, None, None)
    assert limits.partitions("nothing\nState=UP") == {}


def test_every_profile_with_a_scheduler_can_be_patched_in_every_value(tmp_path: Path) -> None:
    from hpcscale.jobs.doctor.compare import Difference
    from hpcscale.jobs.doctor.patch import patch

    for path in locate.available("machines").values():
        queues = machine.read(path).queues
        wanted = [Difference(i, q.name, ("nodes", 1), "", "", "7777", True) for i, q in enumerate(queues)]
        wanted += [Difference(i, q.name, ("time", "max"), "", "", "77:00:00", True) for i, q in enumerate(queues)]
        diff, left = patch(path, wanted)
        assert left == [], path
        assert diff.count("7777") == diff.count("77:00:00") == len(queues), path
