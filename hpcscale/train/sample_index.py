"""Megatron's shuffled sample index: which tokens of which documents make up each training sample.

The documents of all epochs are shuffled and laid one after another; that line of tokens is cut every ``sequence_length``
tokens into samples of ``sequence_length + 1``, so that neighbours share a token (one's last target is the other's first
input) and a sample may span documents; then the samples are shuffled. If less than 80 % of the last epoch is wanted, its
documents and its samples are shuffled apart from the earlier epochs', so that no document of it comes early at the cost
of another one. Same documents, samples and order as Megatron's for the same seed.

Source: Megatron-LM, megatron/core/datasets/gpt_dataset.py and helpers.cpp; checked in tests/train/test_indexed.py against
an implementation that walks from token to token. Here no loop runs over documents or samples, and where a sample lies is
looked up when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEPARATE_BELOW = 0.80


@dataclass(frozen=True)
class SampleIndex:
    """Every sample of some epochs, in the order of training. 12 bytes a document, 4 a sample.

    ``documents``: the shuffled documents [documents of all epochs]; ``ends``: tokens up to the end of each of them;
    ``shuffled``: which sample of the line comes first, second, ... [samples].
    """

    sequence_length: int
    documents: NDArray[np.int32]
    ends: NDArray[np.int64]
    shuffled: NDArray[Any]

    def __len__(self) -> int:
        return len(self.shuffled)

    def parts(self, sample: int) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """The parts of the ``sample``-th sample: (documents, tokens to skip in each, tokens to take of each)."""
        begin = int(self.shuffled[sample]) * self.sequence_length
        end = begin + self.sequence_length + 1
        first = int(np.searchsorted(self.ends, begin, side="right"))  # the document that holds the first token
        last = int(np.searchsorted(self.ends, end, side="left"))  # the one that holds the last
        ends = self.ends[first : last + 1]
        begins = np.concatenate([self.ends[first - 1 : first] if first else [0], ends[:-1]]).astype(np.int64)
        skips = np.maximum(begin - begins, 0)
        return self.documents[first : last + 1], skips, np.minimum(ends, end) - begins - skips


def samples_of(tokens: int, sequence_length: int) -> int:
    """How many whole samples a line of so many tokens gives."""
    return (tokens - 1) // sequence_length


def epochs_for(samples: int, tokens: int, sequence_length: int) -> int:
    """How many epochs of ``tokens`` tokens it takes to cut ``samples`` samples."""
    return max(1, -(-(samples * sequence_length + 1) // tokens))


def build(
    lengths: NDArray[np.int32], sequence_length: int, samples: int | None, random: np.random.RandomState
) -> SampleIndex:
    """The index of at least ``samples`` samples (None: of one epoch) of documents with these ``lengths`` [documents].

    Whole epochs are cut, so there may be more samples than asked for. The lengths must make up one sample at least.
    """
    tokens = int(lengths.sum(dtype=np.int64))
    epochs = 1 if samples is None else epochs_for(samples, tokens, sequence_length)
    # Samples that begin before the last epoch; all, where the last epoch is shuffled with the others.
    early = total = samples_of(epochs * tokens, sequence_length)
    if samples is not None and epochs > 1:
        before = samples_of((epochs - 1) * tokens, sequence_length)
        if samples - before < int(SEPARATE_BELOW * samples_of(tokens, sequence_length)):
            early = before

    def documents(times: int) -> NDArray[np.int32]:
        order = np.tile(np.arange(len(lengths), dtype=np.int32), times)
        random.shuffle(order)
        return order

    order = documents(epochs) if early == total else np.concatenate([documents(epochs - 1), documents(1)])
    ends = np.cumsum(lengths[order], dtype=np.int64)
    shuffled = np.arange(total, dtype=np.uint32 if total < 2**32 - 2 else np.int64)
    # Views: the samples of the last epoch are shuffled among themselves. Drawn in Megatron's order.
    random.shuffle(shuffled[:early])
    if early < total:
        random.shuffle(shuffled[early:])
    return SampleIndex(sequence_length, order, ends, shuffled)
