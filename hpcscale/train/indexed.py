"""Megatron's ``.bin/.idx``: the tokens of many sequences one after another, and an index of where each one lies.

PREFIX.bin holds tokens and nothing else. PREFIX.idx, all little-endian and without gaps:

    9 bytes         "MMIDIDX", 0, 0
    u64             version, 1
    u8              token type, a key of TOKEN_TYPES
    u64             sequences
    u64             documents + 1
    i32[sequences]  length of each sequence, in tokens
    i64[sequences]  where it begins in PREFIX.bin, in bytes
    i64[documents + 1]  the first sequence of each document; the last entry is the number of sequences
    i8[sequences]   optional: modes of multimodal data, which is not read here

Source: Megatron-LM, megatron/core/datasets/indexed_dataset.py. A text's document is one sequence.
"""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hpcscale.spec.problems import InputError

MAGIC, VERSION = b"MMIDIDX\x00\x00", 1
TOKEN_TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}
U16_BELOW = 65500  # Megatron writes u16 for vocabularies smaller than this, else i32
LONGEST = 2**31 - 1  # tokens of a sequence: its length is an i32

_HEADER = struct.Struct("<9sQBQQ")
_ENTRIES = 1 << 20  # of the index that are in memory at once while it is written


def files_of(prefix: str | Path) -> tuple[Path, Path]:
    """(PREFIX.bin, PREFIX.idx); a prefix that ends in .bin or .idx means the same two files."""
    name = os.fspath(prefix)
    for suffix in (".bin", ".idx"):
        name = name.removesuffix(suffix)
    return Path(f"{name}.bin"), Path(f"{name}.idx")


def token_type(vocab: int) -> np.dtype[Any]:
    """The type that Megatron stores the ids of such a vocabulary in."""
    return np.dtype("<u2" if vocab < U16_BELOW else "<i4")


