"""`hpcscale render` as a user calls it: what it writes, what it leaves alone, what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hpcscale.spec.layout import Layout, Training
from hpcscale.spec.model import Model

Cli = Callable[..., subprocess.CompletedProcess[str]]
MINE = ("--set", "account=<account>", "--set", "group=hp000000")


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def test_both_machines_of_the_30b_study_are_written(cli: Cli, tmp_path: Path) -> None:
    done = cli("render", "30b_scaling", *MINE)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "30b_scaling: 19 points (fugaku 14, juwels-booster 5), 19 new"
    folders = list((tmp_path / "runs" / "30b_scaling").iterdir())
    assert len(folders) == 19
    assert all(sorted(path.name for path in folder.iterdir()) == ["job.sh", "point.json"] for folder in folders)
    assert all(os.access(folder / "job.sh", os.X_OK) for folder in folders)


def test_point_json_holds_all_that_training_reads(cli: Cli, tmp_path: Path) -> None:
    cli("render", "30b_scaling", *MINE, "--point", "fugaku-gpt-30b-dp32-*")
    (path,) = tmp_path.glob("runs/30b_scaling/*/point.json")
    point = json.loads(path.read_text())
    assert Model.model_validate(point["model"]).name == "gpt-30b"
    assert Layout.model_validate(point["layout"]).ranks == point["ranks"] == point["nodes"] == 6144
    assert Training.model_validate(point["training"]).global_batch_size == 1536
    assert point["device"] == {"name": "a64fx", "kind": "cpu", "peak_tflops": 6.144, "memory_bytes": 32 * 2**30}
    assert path.parent.name == point["point"]
    assert "hp000000" not in path.read_text(), "what differs per person is no part of a point"


def test_a_second_run_touches_nothing(cli: Cli, tmp_path: Path) -> None:
    cli("render", "30b_scaling", *MINE)
    before = files(tmp_path / "runs")
    done = cli("render", "30b_scaling", *MINE)
    assert "19 same" in done.stdout
    assert files(tmp_path / "runs") == before


def test_only_what_differs_is_written_again(cli: Cli, tmp_path: Path) -> None:
    cli("render", "30b_scaling", *MINE)
    before = files(tmp_path / "runs")
    done = cli("render", "30b_scaling", "--set", "account=other", "--set", "group=hp000000")
    assert "5 changed, 14 same" in done.stdout
    changed = {name for name, value in files(tmp_path / "runs").items() if before[name] != value}
    assert len(changed) == 5
    assert all("juwels" in name and name.endswith("job.sh") for name in changed)


def test_orphans_are_named_and_kept(cli: Cli, write: Callable[[str, str], Path], tmp_path: Path) -> None:
    text = "name: s\nmodel: tiny-gpt\ntraining: {sequence_length: 64, global_batch_size: 8}\nmachines: {local: {}}\nsweep: {product: {mbs: [1, 2]}}\n"
    write("s.yaml", text)
    cli("render", "s.yaml")
    write("s.yaml", text.replace("[1, 2]", "[1, 4]"))
    done = cli("render", "s.yaml")
    assert "1 new, 1 same" in done.stdout
    assert "1 orphaned" in done.stdout
    assert len(list((tmp_path / "runs" / "s").iterdir())) == 3


def test_stdout_writes_nothing_and_is_the_script(cli: Cli, tmp_path: Path) -> None:
    done = cli("render", "quickstart", "--point", "dp1-*", "--stdout")
    assert not (tmp_path / "runs").exists()
    assert done.stdout.startswith("#!/bin/bash\n")
    assert done.stdout.count("#!/bin/bash") == 1
    cli("render", "quickstart")
    assert next(tmp_path.glob("runs/quickstart/dp1-*/job.sh")).read_text() == done.stdout


def test_diff_writes_nothing_and_shows_what_would_change(cli: Cli, tmp_path: Path) -> None:
    cli("render", "quickstart")
    before = files(tmp_path / "runs")
    done = cli("render", "quickstart", "--diff", "--set", "time=00:20:00", "--point", "dp1-*")
    assert files(tmp_path / "runs") == before
    removed = [line for line in done.stdout.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert len(removed) == 2, done.stdout  # the time in point.json and in job.sh
    assert "+timeout --foreground --signal=TERM --kill-after=30 1200 \\" in done.stdout


def test_json_lists_points_skipped_and_orphans(cli: Cli) -> None:
    done = cli("render", "30b_scaling", *MINE, "--machine", "fugaku", "--set", "mbs=256", "--json")
    document = json.loads(done.stdout)
    assert document["skipped"][0]["machine"] == "fugaku"
    assert {point["change"] for point in document["points"]} == {"new"}


def test_strict_refuses_points_that_break_a_rule_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    done = cli("render", "30b_scaling", *MINE, "--set", "mbs=9", "--strict")
    assert done.returncode == 2
    assert "must be divisible by dp" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_nothing_is_written_when_a_setting_is_missing(cli: Cli, tmp_path: Path) -> None:
    done = cli("render", "30b_scaling", "--set", "account=a")
    assert done.returncode == 2
    assert "fugaku needs your group" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_kill_at_any_instant_leaves_whole_files_only(
    cli: Cli, write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    rates = ", ".join(f"{i + 1}e-6" for i in range(2000))
    path = write(
        "s.yaml",
        f"name: s\nmodel: tiny-gpt\ntraining: {{sequence_length: 64, global_batch_size: 8}}\nmachines: {{local: {{}}}}\nsweep: {{product: {{lr: [{rates}]}}}}\n",
    )
    for delay in (0.4, 0.6, 0.8):
        with subprocess.Popen(
            [sys.executable, "-m", "hpcscale", "render", str(path)], cwd=tmp_path, stdout=subprocess.DEVNULL
        ) as process:
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        for found in tmp_path.glob("runs/s/*/point.json"):
            json.loads(found.read_text())
        for found in tmp_path.glob("runs/s/*/job.sh"):
            assert found.read_text().endswith('> "$HPCSCALE_ATTEMPT/output" 2>&1\n')
            assert (found.parent / "point.json").exists()
    assert cli("render", "s.yaml").returncode == 0
    assert len(list(tmp_path.glob("runs/s/*/job.sh"))) == 2000


def test_rendering_at_the_same_time_from_several_processes_is_safe(cli: Cli, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hpcscale", "render", "mpt_sweep", "--machine", "mosaicml-h100-80gb"]
    running = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [each.wait() for each in running] == [0, 0, 0, 0]
    assert list(tmp_path.glob("runs/**/*.tmp")) == []
    assert "59 same" in cli("render", "mpt_sweep", "--machine", "mosaicml-h100-80gb").stdout


def test_an_own_file_of_the_same_name_wins(cli: Cli, write: Callable[[str, str], Path]) -> None:
    packaged = Path(__file__).parent.parent.parent
    write("machines/local.yaml", (packaged / "machines" / "local.yaml").read_text() + "variables: {MINE: from here}\n")
    write(
        "configuration/templates/environment.sh.j2",
        "export TEMPLATE=mine\n{% for n, v in variables.items() %}export {{ n }}={{ v | shell }}\n{% endfor %}",
    )
    done = cli("render", "quickstart", "--point", "dp1-*", "--stdout")
    assert "export MINE='from here'" in done.stdout
    assert "export TEMPLATE=mine" in done.stdout


def test_a_machine_of_ones_own_is_one_file_and_nothing_else(
    cli: Cli, write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    write(
        "machines/elbe.yaml",
        """\
