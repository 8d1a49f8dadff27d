"""YAML by version 1.2's core rules, with places, and without what YAML would silently lose."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcscale.spec.problems import InputError
from hpcscale.spec.yaml12 import loads


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:00:00", "12:00:00"),  # YAML 1.1: 43200
        ("02:00:00", "02:00:00"),
        ("3e-4", 3e-4),  # YAML 1.1: the string
        ("no", "no"),  # YAML 1.1: False
        ("on", "on"),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("1_000", "1_000"),
        ("true", True),
        ("~", None),
        ("", None),
        ("-.inf", -math.inf),
        ("'12'", "12"),
        ('"true"', "true"),
        ("1.", 1.0),
        ("2026-11-20", "2026-11-20"),  # YAML 1.1: a date
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert loads(f"key: {text}").data == {"key": value}


# YAML holds no unprintable characters, not even escaped as JSON escapes them.
PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PRINTABLE,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTABLE, inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_is_read_as_json_reads_it(value: object) -> None:
    text = json.dumps({"value": value}, ensure_ascii=False)
    assert loads(text).data == json.loads(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        loads(text)
    except InputError as error:
        assert all(problem.message for problem in error.problems)


def test_every_value_has_its_place() -> None:
    document = loads("a:\n  b: [1, 22]\n  c: x\n", "f.yaml")
    assert document.place(("a", "b", 1)) == (2, 10)
    assert document.place(("a", "c")) == (3, 6)
    assert str(document.problem(("a", "b"), "no")) == "f.yaml:2:3: no"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the key 'a' stands here a second time (first on line 1)"),
        ("a:\n\tb: 1\n", "f.yaml:2:1: a tab stands where YAML wants spaces; indent with spaces"),
        ("a: &x [*x]\n", "f.yaml:1:4: an alias refers to a value that contains it"),
        ("? [1, 2]\n: 3\n", "f.yaml:1:3: a key must be a plain word"),
    ],
)
def test_what_yaml_would_lose_is_an_error(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        loads(text, "f.yaml")
    assert str(caught.value) == message


def test_all_duplicate_keys_are_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        loads("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert len(caught.value.problems) == 2
