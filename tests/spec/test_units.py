"""Times and sizes with their units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.spec.units import format_seconds, parse_bytes, parse_count, parse_seconds


@given(st.integers(min_value=0, max_value=10**7))
def test_a_time_that_is_written_is_read_back(seconds: int) -> None:
    assert parse_seconds(format_seconds(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("02:00:00", 7200), ("1-12:00:00", 129600), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("2d", 172800)],
)
def test_times(text: str, seconds: int) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("value", ["10:30", "", "soon", 120, True, "1:99:00", None, "-1h"])
def test_what_is_no_time_or_ambiguous_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="HH:MM:SS"):
        parse_seconds(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("40 GB", 40 * 10**9), ("32GiB", 32 * 2**30), ("100 GB/s", 10**11), ("1.5 TB", 1_500_000_000_000), ("7 B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("value", [40, "40", "40 Gb", "GB", None])
def test_a_size_needs_its_unit(value: object) -> None:
    with pytest.raises(ValueError, match="with a unit"):
        parse_bytes(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("300B", 300e9), ("1.5T", 1.5e12), ("2e9", 2e9), ("100k", 1e5), ("1,000,000", 1e6), ("10_000", 1e4), (" 3e+11 ", 3e11), ("7 g", 7e9)],
)  # fmt: skip
def test_a_count_is_read_with_its_letter(text: str, value: float) -> None:
    assert parse_count(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "B", "0", "-3B", "1.5.2", "inf", "nan", "3e400", "12 apples", "1e-3"])
def test_what_is_no_count_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"300B, 1\.5T or 3e11"):
        parse_count(text)
