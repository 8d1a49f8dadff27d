"""What is said about a run's steps: intervals, changes, outliers, a rank that is always the slowest. Seeded data."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcscale.ingest import records, schema
from hpcscale.ingest.statistics.changes import stretches
from hpcscale.ingest.statistics.dependence import (
    block_length,
    blocks_are_short_by,
    neighbours_widen_by,
    rank_scores,
    student,
)
from hpcscale.ingest.statistics.findings import about_steps
from hpcscale.ingest.statistics.interval import Resampled, median_interval
from hpcscale.ingest.statistics.outliers import outliers
from hpcscale.ingest.statistics.slowest import persistently_slowest
from hpcscale.ingest.statistics.together import uneventful
from hpcscale.record.median import median_with_interval


def remembering(random: np.random.Generator, n: int, correlation: float) -> np.ndarray:
    noise = random.normal(size=n + 50) * 0.02 * (1 - correlation**2) ** 0.5
    for step in range(1, n + 50):
        noise[step] += correlation * noise[step - 1]
    return 1 + noise[50:]


def clean(random: np.random.Generator, n: int = 100) -> np.ndarray:
    return 1 + 0.02 * random.normal(size=n)


# Intervals


@pytest.mark.parametrize("length", [1, 4, 6])
def test_the_exact_bootstrap_is_what_drawing_many_samples_comes_to(length: int):
    random = np.random.default_rng(0)
    seconds = remembering(random, 60, 0.6)
    exact = Resampled(seconds, length)
    starts = random.integers(60, size=(20_000, 60 // length))
    drawn = np.sort(seconds[(starts[:, :, None] + np.arange(length)) % 60].reshape(20_000, -1), axis=1)
    lower, upper = drawn[:, (drawn.shape[1] - 1) // 2], drawn[:, drawn.shape[1] // 2]
    for share in (0.025, 0.3, 0.5, 0.975):
        for sample, is_upper in ((lower, False), (upper, True)):
            found = exact.quantile(share, is_upper)
            assert np.mean(sample < found) - 0.01 <= share <= np.mean(sample <= found) + 0.01
    tail = math.erfc(1.96 * blocks_are_short_by(length, 60) / math.sqrt(2)) / 2
    assert tail == pytest.approx(0.025, abs=1e-4) if length == 1 else tail < 0.02
    assert exact.ends() == (exact.quantile(tail), exact.quantile(1 - tail, upper=True))


@settings(deadline=None)
@given(st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=80))
def test_the_interval_holds_the_median_and_is_never_narrower_than_that_of_order_statistics(values: list[float]):
    found, plain = median_interval(values), median_with_interval(values)
    assert (
        min(values) <= found.low <= plain.low <= found.value == plain.value <= plain.high <= found.high <= max(values)
    )


def test_steps_that_remember_each_other_widen_the_interval():
    random = np.random.default_rng(1)
    held = {"independent": 0, "blocks": 0, "plain": 0}
    for _ in range(200):
        series = remembering(random, 200, 0.7).tolist()
        held["blocks"] += (found := median_interval(series)).low <= 1 <= found.high
        held["plain"] += (found := median_with_interval(series)).low <= 1 <= found.high
        held["independent"] += (found := median_interval(clean(random).tolist())).low <= 1 <= found.high
    assert held["plain"] + 5 < held["blocks"]
    assert held["independent"] >= 186


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("n", [50, 100])
def test_the_interval_holds_the_median_in_95_percent_also_where_steps_remember(n: int, correlation: float):
    random = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        found = median_interval(remembering(random, n, correlation).tolist())
        held += found.low <= 1 <= found.high
    assert held >= 182  # 190 are expected


@pytest.mark.parametrize(("n", "most"), [(20, 1.15), (100, 1.03)])
def test_steps_that_do_not_remember_hardly_pay_for_it(n: int, most: float):
    random, ours, plain = np.random.default_rng(12), 0.0, 0.0
    for _ in range(300):
        seconds = clean(random, n).tolist()
        ours += (found := median_interval(seconds)).high - found.low
        plain += (found := median_with_interval(seconds)).high - found.low
    assert ours <= most * plain


def test_times_of_two_digits_are_no_memory():
    """Equal times rank equally; in the order of their steps each group of them would be one long rise."""
    random, alike = np.random.default_rng(13), 0
    for _ in range(100):
        seconds = clean(random).round(2)
        alike += neighbours_widen_by(rank_scores(seconds, np.sort(seconds))) > 1
    assert alike <= 12  # 5 are expected


def test_memory_widens_by_what_it_adds_to_the_medians_variance():
    """Of medians of many normal runs of 400 steps, each 0.6 times the one before."""
    random = np.random.default_rng(14)
    noise = random.normal(size=(4000, 450))
    for step in range(1, 450):
        noise[:, step] += 0.6 * noise[:, step - 1]
    runs = noise[:, 50:]
    of_medians = np.median(runs, axis=1).std() / (runs.std() * math.sqrt(math.pi / 2 / 400))
    wider = [neighbours_widen_by(rank_scores(run, np.sort(run))) for run in runs[:200]]
    assert np.median(wider) == pytest.approx(of_medians, rel=0.06)


@pytest.mark.parametrize(("freedom", "quantile"), [(3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)])
def test_students_t_is_that_of_the_tables(freedom: int, quantile: float):
    assert student(freedom) == pytest.approx(quantile, rel=0.01)


def test_a_slow_wave_under_noise_widens_the_interval_by_its_blocks():
    """Neighbours are hardly alike, but all of a wave's steps lie on one side."""
    random, wider = np.random.default_rng(26), 0
    for _ in range(40):
        seconds = clean(random, 300) + 0.03 * np.sin(2 * np.pi * (np.arange(300) / 100 + random.random()))
        found, blocks = median_interval(seconds.tolist()), Resampled(seconds).ends()
        assert found.low <= blocks[0] and blocks[1] <= found.high
        wider += found == (found.value, *blocks)
    assert wider > 0


