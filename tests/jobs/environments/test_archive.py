"""`environment.archive`: scripts that unpack a Python environment on every node, run with stand-ins for a cluster's commands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcscale.jobs.render import Request, render
from hpcscale.spec import locate, study
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.problems import InputError

from .standins import MPIEXEC, SBCAST, SCONTROL, SRUN, TAR, Cluster, packed

STUDY = """\
name: small
model: gpt-30b
training: {sequence_length: 2048, global_batch_size: 8, precision: fp32}
layout: {tp: 4, pp: 2}
scaling: none
job: {time: 00:30:00}
machines: {%s: {resources: {ranks_per_node: 4}}}
"""
SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_CPUS_PER_TASK": "7"
}  # fmt: skip
OWN = SettingsFile.model_validate({"defaults": {"account": "a", "group": "g"}})


def script_of(folder: Path, machine: str, **sets: object) -> Path:
    """job.sh of the machine's one point, written below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(STUDY % machine, encoding="utf-8")
    keys = {key.replace("__", "."): value for key, value in sets.items()}
    rendering = render(study.read(str(path)), Request(sets=tuple(keys.items()), out=folder / "runs"), OWN)
    rendering.write()
    (point,) = rendering.points
    return point.folder / "job.sh"


def local_script(folder: Path, **sets: object) -> Path:
    keys = {key.replace("__", "."): value for key, value in sets.items()}
    request = Request(point="dp1-*", sets=tuple(keys.items()), out=folder / "runs")
    rendering = render(study.read("quickstart"), request, SettingsFile())
    rendering.write()
    return rendering.points[0].folder / "job.sh"


