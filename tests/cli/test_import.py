"""``hpcscale import``: from a log to a row of the report."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

SAMPLES = Path(__file__).parent.parent / "ingest" / "logs" / "samples"
Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_import_then_report(cli: Cli, tmp_path: Path):
    done = cli("import", SAMPLES / "deepspeed-fugaku.txt", "--set", "machine=fugaku", "--study", "thesis")
    assert done.returncode == 0, done.stderr
    assert "DeepSpeedFugaku, by line 30: iteration 1/ 5 |" in done.stdout
    assert "5 lines with steps, up to step 5 -> runs/thesis/deepspeed-fugaku-" in done.stdout
    assert done.stdout.endswith("hpcscale report runs/thesis\n")
    (row,) = json.loads(cli("report", "runs/thesis", "--json", "--convention", "deepspeed-fugaku").stdout)["rows"]
    assert (row["origin"], row["machine"], row["nodes"], row["step_seconds"]) == ("measured", "fugaku", 384, 1841.6)
    assert abs(row["tflops_per_device"] - row["tflops_per_device_published"]) < 0.005


def test_importing_again_replaces_what_was_there(cli: Cli, tmp_path: Path):
    log = tmp_path / "run.log"
    lines = (SAMPLES / "nemo.txt").read_text().splitlines(keepends=True)
    for some in (lines[:-3], lines):
        log.write_text("".join(some))
        assert cli("import", log, "--json").returncode == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["imported"]  # no folder of work left behind
    (folder,) = (tmp_path / "runs" / "imported").iterdir()
    assert len((folder / "attempts/1.0/record.jsonl").read_text().splitlines()) == 1 + 4 + 1


def test_two_logs_of_one_name_are_two_rows(cli: Cli, tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.log").write_bytes((SAMPLES / "nemo.txt").read_bytes())
    found = json.loads(cli("import", "a/train.log", "b/train.log", "--json").stdout)
    assert len({each["folder"] for each in found}) == 2
    assert len(json.loads(cli("report", "runs/imported", "--json").stdout)["rows"]) == 2


def test_a_folder_that_was_not_imported_stays(cli: Cli, tmp_path: Path):
    log = tmp_path / "run.log"
    log.write_bytes((SAMPLES / "nemo.txt").read_bytes())
    folder = Path(json.loads(cli("import", log, "--json").stdout)[0]["folder"])
    (tmp_path / folder / "point.json").write_text("{}")
    done = cli("import", log)
    assert done.returncode == 2
    assert done.stderr.startswith(f"hpcscale: {folder} is no imported run and stays as it is")
    assert (tmp_path / folder / "point.json").read_text() == "{}"


def test_an_unknown_log_ends_with_2_and_the_list(cli: Cli, tmp_path: Path):
    (tmp_path / "x.log").write_text("hello\n")
    done = cli("import", "x.log", "missing.log")
    assert done.returncode == 2
    assert (
        "x.log has no line of a step by which a tool is known, of any of: deepspeed-fugaku, megatron-deepspeed"
        in done.stderr
    )
    assert "missing.log cannot be read: No such file or directory" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_study_is_a_plain_name(cli: Cli):
    done = cli("import", SAMPLES / "nemo.txt", "--study", "../x")
    assert done.returncode == 2 and "--study ../x: it names a folder" in done.stderr