def test_steps_that_are_all_equal_have_an_interval_of_no_width():
    assert median_interval([1.5] * 40) == (1.5, 1.5, 1.5)
    assert neighbours_widen_by(rank_scores(np.full(9, 1.5), np.full(9, 1.5))) == 1


def test_independent_steps_are_blocks_of_one_and_others_longer():
    random = np.random.default_rng(2)
    lengths = [block_length(clean(random, 200)) for _ in range(50)]
    assert np.median(lengths) == 1
    assert np.median([block_length(remembering(random, 200, 0.8)) for _ in range(50)]) >= 8


def test_blocks_are_as_long_as_politis_and_white_say():
    """Of the true autocovariances of normal steps, each 0.7 times the one before, on the same side of their median."""
    n, random = 20_000, np.random.default_rng(16)
    lags = np.arange(1, 200)
    sides = np.arcsin(0.7**lags) / (2 * math.pi)
    spectrum, slope = 0.25 + 2 * sides.sum(), 2 * (lags * sides).sum()
    expected = (2 * slope**2 / (4 / 3 * spectrum**2) * n) ** (1 / 3)
    found = [block_length(remembering(random, n, 0.7)) for _ in range(5)]
    assert np.mean(found) == pytest.approx(expected, rel=0.08)


# Changes


@pytest.mark.parametrize("n", [20, 100])
@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_clean_runs_raise_a_false_alarm_in_at_most_one_of_a_hundred(n: int, correlation: float):
    random = np.random.default_rng(3)
    alarms = sum(len(about_steps(range(n), remembering(random, n, correlation).tolist())) > 0 for _ in range(300))
    assert alarms <= 3


@pytest.mark.parametrize(("n", "correlation"), [(20, 0.6), (20, 0.8), (50, 0.8), (100, 0.8)])
def test_runs_that_wander_by_themselves_raise_a_false_alarm_in_about_one_of_a_hundred(n: int, correlation: float):
    random = np.random.default_rng(10)
    alarms = sum(len(stretches(remembering(random, n, correlation))) > 1 for _ in range(400))
    assert alarms <= 8


def test_a_stretch_that_is_3_percent_slower_is_found_in_nine_of_ten_runs():
    random, found = np.random.default_rng(15), 0
    for _ in range(200):
        seconds = clean(random)
        seconds[56:] *= 1.03
        found += len(stretches(seconds)) > 1
    assert found >= 180


def test_a_slow_down_is_found_where_it_begins():
    random, near = np.random.default_rng(4), 0
    for _ in range(50):
        seconds = clean(random)
        seconds[56:] *= 1.12
        parts = stretches(seconds)
        near += len(parts) == 2 and abs(parts[1].first - 56) <= 2
    assert near >= 48


def test_two_steps_that_took_twenty_times_as_long_hide_no_change():
    random, found = np.random.default_rng(17), 0
    for _ in range(20):
        seconds = clean(random)
        seconds[56:] *= 1.12
        seconds[[20, 70]] = 20.0
        found += len(stretches(seconds)) == 2
    assert found >= 19


@pytest.mark.parametrize(
    ("slower", "said"),
    [
        ({(56, 100): 1.12}, "from step 57 on 12 % slower"),
        ({(40, 60): 1.25}, "steps 41 to 60 were 25 % slower than the others"),
        ({(0, 30): 1.1}, "from step 31 on 9.1 % faster"),
        ({(30, 100): 1.1, (70, 100): 1.2}, "from step 31 on 10 % slower, from step 71 on 20 % slower"),
    ],
)
def test_changes_are_said_with_their_steps_and_size(slower: dict[tuple[int, int], float], said: str):
    seconds = 1 + 0.001 * np.random.default_rng(5).normal(size=100)
    for (first, end), times in slower.items():
        seconds[first:end] *= times
    assert about_steps(range(1, 101), seconds.tolist()) == [said]


