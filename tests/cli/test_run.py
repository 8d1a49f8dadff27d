"""`hpcscale run`: real training of a tiny model on this computer, failures and Ctrl-C included."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcscale.record.reader import read

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]

STUDY = """\
name: s
model: {base: tiny-gpt, layers: 1, hidden: 64, heads: 2}
training: {sequence_length: 32, global_batch_size: 8, micro_batch_size: 4, precision: fp32}
scaling: strong
job: {time: 00:05:00}
machines: {local: {sweep: {product: {dp: [1, 2]}}}}
protocol: {warmup_steps: 1, measured_steps: 4}
"""


def records(folder: Path) -> dict[str, list[str]]:
    """Statuses of every attempt by point."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("runs/s/*/attempts/*/record.jsonl")):
        found.setdefault(path.parent.parent.parent.name.split("-")[0], []).append(read(path).status)
    return found


def test_each_point_trains_once_and_the_table_has_its_row(cli: Cli, write: Write, tmp_path: Path) -> None:
    write("s.yaml", STUDY)
    first = cli("run", "s.yaml", "--json")
    assert first.returncode == 0, first.stderr
    rows = json.loads(first.stdout)
    rows = rows["rows"] if isinstance(rows, dict) else rows
    assert [(row["devices"], row["status"], row["measured_steps"]) for row in rows] == [
        (1, "completed", 4),
        (2, "completed", 4),
    ]
    assert all(row["loss_last"] < row["loss_first"] for row in rows)
    assert rows[1]["efficiency_kind"] == "strong"
    again = cli("run", "s.yaml")
    assert again.returncode == 0
    assert "has completed before" in again.stderr
    assert records(tmp_path) == {"dp1": ["completed"], "dp2": ["completed"]}


def test_a_point_that_fails_is_a_row_and_stops_no_other(cli: Cli, write: Write, tmp_path: Path) -> None:
    sweep = "sweep: {product: {init_std: [1e20, 0.02]}}"
    write("s.yaml", STUDY.replace("sweep: {product: {dp: [1, 2]}}", sweep))
    done = cli("run", "s.yaml")
    assert done.returncode == 1
    assert "failed: nan" in done.stderr
    assert sorted(status for found in records(tmp_path).values() for status in found) == ["completed", "nan"]
    assert "Status" in done.stdout


def test_a_time_limit_ends_the_point_as_a_timeout(cli: Cli, write: Write, tmp_path: Path) -> None:
    text = (
        STUDY.replace("[1, 2]", "[1]")
        .replace("00:05:00", "15s")
        .replace("measured_steps: 4", "measured_steps: 1000000")
    )
    write("s.yaml", text)
    done = cli("run", "s.yaml")
    assert done.returncode == 1
    assert [status for found in records(tmp_path).values() for status in found] == ["timeout"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_ends_everything_that_was_started(number: int, write: Write, tmp_path: Path) -> None:
    write("s.yaml", STUDY.replace("[1, 2]", "[2]").replace("measured_steps: 4", "measured_steps: 1000000"))
    command = [sys.executable, "-m", "hpcscale", "run", "s.yaml"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not any(read(path).steps for path in tmp_path.glob("runs/s/*/attempts/*/record.jsonl")):
            assert time.monotonic() < deadline, "no step was recorded"
            time.sleep(0.2)
        process.send_signal(number)
        assert process.wait(60) != 0
    mine = str(tmp_path).encode()
    left = [
        pid for pid in (path.name for path in Path("/proc").iterdir()) if pid.isdigit() and mine in _command_line(pid)
    ]
    assert left == []
    assert [status for found in records(tmp_path).values() for status in found] == ["preempted"]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
