"""What a point's state is called, by everything that a scheduler, a record and an exit code can say together."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.jobs import ledger, progress
from hpcscale.jobs.schedulers.pjm import rows
from hpcscale.jobs.schedulers.slurm import _read_accounts, _read_queue, word_of
from hpcscale.jobs.status import StudyStatus, status
from hpcscale.record import outcome, reader
from hpcscale.spec import study
from hpcscale.spec.expand import expand
from hpcscale.spec.point import Point

STUDY = """\
name: one
model: tiny-gpt
training: {sequence_length: 32, global_batch_size: 8, precision: fp32}
job: {time: 00:10:00}
machines: {%s: {layout: {dp: 1}}}
protocol: {warmup_steps: 1, measured_steps: 2}
"""


class Login:
    """A login node whose scheduler's commands print what a test says."""

    def __init__(self, folder: Path, machine: str):
        self.folder = folder
        (folder / "one.yaml").write_text(STUDY % machine)
        (self.point,) = expand(study.read(str(folder / "one.yaml"))).points
        self.runs = folder / "runs/one"
        self.runs.mkdir(parents=True)
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.submitted("77")

    def submitted(self, job: str, **more: object) -> None:
        point: Point = self.point
        line = {"kind": "submitted", "point": point.identity, "hash": point.hash, "job": job, "time": time.time() - 300}
        ledger.append(self.runs, [{**line, "user": "me", "scheduler": point.machine.scheduler, **more}])

    def prints(self, command: str, text: str, code: int = 0) -> None:
        path = self.bin / command
        stream = "" if code == 0 else " >&2"
        path.write_text(f"#!/bin/sh\ncat{stream} <<'END'\n{text}\nEND\nexit {code}\n")
        path.chmod(0o755)

    def record(self, *lines: dict[str, object], job: str = "77.0") -> Path:
        attempt = self.runs / self.point.identity / "attempts" / job
        attempt.mkdir(parents=True)
        first = {"schema": "run", "time": 1.0, "point": self.point.document()}
        (attempt / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (first, *lines)))
        return attempt

    def status(self) -> StudyStatus:
        return status([self.point], self.runs)

    def state(self) -> tuple[str, str]:
        (found,) = self.status().points
        return found.word, found.detail


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Login]:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return lambda machine: Login(tmp_path, machine)


@pytest.fixture
def juwels(login: Callable[[str], Login]) -> Login:
    made = login("juwels-booster")
    made.prints("squeue", "")
    made.prints("sacct", "")
    return made


@pytest.fixture
def fugaku(login: Callable[[str], Login]) -> Login:
    return login("fugaku")


STEP = {"schema": "step", "step": 1, "step_seconds": 0.5, "loss": 4.0, "tokens": 10}
SUMMARY = {"schema": "summary", "time": 2.0, "steps": 3}


def failure(kind: str, evidence: str = "because") -> dict[str, object]:
    return {"schema": "failure", "time": 2.0, "kind": kind, "evidence": evidence}


@pytest.mark.parametrize(
    ("accounts", "word", "said"),
    [
        ("77|COMPLETED|0:0|00:01|x|None", "failed", "the record stops"),
        ("77|FAILED|1:0|00:01|x|None", "failed", "exit code 1"),
        ("77|CANCELLED by 1000|0:0|00:01|x|None", "cancelled", "CANCELLED by 1000"),
        ("77|TIMEOUT|0:0|00:01|x|None", "timeout", "TIMEOUT"),
        ("77|DEADLINE|0:0|00:01|x|None", "timeout", "DEADLINE"),
        ("77|OUT_OF_MEMORY|0:125|00:01|x|None", "oom", "OUT_OF_MEMORY"),
        ("77|FAILED|1:0|00:01|x|None\n77.0|OUT_OF_MEMORY|0:125|00:01|x|", "oom", "FAILED"),
        ("77|FAILED|137:0|00:01|x|None", "oom", "killed (137)"),
        ("77|FAILED|1:0|00:01|x|None\n77.batch|FAILED|1:0|||\n77.0|FAILED|0:9|00:01|x|", "oom", "killed (137)"),
        ("77|NODE_FAIL|0:0|00:01|x|None", "node", "NODE_FAIL"),
        ("77|BOOT_FAIL|0:0|00:01|x|None", "node", "BOOT_FAIL"),
        ("77|PREEMPTED|0:0|00:01|x|None", "preempted", "PREEMPTED"),
    ],
)
def test_slurms_words_for_an_end(juwels: Login, accounts: str, word: str, said: str) -> None:
    juwels.record(STEP)
    juwels.prints("sacct", accounts)
    found, detail = juwels.state()
    assert (found, said in detail) == (word, True), detail
    juwels.prints("squeue", "", code=1)
    juwels.prints("sacct", "", code=1)
    assert juwels.state() == (found, detail), "the ledger remembers, and nobody is asked again"


