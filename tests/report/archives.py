"""Archives for tests: of a rendered study with records as a person's jobs write them, whole and tampered with."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from hpcscale.report.bundle.verify import verify
from hpcscale.spec.problems import InputError

STUDY = """name: s
model: tiny-gpt
training: {sequence_length: 128, global_batch_size: 8, micro_batch_size: 1, precision: bf16}
job: {time: "01:00:00", mail_user: jane@example.org}
machines: {juwels-booster: {sweep: {product: {dp: [4, 8]}}}}
protocol: {warmup_steps: 2, measured_steps: 3}
"""
HOME = "/p/home/jusers/doe1/juwels"
SECRETS = (b"projq17", b"doe1", b"jane@example.org", b"jwb0123", b"/p/home", b"/p/scratch/projq17")


def call(folder: Path, *arguments: str) -> CompletedProcess[str]:
    environment = {**os.environ, "HPCSCALE_CONFIG_HOME": str(folder / "configuration"), "COLUMNS": "140"}
    command = [sys.executable, "-m", "hpcscale", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def refused(path: Path, most_bytes: int = 10**9) -> str:
    with pytest.raises(InputError) as error:
        verify(path, most_bytes)
    return str(error.value)


def write_record(point: Path, seconds: float, last_host: str) -> None:
    attempt = point / "attempts/77.0"
    attempt.mkdir(parents=True)
    environment = {
        "SLURM_JOB_ACCOUNT": "projq17",
        "SLURM_JOB_USER": "doe1",
        "HPCSCALE_ATTEMPT": str(attempt),
        "OMP_NUM_THREADS": "6",
    }
    run = {
        "time": 1.0, "point": json.loads((point / "point.json").read_text()), "versions": {}, "hosts": ["jwb0123", "jwb0124"],
        "ranks": 4, "device": "d", "backend": "b", "environment": environment,
    }  # fmt: skip
    lines: list[dict[str, Any]] = [{"schema": "run", **run}]
    lines += [{"schema": "step", "step": i, "step_seconds": seconds, "loss": 5.0, "tokens": 1024} for i in range(1, 6)]
    lines.append(
        {"schema": "summary", "time": 9, "steps": 5, "wall_seconds": 1, "peak_memory_bytes": 1, "host": last_host}
    )
    (attempt / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (attempt / "outcome.json").write_text(
        json.dumps({"kind": "node", "evidence": f"doe1: {HOME}/x died on {last_host.partition('.')[0]}"}) + "\n"
    )


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def write_archive(path: Path, files: dict[str, bytes], members: tuple[tarfile.TarInfo, ...] = ()) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in members:
            tar.addfile(info)


def changed(archive: Path, path: Path, edits: dict[str, tuple[bytes, bytes]], rehash: bool = False) -> None:
    """The archive with replaced bytes; ``rehash``: by somebody who also knows the manifest."""
    files = contents(archive)
    for name, (old, new) in edits.items():
        assert old in files[name], name
        files[name] = files[name].replace(old, new)
    if rehash:
        manifest = json.loads(files["manifest.json"])
        for name in edits:
            manifest["files"][name] = {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])}
        files["manifest.json"] = json.dumps(manifest).encode()
    write_archive(path, files)


def record_of(archive: Path) -> str:
    return next(name for name in contents(archive) if name.endswith("record.jsonl"))


def make(folder: Path, last_host: str = "jwb0123") -> None:
    """A rendered study with an account, a record of each point as a person's job writes it, and its archive, s.tar.gz."""
    (folder / "studies").mkdir()
    (folder / "studies/s.yaml").write_text(STUDY)
    done = call(folder, "render", "s", "--set", "account=projq17", "--set", f"environment.venv={HOME}/venv")
    assert done.returncode == 0, done.stderr
    for number, point in enumerate(sorted((folder / "runs/s").glob("dp*"))):
        write_record(point, 2.0 - number / 2, last_host)
    done = call(folder, "bundle", "s")
    assert done.returncode == 0, done.stderr
