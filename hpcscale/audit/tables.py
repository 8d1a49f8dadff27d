"""The tables of a text, as people publish them: what is a header, what is a row, and on which line each stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpcscale.audit import grids, markup

_FENCE = re.compile(r"^\s*(```|~~~)")
_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"^\s*([=\-~^])\1{2,}\s*$")


@dataclass(frozen=True)
class Line:
    """A row as printed: the file's line that it starts on, and its cells."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table. ``headings`` are those above it, outermost first; ``before`` is the text that speaks of it: of its own
    section and of the sections around that one; ``earlier`` is all text above it."""

    number: int
    line: int
    header: tuple[str, ...]
    rows: tuple[Line, ...]
    headings: tuple[str, ...] = ()
    before: str = ""
    earlier: str = ""


@dataclass(frozen=True)
class Heading:
    line: int
    level: int
    text: str


def read(text: str, separated: str | None = None) -> list[Table]:
    """Every table of ``text``, in its order. ``separated``: the whole text is values separated by this character."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").split("\n")
    lines = [line.lstrip("\ufeff").replace("\x00", "") for line in lines]
    if separated is not None:
        blocks = grids.separated(lines, separated)
    else:
        blocks = markup.html_tables(lines)
        free = _without(lines, blocks)
        blocks += grids.find(free)
    blocks = sorted((block for block in blocks if block.rows), key=lambda block: block.first)
    taken = {number for block in blocks for number in range(block.first, block.last + 1)}
    headings = _headings(lines, taken)
    tables = []
    for position, block in enumerate(blocks, 1):
        above = _stack(headings, block.first)
        start = max(above[-1].line if above else 0, 0)
        prose = [lines[n - 1] for n in range(start + 1, block.first) if n not in taken]
        intro = _introductions(lines, above[:-1], headings, taken) if above else []
        rows = tuple(Line(number, tuple(cells)) for number, cells in block.rows)
        texts = tuple(heading.text for heading in above)
        earlier = "\n".join(lines[n - 1] for n in range(1, block.first) if n not in taken)
        header = tuple(block.header)
        tables.append(Table(position, block.first, header, rows, texts, "\n".join([*intro, *prose]), earlier))
    return tables


def _without(lines: Sequence[str], blocks: Sequence[grids.Block]) -> list[str]:
    free = list(lines)
    for block in blocks:
        for number in range(block.first, block.last + 1):
            free[number - 1] = ""
    return free


def _headings(lines: Sequence[str], taken: set[int]) -> list[Heading]:
    found, fenced = [], False
    for number, line in enumerate(lines, 1):
        if _FENCE.match(line):
            fenced = not fenced
        if number in taken or fenced:
            continue
        match = _HEADING.match(line)
        if match:
            found.append(Heading(number, len(match[1]), match[2]))
        elif number > 1 and _UNDERLINE.match(line) and lines[number - 2].strip() and (number - 1) not in taken:
            found.append(Heading(number, 1 if "=" in line else 2, lines[number - 2].strip()))
    return found


def _stack(headings: Sequence[Heading], line: int) -> list[Heading]:
    """The headings that a line stands under, outermost first."""
    stack: list[Heading] = []
    for heading in headings:
        if heading.line >= line:
            break
        while stack and stack[-1].level >= heading.level:
            stack.pop()
        stack.append(heading)
    return stack


def _introductions(
    lines: Sequence[str], outer: Sequence[Heading], headings: Sequence[Heading], taken: set[int]
) -> list[str]:
    """What stands between each outer heading and the next heading: it holds for every section below it."""
    first = min((each.line for each in headings), default=1)
    found = [lines[n - 1] for n in range(1, first) if n not in taken]
    for heading in outer:
        end = min((each.line for each in headings if each.line > heading.line), default=len(lines) + 1)
        found += [lines[n - 1] for n in range(heading.line + 1, end) if n not in taken]
    return found
