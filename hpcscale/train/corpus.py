"""A Megatron corpus as an endless stream of shuffled samples, the same whatever the layout.

``data.path`` is the prefix of the two files. ``~`` and ``$VARIABLES`` in it are those of the job; a relative prefix is
looked for in the job's folder and in each folder above it (the point's, the study's, the one the study was rendered in).

The order of samples is Megatron's for as many samples as the run has steps for (Megatron's ``train_iters`` times its
global batch), and goes on after them, epoch by epoch, each shuffled by a random state of its own. Nothing is cached on
disk: each rank builds the index of documents in memory (hpcscale/train/sample_index.py), which takes seconds for tens of
millions of documents, and reads the tokens of its own samples only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcscale.spec.layout import Data, Training
from hpcscale.spec.problems import InputError
from hpcscale.train import indexed, sample_index
from hpcscale.train.indexed import IndexedTokens
from hpcscale.train.sample_index import SampleIndex, epochs_for, samples_of

# Shuffling many epochs at once takes 12 bytes a document and epoch; beyond this many, epochs are shuffled one by one.
MOST_SHUFFLED = 2**28
# So many tokens at so many places of the corpus are compared with the vocabulary before training starts.
LOOKS, LOOK_TOKENS = 16, 4096


class Corpus:
    """The stream of one corpus. Opening it checks the files; the first sample builds the index."""

    def __init__(self, data: Data, training: Training, vocab: int, steps: int | None):
        """``steps``: those of the run, for whose samples the order is Megatron's; None: the first epoch is Megatron's."""
        self.sequence_length = training.sequence_length
        self.global_batch_size = training.global_batch_size
        self.seed, self.vocab = training.seed, vocab
        self.tokens = _open(data)
        lengths = self.tokens.lengths()
        self.documents = _trained_on(data.split, len(lengths))
        self.epoch_tokens = int(lengths[: self.documents].sum(dtype=np.int64))
        self.epoch_samples = samples_of(self.epoch_tokens, self.sequence_length)
        if self.epoch_samples < 1:
            share = f" in the first part of the split {data.split}" if data.split else ""
            raise InputError(
                f"{self.tokens.bin}: {self.epoch_tokens:,} tokens{share} are too few for one sample of "
                f"{self.sequence_length + 1:,} (sequence_length {self.sequence_length:,} and the last target)"
            )
        # Block 0 of the stream is Megatron's index of the run, each later block an epoch of its own.
        self._planned = None if steps is None else self._plan(steps * self.global_batch_size)
        epochs = 1 if self._planned is None else epochs_for(self._planned, self.epoch_tokens, self.sequence_length)
        self._planned_samples = samples_of(epochs * self.epoch_tokens, self.sequence_length)
        self._blocks: dict[int, SampleIndex] = {}
        self._look_around()

    def samples(self, step: int, first: int, count: int) -> NDArray[np.int64]:
        """Samples ``first`` to ``first + count`` (excluded) of the global batch of ``step`` (from 1).

        int64 [count, sequence_length + 1]. Raises InputError for a token that is not of the vocabulary.
        """
        begin = (step - 1) * self.global_batch_size + first
        rows = np.empty((count, self.sequence_length + 1), dtype=np.int64)
        for row, sample in zip(rows, range(begin, begin + count), strict=True):
            index, place = self._locate(sample)
            row[:] = self.tokens.gather(*index.parts(place))
        self._check(rows)
        return rows

    def _plan(self, samples: int) -> int | None:
        """The samples that block 0 is built for; None: it is one epoch."""
        epochs = epochs_for(samples, self.epoch_tokens, self.sequence_length)
        large = epochs * max(self.documents, self.epoch_samples) > MOST_SHUFFLED
        return None if epochs == 1 or large else samples

    def _locate(self, sample: int) -> tuple[SampleIndex, int]:
        """The index that holds a sample of the endless stream, and its number there."""
        if sample < self._planned_samples:
            return self._block(0), sample
        later, place = divmod(sample - self._planned_samples, self.epoch_samples)
        return self._block(1 + later), place

    def _block(self, number: int) -> SampleIndex:
        """The index of one block. Only the current one is kept."""
        if number not in self._blocks:
            self._blocks.clear()  # first: two of them may not fit
            lengths = self.tokens.lengths()[: self.documents]
            samples = self._planned if number == 0 else None
            self._blocks[number] = sample_index.build(
                lengths, self.sequence_length, samples, _random(self.seed, number)
            )
        return self._blocks[number]

    def _look_around(self) -> None:
        """Compares tokens all over the corpus with the vocabulary: a wrong tokenizer shows before training starts."""
        tokens = self.tokens.tokens
        for begin in np.linspace(0, max(0, len(tokens) - LOOK_TOKENS), LOOKS, dtype=np.int64):
            self._check(tokens[begin : begin + LOOK_TOKENS])

    def _check(self, tokens: NDArray[Any]) -> None:
        if not tokens.size:
            return
        for wrong in (int(tokens.max()), int(tokens.min())):
            if not 0 <= wrong < self.vocab:
                raise InputError(
                    f"{self.tokens.bin}: it has token {wrong}, but the model's vocabulary ends at {self.vocab - 1}; "
                    "set model.vocab to the tokenizer's, or build the corpus with the model's tokenizer"
                )


def refusals(data: Data, training: Training, vocab: int) -> list[str]:
    """Why the data cannot be trained on; empty if it can. Reads the index's header and lengths and a few tokens."""
    if data.kind == "synthetic":
        if data.path is None:
            return []
        return [f"data.path is {data.path}, but data.kind is synthetic and reads nothing; set kind: megatron"]
    try:
        Corpus(data, training, vocab, None)
    except InputError as error:
        return [problem.message for problem in error.problems]
    return []


def find(path: str, folder: Path) -> Path:
    """The prefix that ``data.path`` means in a job that runs in ``folder``."""
    prefix = Path(os.path.expandvars(path)).expanduser()
    if prefix.is_absolute():
        return prefix
    for each in (folder, *folder.parents):
        if indexed.files_of(each / prefix)[1].exists():
            return each / prefix
    raise InputError(
        f"there is no {indexed.files_of(prefix)[1]} in {folder} or in a folder above it (data.path); hpcscale data build "
        "writes a corpus, and an absolute path is found from everywhere"
    )


def _open(data: Data) -> IndexedTokens:
    if data.path is None:
        raise InputError("data.kind is megatron, which needs data.path: the prefix of PREFIX.bin and PREFIX.idx")
    return indexed.read(find(data.path, Path.cwd()))


def _trained_on(split: str | None, documents: int) -> int:
    """How many documents the first share of a split such as 969,30,1 has, rounded as Megatron does."""
    if split is None:
        return documents
    shares = np.array([float(share) for share in split.split(",")])
    return round(float(shares[0] / shares.sum()) * documents)


def _random(seed: int, block: int) -> np.random.RandomState:
    """Megatron's random state for the first block, states of their own for the later ones."""
    if block == 0 and seed < 2**32:
        return np.random.RandomState(seed)
    words = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, block]
    return np.random.RandomState(words)
