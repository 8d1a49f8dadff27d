"""Columns of steps whose lines have not all the same keys."""

import pytest

from hpcscale.ingest.step_lines import Steps

NAN = float("nan")
STEPS = Steps([{"step": 1, "loss": 3.0, "memory": 5}, {"step": 2, "loss": "x"}, {"step": 3, "loss": NAN, "memory": 7}, {"step": 4, "loss": 1.5}])  # fmt: skip


@pytest.mark.parametrize(
    ("name", "values"), [("step", [1, 2, 3, 4]), ("memory", [5, None, 7, None]), ("no", [None] * 4)]
)
def test_a_column_has_a_value_or_none_for_each_line(name: str, values: list[object]):
    assert STEPS.column(name) == values == STEPS.column(name)
    assert (name in STEPS) == (name != "no")


def test_the_largest_the_first_and_the_last_are_those_of_numbers():
    assert (STEPS.length, STEPS.largest("memory"), STEPS.largest("no")) == (4, 7, None)
    assert (STEPS.ends("memory"), STEPS.ends("loss"), STEPS.ends("no")) == ([5, 7], [3.0, 1.5], [])
    assert (STEPS.not_a_number("loss"), STEPS.not_a_number("step")) == (3, None)
