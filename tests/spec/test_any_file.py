"""Whatever stands in a study or a machine file: it is read, or refused in sentences; nothing else happens."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcscale.jobs.render import Request, render
from hpcscale.spec import locate, machine, study
from hpcscale.spec.job import SettingsFile
from hpcscale.spec.problems import InputError
from hpcscale.spec.yaml12 import load

OWN = SettingsFile.model_validate({"defaults": {"account": "a", "group": "g"}})
JUNK = st.sampled_from(
    [None, True, 0, -1, 3, 1.5, 10**30, 1e-300, "", "x", "a b", "1e400", "02:00:00", "{{ x }}", "{% if %}", "dp * 2", "dp",
     [], [[]], [1, "a"], {}, {"a": {"b": []}}, {"dp": [1, 2]}, {"dp": "dp"}, ["dp > 1"], "日本", "../x", "/", ".nan"]
)  # fmt: skip


def paths(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += paths(value, (*here, key))
    return found


def replaced(data: Any, path: tuple[Any, ...], value: Any, rename: str | None) -> Any:
    data = copy.deepcopy(data)
    inner = data
    for step in path[:-1]:
        inner = inner[step]
    if rename is not None and isinstance(inner, dict):
        inner[rename] = inner.pop(path[-1])
    else:
        inner[path[-1]] = value
    return data


@pytest.mark.parametrize("name", ["30b_scaling", "fmengine_llama", "nemo_bert"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choice=st.data())
def test_any_study_is_read_or_refused(name: str, choice: st.DataObject, tmp_path: Path) -> None:
    data = load(locate.packaged("studies") / f"{name}.yaml").data
    for _ in range(choice.draw(st.integers(1, 2))):
        path = choice.draw(st.sampled_from(paths(data)))
        rename = choice.draw(st.none() | st.sampled_from(["dp", "tp", "derive", "sweep", "x", "gbs", "model.layers"]))
        data = replaced(data, path, choice.draw(JUNK), rename)
    file = tmp_path / "s.yaml"
    file.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    try:
        render(study.read(str(file)), Request(out=tmp_path / "out"), OWN)
    except InputError as error:
        assert all(problem.message and "pydantic" not in problem.message for problem in error.problems)


@pytest.mark.parametrize("name", ["fugaku", "juwels-booster", "local"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choice=st.data())
def test_any_machine_file_is_read_or_refused(name: str, choice: st.DataObject, tmp_path: Path) -> None:
    data = load(locate.packaged("machines") / f"{name}.yaml").data
    path = choice.draw(st.sampled_from(paths(data)))
    data = replaced(data, path, choice.draw(JUNK), None)
    file = tmp_path / "m.yaml"
    file.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    question = {
        "name": "s", "model": "tiny-gpt", "machines": {str(file): None}, "job": {"time": "00:05:00"},
        "training": {"sequence_length": 64, "global_batch_size": 8, "precision": "fp32"},
    }  # fmt: skip
    asked = tmp_path / "s.yaml"
    asked.write_text(json.dumps(question), encoding="utf-8")
    try:
        machine.read(file)
        render(study.read(str(asked)), Request(out=tmp_path / "out"), OWN)
    except InputError as error:
        assert all(problem.message and "pydantic" not in problem.message for problem in error.problems)
