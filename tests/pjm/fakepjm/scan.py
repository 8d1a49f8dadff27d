"""The directive lines of a job script (CmdRef p.74, EUG 2.3)."""

from __future__ import annotations

import sys

from .messages import Refused, error_line, warn_line

LONGEST_LINE = 4096
MOST_OPTIONS = 64


class Unbalanced(Exception):
    """A quotation mark without its partner."""


def words_of(text: str) -> list[str]:
    """The words of one directive as a shell would cut them, without expansion; an unquoted ``#`` begins a comment."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    for letter in text:
        if quote:
            if letter == quote:
                quote = ""
            elif word is not None:
                word.append(letter)
        elif letter in "\"'":
            quote = letter
            word = [] if word is None else word
        elif letter in " \t\n":
            if word is not None:
                words.append("".join(word))
            word = None
        elif letter == "#" and word is None:
            break
        else:
            word = [] if word is None else word
            word.append(letter)
    if quote:
        raise Unbalanced
    if word is not None:
        words.append("".join(word))
    return words


def directives(script: str, name: str, prefix: str) -> list[list[str]]:
    """The words of each directive line; the first line that is neither comment nor blank ends them."""
    found = []
    for number, line in enumerate(script.split("\n"), start=1):
        if not line.strip():
            continue
        if not line.startswith("#"):
            break
        rest = line[len(prefix) :]
        if not line.startswith(prefix) or rest[:1] not in (" ", "\t"):
            continue
        found.append(one_line(rest, line, name, number))
    return found


def one_line(rest: str, line: str, name: str, number: int) -> list[str]:
    place = f"Script file {name} line {number}."
    if len(line) > LONGEST_LINE:
        raise Refused(error_line("pjsub", 25), place)
    try:
        words = words_of(rest)
    except Unbalanced:
        raise Refused(error_line("pjsub", 8), place) from None
    options = [index for index, word in enumerate(words) if word.startswith("-")]
    if len(options) <= MOST_OPTIONS:
        return words
    cut = options[MOST_OPTIONS]
    for text in (
        warn_line("pjsub", 24, "Too many arguments in script file."),
        place,
        f"Ignore the subsequent options: {' '.join(words[cut:])}.",
    ):
        print(text, file=sys.stderr)
    return words[:cut]
