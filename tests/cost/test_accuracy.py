"""How well predictions hold on published rows: the totals of benchmarks/prediction.py, which every change must keep."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hpcscale.cost import cases, tables
from hpcscale.cost.calibration import fit_machine
from hpcscale.cost.constants import fitted, values_of
from hpcscale.cost.of_rows import described
from hpcscale.cost.time import step

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "prediction.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    specification = importlib.util.spec_from_file_location("prediction_benchmark", BENCHMARK)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(benchmark: ModuleType) -> list[dict[str, Any]]:
    return benchmark.read()


@pytest.fixture(scope="module")
def protocols(benchmark: ModuleType, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return benchmark.evaluate(rows)


@pytest.mark.parametrize(
    ("protocol", "median", "ninetieth"), [("left out", 0.14, 0.45), ("pilot", 0.08, 0.28), ("half", 0.06, 0.18)]
)
def test_errors_of_seconds_per_step_stay_below_the_targets(
    protocols: dict[str, Any], protocol: str, median: float, ninetieth: float
) -> None:
    found = protocols[protocol]
    assert found["mean_of_medians"] <= median
    assert found["p90"] <= ninetieth


@pytest.mark.parametrize("protocol", ["left out", "pilot", "half"])
def test_eighty_percent_intervals_cover_seventy_to_ninety_percent_of_the_rows(
    protocols: dict[str, Any], protocol: str
) -> None:
    assert 0.70 <= protocols[protocol]["coverage"] <= 0.90


def test_every_system_was_left_out_once(protocols: dict[str, Any]) -> None:
    systems = protocols["left out"]["systems"]
    assert sum(each["n"] for each in systems.values()) == 384
    assert len(systems) == 9


def test_the_shipped_constants_are_those_of_the_fit(benchmark: ModuleType, rows: list[dict[str, Any]]) -> None:
    found = benchmark.learned_from(rows)
    for name, values in fitted().items():
        for owner, value in values.items():
            assert found[name][owner] == pytest.approx(value, rel=0.05), (
                f"{name} of {owner}: benchmarks/prediction.py --fit"
            )


def test_fugaku_fitted_on_192_and_384_nodes_foretells_1536_and_more(rows: list[dict[str, Any]]) -> None:
    own = [row for row in rows if row["system"] == "fugaku" and row["sec_per_iter"]]
    known = [row for row in own if row["gpus"] in ("192", "384")]
    rest = [row for row in own if int(row["gpus"]) >= 1536]
    assert (len(known), len(rest)) == (4, 6)
    found = [described(row) for row in known]
    kinds = [each.kind for each in found]
    constants = fit_machine(
        cases.made([each.values or {} for each in found]), kinds, np.array([float(row["sec_per_iter"]) for row in known]),
        values_of(kinds, learned={}),
    )  # fmt: skip
    far = [described(row) for row in rest]
    values = values_of([each.kind for each in far], [constants] * len(far), {})
    predicted = step(cases.made([each.values or {} for each in far]), values).total
    errors = np.abs(predicted / np.array([float(row["sec_per_iter"]) for row in rest]) - 1)
    assert np.median(errors) <= 0.15


def test_a_pilot_row_is_said_to_be_one_and_no_row_after_it(rows: list[dict[str, Any]]) -> None:
    own = [row for row in rows if row["system"] == "torchtitan_a100_80gb"]
    found = tables.predict_rows(own, pilot=2)
    assert [each.is_pilot for each in found] == [True, True, *[False] * 6]
