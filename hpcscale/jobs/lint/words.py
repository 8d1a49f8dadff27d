"""The words of a directive line, as sbatch and pjsub cut them."""

from __future__ import annotations

from typing import Literal

Quoting = Literal["sbatch", "shell"]


class UnbalancedQuote(ValueError):
    """A quote is opened and not closed."""


def split(text: str, quoting: Quoting) -> list[str]:
    """The words of ``text``. Raises UnbalancedQuote.

    ``sbatch``: seen with 22.05.8, a backslash takes the next character as it is, also in single quotes, but never an
    unquoted blank; an unquoted ``#`` ends the line, also inside a word. ``shell``: pjsub by its Command Reference.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    i = 0
    while i < len(text):
        c = text[i]
        if c == "\\" and _escapes(text[i + 1 : i + 2], quote, quoting):
            word, i = (word or "") + text[i + 1], i + 2
            continue
        if quote:
            quote, word = ("", word) if c == quote else (quote, (word or "") + c)
        elif c in "\"'":
            quote, word = c, word or ""
        elif c == "\\" and quoting == "sbatch":
            pass  # alone before a blank or the end: it vanishes
        elif c in " \t\r\n\v\f":
            if word is not None:
                words.append(word)
            word = None
        elif c == "#" and (quoting == "sbatch" or word is None):
            break
        else:
            word = (word or "") + c
        i += 1
    if quote:
        raise UnbalancedQuote(quote)
    return words if word is None else [*words, word]


def _escapes(following: str, quote: str, quoting: Quoting) -> bool:
    """Whether a backslash before ``following`` makes it an ordinary character."""
    if not following:
        return False
    if quoting == "sbatch":
        return bool(quote) or not following.isspace()
    if quote == "'":
        return False
    return following in '"\\$`' if quote else True
