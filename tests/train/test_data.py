"""The synthetic stream: the same samples in every layout, within the vocabulary, and with something to learn."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.train.data import SyntheticStream, share


@given(st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(0, 2**40), st.integers(1, 2000))
def test_replicas_together_see_the_global_batch(replicas: int, seed: int, step: int) -> None:
    stream = SyntheticStream(seed, 100, 16)
    parts = [stream.samples(step, *share(12, replicas, replica)) for replica in range(replicas)]
    assert torch.equal(torch.cat(parts), stream.samples(step, 0, 12))


def test_samples_differ_by_seed_step_and_place() -> None:
    stream = SyntheticStream(1, 1000, 256)
    rows = [*stream.samples(1, 0, 50), *stream.samples(2, 0, 50), *SyntheticStream(2, 1000, 256).samples(1, 0, 50)]
    assert len({tuple(row.tolist()) for row in rows}) == 150


@pytest.mark.parametrize("vocab", [2, 60, 512, 50257])
def test_tokens_are_of_the_vocabulary(vocab: int) -> None:
    tokens = SyntheticStream(3, vocab, 64).samples(1, 0, 64)
    assert tokens.shape == (64, 65)
    assert tokens.dtype == torch.int64
    assert 0 <= tokens.min() <= tokens.max() < vocab
    assert len(tokens.unique()) == min(vocab, 128)


def test_two_followers_explain_most_of_what_comes_after_a_token() -> None:
    tokens = SyntheticStream(3, 512, 128).samples(1, 0, 256)
    followers: dict[int, Counter[int]] = {}
    for row in tokens.tolist():
        for before, after in pairwise(row):
            followers.setdefault(before, Counter())[after] += 1
    explained = sum(count for each in followers.values() for _, count in each.most_common(2))
    assert 0.9 < explained / (256 * 128) < 0.99
