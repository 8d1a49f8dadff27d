"""Measured rows that are far slower than their neighbours are named, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcscale.report.build import build

Write = Callable[..., Path]


def write_series(write_run: Write, runs: Path, seconds: dict[int, float], spread: float = 0.0) -> None:
    """Strong scaling: ``seconds`` by the number of devices."""
    for devices, value in seconds.items():
        steps = [9.0, 9.0, *(value * (1 + spread * (i - 5) / 5) for i in range(11))]
        layout: dict[str, Any] = {"dp": devices, "tp": 1, "pp": 1, "cp": 1, "sharding": "fsdp"}
        write_run(runs, steps, point=f"dp{devices}", hash=f"{devices:08}", devices=devices, layout=layout,
                  device={"name": "x", "kind": "gpu", "peak_tflops": None})  # fmt: skip


def slow(runs: Path) -> list[str]:
    return [line for line in build([str(runs)]).about_rows if "a device does" in line]


def test_a_point_below_both_neighbours_is_named_with_the_one_that_shows_it(tmp_path: Path, write_run: Write):
    write_series(write_run, tmp_path, {1: 80.0, 2: 41.0, 4: 27.0, 8: 10.8, 16: 5.6})
    (line,) = slow(tmp_path)
    assert line.startswith("row 3: a device does 20 % less than in row 4 on 8 devices")


@pytest.mark.parametrize(
    "seconds",
    [
        {1: 80.0, 2: 41.0, 4: 21.2, 8: 11.2, 16: 6.2},
        {1: 80.0, 2: 41.0, 4: 21.2, 8: 11.0, 16: 6.5, 32: 4.5},
        {1: 80.0, 2: 42.0},
        {1: 80.0, 2: 40.2, 4: 20.2, 8: 11.0},
    ],
    ids=["even", "strong scaling that ends", "two", "a little less at the end"],
)
def test_an_ordinary_series_has_none(tmp_path: Path, write_run: Write, seconds: dict[int, float]):
    write_series(write_run, tmp_path, seconds)
    assert slow(tmp_path) == []


def test_steps_that_vary_as_much_as_the_difference_blame_no_point(tmp_path: Path, write_run: Write):
    write_series(write_run, tmp_path, {1: 80.0, 2: 41.0, 4: 24.0, 8: 10.8, 16: 5.6}, spread=0.3)
    assert slow(tmp_path) == []
