"""Archives: the same bytes again, nothing personal inside, and a report that follows from the records."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import archives
import pytest
from archives import SECRETS, call, changed, contents, record_of, write_archive

from hpcscale.report.bundle.scrub import Scrubber
from hpcscale.report.bundle.verify import compare_tables, verify
from hpcscale.spec.job import Settings

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


def test_an_archive_packed_again_by_tar_verifies(archive: Path, tmp_path: Path):
    (tmp_path / "unpacked").mkdir()
    for command in (
        ["tar", "xzf", str(archive), "-C", "unpacked"],
        ["tar", "czf", "again.tar.gz", "-C", "unpacked", "./"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    found = verify(tmp_path / "again.tar.gz", 10**9)
    assert found.same and not found.damaged


def test_a_report_that_is_not_there_is_missing_even_if_another_version_made_it(archive: Path, tmp_path: Path):
    files = contents(archive)
    manifest = json.loads(files["manifest.json"])
    manifest["versions"]["hpcscale"] = "0.0.1"
    del files["report/report.md"], manifest["files"]["report/report.md"]
    write_archive(tmp_path / "bad.tar.gz", {**files, "manifest.json": json.dumps(manifest).encode()})
    found = verify(tmp_path / "bad.tar.gz", 10**9)
    assert found.damaged == ("report/report.md is missing",) and not found.same


def test_another_version_excuses_words_and_no_figure(archive: Path, tmp_path: Path):
    version = json.loads(contents(archive)["manifest.json"])["versions"]["hpcscale"]
    older = {"manifest.json": (f'"hpcscale": "{version}"'.encode(), b'"hpcscale": "0.0.1"')}
    changed(archive, tmp_path / "words.tar.gz", {"report/report.md": (b"tiny-gpt", b"TinyGPT")}, rehash=True)
    changed(tmp_path / "words.tar.gz", tmp_path / "older.tar.gz", older)
    assert verify(tmp_path / "older.tar.gz", 10**9).same
    changed(archive, tmp_path / "figures.tar.gz", {"report/report.json": (b"0.6666666666666666", b"0.9666666666666666")}, rehash=True)  # fmt: skip
    changed(tmp_path / "figures.tar.gz", tmp_path / "older.tar.gz", older)
    found = verify(tmp_path / "older.tar.gz", 10**9)
    assert not found.same and [cell.column for cell in found.cells] == ["figures of report.json"]


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("a column stands twice", lambda lines: [lines[0] + ",model", *(each + ",x" for each in lines[1:])]),
        ("a row is longer or shorter than the header", lambda lines: [lines[0], *(each + ",x" for each in lines[1:])]),
        ("field larger than field limit", lambda lines: [*lines, "x" * 200_000]),
    ],
)
def test_a_table_that_can_be_read_in_two_ways_is_not_the_same(name: str, edit: Any, archive: Path):
    lines = contents(archive)["report/report.csv"].decode().splitlines()
    cells, _ = compare_tables("\n".join(edit(lines)), "\n".join(lines))
    assert [(cell.row, cell.column) for cell in cells] == [(0, "table")] and name in cells[0].archived


def test_verifying_leaves_nothing_in_the_cache(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hpcscale.ingest.cache.FEWEST_POINTS", 0)
    monkeypatch.setattr("hpcscale.ingest.cache._YOUNG_NS", -(10**12))
    monkeypatch.setenv("HPCSCALE_CACHE", str(tmp_path / "cache"))
    verify(archive, 10**9)
    assert not (tmp_path / "cache").exists()


def test_a_host_named_only_in_a_last_line_is_in_no_other_file(tmp_path: Path):
    archives.make(tmp_path, last_host="jwb0999.juwels")
    everything = b"\n".join(contents(tmp_path / "s.tar.gz").values())
    assert b"jwb0999" not in everything


def test_a_host_is_the_same_with_and_without_its_domain():
    scrubber = Scrubber()
    scrubber.learn_hosts(["jwb0123.juwels", "jwb0124.juwels", "10.0.0.7"])
    assert (
        scrubber.text("jwb0124 waits for jwb0123.juwels and 10.0.0.7, 10 times")
        == "node2 waits for node1 and node3, 10 times"
    )


@pytest.mark.parametrize(
    ("line", "scrubbed"),
    [
        ("account: projq17  # mine", 'account: "<account>"  # mine'),
        ('account: "two words"', 'account: "<account>"'),
        ("project: two words", 'project: "<project>"'),
        ("{account: projq17, group: 'g 1'}", '{account: "<account>", group: "<group>"}'),
        ("account:\ntime: 1", "account:\ntime: 1"),
        ("account: null", 'account: null'),
        ("group: ''", "group: ''"),
    ],
)  # fmt: skip
def test_a_yaml_file_without_names_is_still_yaml(line: str, scrubbed: str):
    assert Scrubber().yaml(line) == scrubbed


def test_which_attempt_counts_is_the_same_in_every_folder(tmp_path: Path):
    """A record without a time (an imported one) counts as old as its file."""
    archives.make(tmp_path)
    for point in (tmp_path / "runs/s").glob("dp*"):
        first = point / "attempts/77.0/record.jsonl"
        second = point / "attempts/78.0/record.jsonl"
        second.parent.mkdir()
        second.write_text(
            first.read_text().replace('"time": 1.0, ', "").replace('"step_seconds": ', '"step_seconds": 1')
        )
        first.write_text(first.read_text().replace('"time": 1.0, ', ""))
        os.utime(second, (1, 1))
    assert call(tmp_path, "bundle", "s").returncode == 0
    assert verify(tmp_path / "s.tar.gz", 10**9).same


def test_people_of_the_ledger_and_names_of_the_settings_are_in_no_file(tmp_path: Path):
    archives.make(tmp_path)
    line = {"kind": "submitted", "point": "p", "hash": "h", "job": "1", "time": 1.0, "user": "colleague7"}
    (tmp_path / "runs/s/ledger.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "configuration").mkdir(exist_ok=True)
    (tmp_path / "configuration/settings.yaml").write_text("defaults: {project: projq99}\n")
    point = next((tmp_path / "runs/s").glob("dp*"))
    (point / "workload.py").write_text("# colleague7 of projq99 wrote this for me\n")
    assert call(tmp_path, "bundle", "s").returncode == 0
    found = next(content for name, content in contents(tmp_path / "s.tar.gz").items() if name.endswith("workload.py"))
    assert found == b"# <user> of <project> wrote this for me\n"


def test_names_of_two_letters_are_words_elsewhere():
    scrubber = Scrubber()
    scrubber.learn_settings(Settings(account="it"))
    assert scrubber.text("it runs") == "it runs"


def test_figures_are_the_same_to_nine_digits():
    assert compare_tables("a\n1.0\n", "a\n1.0000000001\n")[0] == []
    assert [cell.column for cell in compare_tables("a\n1.0\n", "a\n1.00000001\n")[0]] == ["a"]
