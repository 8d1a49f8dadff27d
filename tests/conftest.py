"""What several test folders use: the command line as a user calls it, in an empty folder, with settings of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from train import forks

REPOSITORY = Path(__file__).resolve().parent.parent
Result = subprocess.CompletedProcess[str]

# What takes longest: several workers (pytest -n 2 --dist loadfile) begin with these, so that none is waited for at the end.
LONGEST_FIRST = (
    "test_documentation.py",
    "test_parity.py",
    "test_dryrun.py",
    "test_checkpoint.py",
    "test_mpi.py",
    "test_end_to_end.py",
    "test_run.py",
    "test_failures.py",
    "test_page_charts.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """A run that is told to end still takes down what its fixtures started: a Slurm, jobs, ranks."""
    # xdist interrupts its workers with SIGINT, which what make starts in the background would not hear.
    obeyed = (signal.SIGTERM, signal.SIGINT) if hasattr(config, "workerinput") else (signal.SIGTERM,)

    def interrupted(*_: object) -> None:
        for number in obeyed:
            signal.signal(number, signal.SIG_IGN)  # a second one would end the taking down
        raise KeyboardInterrupt

    for number in obeyed:
        signal.signal(number, interrupted)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The order for several workers, each of which takes a file at a time."""
    if hasattr(config, "workerinput"):
        turns = {name: turn for turn, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: turns.get(item.path.name, len(turns)))


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., Result]:
    """``cli("render", "quickstart")`` runs hpcscale in ``tmp_path`` with an empty configuration folder."""

    def call(*arguments: object, cwd: Path | None = None, stdin: str | None = None, **variables: str) -> Result:
        environment = {
            **os.environ,
            "HPCSCALE_CONFIG_HOME": str(tmp_path / "configuration"),
            "COLUMNS": "140",
            **variables,
        }
        return forks.command(arguments, cwd or tmp_path, environment, stdin=stdin)

    return call


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """``write("a.yaml", text)`` writes a file below ``tmp_path`` and returns its path."""

    def put(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return put
