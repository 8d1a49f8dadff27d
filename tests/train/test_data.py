"""Streams: the same samples in every layout, within the vocabulary; the synthetic one can be learnt, a corpus is checked."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcscale.spec.keys import check
from hpcscale.spec.layout import Data, Training
from hpcscale.spec.problems import InputError
from hpcscale.train import corpus
from hpcscale.train.data import Stream, SyntheticStream, make_stream, share
from hpcscale.train.indexed import IndexedWriter

VOCAB = 1000


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A corpus of 20 documents and 710 tokens; token t of document d is 50 d + t."""
    with IndexedWriter(tmp_path / "corpus", np.dtype("<u2")) as writer:
        for document in range(20):
            writer.add(50 * document + np.arange(26 + document))
            writer.end_sequence()
    return tmp_path / "corpus"


def stream(
    path: object, steps: int | None = None, vocab: int = VOCAB, split: str | None = None, **training: Any
) -> Stream:
    values = {"sequence_length": 16, "global_batch_size": 4, **training}
    return make_stream(Data(kind="megatron", path=str(path), split=split), Training(**values), vocab, steps)


def rows(found: Stream, steps: range, global_batch_size: int = 4) -> list[tuple[int, ...]]:
    return [tuple(row) for step in steps for row in found.samples(step, 0, global_batch_size).tolist()]


@settings(deadline=None)
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


def test_the_synthetic_stream_is_the_one_of_earlier_records() -> None:
    """Losses of two versions can be compared only while the tokens are the same."""
    assert SyntheticStream(1234, 512, 9).samples(1, 0, 2).tolist() == [
        [409, 257, 146, 434, 284, 6, 3, 120, 313, 460],
        [264, 233, 11, 133, 482, 143, 459, 386, 304, 153],
    ]
    assert SyntheticStream(7, 50257, 9).samples(300, 5, 1).tolist() == [
        [45029, 40676, 5097, 38773, 24001, 607, 8953, 49976, 45195, 35071]
    ]


def test_a_corpus_gives_every_document_in_some_order(prefix: Path) -> None:
    tokens = stream(prefix).samples(1, 0, 44)  # 710 tokens: 44 samples of 16
    assert tokens.shape == (44, 17)
    assert tokens.dtype == torch.int64
    counts = Counter(tokens[:, :-1].flatten().tolist())
    assert len(counts) == 704
    assert set(counts.values()) == {1}
    follows = tokens[:, 1:] - tokens[:, :-1]
    assert (follows == 1).float().mean() > 0.95  # only where a document ends does the next one begin


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(0, 2**40), st.integers(1, 30))
def test_replicas_together_see_the_global_batch_of_a_corpus(prefix: Path, replicas: int, seed: int, step: int) -> None:
    """30 steps of 12 samples are eight epochs of 44."""
    whole = stream(prefix, 10, seed=seed, global_batch_size=12).samples(step, 0, 12)
    own = [stream(prefix, 10, seed=seed, global_batch_size=12) for _ in range(replicas)]
    parts = [own[replica].samples(step, *share(12, replicas, replica)) for replica in range(replicas)]
    assert torch.equal(torch.cat(parts), whole)


def test_the_batch_size_does_not_change_the_order(prefix: Path) -> None:
    assert rows(stream(prefix, 10), range(1, 11)) == rows(
        stream(prefix, 5, global_batch_size=8), range(1, 6), global_batch_size=8
    )


def test_a_run_may_begin_at_any_step(prefix: Path) -> None:
    through = stream(prefix, 30)
    expected = [through.samples(step, 0, 4) for step in range(1, 80)]
    for step in (79, 45, 31, 12, 1):
        assert torch.equal(stream(prefix, 30).samples(step, 0, 4), expected[step - 1])


def test_fewer_steps_than_an_epoch_change_no_order(prefix: Path) -> None:
    assert rows(stream(prefix, 2), range(1, 12)) == rows(stream(prefix, 11), range(1, 12))
    assert rows(stream(prefix, None), range(1, 12)) == rows(stream(prefix, 11), range(1, 12))


@pytest.mark.parametrize("steps", [None, 11, 25])
def test_epochs_go_on_and_differ(prefix: Path, steps: int | None) -> None:
    """Beyond what was planned, each epoch has every sample's worth of tokens once more, in another order."""
    planned = 44 if steps != 25 else 133  # 25 steps take three epochs: 3 x 710 tokens
    found = [row for step in range(1, 60) for row in stream(prefix, steps).samples(step, 0, 4).tolist()]
    first, second = (found[planned + 44 * epoch :][:44] for epoch in (0, 1))
    for epoch in (first, second):
        assert len({token for row in epoch for token in row[:-1]}) == 704
    assert first != second