def test_a_change_too_small_to_matter_and_a_run_too_short_to_tell_are_not_named():
    seconds = np.concatenate([np.full(50, 1.0), np.full(50, 1.015)]) + 1e-4 * np.random.default_rng(6).normal(size=100)
    assert about_steps(range(100), seconds.tolist()) == []
    assert about_steps(range(5), [1.0, 1.0, 1.0, 2.0, 2.0]) == []


@pytest.mark.parametrize("n", [5, 8, 10, 11, 50, 101])
def test_of_many_runs_at_once_none_is_passed_over(n: int):
    """Whatever is said of a run alone is said of it among others."""
    random = np.random.default_rng(19)
    runs = np.stack([remembering(random, n, correlation) for correlation in (0.0, 0.5, 0.9) for _ in range(60)])
    runs[::5] = runs[::5].round(2)
    runs[::7, n // 2 :] *= 1.05
    runs[::11] = 1.0
    slower = np.stack(
        [clean(random, n) for _ in range(120)]
    )  # some just so much that it is found, for good or for a while
    slower[:60, n // 2 :] *= 1 + np.linspace(0, 0.1, 60)[:, None]
    slower[60:, n // 3 : 2 * n // 3] *= 1 + np.linspace(0, 0.1, 60)[:, None]
    runs = np.concatenate([runs, slower])
    runs[3:180:11] *= np.where(random.random((len(runs[3:180:11]), n)) < 0.05, 2, 1)
    quiet = uneventful(runs)
    assert not any(about_steps(range(n), run.tolist()) for run in runs[quiet])
    assert 0.3 * len(runs) < quiet.sum()
    if n >= 8:
        assert quiet.sum() < len(runs)


def test_a_step_of_endless_time_is_no_measurement(tmp_path: Path, write_run: Callable[..., Path]):
    seconds = clean(np.random.default_rng(20), 20).tolist()
    attempt = write_run(tmp_path, [9.0, 9.0, *seconds, 123456.5], device={"name": "cpu-core", "kind": "cpu"})
    record = attempt / "record.jsonl"
    record.write_text(record.read_text().replace("123456.5", "1e999"))
    (row,) = schema.rows(records.read(tmp_path))
    assert (row["measured_steps"], row["note"]) == (20, "")


# Outliers


def test_outliers_are_counted_and_stay_in_the_figures(tmp_path: Path, write_run: Callable[..., Path]):
    seconds = clean(np.random.default_rng(7), 50)
    seconds[[10, 30]] = 4.2, 2.0
    write_run(tmp_path, [9.0, 9.0, *seconds.tolist()], device={"name": "cpu-core", "kind": "cpu"})
    (row,) = schema.rows(records.read(tmp_path))
    assert row["note"] == "2 of 50 steps are outliers of 2 to 4.2 times the median; none is dropped"
    assert (row["measured_steps"], row["step_seconds"]) == (50, pytest.approx(float(np.median(seconds))))


def test_the_slow_half_of_a_run_consists_of_no_outliers():
    seconds = clean(np.random.default_rng(8))
    seconds[60:] *= 3
    seconds[80] = 20.0
    assert outliers(seconds, stretches(seconds)).tolist() == [80]


def test_a_step_that_is_3_percent_off_is_no_outlier_however_even_the_others_are():
    seconds = 1 + 1e-4 * np.random.default_rng(18).normal(size=60)
    seconds[[30, 40]] = 1.03, 1.5
    assert outliers(seconds, stretches(seconds)).tolist() == [40]


# Ranks


def test_a_rank_that_is_nearly_always_behind_is_named():
    ranks = [3] * 18 + [1, 2]
    found = persistently_slowest(ranks, [1.12] * 20, [1.0] * 20, size=8)
    assert found is not None
    assert (found.rank, found.count, found.steps, found.behind) == (3, 18, 20, pytest.approx(0.12))


@pytest.mark.parametrize(
    ("ranks", "behind", "size"),
    [([0, 1] * 10, 0.12, 2), ([0] * 12 + [1] * 8, 0.12, 2), ([3] * 20, 0.01, 8), ([3] * 5, 0.5, 8), ([0] * 20, 0.5, 1)],
    ids=["in turns", "chance", "hardly behind", "few steps", "alone"],
)
def test_no_rank_is_blamed_without_reason(ranks: list[int], behind: float, size: int):
    n = len(ranks)
    assert persistently_slowest(ranks, [1 + behind] * n, [1.0] * n, size) is None
