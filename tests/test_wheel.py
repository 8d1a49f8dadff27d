"""The wheel works without the checkout: data folders inside the package, commands from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


def test_the_wheel_holds_every_data_file_once(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    for folder in ("machines", "studies", "studies/published", "templates"):
        for path in (REPOSITORY / folder).iterdir():
            if path.is_file():
                assert f"hpcscale/{folder}/{path.name}" in names
    assert "hpcscale/spec/models.yaml" in names
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/")) for name in names)


def test_the_installed_wheel_renders_a_study_by_name(wheel: Path, tmp_path: Path) -> None:
    """A new environment with hpcscale from the wheel; its dependencies come from this one, to spare the network."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    (site,) = home.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    # The dependencies without this checkout, which is an editable install here.
    own = [path for path in sys.path if path.endswith("site-packages")]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(site), *own]),
        "HPCSCALE_CONFIG_HOME": str(tmp_path / "none"),
    }
    work = tmp_path / "work"
    work.mkdir()
    where = [str(python), "-c", "import hpcscale; print(hpcscale.__file__)"]
    shown = subprocess.run(where, cwd=work, env=environment, capture_output=True, text=True, check=True).stdout
    assert shown.startswith(str(site))
    command = [str(python), "-m", "hpcscale", "render", "30b_scaling", "--set", "account=a", "--set", "group=g"]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(work.glob("runs/30b_scaling/*/job.sh"))) == 19
