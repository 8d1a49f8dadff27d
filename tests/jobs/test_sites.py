"""Scripts of machines that no packaged study runs on: what each site wants, as a user of that site would read it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcscale.jobs.render import Rendering, Request, render
from hpcscale.spec import locate, machine, study
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.problems import InputError

GOLDEN = Path(__file__).parent.parent / "golden"
OWN = SettingsFile.model_validate({"defaults": {"account": "<account>", "group": "gz00"}})
SITES = ["jupiter", "leonardo-booster", "lumi-g", "perlmutter", "wisteria-aquarius", "wisteria-odyssey"]


def rendering_of(site: str, **sets: object) -> Rendering:
    request = Request(machines=(site,), sets=tuple(sets.items()), out=Path("/scratch/<account>/runs"))
    return render(study.read(str(GOLDEN / "sites.yaml")), request, OWN)


def script_of(site: str, **sets: object) -> str:
    (rendered,) = rendering_of(site, **sets).points
    return rendered.script


@pytest.mark.parametrize("site", SITES)
def test_scripts_are_the_golden_ones(site: str) -> None:
    path = GOLDEN / "scripts" / f"{site.replace('-', '_')}.sh"
    script = script_of(site)
    if os.environ.get("HPCSCALE_GOLDEN") == "write":
        path.write_text(script, encoding="utf-8")
    assert script == path.read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed (CI installs it)")
def test_shellcheck_has_nothing_to_say() -> None:
    paths = [GOLDEN / "scripts" / f"{site.replace('-', '_')}.sh" for site in SITES]
    done = subprocess.run(["shellcheck", *map(str, paths)], text=True, capture_output=True, check=False)
    assert done.stdout == ""


def test_a_queue_that_is_a_qos_keeps_its_partition() -> None:
    large = script_of("leonardo-booster", dp=32, global_batch_size=128, time="02:00:00")
    assert "#SBATCH --partition=boost_usr_prod\n#SBATCH --qos=boost_qos_bprod\n#SBATCH --nodes=128\n" in large
    debug = script_of("leonardo-booster", dp=1, queue="boost_qos_dbg", time="00:10:00", tp=4, pp=2)
    assert "#SBATCH --partition=boost_usr_prod\n#SBATCH --qos=boost_qos_dbg\n#SBATCH --nodes=2\n" in debug


@pytest.mark.parametrize("key", ["qos", "job.directives.qos"])
def test_a_qos_of_ones_own_replaces_the_queues(key: str) -> None:
    script = script_of("perlmutter", **{key: "realtime"})
    assert re.findall(r"#SBATCH --qos=(\w+)", script) == ["realtime"]


def test_a_queue_of_two_ranges_admits_by_either() -> None:
    large = {"dp": 96, "global_batch_size": 96, "queue": "regular-o"}  # 1536 nodes
    assert '#PJM -L "node=1536"\n' in script_of("wisteria-odyssey", **large, time="24:00:00")
    longer = rendering_of("wisteria-odyssey", **large, time="30:00:00")
    assert longer.points == []
    (skipped,) = longer.expansion.skipped
    assert "regular-o takes 1 to 1152 nodes, regular-o takes 00:00:00 to 24:00:00" in skipped.reason


def test_where_slurm_counts_hardware_threads_a_rank_asks_for_them_and_computes_with_cores() -> None:
    script = script_of("perlmutter")
    assert "#SBATCH --cpus-per-task=32\n" in script
    assert "export OMP_NUM_THREADS=16\n" in script


def test_lumis_masks_give_each_rank_cores_of_its_own_and_leave_the_systems_alone() -> None:
    (masks,) = re.findall(r"--cpu-bind=mask_cpu:(\S+)", script_of("lumi-g"))
    cores = [{bit for bit in range(64) if int(mask, 16) >> bit & 1} for mask in masks.split(",")]
    assert [len(each) for each in cores] == [6] * 8
    assert len(set.union(*cores)) == 48
    assert not {core for each in cores for core in each if core % 8 == 0}


def test_without_whole_nodes_lumi_binds_nothing() -> None:
    assert "--cpu-bind=none" in script_of("lumi-g", ranks_per_node=4)


def test_open_mpi_is_told_of_every_variable_that_the_script_exports() -> None:
    script = script_of("wisteria-aquarius", **{"environment.variables.MINE": "1"})
    exported = set(re.findall(r"^export (\w+)", script, re.MULTILINE))
    passed = set(re.findall(r"-x (\w+)", script))
    assert exported - passed == set()
    assert {"MINE", "MASTER_ADDR", "MASTER_PORT", "PATH", "HPCSCALE_ATTEMPT"} <= passed


def test_only_jupiter_is_known_to_refuse_requeueing() -> None:
    profiles = [machine.read(path) for path in locate.available("machines").values()]
    assert [each.name for each in profiles if not each.slurm.requeue] == ["jupiter"]


def test_directives_of_a_queue_mean_nothing_to_pjm(write: Callable[[str, str], Path]) -> None:
    text = (
        "name: x\nscheduler: pjm\nnodes: 4\ndevice: a64fx\nnode: {cores: 48, memory: 32 GiB}\npjm: {}\n"
        "queues: [{name: a, nodes: [1, 4], time: {max: 01:00:00}, directives: {qos: a}}]\nlaunch: {command: mpiexec}\n"
    )
    with pytest.raises(InputError, match="only Slurm's queues have directives; with pjm a queue is asked for by name"):
        machine.read(write("x.yaml", text))