@dataclass(frozen=True)
class IndexedTokens:
    """The two files, opened for reading. Nothing but the header is read until it is asked for.

    ``tokens``: all of PREFIX.bin, memory-mapped, [tokens]. ``sequences``, ``documents``: how many there are.
    """

    bin: Path
    idx: Path
    tokens: NDArray[Any]
    sequences: int
    documents: int

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each sequence begins, in bytes, memory-mapped: [sequences]."""
        place = _HEADER.size + 4 * self.sequences
        return np.memmap(self.idx, "<i8", "r", place, (self.sequences,)) if self.sequences else np.zeros(0, np.int64)

    def lengths(self) -> NDArray[np.int32]:
        """The length of each sequence in tokens, read anew: [sequences]. It is 4 bytes a sequence, and not kept."""
        lengths = np.fromfile(self.idx, "<i4", self.sequences, offset=_HEADER.size)
        if len(lengths) < self.sequences:
            raise InputError(f"{self.idx}: the file was cut off while it was open")
        if len(lengths) and lengths.min() < 0:
            raise InputError(f"{self.idx}: sequence {int(lengths.argmin())} has a length of {lengths.min()} tokens")
        total = int(lengths.sum(dtype=np.int64))
        if total > len(self.tokens):
            raise InputError(
                f"{self.idx}: its sequences make {total:,} tokens, but {self.bin.name} holds {len(self.tokens):,}; "
                "it is damaged, or the two files do not belong together"
            )
        return lengths

    def gather(self, sequences: NDArray[Any], skips: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
        """Of each of ``sequences``, ``counts`` tokens after the first ``skips``; all of them one after another."""
        size = self.tokens.itemsize
        offsets = np.asarray(self.offsets[sequences], dtype=np.int64)
        begins = offsets // size + skips
        wrong = (offsets % size != 0) | (offsets < 0) | (begins + counts > len(self.tokens))
        if wrong.any():
            at = int(wrong.argmax())
            raise InputError(
                f"{self.idx}: sequence {int(sequences[at])} is said to begin at byte {offsets[at]} of {self.bin.name}, "
                f"which cannot be: that file holds {len(self.tokens):,} tokens of {size} bytes"
            )
        if len(begins) == 1:
            return self.tokens[begins[0] : begins[0] + counts[0]]
        before = np.cumsum(counts) - counts  # tokens of the result that precede each sequence's
        return self.tokens[np.repeat(begins - before, counts) + np.arange(counts.sum())]

    def sequence(self, number: int) -> NDArray[Any]:
        """All tokens of one sequence."""
        return self.gather(np.array([number]), np.zeros(1, np.int64), self.lengths()[number : number + 1])


def read(prefix: str | Path) -> IndexedTokens:
    """Opens the two files. Raises InputError with what is missing or damaged; costs the same however large they are."""
    bin_file, idx = files_of(prefix)
    try:
        with idx.open("rb") as file:
            header, idx_size = file.read(_HEADER.size), os.fstat(file.fileno()).st_size
        with bin_file.open("rb") as file:
            bin_size = os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise InputError(f"there is no file {error.filename}; a corpus is two files, .bin and .idx") from None
    except OSError as error:
        raise InputError(f"{error.filename or idx}: {error.strerror}") from None
    if header[: len(MAGIC)] != MAGIC:
        raise InputError(
            f"{idx}: this is no index that Megatron's current reader knows: it does not begin with MMIDIDX"
        )
    if len(header) < _HEADER.size:
        raise InputError(f"{idx}: the header is cut off after {len(header)} of {_HEADER.size} bytes")
    _, version, code, sequences, entries = _HEADER.unpack(header)
    if version != VERSION:
        raise InputError(f"{idx}: version {version} of the format is not known, only version {VERSION}")
    dtype = _token_dtype(idx, code)
    needed = _HEADER.size + 12 * sequences + 8 * entries
    if idx_size not in (needed, needed + sequences):
        raise InputError(
            f"{idx}: {sequences:,} sequences and {entries:,} document entries make {needed:,} bytes, "
            f"but the file has {idx_size:,}; it is damaged or was cut off in copying"
        )
    _check_ends(bin_file, idx, bin_size, sequences, entries, dtype.itemsize)
    tokens = np.memmap(bin_file, dtype, "r", shape=(bin_size // dtype.itemsize,)) if bin_size else np.zeros(0, dtype)
    return IndexedTokens(bin_file, idx, tokens, sequences, entries - 1)


def _token_dtype(idx: Path, code: int) -> np.dtype[Any]:
    if code not in TOKEN_TYPES:
        valid = ", ".join(f"{known} ({np.dtype(name).name})" for known, name in TOKEN_TYPES.items())
        raise InputError(f"{idx}: {code} is no token type; valid: {valid}")
    dtype = np.dtype(TOKEN_TYPES[code])
    if dtype.kind == "f":
        raise InputError(f"{idx}: it holds {dtype.name} values, which are no token ids")
    return dtype


def _check_ends(bin_file: Path, idx: Path, bin_size: int, sequences: int, entries: int, size: int) -> None:
    """The first and last entries: enough to notice a wrong pair of files or one cut off, whatever their size."""
    lengths = _HEADER.size
    offsets, documents = lengths + 4 * sequences, lengths + 12 * sequences
    with idx.open("rb") as file:

        def number(kind: str, place: int) -> int:
            file.seek(place)
            found = file.read(struct.calcsize(kind))
            if len(found) < struct.calcsize(kind):
                raise InputError(f"{idx}: the file was cut off while it was open")
            return int(struct.unpack(kind, found)[0])

        if not entries or number("<q", documents) != 0 or number("<q", documents + 8 * (entries - 1)) != sequences:
            raise InputError(f"{idx}: the document indices do not run from 0 to the {sequences:,} sequences")
        if not sequences:
            return
        end = number("<q", offsets + 8 * (sequences - 1)) + size * number("<i", lengths + 4 * (sequences - 1))
    if end > bin_size:
        raise InputError(
            f"{bin_file}: the file has {bin_size:,} bytes, but its index says that the last sequence ends at {end:,}; "
            "it was cut off in copying, or the two files do not belong together"
        )


class IndexedWriter:
    """Writes a corpus in constant memory: both files appear whole at the end of the ``with`` block, or neither does.

    ``add`` appends tokens to the sequence that is being written, ``end_sequence`` ends it and makes it a document.
    ``length``: tokens of the sequence that is being written.
    """

    def __init__(self, prefix: str | Path, dtype: np.dtype[Any]):
        self.bin, self.idx = files_of(prefix)
        self.dtype = np.dtype(dtype)
        self.tokens = self.sequences = 0
        self._code = {np.dtype(name): code for code, name in TOKEN_TYPES.items()}[self.dtype]
        self.length = 0
        self._lengths: list[int] = []
        self._bin_part, self._idx_part = (Path(f"{path}.{os.getpid()}.tmp") for path in (self.bin, self.idx))

    def __enter__(self) -> IndexedWriter:
        self._bin_file: BinaryIO = self._bin_part.open("wb")
        try:
            self._idx_file: BinaryIO = self._idx_part.open("w+b")
            self._idx_file.write(bytes(_HEADER.size))  # the counts are known at the end
        except BaseException:
            self._bin_file.close()
            self._bin_part.unlink()
            raise
        return self

    def add(self, tokens: NDArray[Any]) -> None:
        """Appends ``tokens`` [count] to the current sequence."""
        if len(tokens) and not np.can_cast(tokens.dtype, self.dtype) and not self._fits(tokens):
            raise ValueError(f"token ids from {tokens.min()} to {tokens.max()} do not fit {self.dtype.name}")
        self.length += len(tokens)
        if self.length > LONGEST:
            raise InputError(
                f"{self.bin}: document {self.sequences + 1} has more than {LONGEST:,} tokens, which the format cannot "
                "hold; split it into several documents"
            )
        self._bin_file.write(tokens.astype(self.dtype).tobytes())

    def _fits(self, tokens: NDArray[Any]) -> bool:
        limits = np.iinfo(self.dtype)
        return bool(limits.min <= tokens.min() and tokens.max() <= limits.max)

    def end_sequence(self) -> None:
        """Ends the current sequence, which may be empty."""
        self._lengths.append(self.length)
        self.tokens += self.length
        self.sequences += 1
        self.length = 0
        if len(self._lengths) == _ENTRIES:
            self._write_lengths()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException as failed:
            self._remove(failed)
            raise
        if error is not None:
            self._remove(error)

    def _write_lengths(self) -> None:
        self._idx_file.write(np.array(self._lengths, "<i4").tobytes())
        self._lengths.clear()

    def _finish(self) -> None:
        assert not self.length, "the last sequence was not ended"
        self._write_lengths()
        file, begin = self._idx_file, 0
        for first in range(0, self.sequences, _ENTRIES):
            # The lengths are read back: they may be more than fits in memory.
            file.seek(_HEADER.size + 4 * first)
            count = min(_ENTRIES, self.sequences - first)
            sizes = np.frombuffer(file.read(4 * count), "<i4").astype("<i8") * self.dtype.itemsize
            ends = begin + np.cumsum(sizes)
            file.seek(_HEADER.size + 4 * self.sequences + 8 * first)
            file.write((ends - sizes).tobytes())
            begin = int(ends[-1])
        file.seek(_HEADER.size + 12 * self.sequences)
        for first in range(0, self.sequences + 1, _ENTRIES):
            file.write(np.arange(first, min(first + _ENTRIES, self.sequences + 1), dtype="<i8").tobytes())
        file.seek(0)
        file.write(_HEADER.pack(MAGIC, VERSION, self._code, self.sequences, self.sequences + 1))
        for each in (self._bin_file, file):
            each.flush()
            os.fsync(each.fileno())
            each.close()
        # An index beside another corpus's tokens must never be seen: the old one goes first, the new one comes last.
        self.idx.unlink(missing_ok=True)
        self._bin_part.replace(self.bin)
        self._idx_part.replace(self.idx)

    def _remove(self, error: BaseException) -> None:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(self.bin)  # a full disk names no file of itself
        for file in (self._bin_file, self._idx_file):
            with contextlib.suppress(OSError):  # closing writes what is buffered: a full disk is full here too
                file.close()
        for part in (self._bin_part, self._idx_part):
            part.unlink(missing_ok=True)
