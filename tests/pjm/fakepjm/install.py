"""Puts the emulator into a folder: ``bin`` with the commands, ``site.yaml``, and room for jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from .commands import MODULES
from .site import keep

HERE = Path(__file__).resolve().parent
SCRIPT = """#!{python} -IS
import os, sys
sys.path.insert(0, {packages!r})
os.environ.setdefault("FAKEPJM_HOME", {home!r})
from fakepjm.commands import run
run({command!r})
"""


def install(folder: Path, site: str = "fugaku", root: Path | None = None) -> Path:
    """Installs for ``site`` (a name in ``sites/``); ``root``: what ``{tmp}`` stands for. Returns the folder for PATH."""
    root = folder if root is None else root
    programs = folder / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    text = (HERE / "sites" / f"{site}.yaml").read_text(encoding="utf-8")
    describe(folder, yaml.safe_load(text.replace("{tmp}", str(root))))
    for command in MODULES:
        script = SCRIPT.format(python=sys.executable, packages=str(HERE.parent), home=str(folder), command=command)
        executable(programs / command, script)
    for shim in (HERE / "shims").iterdir():
        executable(programs / shim.stem, shim.read_text(encoding="utf-8"))
    return programs


def describe(folder: Path, site: dict) -> None:
    """Makes ``site`` what the machine in ``folder`` is like."""
    (folder / "site.yaml").write_text(yaml.safe_dump(site, sort_keys=False), encoding="utf-8")
    keep(str(folder), site)


def executable(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
