"""The commands of README and docs are run as they stand, page by page, each page in an empty folder of its own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from train import forks

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(?P<kind>\w+)(?: file=(?P<file>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


_SHELL = set("*?[]|>&;$~`(){}<\\")  # what a shell does something with


def _run(command: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """The exit code and what was said. A command that is interrupted takes along what it started."""
    if command.startswith("hpcscale ") and not _SHELL & set(command):
        done = forks.command(shlex.split(command)[1:], folder, environment)
        return done.returncode, done.stdout + done.stderr
    with subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=300)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
    return process.returncode, said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_work_as_written(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HPCSCALE_CONFIG_HOME": str(tmp_path / "configuration"),
    }
    work = tmp_path / "work"
    work.mkdir()
    ran = 0
    for block in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["file"]:
            path = work / block["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["body"], encoding="utf-8")
        elif block["kind"] == "console":
            for line in block["body"].splitlines():
                command = line.removeprefix("$ ").replace("<account>", "account1")
                code, said = _run(command, work, environment)
                assert code == 0, f"{command}\n{said}"
                ran += 1
    assert ran, f"{page.name} has no command that is run"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
