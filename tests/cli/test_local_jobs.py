"""submit, status, logs and cancel without a scheduler: jobs are processes in the background of this computer."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]

STUDY = """\
name: s
model: tiny-gpt
training: {{sequence_length: 32, global_batch_size: 8, precision: fp32}}
job: {{time: 00:05:00}}
machines: {{local: {{layout: {{dp: 1}}, sweep: {{product: {{mbs: {sizes}}}}}}}}}
protocol: {{warmup_steps: 1, measured_steps: 1}}
"""


@pytest.fixture
def sleeping(cli: Cli, tmp_path: Path) -> Cli:
    """A study whose trainer says a word and sleeps."""
    program = tmp_path / "sleeper"
    program.write_text("#!/bin/sh\necho 0: hello\necho 1: world\nexec sleep 60\n")
    program.chmod(0o755)
    (tmp_path / "s.yaml").write_text(STUDY.format(sizes=[1, 2, 4]))
    return lambda *arguments, **more: cli(*arguments, "--set", f"python={program}", **more)


def states(cli: Cli) -> list[str]:
    return sorted(each["state"] for each in json.loads(cli("status", "s.yaml", "--json").stdout)["points"])


def wait(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_jobs_run_in_the_background_one_after_the_other_and_can_be_cancelled(
    sleeping: Cli, cli: Cli, tmp_path: Path
) -> None:
    done = sleeping("submit", "s.yaml", "--yes", "--max-jobs", "2")
    assert "3 submitted" in done.stdout, done.stderr
    try:
        wait(lambda: states(cli) == ["queued", "running", "running"])
        assert "nothing to submit" in sleeping("submit", "s.yaml", "--yes").stdout
        wait(lambda: list(tmp_path.glob("runs/s/mbs1-*/attempts/*/output")))
        assert cli("logs", "mbs1-*", "--rank", "1").stdout == "world\n"
        assert cli("logs", "mbs1-*").stdout == "0: hello\n1: world\n"
        assert "may mean 3 points" in cli("logs", "mbs*").stderr
    finally:
        told = cli("cancel", "s.yaml", "--yes")
    assert "3 cancelled" in told.stdout, told.stderr
    assert states(cli) == ["cancelled"] * 3
    assert len(list(tmp_path.glob("runs/s/*/attempts/*"))) == 2, "the waiting one never began"


def test_a_real_point_is_trained_in_the_background_and_followed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY.format(sizes=[8]))
    assert "1 submitted" in cli("submit", "s.yaml", "--yes").stdout
    told = cli("status", "s.yaml", "--watch", "--every", "1").stdout
    assert told.splitlines()[-1] == "s: 1 completed"
    assert "step 2/2" in cli("logs", "local-*", "-f").stdout
    assert "s: nothing to submit" in cli("submit", "s.yaml", "--yes").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("submit", "s.yaml"), "there is no terminal to ask on; give --yes"),
        (("submit", "s.yaml", "--yes", "--point", "nosuch*"), "s: no point's name matches 'nosuch*'; the first of "),
        (("status", "s.yaml", "--point", "nosuch*"), "(a pattern covers the whole name, as in 'dp4-*')"),
        (("logs", "nosuch"), "runs holds no point 'nosuch'"),
        (("cancel", "nosuch.yaml"), "nosuch.yaml"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "s.yaml").write_text(STUDY.format(sizes=[1]))
    done = cli(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
