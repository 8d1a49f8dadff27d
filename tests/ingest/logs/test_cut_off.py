"""Logs in every state that a full disk, a kill or a copy leaves them in."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcscale.ingest import records
from hpcscale.ingest.logs.importer import Imported
from hpcscale.spec.problems import InputError

from .conftest import SAMPLES, Importing, sample, steps_of

LOGS = sorted(path.name for path in SAMPLES.glob("*.txt"))


@pytest.mark.parametrize("name", LOGS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_beginning_of_a_log_gives_a_beginning_of_its_steps(name: str, data: st.DataObject):
    whole = sample(name)
    size = data.draw(st.integers(0, len(whole)))
    with tempfile.TemporaryDirectory() as folder:
        importing = Importing(Path(folder))
        form = {
            "form": name.removesuffix(".txt").removesuffix("-2021").removesuffix("-2024").removesuffix("-thousands")
        }
        everything = _merged(importing.all(whole, **form), importing)
        try:
            part = _merged(importing.all(whole[:size], **form), importing)
        except InputError:
            part = []
        # A rank that prints a step after others may still make it slower.
        assert [step[0] for step in part] == [step[0] for step in everything[: len(part)]]
        if "[rank1]" not in whole.decode():
            assert part == everything[: len(part)]


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.iterdir()))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_log_there_is_a_row_or_a_sentence(name: str, data: st.DataObject):
    text = bytearray(sample(name))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(text)))
        junk = st.sampled_from(
            [b"nan", b"0", b"-1", b"1e999", b"1.2.3", b"999999999999", b"|", b"\n", b"\r", b",", b"\xff", b"]"]
        )
        text[at : at + data.draw(st.integers(0, 12))] = data.draw(junk | st.binary(max_size=6))
    with tempfile.TemporaryDirectory() as folder:
        importing = Importing(Path(folder))
        try:
            found = importing.all(bytes(text))
        except InputError:
            return
        assert len(records.read(importing.folder / "runs")) == len(found)


def _merged(found: list[Imported], importing: Importing) -> list[tuple[int, tuple[tuple[str, object], ...]]]:
    (imported,) = found
    steps = steps_of(imported) if imported.lines else []
    return [(step["step"], tuple(sorted((key, repr(value)) for key, value in step.items()))) for step in steps]


def test_a_last_line_without_its_end_is_left_out_and_said(importing: Importing):
    text = sample("megatron-lm-2021.txt").decode()
    cut = text[: text.rindex("lm loss: 7.0") + len("lm loss: 7.0")]
    found = importing.one(cut)
    assert found.lines == 2
    assert "the log's last line is cut off and was left out" in found.remarks


def test_half_a_line_behind_a_carriage_return_is_left_out_too(importing: Importing):
    text = sample("torchtitan-2024.txt").replace(b"\n", b"\r")
    assert (importing.one(text).lines, importing.one(text[:-3]).lines) == (2, 1)


def test_half_a_character_is_no_error(importing: Importing):
    text = sample("nemo-bar.txt")
    half = text.rindex("▋".encode()) + 1
    assert importing.one(text[:half]).lines == 3


def test_gzip_is_read_as_it_is(importing: Importing):
    text = sample("megatron-lm.txt")
    assert importing.steps(gzip.compress(text), name="train.log.gz") == importing.steps(text)


def test_gzip_members_one_after_the_other_are_one_log(importing: Importing):
    text = sample("megatron-lm.txt")
    middle = len(text) // 2
    packed = gzip.compress(text[:middle]) + gzip.compress(text[middle:])
    assert importing.steps(packed, name="train.log.gz") == importing.steps(text)


def test_a_gzip_that_is_cut_off_gives_what_is_there(importing: Importing):
    text = sample("megatron-lm.txt") + b"".join(b"%d noise %d\n" % (i * 7919 % 104729, i) for i in range(20000))
    packed = gzip.compress(text)
    found = importing.one(packed[: len(packed) * 9 // 10], name="train.log.gz")
    assert found.lines == 5 and any("gzip data have no end" in remark for remark in found.remarks)
    assert not importing.one(packed, name="train.log.gz").remarks


def test_a_damaged_gzip_is_said(importing: Importing):
    packed = bytearray(gzip.compress(sample("megatron-lm.txt") * 2000))
    packed[-20000:-19000] = bytes(1000)
    found = importing.one(bytes(packed), name="train.log.gz")
    assert any("gzip data are damaged" in remark for remark in found.remarks)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_zstd_is_unpacked_where_it_is_installed(importing: Importing):
    text = sample("megatron-lm.txt")
    packed = subprocess.run(["zstd", "-c"], input=text, capture_output=True, check=True).stdout
    assert importing.steps(packed, name="train.log.zst") == importing.steps(text)


def test_zstd_without_the_program_says_what_to_do(importing: Importing, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"packed with zstd, which is not installed here; unpack it"):
        importing.one(b"\x28\xb5\x2f\xfd....")


def test_steps_at_the_seams_of_blocks_are_read_once(importing: Importing, monkeypatch: pytest.MonkeyPatch):
    text = sample("megatron-lm.txt")
    whole = importing.steps(text)
    for size in (97, 256, 1000):
        monkeypatch.setattr("hpcscale.ingest.logs.blocks.BLOCK", size)
        assert importing.steps(text) == whole


def test_windows_line_ends_change_nothing(importing: Importing):
    text = sample("torchtitan.txt")
    assert importing.steps(text.replace(b"\n", b"\r\n")) == importing.steps(text)


def test_noise_between_the_lines_changes_nothing(importing: Importing):
    lines = sample("composer.txt").splitlines(keepends=True)
    noise = b"node1:12:34 [0] NCCL INFO comm 0x55 \xff\xfe rank 0 \x1b[1m\xe2\x96\x1b[0m\n"
    assert importing.steps(noise.join(lines)) == importing.steps(b"".join(lines))