name: elbe
title: a cluster that hpcscale does not know
scheduler: slurm
nodes: 32
device: h200
node: {devices: 8, cores: 128, memory: 2 TB}
queues:
  - {name: batch, nodes: [1, 32], time: {max: 12:00:00}}
requires: [account]
slurm: {directives: {gpus-per-node: 8, exclusive: true}}
launch: {command: srun, communication: nccl}
""",
    )
    write(
        "s.yaml",
        "name: s\nmodel: llama3-8b\ntraining: {sequence_length: 8192, global_batch_size: 64}\nlayout: {sharding: fsdp}\njob: {time: 02:00:00}\nmachines: {elbe: {sweep: {product: {dp: [8, 64]}}}}\n",
    )
    assert cli("render", "s.yaml", "--set", "account=a").returncode == 0
    script = next(tmp_path.glob("runs/s/dp64-*/job.sh")).read_text()
    for line in (
        "--partition=batch",
        "--nodes=8",
        "--ntasks-per-node=8",
        "--cpus-per-task=16",
        "--gpus-per-node=8",
        "--exclusive",
        "--account=a",
    ):
        assert f"#SBATCH {line}\n" in script


def test_rendering_imports_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; sys.argv = ['hpcscale', 'render', 'quickstart', '--stdout']\n"
        "from hpcscale.cli import group\n"
        "try: group.main(standalone_mode=False)\n"
        "finally: print(sorted({'torch', 'pandas', 'numpy', 'mpi4py', 'matplotlib', 'rich', 'submitit'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_help_imports_next_to_nothing() -> None:
    code = (
        "import sys; sys.argv = ['hpcscale', '--help']\n"
        "from hpcscale.cli import group\n"
        "try: group.main(standalone_mode=False)\n"
        "finally: print(sorted({'torch', 'pandas', 'numpy', 'pydantic', 'yaml', 'jinja2', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
