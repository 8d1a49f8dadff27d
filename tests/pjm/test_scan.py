"""How a directive line becomes words."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .fakepjm.scan import Unbalanced, directives, words_of


@given(st.text(alphabet="ab=,:\"' \t", max_size=30))
def test_words_are_cut_as_a_shell_cuts_them(text: str) -> None:
    try:
        expected = shlex.split(text)
    except ValueError:
        with pytest.raises(Unbalanced):
            words_of(text)
    else:
        assert words_of(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [("-L a=1 # -j", ["-L", "a=1"]), ("-N a#b", ["-N", "a#b"]), ("'# no' -j", ["# no", "-j"]), ("$HOME", ["$HOME"])],
)
def test_a_comment_begins_a_word_and_variables_stay(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@settings(max_examples=40)
@given(st.text(max_size=200))
def test_any_text_has_directives_or_an_unbalanced_quote_and_nothing_else(text: str) -> None:
    found = directives("#PJM -j\n" + text.replace('"', "").replace("'", ""), "job.sh", "#PJM")
    assert found[0] == ["-j"]
