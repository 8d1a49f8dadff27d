"""``hpcscale predict`` and ``hpcscale calibrate`` as people call them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from hpcscale.cost.block import with_block
from hpcscale.spec import machine

Cli = Callable[..., CompletedProcess[str]]
REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = REPOSITORY / "benchmarks" / "data" / "published_rows.csv"
HEADER = (
    "system,model,layers,hidden,heads,seq,gpus,nodes,gpu_type,dp,tp,pp,mbs,gbs,ac_mode,sharding,precision,sec_per_iter"
)
GOOD = "lab,gpt,24,2048,16,2048,8,1,a100_80gb,8,1,1,4,64,none,ddp,bf16,"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_table_gets_its_predicted_columns_and_keeps_its_own(cli: Cli, write: Callable[[str, str], Path]) -> None:
    source = write("in.csv", f'{HEADER},mine\n{GOOD},"a, b"\n{GOOD.replace("a100_80gb", "abacus")},c\n')
    done = cli("predict", "--table", "in.csv", "--output", "out.csv")
    assert done.returncode == 0, done.stderr
    first, second = rows((source.parent / "out.csv").read_text())
    assert list(first)[-6:] == [
        "pred_sec_per_iter", "pred_sec_per_iter_low", "pred_sec_per_iter_high", "pred_mem_gib", "pred_verdict", "pred_reason",
    ]  # fmt: skip
    assert first["mine"] == "a, b"
    assert (
        float(first["pred_sec_per_iter_low"])
        < float(first["pred_sec_per_iter"])
        < float(first["pred_sec_per_iter_high"])
    )
    assert first["pred_verdict"] == "fits"
    assert [second[name] for name in list(second)[-6:-1]] == [""] * 5
    assert second["pred_reason"].startswith("there is no device 'abacus'")
    assert "1 of 2 rows predicted; pred_reason says why not" in done.stderr


def test_what_it_wrote_can_be_predicted_again(cli: Cli, write: Callable[[str, str], Path]) -> None:
    write("in.csv", f"{HEADER}\n{GOOD}\n")
    once = cli("predict", "--table", "in.csv")
    write("again.csv", once.stdout)
    assert cli("predict", "--table", "again.csv").stdout == once.stdout


def test_standard_input_is_a_table_too(cli: Cli) -> None:
    done = cli("predict", "--table", "-", stdin=f"# from somewhere\n{HEADER}\n{GOOD}\n")
    assert done.returncode == 0 and len(rows(done.stdout)) == 1


def test_pilot_rows_are_named_and_the_errors_of_the_rest_said(cli: Cli) -> None:
    done = cli("predict", "--table", ROWS, "--pilot", "2")
    named = [row for row in rows(done.stdout) if row["pred_reason"].startswith("pilot row")]
    assert len(named) == 2 * 9
    assert "torchtitan_a100_80gb: median error" in done.stderr and "of 6 measured rows" in done.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "in.csv: the table has no rows"),
        (HEADER + "\n", "the table has no rows"),
        (
            "a,b\n1,2\n",
            "in.csv:1:1: the table lacks the columns layers, hidden, heads, seq, gbs; without them no row says what ran",
        ),
        (f"{HEADER}\n{GOOD},extra\n", "in.csv:2:1: the row has 19 cells, the header 18 columns"),
        (f"{HEADER},seq\n", "in.csv:1:1: the column 'seq' stands twice"),
    ],
)
def test_a_table_that_is_none_is_refused_and_nothing_written(
    cli: Cli, write: Callable[[str, str], Path], text: str, sentence: str
) -> None:
    path = write("in.csv", text)
    done = cli("predict", "--table", "in.csv", "--output", "out.csv")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not (path.parent / "out.csv").exists()


def test_a_calibrated_machine_is_predicted_better_and_its_profile_keeps_every_line(cli: Cli, tmp_path: Path) -> None:
    done = cli("calibrate", "juwels-booster", "--from", _as_if_measured(tmp_path, "juwels-booster", factor=1.4))
    assert done.returncode == 0, done.stderr
    profile = tmp_path / "machines" / "juwels-booster.yaml"
    packaged = (REPOSITORY / "machines" / "juwels-booster.yaml").read_text()
    assert profile.read_text().startswith(packaged)
    block = machine.read(profile).calibration
    assert block is not None and len(block.rows) == 6
    assert block.error is not None and block.error < 0.1, "the rows are all slower by the same factor"
    after = cli("predict", "--table", "measured.csv")
    assert "juwels-booster: median error 0." in after.stderr or "juwels-booster: median error 1." in after.stderr


def test_a_second_calibration_replaces_the_block(cli: Cli, tmp_path: Path) -> None:
    table = _as_if_measured(tmp_path, "juwels-booster", factor=1.1)
    for _ in range(2):
        assert cli("calibrate", "juwels-booster", "--from", table).returncode == 0
    assert (tmp_path / "machines" / "juwels-booster.yaml").read_text().count("\ncalibration:") == 1


def test_a_dry_run_prints_the_block_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    done = cli("calibrate", "juwels-booster", "--from", _as_if_measured(tmp_path, "juwels-booster", 1.0), "--dry-run")
    assert yaml.safe_load(done.stdout)["calibration"]["constants"]["matmul"] > 0.3
    assert not (tmp_path / "machines").exists()


def test_nothing_measured_is_said(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    done = cli("calibrate", "juwels-booster")
    assert done.returncode == 2
    assert (
        "runs: nothing was measured on juwels-booster; measure with: hpcscale probe --machine juwels-booster"
        in done.stderr
    )
    assert cli("calibrate", "juwels-booster", "--from", "nowhere").returncode == 2


def test_a_ragged_table_calibrates_nothing(cli: Cli, write: Callable[[str, str], Path], tmp_path: Path) -> None:
    write("in.csv", f"{HEADER}\n{GOOD},extra\n")
    done = cli("calibrate", "juwels-booster", "--from", "in.csv")
    assert done.returncode == 2
    assert "in.csv:2:1: the row has 19 cells, the header 18 columns" in done.stderr
    assert not (tmp_path / "machines").exists()


def test_a_block_changes_no_other_line_of_a_profile() -> None:
    from hpcscale.spec.machine import Calibration

    block = Calibration(date="2026-01-01", source="a: b # c", constants={"matmul": 0.5, "latency": 1e-05})
    text = "name: x\ncalibration:\n  date: old\n  rows:\n    - {a: 1}\n\nnodes: 4 # keep\n"
    found = with_block(text, block)
    assert found.startswith("name: x\ncalibration:") and found.endswith("nodes: 4 # keep\n")
    assert "old" not in found
    assert with_block(found, block) == found


def _as_if_measured(folder: Path, system: str, factor: float) -> Path:
    """Six configurations whose times are the model's own, times a factor."""
    from hpcscale.cost.tables import predict_rows

    names = HEADER.split(",")
    made = []
    for hidden, gpus in ((2048, 8), (2048, 16), (4096, 8), (4096, 32), (1024, 4), (1024, 16)):
        row = dict(zip(names, GOOD.split(","), strict=True))
        row |= {
            "system": system,
            "hidden": str(hidden),
            "gpus": str(gpus),
            "dp": str(gpus),
            "nodes": str(gpus // 4),
            "gpu_type": "a100_40gb",
        }
        (found,) = predict_rows([row], use_calibrations=False)
        made.append({**row, "sec_per_iter": str((found.seconds or 0) * factor)})
    path = folder / "measured.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(made)
    return path
