"""Archives of strangers: none leaves its folder, fills the computer, commands the terminal or ends in a traceback."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import pytest
from archives import call, changed, contents, refused, write_archive

from hpcscale.report.bundle.archive import unpack
from hpcscale.spec.problems import InputError


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


def long_name(kind: bytes) -> bytes:
    """A tar whose first member says that its name takes 200 MB."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, 200_000_000
    return info.tobuf(tarfile.GNU_FORMAT) + b"a" * 2**20


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_as_long_as_the_memory_is_not_read(kind: bytes, tmp_path: Path):
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(long_name(kind)))
    assert "a member's name and attributes take 200,000,000 bytes" in refused(tmp_path / "bomb.tar.gz")


@pytest.mark.parametrize("name", ["a/" * 40 + "b", "a/" * 3000 + "b", "\x1b[2Jwiped", "two\nlines", "\udcff"])
def test_a_name_that_we_would_not_give_is_refused(name: str, tmp_path: Path):
    write_archive(tmp_path / "bad.tar.gz", {name: b"x"})
    said = refused(tmp_path / "bad.tar.gz")
    assert "is no name that hpcscale bundle gives" in said and said.isprintable() and len(said) < 500


def test_a_name_too_long_for_the_disk_is_refused(tmp_path: Path):
    write_archive(tmp_path / "bad.tar.gz", {"a" * 300: b"x"})
    assert "a name in it is too long" in refused(tmp_path / "bad.tar.gz")


@pytest.mark.parametrize("names", [("a", "./a"), ("a/b", "a//b"), (".",)])
def test_other_spellings_of_a_name_are_the_same_file(names: tuple[str, ...], tmp_path: Path):
    write_archive(tmp_path / "bad.tar.gz", dict.fromkeys(names, b"x"))
    assert "would not be a new file below the archive's folder" in refused(tmp_path / "bad.tar.gz")


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path):
    write_archive(tmp_path / "bad.tar.gz", {"a": b"x", "a/b": b"x"})
    assert "cannot be unpacked" in refused(tmp_path / "bad.tar.gz")


def test_folders_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hpcscale.report.bundle.archive._MOST_FILES", 10)
    folder = tarfile.TarInfo("a")
    folder.type = tarfile.DIRTYPE
    write_archive(tmp_path / "bad.tar.gz", {}, (folder,) * 11)
    assert "has more than 10 files and folders" in refused(tmp_path / "bad.tar.gz")


@pytest.mark.parametrize(
    "what", [{"report": []}, {"files": {"a": {"sha256": "", "bytes": float("inf")}}}, {"format": 2}]
)
def test_a_strange_manifest_is_refused(what: dict[str, object], archive: Path, tmp_path: Path):
    files = contents(archive)
    files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | what).encode()
    write_archive(tmp_path / "bad.tar.gz", files)
    assert "manifest.json" in refused(tmp_path / "bad.tar.gz")


def test_what_a_stranger_wrote_does_not_command_the_terminal(archive: Path, tmp_path: Path):
    files = contents(archive)
    manifest = json.loads(files["manifest.json"])
    manifest["versions"]["python"] = "\x1b]0;owned\x07"
    files["manifest.json"] = json.dumps(manifest).encode()
    files["report/report.csv"] = files["report/report.csv"].replace(b"tiny-gpt", b"\x1b[8m")
    write_archive(tmp_path / "bad.tar.gz", files)
    done = call(tmp_path, "verify", "bad.tar.gz")
    assert done.returncode == 1 and "\x1b" not in done.stdout and r"archived \x1b[8m" in done.stdout


@pytest.mark.parametrize("value", ["nan", "inf", "0"])
def test_an_impossible_limit_is_refused(value: str, archive: Path, tmp_path: Path):
    done = call(tmp_path, "verify", str(archive), "--max-gib", value)
    assert done.returncode == 2 and "--max-gib" in done.stderr


def test_whatever_is_damaged_a_sentence_says_so(archive: Path, tmp_path: Path):
    raw = gzip.decompress(archive.read_bytes())
    random = Random(0)
    for _ in range(60):
        broken = bytearray(raw[: random.randrange(len(raw))] if random.random() < 0.3 else raw)
        for _ in range(random.choice((1, 10))):
            broken[random.randrange(min(len(broken), 4096))] = random.randrange(256)
        (tmp_path / "bad.tar.gz").write_bytes(gzip.compress(bytes(broken), 1))
        try:
            names = unpack(tmp_path / "bad.tar.gz", Path(mkdtemp(dir=tmp_path)), 10**8)
        except InputError:
            continue
        assert all(not name.startswith("/") and ".." not in name for name in names)
