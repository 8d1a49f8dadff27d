from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hpcscale.train.batches import micro_batches

SIZES = st.integers(min_value=1, max_value=500)


def test_mpt_splits_48_by_11_with_a_ragged_last_one() -> None:
    assert [batch.stop - batch.start for batch in micro_batches(48, 11)] == [11, 11, 11, 11, 4]


@given(SIZES, SIZES)
def test_micro_batches_cover_the_batch_once_in_order(replica_batch: int, micro_batch: int) -> None:
    batches = micro_batches(replica_batch, micro_batch)
    assert [sample for batch in batches for sample in range(batch.start, batch.stop)] == list(range(replica_batch))
    assert all(batch.stop - batch.start <= micro_batch for batch in batches)
    assert [batch.last for batch in batches] == [False] * (len(batches) - 1) + [True]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=60), st.integers(1, 20))
def test_weighted_means_sum_to_the_mean_of_the_whole(losses: list[float], micro_batch: int) -> None:
    parts = [(losses[each.start : each.stop], each.weight) for each in micro_batches(len(losses), micro_batch)]
    total = sum(sum(part) / len(part) * weight for part, weight in parts)
    assert math.isclose(total, sum(losses) / len(losses), rel_tol=1e-9, abs_tol=1e-9)
