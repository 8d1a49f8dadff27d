"""The median and its order-statistic interval."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.record.median import FEW, median_with_interval


@pytest.mark.parametrize(
    ("n", "low", "high"),
    # ranks of the 95 % interval, as in tables of the binomial (for example Conover, table A3)
    [
        (1, 1, 1),
        (2, 1, 2),
        (5, 1, 5),
        (6, 1, 6),
        (8, 1, 8),
        (9, 2, 8),
        (10, 2, 9),
        (12, 3, 10),
        (20, 6, 15),
        (100, 40, 61),
    ],
)
def test_interval_takes_the_ranks_of_the_binomial(n: int, low: int, high: int):
    found = median_with_interval([float(i) for i in range(1, n + 1)])
    assert (found.value, found.low, found.high) == ((n + 1) / 2, low, high)


@given(st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=60))
def test_interval_holds_the_median_and_covers_what_it_says(values: list[float]):
    found = median_with_interval(values)
    assert min(values) <= found.low <= found.value <= found.high <= max(values)


@pytest.mark.parametrize("n", range(6, 60))
def test_coverage_is_at_least_95_percent_and_the_next_pair_is_below(n: int):
    k = int(median_with_interval([float(i) for i in range(1, n + 1)]).low)

    def coverage(k: int) -> float:
        return 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2**n

    assert coverage(k) >= 0.95
    assert k + 1 > n // 2 or coverage(k + 1) < 0.95


@pytest.mark.parametrize("n", FEW)
def test_what_few_values_are_stretched_by_holds_the_median_in_95_percent(n: int):
    random = np.random.default_rng(1)
    values = np.sort(random.normal(size=(200_000, n)), axis=1)
    half, middle = (values[:, -1] - values[:, 0]) / 2, np.median(values, axis=1)
    to_95, to_sigma = FEW[n]
    assert np.mean(np.abs(middle) <= to_95 * half) == pytest.approx(0.95, abs=0.002)
    assert to_sigma * half.mean() == pytest.approx(middle.std(), rel=0.01)


def test_nothing_has_no_median():
    with pytest.raises(ValueError, match="nothing"):
        median_with_interval([])


def test_long_runs_are_quick_and_keep_to_the_normal_limit():
    n = 200_000
    found = median_with_interval([float(i) for i in range(1, n + 1)])
    assert found.low == pytest.approx(n / 2 - 1.96 * n**0.5 / 2, abs=2)
