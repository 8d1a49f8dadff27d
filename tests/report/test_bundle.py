"""Archives: the same bytes again, nothing personal inside, and a report that follows from the records."""

from __future__ import annotations

import gzip
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

from hpcscale.report.bundle.scrub import Scrubber
from hpcscale.report.bundle.verify import verify
from hpcscale.spec.job import Settings
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered study with an account, a record of each point as a person's job writes it, and its archive, s.tar.gz."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "studies").mkdir()
    (folder / "studies/s.yaml").write_text(STUDY)
    done = call(folder, "render", "s", "--set", "account=projq17", "--set", f"environment.venv={HOME}/venv")
    assert done.returncode == 0, done.stderr
    for number, point in enumerate(sorted((folder / "runs/s").glob("dp*"))):
        write_record(point, seconds=2.0 - number / 2)
    done = call(folder, "bundle", "s")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def archive(made: Path) -> Path:
    return made / "s.tar.gz"


def refused(path: Path, most_bytes: int = 10**9) -> str:
    with pytest.raises(InputError) as error:
        verify(path, most_bytes)
    return str(error.value)


def write_record(point: Path, seconds: float) -> None:
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
        {"schema": "summary", "time": 9, "steps": 5, "wall_seconds": 1, "peak_memory_bytes": 1, "host": "jwb0123"}
    )
    (attempt / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (attempt / "outcome.json").write_text(
        json.dumps({"kind": "node", "evidence": f"doe1: {HOME}/x died on jwb0123"}) + "\n"
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


# What is in it


def test_it_holds_specs_scripts_records_report_and_hashes_of_all(archive: Path):
    files = contents(archive)
    kinds = {Path(name).name for name in files}
    assert kinds == {
        "manifest.json", "s.yaml", "juwels-booster.yaml", "point.json", "job.sh", "record.jsonl", "outcome.json", "report.csv",
        "report.json", "report.md",
    }  # fmt: skip
    manifest = json.loads(files["manifest.json"])
    hashes = {name: each["sha256"] for name, each in manifest["files"].items()}
    assert hashes == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "manifest.json"
    }
    assert {"hpcscale", "python", "pandas"} <= manifest["versions"].keys()


def test_the_same_runs_give_the_same_bytes(made: Path, archive: Path):
    for path in made.rglob("*"):
        os.utime(path, (1, 1))
    assert call(made, "bundle", "s", "--output", "again.tar.gz").returncode == 0
    assert (made / "again.tar.gz").read_bytes() == archive.read_bytes()


def test_no_owner_and_no_time_is_in_it(archive: Path):
    with tarfile.open(archive) as tar:
        assert {(each.uid, each.gid, each.uname, each.gname, each.mtime) for each in tar} == {(0, 0, "", "", 0)}


def test_no_account_person_host_home_or_folder_is_in_it(made: Path, archive: Path):
    files = contents(archive)
    everything = b"\n".join(files.values()) + "\n".join(files).encode()
    for secret in (*SECRETS, str(made).encode(), str(Path.home()).encode() + b"/"):
        assert secret not in everything, secret


def test_scripts_have_placeholders_and_the_manifest_counts_them(archive: Path):
    files = contents(archive)
    script = next(content for name, content in files.items() if name.endswith("job.sh")).decode()
    assert "#SBATCH --account=<account>" in script and "<folder>/runs/s/" in script
    replaced = json.loads(files["manifest.json"])["replaced"]
    assert replaced["<account>"]["what"] == "account that jobs are charged to" and replaced["<account>"]["times"] >= 2
    assert "projq17" not in json.dumps(replaced)


def test_hosts_stay_distinct(archive: Path):
    run = json.loads(contents(archive)[record_of(archive)].splitlines()[0])
    assert run["hosts"] == ["node1", "node2"] and run["environment"]["OMP_NUM_THREADS"] == "6"


def test_what_was_run_keeps_its_words_even_if_an_account_is_called_so():
    scrubber = Scrubber()
    scrubber.learn_settings(Settings(account="llama2", volumes=("/vol0004",)))
    line = {
        "schema": "run",
        "point": {"model": {"name": "llama2"}, "data": {"path": "/vol0004/x"}},
        "ranks": 4,
        "note": "llama2",
    }
    (written,) = scrubber.record([json.dumps(line).encode()])
    found = json.loads(written)
    assert (
        found["point"] == {"model": {"name": "llama2"}, "data": {"path": "<volume>/x"}} and found["note"] == "<account>"
    )


def test_pjm_groups_and_mail_of_scripts_are_found_without_settings():
    scrubber = Scrubber()
    script = (
        '#PJM -g hp123456\n#PJM -L "rscgrp=small"\n#SBATCH -A q1\n#SBATCH --mail-user=a.b@c.de\ncd /data/hp123456/x\n'
    )
    scrubber.learn_script(script)
    assert scrubber.script(script) == (
        '#PJM -g <group>\n#PJM -L "rscgrp=small"\n#SBATCH -A <account>\n#SBATCH --mail-user=<mail>\ncd /data/<group>/x\n'
    )


def test_steps_pass_as_they_are():
    raw = b'{"schema": "step", "step": 1, "tokens": 123456}\n'
    scrubber = Scrubber(words={"123456": "<account>"})
    assert list(scrubber.record([raw])) == [raw]


def test_a_study_without_runs_is_refused(tmp_path: Path):
    done = call(tmp_path, "bundle", "quickstart")
    assert done.returncode == 2 and "runs/quickstart holds no run of quickstart" in done.stderr


# What verify says of it


def test_an_untouched_archive_verifies_anywhere_and_leaves_nothing(archive: Path, tmp_path: Path):
    done = call(tmp_path, "verify", str(archive))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same report" in done.stdout and not list(tmp_path.iterdir())


def test_a_changed_record_is_named_with_the_cells_that_no_longer_follow(archive: Path, tmp_path: Path):
    record = record_of(archive)
    changed(archive, tmp_path / "bad.tar.gz", {record: (b'"step_seconds": 2.0', b'"step_seconds": 1.0')})
    done = call(tmp_path, "verify", "bad.tar.gz")
    assert done.returncode == 1
    assert f"{record} has been changed" in done.stdout
    assert "step_seconds: archived 2.0, from the records 1.0" in done.stdout


def test_a_report_that_was_made_better_is_found_though_its_hash_is_right(archive: Path, tmp_path: Path):
    edits = {f"report/report.{form}": (b"0.6666666666666666", b"0.9666666666666666") for form in ("csv", "json")}
    changed(archive, tmp_path / "bad.tar.gz", edits, rehash=True)
    found = verify(tmp_path / "bad.tar.gz", 10**9)
    assert not found.same and not found.damaged
    assert ("efficiency", "0.9666666666666666") in {(cell.column, cell.archived[:18]) for cell in found.cells}


def test_text_that_was_changed_is_found_too(archive: Path, tmp_path: Path):
    changed(archive, tmp_path / "bad.tar.gz", {"report/report.md": (b"tiny-gpt", b"huge-gpt")}, rehash=True)
    found = verify(tmp_path / "bad.tar.gz", 10**9)
    assert not found.same and found.texts == ("md",) and not found.cells


def test_other_versions_are_named_and_are_no_difference(archive: Path, tmp_path: Path):
    version = json.loads(contents(archive)["manifest.json"])["versions"]["pandas"]
    changed(archive, tmp_path / "old.tar.gz", {"manifest.json": (version.encode(), b"0.1.2")})
    found = verify(tmp_path / "old.tar.gz", 10**9)
    assert found.same and found.versions == {"pandas": ("0.1.2", version)}


def test_missing_and_added_files_are_named(archive: Path, tmp_path: Path):
    files = contents(archive)
    script = next(name for name in files if name.endswith("job.sh"))
    del files[script]
    write_archive(tmp_path / "bad.tar.gz", {**files, "extra.txt": b"x"})
    found = verify(tmp_path / "bad.tar.gz", 10**9)
    assert set(found.damaged) == {f"{script} is missing", "extra.txt is not in the manifest"} and not found.same


# What it does not let happen


def link() -> tarfile.TarInfo:
    info = tarfile.TarInfo("runs/link")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


@pytest.mark.parametrize("name", ["../outside", "/tmp/hpcscale-outside", "a/../../outside", "a\\b"])
def test_no_file_leaves_the_folder(name: str, tmp_path: Path):
    write_archive(tmp_path / "bad.tar.gz", {name: b"x"})
    assert "would not be a new file below the archive's folder" in refused(tmp_path / "bad.tar.gz")


def test_links_are_refused(tmp_path: Path):
    write_archive(tmp_path / "bad.tar.gz", {}, (link(),))
    assert "'runs/link' is no plain file" in refused(tmp_path / "bad.tar.gz")


def test_an_archive_that_unpacks_to_too_much_is_stopped(tmp_path: Path):
    write_archive(tmp_path / "bomb.tar.gz", {"zeros": bytes(3_000_000)})
    assert "unpacks to more than 0.000977 GiB; if you trust it, allow more with --max-gib" in refused(
        tmp_path / "bomb.tar.gz", 2**20
    )


def test_a_manifest_cannot_have_this_computers_files_reported(archive: Path, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("model\nsecret\n")
    changed(
        archive,
        tmp_path / "bad.tar.gz",
        {"manifest.json": (b'"runs/s"', json.dumps(str(tmp_path / "mine.csv")).encode())},
    )
    assert "is neither runs nor a table in it" in refused(tmp_path / "bad.tar.gz")


@pytest.mark.parametrize("name", ["text", "cut", "other", "empty", "strange", "absent"])
def test_another_file_is_refused_with_its_name(name: str, archive: Path, tmp_path: Path):
    (tmp_path / "text.tar.gz").write_text("hello")
    (tmp_path / "cut.tar.gz").write_bytes(archive.read_bytes()[:2000])
    (tmp_path / "other.tar.gz").write_bytes(gzip.compress(b"hello"))
    write_archive(tmp_path / "empty.tar.gz", {})
    write_archive(tmp_path / "strange.tar.gz", {"manifest.json": b"[]"})
    assert f"{name}.tar.gz: " in refused(tmp_path / f"{name}.tar.gz")


def test_a_wrong_archive_is_one_sentence_and_exit_code_2(tmp_path: Path):
    done = call(tmp_path, "verify", "absent.tar.gz")
    assert (done.returncode, done.stdout) == (2, "") and "there is no such archive" in done.stderr
