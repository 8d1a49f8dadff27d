"""`environment.container`: the training command inside an image, and images that each node copies first."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcscale.jobs.render import Request, render
from hpcscale.spec import study
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.problems import InputError

from .standins import APPTAINER, MPIEXEC, PYTHON, SBCAST, SCONTROL, SRUN, Cluster
from .test_archive import SLURM, local_script, script_of


def training_line(script: Path) -> str:
    (line,) = [line for line in script.read_text().splitlines() if "hpcscale.train" in line]
    return line.strip()


@pytest.mark.parametrize(
    ("machine", "start"),
    [
        ("juwels-booster", 'apptainer exec --nv --bind "$point" /i.sif python3 -m hpcscale.train'),
        ("lumi-g", 'singularity exec --rocm --bind "$point" /i.sif python3 -m hpcscale.train'),
        ("fugaku", 'singularity exec --bind "$point" /i.sif python3 -m hpcscale.train'),
    ],
)
def test_the_devices_maker_says_how_the_container_gets_at_it(machine: str, start: str, tmp_path: Path) -> None:
    assert training_line(script_of(tmp_path, machine, environment__container="/i.sif")).startswith(start)


def test_data_and_a_virtual_environment_are_bound_and_its_python_runs(tmp_path: Path) -> None:
    sets = {
        "environment__container": "/i m.sif",
        "environment__venv": "/p/venv",
        "environment__container_options": "--bind /pfs",
    }
    line = training_line(script_of(tmp_path, "lumi-g", **sets, data__kind="megatron", data__path="/data/set/text"))
    start = "singularity exec --rocm --bind \"$point\" --bind /data/set --bind /p/venv --bind /pfs '/i m.sif' /p/venv/bin/python -m "
    assert line.startswith(start)
    assert "bin/activate" not in script_of(tmp_path, "lumi-g", **sets).read_text()


def test_on_this_computer_the_training_command_runs_in_the_image(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster", apptainer=APPTAINER, python3=PYTHON)
    script = local_script(tmp_path, environment__container="/i.sif")
    assert cluster.run(script).returncode == 0
    assert cluster.calls[0].startswith(f"apptainer exec --bind {script.parent} /i.sif python3 -m hpcscale.train")
    (output,) = script.parent.glob("attempts/*/output")
    assert "-m hpcscale.train" in output.read_text()


def test_a_launcher_that_is_python_runs_in_the_image_with_all_that_it_starts(tmp_path: Path) -> None:
    request = Request(point="dp2-ddp-*", sets=(("environment.container", "/i.sif"),), out=tmp_path)
    (rendered,) = render(study.read("quickstart"), request, SettingsFile()).points
    assert rendered.script.count("apptainer exec") == 1
    assert "/i.sif python3 -m torch.distributed.run" in rendered.script


def test_under_slurm_an_image_named_as_archive_is_copied_to_each_node_and_run_from_there(tmp_path: Path) -> None:
    image, node = tmp_path / "i.sif", tmp_path / "node"
    image.write_text("image")
    node.mkdir()
    cluster = Cluster(
        tmp_path / "cluster", srun=SRUN, sbcast=SBCAST, scontrol=SCONTROL, singularity=APPTAINER, python3=PYTHON
    )
    script = script_of(tmp_path, "lumi-g", environment__archive=str(image), environment__local_folder=str(node))
    done = cluster.run(script, **SLURM)
    assert done.returncode == 0, done.stderr
    assert cluster.calls[0] == f"sbcast --force {image} {node}/hpcscale-7.sif"
    (start,) = [call for call in cluster.calls if call.startswith("singularity")]
    assert start.startswith(
        f"singularity exec --rocm --bind {script.parent} {node}/hpcscale-7.sif python3 -m hpcscale.train"
    )
    assert list(node.iterdir()) == []


def test_under_pjm_too(tmp_path: Path) -> None:
    image, node = tmp_path / "i.sif", tmp_path / "node"
    image.write_text("image")
    node.mkdir()
    cluster = Cluster(tmp_path / "cluster", mpiexec=MPIEXEC, singularity=APPTAINER, python3=PYTHON)
    script = script_of(
        tmp_path, "wisteria-odyssey", environment__archive=str(image), environment__local_folder=str(node)
    )
    assert "#PJM -L jobenv=singularity\n" in script.read_text()
    done = cluster.run(script, PJM_JOBID="9")
    assert done.returncode == 0, done.stderr
    starts = [call for call in cluster.calls if call.startswith("singularity")]
    assert len(starts) == 8
    assert f" {node}/hpcscale-9.sif python3 -m hpcscale.train" in starts[0]
    assert list(node.iterdir()) == []


@pytest.mark.parametrize(
    ("machine", "sets", "sentence"),
    [
        ("perlmutter", {"container": "/i.sif"}, "perlmutter runs no Apptainer or Singularity images"),
        ("lumi-g", {"container": "i.sif"}, "environment.container 'i.sif' is no absolute path"),
        ("lumi-g", {"container_options": "--cleanenv"}, "but no environment.container"),
        ("lumi-g", {"container": "/i.sif", "venv": "/a:b"}, "'/a:b' cannot be bound into a container"),
    ],
)
def test_what_cannot_run_is_refused(machine: str, sets: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        script_of(tmp_path, machine, **{f"environment__{key}": value for key, value in sets.items()})
    assert sentence in str(caught.value)


def test_an_image_from_a_registry_needs_no_path(tmp_path: Path) -> None:
    line = training_line(script_of(tmp_path, "lumi-g", environment__container="docker://rocm/pytorch:latest"))
    assert " docker://rocm/pytorch:latest python3 " in line
