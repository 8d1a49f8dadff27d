"""Where a rank's samples come from: a corpus (hpcscale/train/corpus.py), or a synthetic stream that can be learnt.

Both give the same samples in every layout. Sample i of step s of the synthetic stream is a pure function of (seed, s, i),
so a rank makes exactly its own share and nothing is shuffled, shared or read. A sequence walks over a ring of symbols with
a stride of its own and sometimes jumps:

    place[n] = place[0] + n * stride + (jumps up to n)   (mod ring)      token[n] = symbols[place[n]]

A model first learns which tokens occur, then which follow which, then (with attention) which stride this sequence has.
The ring has far fewer symbols than a real vocabulary, so that even 20 steps of a 50,000-token model show a falling loss.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hpcscale.spec.layout import Data, Training
from hpcscale.train.corpus import Corpus

RING = 128  # symbols that occur, if the vocabulary has that many
STRIDES = (1, 5)
JUMP_EVERY = 16  # one place in so many, on average

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Stream(Protocol):
    """Samples of ``sequence_length + 1`` tokens: inputs and, shifted by one, targets."""

    def samples(self, step: int, first: int, count: int) -> torch.Tensor:
        """Samples ``first`` to ``first + count`` (excluded) of the global batch of ``step``: int64 [count, sequence + 1]."""
        ...


def make_stream(data: Data, training: Training, vocab: int, steps: int | None = None) -> Stream:
    """The stream of a point. Raises InputError for a corpus that is missing, damaged or of another vocabulary.

    ``steps``: those of the point, whatever part of them this run trains, so that the order of samples is the point's own.
    """
    if data.kind == "megatron":
        return CorpusStream(Corpus(data, training, vocab, steps))
    return SyntheticStream(training.seed, vocab, training.sequence_length)


class CorpusStream:
    """The samples of a corpus, as tensors."""

    def __init__(self, corpus: Corpus):
        self.corpus = corpus

    def samples(self, step: int, first: int, count: int) -> torch.Tensor:
        """Samples ``first`` to ``first + count`` (excluded) of the global batch of ``step``: int64 [count, sequence + 1]."""
        return torch.from_numpy(self.corpus.samples(step, first, count))


class SyntheticStream:
    """Sequences of ``sequence_length + 1`` tokens: inputs and, shifted by one, targets."""

    def __init__(self, seed: int, vocab: int, sequence_length: int):
        self.seed = seed
        self.sequence_length = sequence_length
        self.ring = min(RING, vocab)
        # Symbols spread over the whole vocabulary in a scrambled order: next tokens cannot be guessed from numbers.
        order = np.argsort(_mix(_key(seed, 0xFFFF, 0) + np.arange(vocab, dtype=np.uint64) * _GOLDEN), kind="stable")
        self.symbols = order[: self.ring].astype(np.int64)

    def samples(self, step: int, first: int, count: int) -> torch.Tensor:
        """Samples ``first`` to ``first + count`` (excluded) of the global batch of ``step``: int64 [count, sequence + 1]."""
        length = self.sequence_length + 1
        keys = _key(self.seed, step, np.arange(first, first + count, dtype=np.uint64))[:, None]
        noise = _mix(keys + np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN)
        jumps = np.where((noise >> np.uint64(32)) % np.uint64(JUMP_EVERY) == 0, noise % np.uint64(self.ring), 0)
        strides = np.array(STRIDES, dtype=np.uint64)[(keys[:, 0] >> np.uint64(40)) % np.uint64(len(STRIDES))]
        start = keys % np.uint64(self.ring)
        steps = np.arange(length, dtype=np.uint64) * strides[:, None]
        places = (start + steps + np.cumsum(jumps, axis=1, dtype=np.uint64)) % np.uint64(self.ring)
        return torch.from_numpy(self.symbols[places])


def share(global_batch: int, parts: int, part: int) -> tuple[int, int]:
    """(first sample, count) of the contiguous share that replica ``part`` of ``parts`` takes of a global batch."""
    count = global_batch // parts
    return part * count, count


def _key(seed: int, step: int, sample: NDArray[np.uint64] | int) -> NDArray[np.uint64]:
    """64 scrambled bits for each (seed, step, sample)."""
    value = np.zeros(1, dtype=np.uint64)
    for part in (seed, step, sample):
        value = _mix(value + np.atleast_1d(np.asarray(part, dtype=np.uint64)) * _GOLDEN + _GOLDEN)
    return value


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def scrambled(seed: int, step: int, first: int, count: int, length: int) -> NDArray[np.uint64]:
    """64 scrambled bits for each of ``length`` places of samples ``first`` to ``first + count``: uint64 [count, length]."""
    keys = _key(seed, step, np.arange(first, first + count, dtype=np.uint64))[:, None]
    return _mix(keys + np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN)