def test_a_lost_last_line_is_noted_beside_the_record_for_reports_and_later_attempts(juwels: Login) -> None:
    attempt = juwels.record(STEP)
    juwels.prints("sacct", "77|OUT_OF_MEMORY|0:125|00:01|x|None")
    juwels.state()
    assert reader.read(attempt / "record.jsonl").status == "oom"
    assert outcome.read(attempt) == {"kind": "oom", "evidence": "scheduler: OUT_OF_MEMORY"}


@pytest.mark.parametrize(
    ("kind", "accounts", "word"),
    [
        ("oom", "77|FAILED|1:0|00:01|x|None", "oom"),  # CUDA's, caught by the trainer
        ("nan", "77|FAILED|1:0|00:01|x|None", "failed"),
        ("error", "77|FAILED|1:0|00:01|x|None", "failed"),
        ("timeout", "77|FAILED|75:0|00:01|x|None", "timeout"),
        ("preempted", "77|CANCELLED by 0|0:0|00:01|x|None", "cancelled"),  # SIGTERM of scancel
        ("node", "77|OUT_OF_MEMORY|0:125|00:01|x|None", "oom"),  # a peer was lost: by the kernel
        ("node", "77|FAILED|137:0|00:01|x|None", "oom"),
        ("node", "77|FAILED|1:0|00:01|x|None", "node"),
    ],
)
def test_record_and_scheduler_together(juwels: Login, kind: str, accounts: str, word: str) -> None:
    juwels.record(STEP, failure(kind))
    juwels.prints("sacct", accounts)
    assert juwels.state()[0] == word


@pytest.mark.parametrize("end", ["FAILED|1:0", "TIMEOUT|0:0", "NODE_FAIL|0:0", "CANCELLED by 0|0:0"])
def test_a_completed_record_is_believed_whatever_came_afterwards(juwels: Login, end: str) -> None:
    juwels.record(STEP, SUMMARY)
    juwels.prints("sacct", f"77|{end}|00:01|x|None")
    assert juwels.state()[0] == "completed"


def test_waiting_jobs_say_why_and_until_when(juwels: Login) -> None:
    juwels.prints("squeue", "77|PENDING|0:00|10:00|2026-11-22T08:00:00|(Resources) | odd")
    assert juwels.state() == ("queued", "(Resources) | odd; expected 2026-11-22T08:00:00")
    juwels.prints("squeue", "77|RUNNING|1:00|9:00|2026-11-22T08:00:00|None")
    assert juwels.state() == ("running", "9:00 left")


def test_without_accounting_queue_and_records_suffice(juwels: Login) -> None:
    juwels.prints("sacct", "Slurm accounting storage is disabled", code=1)
    juwels.prints("squeue", "77|TIMEOUT|1:00|0:00|x|TimeLimit")
    assert juwels.state()[0] == "timeout"
    juwels.submitted("78")
    found = juwels.status()
    assert found.points[0].word == "missing"
    assert any("no accounting" in note for note in found.notes)
    juwels.record(STEP, failure("nan", "the loss of step 2 is nan"), job="78.0")
    assert juwels.state() == ("failed", "the loss of step 2 is nan")


