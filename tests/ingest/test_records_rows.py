"""Records of runs as rows: written here by hand, in every state that a run can leave them in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcscale.ingest import records, schema
from hpcscale.spec.problems import InputError

TOKENS = 8 * 4096
Write = Callable[..., Path]


def only_row(folder: Path, convention: str | None = None) -> dict[str, Any]:
    (row,) = schema.rows(records.read(folder, convention))
    return row


def test_a_completed_run_gives_the_median_after_warm_up(tmp_path: Path, write_run: Write):
    write_run(tmp_path, [90.0, 80.0, 2.0, 1.0, 4.0])
    row = only_row(tmp_path)
    assert row["status"] == "completed"
    assert (row["step_seconds"], row["step_seconds_low"], row["step_seconds_high"]) == (2.0, 1.0, 4.0)
    assert (row["measured_steps"], row["repeats"]) == (3, 1)
    assert row["tokens_per_second"] == TOKENS / 2
    assert row["tokens_per_second_per_device"] == TOKENS / 4
    assert (row["loss_first"], row["loss_last"]) == (4.0, 0.0)
    assert (row["peak_memory_bytes"], row["memory_kind"]) == (2000, "allocated")
    assert (row["gradient_accumulation"], row["resources"]) == (2, "freq=2000,eco_state=0")


def test_a_traced_step_is_not_measured(tmp_path: Path, write_run: Write):
    attempt = write_run(tmp_path, [90.0, 80.0, 2.0, 9.0, 4.0])
    lines = [json.loads(line) for line in (attempt / "record.jsonl").read_text().splitlines()]
    lines[4]["traced"] = {"send_seconds": 0.1, "overlapped_send_seconds": 0.0}
    (attempt / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    row = only_row(tmp_path)
    assert (row["step_seconds"], row["measured_steps"]) == (3.0, 2)


def test_measured_rates_are_palm_full_unless_asked_otherwise(tmp_path: Path, write_run: Write):
    write_run(tmp_path, [1.0, 1.0, 100.0, 100.0, 100.0])
    row = only_row(tmp_path)
    assert row["flops_convention"] == "palm-full"
    assert row["tflops_per_device"] == pytest.approx(46.0865e9 * TOKENS / 200 / 1e12, rel=1e-5)
    assert row["mfu"] == pytest.approx(row["tflops_per_device"] / 312)
    assert row["hfu"] == pytest.approx(row["mfu"] * 4 / 3)
    other = only_row(tmp_path, "picotron")
    assert other["flops_convention"] == "6N"
    assert other["flops_per_token"] == pytest.approx(46.8729e9, rel=1e-5)


def test_utilisation_above_one_is_named_and_never_shown(tmp_path: Path, write_run: Write):
    write_run(tmp_path, [1.0, 1.0, 0.01, 0.01, 0.01])
    row = only_row(tmp_path)
    assert row["mfu"] is None and row["hfu"] is None
    assert "MFU would be 24" in row["note"] and "check peak" in row["note"]


def test_without_a_peak_there_is_no_mfu(tmp_path: Path, write_run: Write):
    write_run(tmp_path, [1.0, 1.0, 1.0], device={"name": "cpu-core", "kind": "cpu", "peak_tflops": None})
    row = only_row(tmp_path)
    assert row["mfu"] is None and row["tflops_per_device"] is not None and row["memory_kind"] == "resident"


@pytest.mark.parametrize("kind", ["oom", "timeout", "preempted", "node", "nan", "error"])
def test_a_failure_is_a_row_with_its_word_and_evidence(tmp_path: Path, write_run: Write, kind: str):
    write_run(tmp_path, [1.0], end=kind)
    row = only_row(tmp_path)
    assert (row["status"], row["note"], row["step_seconds"]) == (kind, "what the log says", None)
    assert row["peak_memory_bytes"] == 1001


def test_a_record_that_was_cut_off_is_unfinished_and_keeps_its_steps(tmp_path: Path, write_run: Write):
    write_run(tmp_path, [9.0, 9.0, 8.0, 8.0], end="", tail='{"schema": "step", "step": 5, "step_sec')
    row = only_row(tmp_path)
    assert (row["status"], row["step_seconds"]) == ("unfinished", 8.0)
    assert row["note"] == "1 line of the record cannot be read"


def test_a_point_without_attempt_is_missing(tmp_path: Path, write_run: Write):
    attempt = write_run(tmp_path, [])
    (attempt / "record.jsonl").unlink()
    row = only_row(tmp_path)
    assert (row["status"], row["step_seconds"], row["model"]) == ("missing", None, "llama2-7b")


def test_a_point_json_that_is_no_json_is_a_row_too(tmp_path: Path):
    folder = tmp_path / "s" / "dp2"
    folder.mkdir(parents=True)
    (folder / "point.json").write_text("{")
    row = only_row(tmp_path)
    assert row["status"] == "unreadable" and "is no JSON" in row["note"]


def test_a_loss_that_is_no_number_is_empty_and_said(tmp_path: Path, write_run: Write):
    attempt = write_run(tmp_path, [10.0] * 4)
    record = attempt / "record.jsonl"
    record.write_text(
        record.read_text().replace('"loss": 2.0', '"loss": "nan"').replace('"loss": 1.0', '"loss": "nan"')
    )
    row = only_row(tmp_path)
    assert row["note"] == "the loss is not a number from step 3 on"
    assert (row["loss_first"], row["loss_last"]) == (4.0, None)


def test_the_newest_completed_attempt_counts(tmp_path: Path, write_run: Write):
    write_run(tmp_path, [1.0, 1.0, 5.0], name="10.0", started=10.0)
    for name, started, end, seconds in (("7.0", 30.0, "oom", 6.0), ("8.0", 20.0, "summary", 7.0)):
        other = write_run(tmp_path / "elsewhere", [1.0, 1.0, seconds], name=name, started=started, end=end)
        other.rename(tmp_path / "s" / "dp2" / "attempts" / name)
        (tmp_path / "elsewhere" / "s" / "dp2" / "point.json").unlink()
        for folder in ("attempts", "", ".."):
            (tmp_path / "elsewhere" / "s" / "dp2" / folder).resolve().rmdir()
    row = only_row(tmp_path / "s")
    assert (row["attempt"], row["status"], row["step_seconds"]) == ("8.0", "completed", 7.0)


def test_repeats_become_one_row_with_the_median_over_runs(tmp_path: Path, write_run: Write):
    for repeat, seconds in enumerate([2.0, 8.0, 3.0], 1):
        # many steps in one run must not outvote the others
        steps = [1.0, 1.0] + [seconds] * (1 + 50 * (repeat == 2))
        write_run(tmp_path, steps, point=f"dp2-repeat{repeat}", hash=f"0000000{repeat}", repeat=repeat)
    row = only_row(tmp_path)
    assert (row["repeats"], row["step_seconds"]) == (3, 3.0)
    assert (row["step_seconds_low"], row["step_seconds_high"]) == (2.0, 8.0)


def test_a_failed_repeat_is_said_and_not_averaged(tmp_path: Path, write_run: Write):
    write_run(tmp_path, [1.0, 1.0, 4.0], point="a", repeat=1)
    write_run(tmp_path, [1.0, 1.0, 9.0], point="b", repeat=2, end="timeout")
    row = only_row(tmp_path)
    assert (row["status"], row["repeats"], row["step_seconds"]) == ("completed", 1, 4.0)
    assert row["note"] == "1 of 2 repeats: timeout"


def test_runs_study_point_and_attempt_folders_all_mean_their_runs(tmp_path: Path, write_run: Write):
    attempt = write_run(tmp_path, [1.0, 1.0, 4.0])
    for folder in (attempt, attempt.parent.parent, tmp_path / "s", tmp_path):
        assert only_row(folder)["step_seconds"] == 4.0


def test_a_folder_without_runs_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds no run"):
        records.read(tmp_path)


@pytest.mark.parametrize(
    "change", [{"layout": [1]}, {"nodes": "many"}, {"training": {"global_batch_size": "x", "sequence_length": 3}}]
)
def test_a_description_of_another_kind_hides_no_other_row(tmp_path: Path, write_run: Write, change: dict[str, Any]):
    write_run(tmp_path, [1.0, 1.0, 40.0])
    write_run(tmp_path, [1.0, 1.0, 40.0], point="odd", **change)
    found = schema.rows(records.read(tmp_path))
    assert len(found) == 2
    assert [row["tokens_per_second"] for row in found if row["point"] == "dp2"] == [TOKENS / 40]
