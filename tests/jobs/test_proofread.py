"""hpcscale submit reads its scripts as lint does, and hands over none that has an error."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcscale.jobs import proofread
from hpcscale.jobs.lint import Finding
from hpcscale.jobs.render import Request, render
from hpcscale.spec import study
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.problems import InputError

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]

STUDY = """\
name: s
model: tiny-gpt
training: {sequence_length: 32, global_batch_size: 64, precision: bf16}
job: {time: 00:10:00}
machines: {juwels-booster: {layout: {dp: 4}, sweep: {product: {mbs: [1, 2, 4], seed: [1, 2]}}}}
protocol: {warmup_steps: 1, measured_steps: 2}
"""
SETTINGS = SettingsFile.model_validate({"defaults": {"account": "account1"}})


@pytest.mark.parametrize("more", [("--yes",), ("--dry-run",), ("--smoke", "--yes")], ids=" ".join)
def test_an_error_stops_everything_before_it_is_written(
    cli: Cli, write: Write, tmp_path: Path, more: tuple[str, ...]
) -> None:
    write("s.yaml", STUDY)
    done = cli("submit", "s.yaml", "--set", "account=account1", "--directive", "gres=gpu:9", *more)
    assert done.returncode == 2
    assert "s: nothing was submitted, since lint finds errors in its scripts" in done.stderr
    assert "job.sh:13: --gres: a node of juwels-booster has 4 GPUs, not 9; ask for at most 4" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_whoever_knows_better_than_lint_may_submit(cli: Cli, write: Write) -> None:
    write("s.yaml", STUDY)
    arguments = ("submit", "s.yaml", "--set", "account=account1", "--directive", "newer-than-lint=1", "--dry-run")
    assert "sbatch knows no option --newer-than-lint" in cli(*arguments).stderr
    assert cli(*arguments, "--no-lint").returncode == 0


def test_scripts_that_differ_only_in_what_they_are_called_are_read_once(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = render(study.read(str(write("s.yaml", STUDY))), Request(out=tmp_path / "runs"), SETTINGS).points
    assert len({each.script for each in points}) == len(points) == 6
    read: list[str] = []
    monkeypatch.setattr(proofread, "lint", lambda text, *_: read.append(text) or [])
    proofread.check(points, "s")
    assert len(read) == 1
    longer = render(study.read(str(write("t.yaml", STUDY.replace("00:10:00", "00:20:00")))), Request(out=tmp_path / "runs"), SETTINGS)  # fmt: skip
    proofread.check([*points, *longer.points], "s")
    assert len(read) == 3, "one more of the longer ones"


def test_a_sentence_is_said_once_and_not_hundreds_of_times(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = render(study.read(str(write("s.yaml", STUDY))), Request(out=tmp_path / "runs"), SETTINGS).points
    errors = [Finding("job.sh", line, "error", f"sentence {line}") for line in range(20)]
    warning = Finding("job.sh", 30, "warning", "only a warning")
    monkeypatch.setattr(proofread, "lint", lambda *_: [*errors, *errors, warning])
    with pytest.raises(InputError) as raised:
        proofread.check(points, "s")
    told = str(raised.value).splitlines()
    assert "the first 10 of 20" in told[0]
    assert told[1:] == [f"job.sh:{line}: sentence {line}" for line in range(10)]