def test_an_unreachable_scheduler_is_no_end_of_anything(juwels: Login) -> None:
    juwels.record(STEP)
    juwels.prints("squeue", "slurm_load_jobs error: Unable to contact slurm controller", code=1)
    found = juwels.status()
    assert not found.reachable
    assert found.points[0].word == "unknown"
    assert "Unable to contact" in found.notes[0]
    assert not found.settled


def test_a_job_that_was_just_submitted_is_not_missing_yet(juwels: Login) -> None:
    juwels.submitted("78", time=time.time())
    assert juwels.state() == ("queued", "just submitted")


def test_a_job_that_asked_to_go_on_is_waited_for(juwels: Login) -> None:
    attempt = juwels.record(STEP, failure("timeout"))
    juwels.prints("sacct", "77|FAILED|75:0|00:01|x|None")
    (attempt / outcome.WISH).write_text("timeout\n")
    assert juwels.state()[0] == "queued"
    os.utime(attempt / outcome.WISH, (1, 1))
    assert juwels.state()[0] == "timeout", "but not for ever"


PJSTAT = "H,JOB_ID,ST,EC,PC,SN,REASON,START_DATE,ELAPSE_TIM,ELAPSE_LIM"


@pytest.mark.parametrize(
    ("row", "word", "said"),
    [
        (",77,QUE,-,-,-,-,(11/22 08:00),-,0001:00:00", "queued", "11/22"),
        (",77,RUN,-,-,-,-,11/22 08:00:00,0000:00:10,0001:00:00", "running", ""),
        (",77,HLD,0,4,-,-,-,-,-", "held", ""),
        (",77,EXT,0,0,-,-,-,-,-", "failed", "the record stops"),
        (",77,EXT,3,0,-,-,-,-,-", "failed", "exit code 3"),
        (",77,EXT,0,11,24,ELAPSE LIMIT EXC,-,-,-", "timeout", "PJM code 11"),
        (",77,EXT,0,12,-,-,-,-,-", "oom", "PJM code 12"),
        (",77,EXT,0,23,-,-,-,-,-", "oom", "PJM code 23"),
        (",77,EXT,137,0,-,-,-,-,-", "oom", "killed (137)"),
        (",77,EXT,0,0,9,-,-,-,-", "oom", "killed (137)"),
        (",77,EXT,0,20,-,NODE DOWN,-,-,-", "node", "PJM code 20"),
        (",77,EXT,0,18,-,ANOTHER JOB STAR,-,-,-", "preempted", "PJM code 18"),
        (",77,CCL,0,1,-,-,-,-,-", "cancelled", "pjdel"),
        (",77,RJT,0,2,-,-,-,-,-", "failed", "RJT"),
    ],
)
def test_pjms_words(fugaku: Login, row: str, word: str, said: str) -> None:
    fugaku.record(STEP)
    fugaku.prints("pjstat", f"{PJSTAT}\n{row}")
    found, detail = fugaku.state()
    assert (found, said in detail) == (word, True), detail


def test_states_that_a_later_slurm_invents_count_as_running() -> None:
    assert word_of("CANCELLED by 1000") == "cancelled"
    assert word_of("EXPEDITING") == "running"


@given(text=st.text(st.characters(codec="utf-8")) | st.from_regex(r"(\d{1,4}\|[A-Z]{0,12}\|?.{0,30}\n){0,5}"))
def test_no_answer_of_a_scheduler_breaks_its_reader(text: str) -> None:
    list(_read_queue(text))
    _read_accounts(text)
    rows(text)


@given(raw=st.binary(max_size=300) | st.text().map(str.encode))
def test_a_damaged_ledger_or_record_is_read_as_far_as_it_goes(
    raw: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    (folder / ledger.LEDGER).write_bytes(raw)
    before = ledger.read(folder)
    good = {"kind": "submitted", "point": "p", "hash": "h", "job": "1", "time": 1.0}
    ledger.append(folder, [good])
    after = ledger.read(folder)
    assert "1" in after.jobs, "a line that is added after a cut one stands on its own"
    assert len(after.jobs) <= len(before.jobs) + 1
    (folder / "record.jsonl").write_bytes(raw)
    progress.progress(folder)
