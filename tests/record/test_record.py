"""Writing and reading records: whatever is cut off, the rest stays readable."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcscale.record.attempt import attempt_folder, attempt_name, attempts
from hpcscale.record.reader import Follower, read
from hpcscale.record.schema import FAILURES
from hpcscale.record.writer import RecordWriter, step_line

RUN = {"point": {"hash": "0"}, "versions": {}, "hosts": ["n"], "ranks": 1, "device": {}, "backend": "none"}


def write(path: Path, steps: int = 3, end: str = "summary") -> None:
    with RecordWriter(path) as record:
        record.run(**RUN)
        for step in range(1, steps + 1):
            record.step(step=step, step_seconds=0.1 * step, loss=2.0 / step, tokens=8)
        if end == "summary":
            record.summary(steps=steps, wall_seconds=1.0, peak_memory_bytes=1)
        elif end:
            record.failure(end, "because")  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["summary", "", *FAILURES])
def test_what_is_written_is_read(end: str, tmp_path: Path) -> None:
    write(tmp_path / "record.jsonl", end=end)
    record = read(tmp_path / "record.jsonl")
    assert [step["step"] for step in record.steps] == [1, 2, 3]
    assert record.point == {"hash": "0"}
    assert record.status == {"summary": "completed", "": "unfinished"}.get(end, end)
    assert record.damaged_lines == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 900))
def test_a_record_cut_off_anywhere_keeps_its_whole_lines(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.unlink(missing_ok=True)
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    record = read(path)
    lines = whole[:cut].count(b"\n")
    assert len(record.steps) >= min(max(lines - 1, 0), 3)
    assert record.damaged_lines <= 1
    # Whoever goes on writing does so on a line of their own.
    with RecordWriter(path) as writer:
        writer.failure("node", "lost")
    assert read(path).status == "node"


def test_numbers_that_json_cannot_hold_survive(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    with RecordWriter(path) as record:
        record.step(step=1, step_seconds=0.1, loss=math.nan, tokens=8)
        record.step(step=2, step_seconds=0.1, loss=-math.inf, tokens=8)
    first, second = read(path).steps
    assert math.isnan(first["loss"])
    assert second["loss"] == -math.inf


def test_a_line_without_its_keys_or_with_an_unknown_failure_is_refused(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "record.jsonl") as record:
        with pytest.raises(ValueError, match="a step line needs step_seconds, tokens"):
            record.step(step=1, loss=1.0)
        with pytest.raises(ValueError, match="'tired' is no failure; valid: oom"):
            record.failure("tired", "x")  # type: ignore[arg-type]
    assert (tmp_path / "record.jsonl").read_text() == ""


def test_a_follower_sees_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    follower = Follower(path)
    assert follower.record().steps == []
    write(path, steps=2, end="")
    with path.open("a") as file:
        file.write('{"schema": "step", "step": 3,')
    assert [step["step"] for step in follower.record().steps] == [1, 2]
    with path.open("a") as file:
        file.write(' "step_seconds": 1, "loss": 1, "tokens": 1}\n')
    assert [step["step"] for step in follower.record().steps] == [1, 2, 3]
    assert [step["step"] for step in follower.record().steps] == [1, 2, 3]


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"SLURM_JOB_ID": "12"}, "12.0"),
        ({"SLURM_JOB_ID": "12", "SLURM_RESTART_COUNT": "2"}, "12.2"),
        ({"PJM_JOBID": "7", "PJM_SUBJOBID": "7[3]"}, "7_3_.0"),
    ],
)
def test_an_attempt_is_named_by_job_and_restart(environment: dict[str, str], name: str) -> None:
    assert attempt_name(environment) == name


def test_the_job_script_says_where_an_attempt_writes(tmp_path: Path) -> None:
    assert attempt_folder(tmp_path, {"HPCSCALE_ATTEMPT": "/x/1.0"}) == Path("/x/1.0")
    assert attempt_folder(tmp_path, {"SLURM_JOB_ID": "1"}) == tmp_path / "attempts" / "1.0"


def test_attempts_come_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    for name in ("9.0", "10.0", "9.1"):
        write(tmp_path / "attempts" / name / "record.jsonl")
    (tmp_path / "attempts" / "11.0").mkdir()
    assert [folder.name for folder in attempts(tmp_path)] == ["9.0", "10.0", "9.1"]


@settings(max_examples=50, deadline=None)  # each is on the disk
@given(
    st.dictionaries(
        st.sampled_from(["averaged_steps", "gradient_norm", "tflops_per_device_published", "peak_memory_bytes"]),
        st.none() | st.integers(-(10**20), 10**20) | st.floats(),
    ),
    st.floats() | st.none(),
)
def test_a_step_made_for_copying_is_the_line_that_the_writer_writes(
    others: dict[str, float | None], loss: float | None
):
    values = {"step": 3, "step_seconds": 0.5, "loss": loss, "tokens": None, **others}
    with tempfile.TemporaryDirectory() as folder:
        with RecordWriter(Path(folder) / "a") as writer:
            writer.step(**values)
        with RecordWriter(Path(folder) / "b") as writer:
            writer.copy([step_line(values)])
        assert (Path(folder) / "b").read_bytes() == (Path(folder) / "a").read_bytes()


def test_a_step_without_what_a_step_has_is_refused():
    with pytest.raises(ValueError, match="a step line needs tokens"):
        step_line({"step": 1, "step_seconds": 1.0, "loss": 2.0})