def test_shuffling_more_epochs_than_fit_in_memory_goes_epoch_by_epoch(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "MOST_SHUFFLED", 100)
    assert rows(stream(prefix, 25), range(1, 26)) == rows(stream(prefix, None), range(1, 26))
    monkeypatch.setattr(corpus, "MOST_SHUFFLED", 3 * 44)
    assert rows(stream(prefix, 25), range(1, 26)) != rows(stream(prefix, None), range(1, 26))


def test_seeds_give_orders_of_their_own(prefix: Path) -> None:
    orders = {
        tuple(rows(stream(prefix, seed=seed), range(1, 12))) for seed in (0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**33)
    }
    assert len(orders) == 6


@pytest.mark.parametrize(
    ("split", "documents"), [("1", 20), ("969,30,1", 19), ("1,1", 10), ("5, 3, 2", 10), ("0.3,0.7", 6), ("98,2", 20)]
)
def test_the_first_share_of_a_split_is_trained_on(prefix: Path, split: str, documents: int) -> None:
    tokens = sum(26 + document for document in range(documents))
    found = stream(prefix, split=split).samples(1, 0, (tokens - 1) // 16)
    assert sorted({token // 50 for token in found.flatten().tolist()} - {documents}) == list(range(documents))
    assert int(found.max()) <= 50 * (documents - 1) + 25 + documents - 1


@pytest.mark.parametrize("split", ["", "0,1", "969;30;1", "1,2,3,4", "-1,2", "1e3", "a"])
def test_a_split_that_is_none_is_refused(split: str) -> None:
    assert f"'{split}' is no split such as 969,30,1" in str(check(("data", "split"), split))


def test_tokens_beyond_the_vocabulary_are_named_before_training(prefix: Path) -> None:
    with pytest.raises(
        InputError, match=r"corpus.bin: it has token 994, but the model's vocabulary ends at 993; set model.vocab"
    ):
        stream(prefix, vocab=994)
    assert stream(prefix, vocab=995).samples(1, 0, 44).max() == 994


def test_a_rare_token_beyond_the_vocabulary_is_named_when_it_is_met(tmp_path: Path) -> None:
    tokens = np.zeros(1_000_000, dtype=np.int64)
    tokens[123_456] = -5
    with IndexedWriter(tmp_path / "corpus", np.dtype("<i4")) as writer:
        writer.add(tokens)
        writer.end_sequence()
    found = stream(tmp_path / "corpus", sequence_length=9999)
    with pytest.raises(InputError, match="it has token -5, but the model's vocabulary ends at 999"):
        found.samples(1, 0, 100)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sequence_length": 710}, "corpus.bin: 710 tokens are too few for one sample of 711 (sequence_length 710 and"),
        ({"sequence_length": 250, "split": "3,7"}, "171 tokens in the first part of the split 3,7 are too few"),
        ({"path": "nothing/here"}, "there is no nothing/here.idx in "),
        ({"path": "/nothing/here"}, "there is no file /nothing/here.idx; a corpus is two files, .bin and .idx"),
    ],
    ids=str,
)  # fmt: skip
def test_a_corpus_that_cannot_be_trained_on_is_a_sentence(prefix: Path, changes: dict, words: str) -> None:
    with pytest.raises(InputError) as caught:
        stream(**{"path": prefix, **changes})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refusals_are_the_same_sentences(prefix: Path) -> None:
    training = Training(sequence_length=16, global_batch_size=4)
    assert corpus.refusals(Data(), training, 10) == []
    assert corpus.refusals(Data(kind="megatron", path=str(prefix)), training, VOCAB) == []
    assert "it has token" in corpus.refusals(Data(kind="megatron", path=str(prefix)), training, 10)[0]
    assert "needs data.path" in corpus.refusals(Data(kind="megatron"), training, 10)[0]
    assert "set kind: megatron" in corpus.refusals(Data(path="x"), training, 10)[0]


def test_a_relative_prefix_is_found_above_the_jobs_folder(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = prefix.parent / "runs" / "study" / "point"
    job.mkdir(parents=True)
    monkeypatch.chdir(job)
    monkeypatch.setenv("CORPORA", str(prefix.parent))
    monkeypatch.setenv("HOME", str(prefix.parent))
    expected = stream(prefix).samples(1, 0, 44)
    for path in ("corpus", "corpus.bin", "../../../corpus", "$CORPORA/corpus", "~/corpus"):
        assert torch.equal(stream(path).samples(1, 0, 44), expected)


def test_an_index_cut_off_while_it_is_used_is_named(prefix: Path) -> None:
    found = stream(prefix)
    prefix.with_suffix(".idx").write_bytes(prefix.with_suffix(".idx").read_bytes()[:60])
    with pytest.raises(InputError, match="the file was cut off while it was open"):
        found.samples(1, 0, 1)
