"""Energy of measured rows: from the steps' counters, from accounting beside the record, and as the command shows it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from hpcscale.ingest import records, schema
from hpcscale.record import energy
from hpcscale.record.energy import JobEnergy

Cli = Callable[..., CompletedProcess[str]]
TOKENS = 8 * 4096


def row_of(runs: Path) -> dict[str, Any]:
    (row,) = schema.rows(records.read(runs))
    return row


def count(attempt: Path, joules: list[float], source: str) -> None:
    """As if the run had read counters: joules of each step."""
    lines = [json.loads(line) for line in (attempt / "record.jsonl").read_text().splitlines()]
    lines[0]["energy_source"] = source
    for line, each in zip((line for line in lines if line["schema"] == "step"), joules, strict=True):
        line["energy_joules"] = each
    (attempt / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_counters_of_the_measured_steps_give_joules_watts_and_tokens_per_joule(
    write_run: Callable[..., Path], tmp_path: Path
):
    count(write_run(tmp_path, [9, 9, 2, 2, 4]), [99, 99, 1000, 1200, 1400], "nvml: 2 gpu")
    row = row_of(tmp_path)
    assert row["energy_joules_per_step"] == 1200
    assert row["watts_per_device"] == 3600 / 8 / 2  # of two devices, over the eight seconds of three steps
    assert row["tokens_per_joule"] == TOKENS / 1200
    assert row["energy_source"] == "nvml: 2 gpu"


def test_steps_that_no_counter_saw_do_not_count_as_zero(write_run: Callable[..., Path], tmp_path: Path):
    count(write_run(tmp_path, [1, 1, 2, 2, 2]), [0, 0, 0, 1200, 1400], "nvml: 2 gpu")
    assert row_of(tmp_path)["energy_joules_per_step"] == 1300


def test_a_run_that_nobody_counted_has_no_energy(write_run: Callable[..., Path], tmp_path: Path):
    write_run(tmp_path, [1, 1, 2])
    assert row_of(tmp_path)["energy_joules_per_step"] is None and row_of(tmp_path)["energy_source"] is None


def test_accountings_mean_power_times_a_steps_seconds(write_run: Callable[..., Path], tmp_path: Path):
    energy.write(write_run(tmp_path, [1, 1, 2]), JobEnergy(50000, 100, "sacct", 1))
    row = row_of(tmp_path)
    assert (row["energy_joules_per_step"], row["watts_per_device"], row["energy_source"]) == (1000, 250, "sacct")


def test_what_was_counted_in_the_job_goes_before_accounting(write_run: Callable[..., Path], tmp_path: Path):
    attempt = write_run(tmp_path, [1, 1, 2])
    count(attempt, [1, 1, 700], "rapl: 1 package")
    energy.write(attempt, JobEnergy(50000, 100, "sacct", 1))
    assert row_of(tmp_path)["energy_source"] == "rapl: 1 package"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"joules": 1}', '{"joules": 0, "seconds": 1, "source": "sacct"}'])
def test_a_damaged_note_is_no_energy(content: str, write_run: Callable[..., Path], tmp_path: Path):
    (write_run(tmp_path, [1, 1, 2]) / "energy.json").write_text(content)
    assert row_of(tmp_path)["energy_joules_per_step"] is None


def test_sacct_output_becomes_tokens_per_joule_and_energy_to_train(
    cli: Cli, write_run: Callable[..., Path], tmp_path: Path
):
    write_run(tmp_path / "runs", [1, 1, 2])
    (tmp_path / "sacct.txt").write_text("JobIDRaw|ConsumedEnergyRaw|ElapsedRaw|NNodes\n1|50000|100|1\n")
    done = cli("energy", "runs/s", "--sacct", "sacct.txt", "--tokens", "1B")
    assert done.returncode == 0, done.stderr
    assert "32.77" in done.stdout and "MWh for 1B tokens" in done.stdout
    assert "sacct: whole nodes as Slurm's accounting has them" in done.stdout
    shown = cli("report", "runs/s", "--json").stdout
    assert json.loads(shown)["rows"][0]["tokens_per_joule"] == pytest.approx(32.768)


def test_pjms_statistics_file_is_found_beside_the_point(cli: Cli, write_run: Callable[..., Path], tmp_path: Path):
    attempt = write_run(tmp_path / "runs", [1, 1, 2], name="238.0")
    (attempt.parent.parent / "238.stats").write_text(
        " JOB ID : 238\n ELAPSE TIME (USE) : 00:30:00 (1800)\n ENERGY CONSUMPTION OF NODE (IDEAL) : 71.45\n"
    )
    found = json.loads(cli("energy", "runs/s", "--json").stdout)
    assert found["jobs"][0]["energy"]["joules"] == pytest.approx(71.45 * 3600)
    assert found["rows"][0]["energy_source"] == "pjm: IDEAL"


def test_accounting_without_energy_says_so_and_ends_with_1(cli: Cli, write_run: Callable[..., Path], tmp_path: Path):
    write_run(tmp_path / "runs", [1, 1, 2])
    (tmp_path / "sacct.txt").write_text("JobIDRaw|ConsumedEnergyRaw|ElapsedRaw\n1|0|100\n")
    done = cli("energy", "runs/s", "--sacct", "sacct.txt")
    assert done.returncode == 1
    assert "accounting has no energy of job 1: it is 0 or empty where the site does not collect it" in done.stdout
    assert not list(tmp_path.rglob("energy.json"))


def test_a_wrong_file_is_one_sentence_and_exit_code_2(cli: Cli, write_run: Callable[..., Path], tmp_path: Path):
    write_run(tmp_path / "runs", [1, 1, 2])
    (tmp_path / "sacct.txt").write_text("nothing\n")
    done = cli("energy", "runs/s", "--sacct", "sacct.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert "sacct.txt:1:1: the first line names no column JobIDRaw" in done.stderr and "Traceback" not in done.stderr


def test_slurm_is_asked_about_the_jobs_of_the_ledger(cli: Cli, write_run: Callable[..., Path], tmp_path: Path):
    write_run(tmp_path / "runs", [1, 1, 2], name="77.0")
    job = {"kind": "submitted", "point": "dp2", "hash": "00000000", "job": "77", "time": 1.0, "scheduler": "slurm"}
    (tmp_path / "runs/s/ledger.jsonl").write_text(json.dumps(job) + "\n")
    sacct = tmp_path / "bin/sacct"
    sacct.parent.mkdir()
    sacct.write_text(
        '#!/bin/sh\ncase "$*" in *--jobs=77*) printf "JobIDRaw|ConsumedEnergyRaw|ElapsedRaw|NNodes\\n77|50000|100|1\\n";; esac\n'
    )
    sacct.chmod(0o755)
    found = json.loads(cli("energy", "runs/s", "--json", PATH=f"{sacct.parent}:{os.environ['PATH']}").stdout)
    assert found["rows"][0]["watts_per_device"] == 250


def test_an_accounting_that_cannot_be_asked_is_named(cli: Cli, write_run: Callable[..., Path], tmp_path: Path):
    write_run(tmp_path / "runs", [1, 1, 2], name="77.0")
    job = {"kind": "submitted", "point": "dp2", "hash": "00000000", "job": "77", "time": 1.0, "scheduler": "slurm"}
    (tmp_path / "runs/s/ledger.jsonl").write_text(json.dumps(job) + "\n")
    done = cli("energy", "runs/s", PATH=str(tmp_path))
    assert done.returncode == 1 and "sacct is not on the PATH" in done.stdout