@pytest.mark.parametrize("name", ["e.tar", "e.tar.gz", "with blank.tgz", "e.tar.zst"])
def test_on_this_computer_the_archives_python_runs_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    if name.endswith("zst") and shutil.which("zstd") is None:
        pytest.skip("zstd is not installed, and tar needs it for .tar.zst")
    script = local_script(tmp_path, environment__archive=str(packed(tmp_path, name)))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = Cluster(tmp_path / "cluster").run(script, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    (output,) = script.parent.glob("attempts/*/output")
    assert output.read_text().startswith(f"{temporary}/hpcscale-")
    assert output.read_text().endswith(f"/bin/python3 -m hpcscale.train {script.parent}/point.json\n")
    assert list(temporary.iterdir()) == []


def test_a_failed_run_leaves_nothing_either_and_keeps_its_status(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    (tmp_path / "packed" / "bin" / "python3").write_text("#!/bin/bash\nexit 3\n")
    subprocess.run(["tar", "-caf", archive, "-C", tmp_path / "packed", "."], check=True)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    script = local_script(tmp_path, environment__archive=str(archive))
    assert Cluster(tmp_path / "cluster").run(script, TMPDIR=str(temporary)).returncode == 3
    assert list(temporary.iterdir()) == []


def test_an_archive_with_a_folder_around_it_is_told_so_before_any_rank_starts(tmp_path: Path) -> None:
    archive = packed(tmp_path, top="inst/venv")
    done = Cluster(tmp_path / "cluster").run(local_script(tmp_path, environment__archive=str(archive)))
    assert done.returncode == 1
    assert f"{archive} holds no bin/python3" in done.stderr
    script = local_script(tmp_path, environment__archive=str(archive), environment__venv="inst/venv")
    assert Cluster(tmp_path / "again").run(script).returncode == 0
    outputs = [path.read_text() for path in script.parent.glob("attempts/*/output")]
    assert [text for text in outputs if "/inst/venv/bin/python3 -m hpcscale.train" in text]


def test_a_virtual_environment_whose_base_is_not_on_the_node_is_told_so(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    (tmp_path / "packed" / "bin" / "python3").unlink()
    (tmp_path / "packed" / "bin" / "python3").symlink_to("/gone/bin/python3.12")
    subprocess.run(["tar", "-caf", archive, "-C", tmp_path / "packed", "."], check=True)
    done = Cluster(tmp_path / "cluster").run(local_script(tmp_path, environment__archive=str(archive)))
    assert done.returncode == 1
    assert f"{archive} was made with /gone/bin/python3.12, which is not on this node; load the module" in done.stderr


def test_what_conda_pack_left_to_do_is_done(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    unpack = tmp_path / "packed" / "bin" / "conda-unpack"
    unpack.write_text("")
    unpack.chmod(0o755)
    marker = tmp_path / "conda"
    (tmp_path / "packed" / "bin" / "python").write_text(f'#!/bin/bash\nbasename "$1" > {marker}\n')
    subprocess.run(["tar", "-caf", archive, "-C", tmp_path / "packed", "."], check=True)
    assert Cluster(tmp_path / "cluster").run(local_script(tmp_path, environment__archive=str(archive))).returncode == 0
    assert marker.read_text() == "conda-unpack\n"


def test_under_slurm_one_process_a_node_unpacks_its_copy_before_the_ranks_start(tmp_path: Path) -> None:
    archive, node = packed(tmp_path), tmp_path / "node"
    node.mkdir()
    script = script_of(tmp_path, "lumi-g", environment__archive=str(archive), environment__local_folder=str(node))
    cluster = Cluster(tmp_path / "cluster", srun=SRUN, sbcast=SBCAST, scontrol=SCONTROL)
    done = cluster.run(script, **SLURM)
    assert done.returncode == 0, done.stderr
    starts = [call for call in cluster.calls if call.startswith(("srun", "sbcast"))]
    assert starts[0] == f"sbcast --force {archive} {node}/hpcscale-7.tar"
    assert starts[1].startswith("srun --ntasks=2 --ntasks-per-node=1 bash -c")
    assert (
        starts[2]
        == f"srun --label --kill-on-bad-exit=1 --cpu-bind=none python3 -m hpcscale.train {script.parent}/point.json"
    )
    assert starts[3].startswith("srun --ntasks=2 --ntasks-per-node=1 rm -rf")
    output = (script.parent / "attempts" / "7.0" / "output").read_text()
    assert output.startswith(f"{node}/hpcscale-7/bin/python3 -m hpcscale.train")
    assert list(node.iterdir()) == []


@pytest.mark.parametrize(("broken", "body"), [("sbcast", "exit 1\n"), ("srun", SRUN.replace("exec ", "") + "exit 1\n")])
def test_a_node_that_cannot_unpack_ends_the_job_before_the_ranks_start(broken: str, body: str, tmp_path: Path) -> None:
    """Also where the first node, which runs the script, has no trouble."""
    sets = {"environment__archive": str(packed(tmp_path)), "environment__local_folder": str(tmp_path)}
    cluster = Cluster(tmp_path / "cluster", srun=SRUN, sbcast=SBCAST, scontrol=SCONTROL)
    cluster.add(broken, body)
    assert cluster.run(script_of(tmp_path, "lumi-g", **sets), **SLURM).returncode == 1
    assert not [call for call in cluster.calls if "hpcscale.train" in call]


@pytest.fixture
def fugaku(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster like Fugaku whose llio_transfer is a stand-in: its path comes from the profile."""
    cluster = Cluster(tmp_path / "cluster", mpiexec=MPIEXEC, tar=TAR, llio_transfer="")
    profile = locate.find("fugaku", "machines", "machine").read_text(encoding="utf-8")
    assert "/usr/bin/llio_transfer" in profile
    (tmp_path / "machines").mkdir()
    text = profile.replace("/usr/bin/llio_transfer", str(cluster.folder / "llio_transfer"))
    (tmp_path / "machines" / "fugaku.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return cluster


def test_on_fugaku_the_archive_goes_through_the_cache_and_one_rank_of_each_node_unpacks(
    fugaku: Cluster, tmp_path: Path
) -> None:
    archive, node = packed(tmp_path), tmp_path / "node"
    node.mkdir()
    script = script_of(tmp_path, "fugaku", environment__archive=str(archive))
    done = fugaku.run(script, PJM_JOBID="9", PJM_LOCALTMP=str(node))
    assert done.returncode == 0, done.stderr
    names = [call.split()[0] for call in fugaku.calls]
    assert names == ["llio_transfer", "mpiexec", "tar", "tar", "llio_transfer", "mpiexec"]  # 8 ranks, 4 a node
    assert fugaku.calls[0] == f"llio_transfer {archive}"
    assert fugaku.calls[4] == f"llio_transfer --purge {archive}"
    assert done.stdout.count(f"{node}/hpcscale-9/bin/python3 -m hpcscale.train") == 8


def test_the_nodes_own_folder_is_asked_for_only_where_it_is_used(tmp_path: Path) -> None:
    directive = "#PJM --llio localtmp-size=50Gi\n"
    assert directive not in script_of(tmp_path, "fugaku").read_text()
    assert directive in script_of(tmp_path, "fugaku", environment__archive="/e.tar").read_text()
    own = script_of(tmp_path, "fugaku", environment__archive="/e.tar", environment__local_folder="/dev/shm")
    assert "--llio" not in own.read_text()
    assert 'local_copy="/dev/shm/hpcscale-$PJM_JOBID"' in own.read_text()


def test_a_job_without_the_folder_it_counts_on_stops_with_its_name(fugaku: Cluster, tmp_path: Path) -> None:
    done = fugaku.run(script_of(tmp_path, "fugaku", environment__archive=str(packed(tmp_path))), PJM_JOBID="9")
    assert done.returncode != 0
    assert "PJM_LOCALTMP" in done.stderr
    assert fugaku.calls == []


@pytest.mark.parametrize(
    ("machine", "sets", "sentence"),
    [
        ("lumi-g", {"archive": "e.tar"}, "environment.archive 'e.tar' is no absolute path"),
        ("lumi-g", {"archive": "$HOME/e.tar"}, "is not expanded in scripts; write the whole path"),
        ("lumi-g", {"archive": "/e.zip"}, "'/e.zip' is no archive that scripts can unpack (.tar, .tar.gz"),
        ("lumi-g", {"archive": "/e.tar", "venv": "/v"}, "environment.venv is a folder of the archive (inst/venv), not '/v'"),
        ("lumi-g", {"archive": "/e.tar", "container": "/i.sif"}, "are both set; keep one"),
        ("lumi-g", {"archive": "/e.tar", "local_folder": "$(id)"}, "'$(id)' of the nodes is no path of plain characters"),
        ("wisteria-odyssey", {"archive": "/e.tar"}, "names no folder of the nodes for environment.archive; set"),
    ],
)  # fmt: skip
def test_what_cannot_be_unpacked_is_refused(machine: str, sets: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        script_of(tmp_path, machine, **{f"environment__{key}": value for key, value in sets.items()})
    assert sentence in str(caught.value)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
    | st.just("'; exit 5; '$(exit 5)\"`")
)
def test_no_name_breaks_out_of_its_place(name: str, tmp_path: Path) -> None:
    for machine in ("lumi-g", "fugaku"):
        try:
            script = script_of(tmp_path, machine, environment__archive=f"/{name}.tar", environment__venv=f"in/{name}")
        except InputError:
            continue  # said in a sentence, and nothing was written
        text = script.read_bytes().decode()
        assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
        start, end = text.index("\narchive="), text.index("\nlocal_copy=")
        assert expanded(text[start:end], "archive") == f"/{name}.tar"
        start, end = text.index("\nbin="), text.index('\nif [ -L "$bin')
        assert expanded(text[start:end], "bin") == f"/in/{name.rstrip('/')}/bin"


def expanded(lines: str, variable: str) -> str:
    done = subprocess.run(["bash", "-c", f'{lines}\nprintf %s "${variable}"'], capture_output=True, check=True)
    return done.stdout.decode()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed (CI installs it)")
def test_shellcheck_has_nothing_to_say(tmp_path: Path) -> None:
    scripts = [
        *(script_of(tmp_path / m / a, m, environment__archive=f"/{a}") for m in ("lumi-g", "fugaku") for a in ("e.tar", "e.sif")),
        local_script(tmp_path, environment__archive="/e.tar"),
    ]  # fmt: skip
    done = subprocess.run(["shellcheck", *map(str, scripts)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
