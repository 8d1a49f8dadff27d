"""Layers are dealt to pipeline stages: all of them, in order, as evenly as the rule says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.spec.layout import Layout
from hpcscale.spec.stages import layers_of_rank, stage_layers


def sizes(*arguments: int) -> list[int]:
    return [len(each) for each in stage_layers(*arguments)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((48, 48), [1] * 48),
        ((48, 12), [4] * 12),
        ((7, 3), [3, 2, 2]),  # the remainder goes to the earliest stages
        ((32, 4, 1, 1), [8, 9, 8, 7]),
        ((6, 4, 0, 3), [2, 2, 1, 1]),  # a head heavier than a share leaves its stage one layer
        ((2, 2, 5, 5), [1, 1]),
    ],
)
def test_the_rule(arguments: tuple[int, ...], expected: list[int]) -> None:
    assert sizes(*arguments) == expected


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 9), st.integers(0, 9))
def test_every_layer_is_on_one_stage_and_every_stage_has_one(layers: int, stages: int, first: int, last: int) -> None:
    if stages > layers:
        with pytest.raises(ValueError, match="at least as many layers"):
            stage_layers(layers, stages, first, last)
        return
    split = stage_layers(layers, stages, first, last)
    assert [layer for stage in split for layer in stage] == list(range(layers))
    assert all(split)


@pytest.mark.parametrize(
    ("schedule", "virtual", "expected"),
    [("1f1b", 1, [[0, 1], [2, 3]]), ("interleaved-1f1b", 2, [[0, 2], [1, 3]]), ("zbv", 2, [[0, 3], [1, 2]])],
)
def test_interleaved_stages_go_round_and_those_of_zbv_there_and_back(
    schedule: str, virtual: int, expected: list[list[int]]
) -> None:
    layout = Layout.model_validate({"pp": 2, "schedule": schedule, "virtual_stages": virtual})
    found = [[layer for stage in layers_of_rank(4, layout, rank) for layer in stage] for rank in range(2)]
    assert found == expected
