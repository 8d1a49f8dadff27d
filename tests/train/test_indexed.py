"""Megatron's files and sample index: bytes as the format says, damage that is named, samples as Megatron cuts them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from hpcscale.spec.problems import InputError
from hpcscale.train import indexed, sample_index
from hpcscale.train.indexed import IndexedWriter, read

TOKENS = {"<u2": st.integers(0, 65535), "<i4": st.integers(-(2**31), 2**31 - 1), "u1": st.integers(0, 255)}
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write(prefix: Path, sequences: list[list[int]], dtype: str = "<u2") -> Path:
    with IndexedWriter(prefix, np.dtype(dtype)) as writer:
        for sequence in sequences:
            writer.add(np.array(sequence, dtype=np.int64))
            writer.end_sequence()
    return prefix


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    write(tmp_path / "c", [[1, 2, 3], [], [65535]])
    assert (tmp_path / "c.bin").read_bytes() == struct.pack("<4H", 1, 2, 3, 65535)
    assert (tmp_path / "c.idx").read_bytes() == (
        b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 3, 4) + struct.pack("<3i3q4q", 3, 0, 1, 0, 6, 6, 0, 1, 2, 3)
    )


@in_one_folder
@given(st.data(), st.sampled_from(sorted(TOKENS)), st.integers(1, 4))
def test_what_is_written_is_read(tmp_path: Path, data: st.DataObject, dtype: str, entries: int) -> None:
    sequences = data.draw(st.lists(st.lists(TOKENS[dtype], max_size=5), max_size=9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexed, "_ENTRIES", entries)  # as if the index were too large for memory
        found = read(write(tmp_path / "c", sequences, dtype))
    assert [found.sequence(number).tolist() for number in range(found.sequences)] == sequences
    assert found.tokens.dtype == np.dtype(dtype)
    assert found.documents == len(sequences)


def test_a_sequence_may_be_added_in_parts(tmp_path: Path) -> None:
    with IndexedWriter(tmp_path / "c", np.dtype("<i4")) as writer:
        writer.add(np.array([1, 2]))
        writer.add(np.array([70000], dtype=np.uint32))
        writer.end_sequence()
    assert read(tmp_path / "c").sequence(0).tolist() == [1, 2, 70000]
    assert (writer.tokens, writer.sequences) == (3, 1)


@pytest.mark.parametrize(("vocab", "name"), [(257, "uint16"), (65499, "uint16"), (65500, "int32"), (128256, "int32")])
def test_the_token_type_is_megatrons_choice(vocab: int, name: str) -> None:
    assert indexed.token_type(vocab).name == name


def test_either_file_names_the_corpus(tmp_path: Path) -> None:
    write(tmp_path / "a.b", [[1]])
    for name in ("a.b", "a.b.bin", "a.b.idx"):
        assert read(tmp_path / name).sequence(0).tolist() == [1]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), IndexedWriter(tmp_path / "c", np.dtype("<u2")) as writer:
        writer.add(np.array([1]))
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="do not fit uint16"), IndexedWriter(tmp_path / "c", np.dtype("<u2")) as writer:
        writer.add(np.array([65536]))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_corpus_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "c", [[1, 2]])
    with pytest.raises(KeyboardInterrupt), IndexedWriter(tmp_path / "c", np.dtype("<u2")) as writer:
        writer.add(np.arange(1_000_000) % 100)
        raise KeyboardInterrupt
    assert read(tmp_path / "c").sequence(0).tolist() == [1, 2]
    write(tmp_path / "c", [[3]])
    assert read(tmp_path / "c").sequence(0).tolist() == [3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.bin", "c.idx"]


def test_a_sequence_longer_than_the_format_can_say_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed, "LONGEST", 5)
    with pytest.raises(InputError, match="document 2 has more than 5 tokens"):
        write(tmp_path / "c", [[1] * 5, [1] * 6])


def patched(path: Path, place: int, content: bytes) -> None:
    old = path.read_bytes()
    path.write_bytes(old[:place] + content + old[place + len(content) :])


DAMAGE = {
    "another format": (lambda c: patched(c.with_suffix(".idx"), 0, b"TNTIDX"), "does not begin with MMIDIDX"),
    "an empty index": (lambda c: c.with_suffix(".idx").write_bytes(b""), "does not begin with MMIDIDX"),
    "half a header": (lambda c: c.with_suffix(".idx").write_bytes(b"MMIDIDX\0\0\1"), "cut off after 10 of 34 bytes"),
    "version 2": (lambda c: patched(c.with_suffix(".idx"), 9, b"\2"), "version 2 of the format is not known"),
    "token type 9": (lambda c: patched(c.with_suffix(".idx"), 17, b"\x09"), "9 is no token type; valid: 1 (uint8)"),
    "floats": (lambda c: patched(c.with_suffix(".idx"), 17, b"\x07"), "it holds float32 values"),
    "too many sequences": (
        lambda c: patched(c.with_suffix(".idx"), 18, b"\xff" * 8),
        "18,446,744,073,709,551,615 sequences and 3 document entries make 221,360,928,884,514,619,438 bytes",
    ),
    "another count of documents": (lambda c: patched(c.with_suffix(".idx"), 26, b"\2"), "make 74 bytes, but the file has 82"),
    "a document too many": (lambda c: patched(c.with_suffix(".idx"), 74, b"\3"), "do not run from 0 to the 2 sequences"),
    "an index cut off": (
        lambda c: c.with_suffix(".idx").write_bytes(c.with_suffix(".idx").read_bytes()[:-1]),
        "but the file has 81",
    ),
    "tokens cut off": (
        lambda c: c.with_suffix(".bin").write_bytes(b"\0" * 9),
        "the file has 9 bytes, but its index says that the last sequence ends at 10",
    ),
    "no tokens": (lambda c: c.with_suffix(".bin").unlink(), "c.bin; a corpus is two files"),
    "no index": (lambda c: c.with_suffix(".idx").unlink(), "c.idx; a corpus is two files"),
    "a negative length": (lambda c: patched(c.with_suffix(".idx"), 34, b"\xff" * 4), "sequence 0 has a length of -1 tokens"),
    "a length too large": (
        lambda c: patched(c.with_suffix(".idx"), 34, b"\4"),
        "its sequences make 6 tokens, but c.bin holds 5",
    ),
    "a sequence out of place": (
        lambda c: patched(c.with_suffix(".idx"), 42, b"\6"),
        "sequence 0 is said to begin at byte 6 of c.bin, which cannot be: that file holds 5 tokens of 2 bytes",
    ),
    "a sequence between two tokens": (lambda c: patched(c.with_suffix(".idx"), 42, b"\1"), "to begin at byte 1 of c.bin"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(damage: str, tmp_path: Path) -> None:
    change, words = DAMAGE[damage]
    change(write(tmp_path / "c", [[1, 2, 3], [4, 5]]))
    with pytest.raises(InputError) as caught:
        read(tmp_path / "c").sequence(0)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@in_one_folder
@given(st.sampled_from([".bin", ".idx"]), st.integers(0, 200), st.binary(max_size=12), st.booleans())
def test_no_damage_gives_anything_but_tokens_or_a_sentence(
    tmp_path: Path, suffix: str, place: int, content: bytes, cut: bool
) -> None:
    write(tmp_path / "c", [[1, 2, 3], [], [4, 5]])
    path = tmp_path / f"c{suffix}"
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + content + (b"" if cut else whole[place + len(content) :]))
    try:
        found = read(tmp_path / "c")
        for number in range(found.sequences):
            assert len(found.sequence(number)) == found.lengths()[number]
    except InputError:
        pass


def reference(lengths: list[int], sequence_length: int, samples: int, seed: int) -> list[list[tuple[int, int]]]:
    """Megatron's samples, token by token: each token is (document, place in it)."""
    random = np.random.RandomState(seed)
    tokens = sum(lengths)
    epochs = 1
    while epochs * tokens < samples * sequence_length + 1:
        epochs += 1
    total, before = ((count * tokens - 1) // sequence_length for count in (epochs, epochs - 1))
    together = epochs == 1 or not samples - before < int(0.8 * ((tokens - 1) // sequence_length))
    groups = [epochs] if together else [epochs - 1, 1]
    line: list[tuple[int, int]] = []
    for times in groups:
        documents = np.array(list(range(len(lengths))) * times)
        random.shuffle(documents)
        line += [(int(document), place) for document in documents for place in range(lengths[document])]
    order: list[int] = []
    for first, last in [(0, total)] if together else [(0, before), (before, total)]:
        part = np.arange(first, last)
        random.shuffle(part)
        order += part.tolist()
    return [line[sample * sequence_length :][: sequence_length + 1] for sample in order]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(1, 10), st.integers(1, 60), st.integers(0, 2**32 - 1)
)  # fmt: skip
@example([5, 7, 3], 4, 5, 0)  # the second epoch apart
@example([5, 7, 3], 4, 7, 0)  # both together
@example([0, 9, 0, 0, 1, 0], 3, 9, 7)  # empty documents at every place
@example([30], 2, 14, 1)  # one document, all of it
@example([101], 1, 179, 2)  # 79 of the 100 samples of the second epoch
@example([101], 1, 180, 2)  # 80 of them
def test_samples_are_megatrons(lengths: list[int], sequence_length: int, samples: int, seed: int) -> None:
    assume(sum(lengths) > sequence_length)
    index = sample_index.build(np.array(lengths, np.int32), sequence_length, samples, np.random.RandomState(seed))
    found = []
    for sample in range(len(index)):
        parts = zip(*index.parts(sample), strict=True)
        found.append([(int(d), int(place)) for d, skip, count in parts for place in range(skip, skip + count)])
    assert found == reference(lengths, sequence_length, samples, seed)
    assert len(found) >= samples
    assert all(len(sample) == sequence_length + 1 for sample in found)


def test_an_epoch_has_every_token_once() -> None:
    lengths = np.array([10, 0, 31, 8, 16], np.int32)
    index = sample_index.build(lengths, 8, None, np.random.RandomState(0))
    assert len(index) == 8  # 65 tokens: 8 times 8 inputs, and the last target
    seen: dict[tuple[int, int], int] = {}
    for sample in range(len(index)):
        for document, skip, count in zip(*index.parts(sample), strict=True):
            for place in range(skip, skip + count):
                seen[int(document), int(place)] = seen.get((int(document), int(place)), 0) + 1
    assert len(seen) == lengths.sum()
    assert sorted(seen.values()) == [1] * 58 + [2] * 7  # a sample's last target is another's first input
