"""Tables drawn with characters: pipes, commas and tabs, ampersands, columns of spaces."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

Row = tuple[int, list[str]]


@dataclass
class Block:
    """A table's place in the file (lines from 1, both ends) and its cells."""

    first: int
    last: int
    header: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


_RULE = re.compile(r"^[\s|+:=\-─━┼├┤╪╞╡┌┐└┘┬┴═╔╗╚╝╠╣╦╩╬]+$")
_BARS = str.maketrans({"│": "|", "┃": "|", "║": "|", "｜": "|"})
_DIGIT = re.compile(r"\d")
_LATEX_END = re.compile(r"\\\\\s*(\[[^]]*\])?\s*(\\(hline|midrule|toprule|bottomrule|cline\{[^}]*\})\s*)*$")


def find(lines: Sequence[str]) -> list[Block]:
    """Every drawn table, by trying the clearest drawing first at each run of lines."""
    blocks, number = [], 0
    while number < len(lines):
        for reader in (_pipes, _latex, _delimited, _aligned):
            block = reader(lines, number)
            if block:
                blocks.append(block)
                number = block.last
                break
        else:
            number += 1
    return blocks


def _run(lines: Sequence[str], start: int, belongs: re.Pattern[str]) -> int:
    """The end (exclusive) of the run of lines from ``start`` that match."""
    end = start
    while end < len(lines) and lines[end].strip() and belongs.search(lines[end]):
        end += 1
    return end


_PIPE = re.compile(r"[|│┃║｜]|^\s*\+[-=+]+\+\s*$|^\s*[┌├└╔╠╚─━]")


def _is_rule(line: str) -> bool:
    return bool(_RULE.match(line)) and bool(re.search(r"[-=─━═]", line))


def split_pipes(line: str) -> list[str]:
    """Cells of a pipe table's line; pipes that are escaped or inside backticks are text."""
    line = line.translate(_BARS).strip()
    line = re.sub(r"`[^`|]*(\|[^`]*)`", lambda match: match[0].replace("|", "\x01"), line) if "`" in line else line
    cells = line.replace("\\|", "\x01").split("|")
    if cells and not cells[0].strip() and len(cells) > 1:
        cells = cells[1:]
    if cells and not cells[-1].strip() and len(cells) > 1:
        cells = cells[:-1]
    return [cell.replace("\x01", "|").strip() for cell in cells]


def _pipes(lines: Sequence[str], start: int) -> Block | None:
    end = _run(lines, start, _PIPE)
    if end - start < 2:
        return None
    rules = [n for n in range(start, end) if _is_rule(lines[n])]
    body = [(n + 1, split_pipes(lines[n])) for n in range(start, end) if n not in rules]
    if not body or max(len(cells) for _, cells in body) < 2:
        return None
    if not rules and (len(body) < 2 or not _tabular([cells for _, cells in body])):
        return None
    # A later heading inside the run (two tables without a blank line between them) starts a table of its own.
    divider = next((n for n in rules if n > start and not _is_rule(lines[n - 1])), None)
    following = [n for n in rules if divider is not None and n > divider + 1] if _markdown(lines, rules) else []
    if following:
        end = following[0] - 1
        body = [row for row in body if row[0] <= end]
    if divider is None:
        header, rows = [body[0]], body[1:]
    else:
        header, rows = [row for row in body if row[0] <= divider], [row for row in body if row[0] > divider]
    if not rows:
        return None
    return Block(start + 1, end, _joined([cells for _, cells in header]), rows)


def _markdown(lines: Sequence[str], rules: Sequence[int]) -> bool:
    return all("+" not in lines[n] and not re.search(r"[─━═]", lines[n]) for n in rules)


def _joined(header: Sequence[Sequence[str]]) -> list[str]:
    """A header of several lines as one."""
    width = max((len(cells) for cells in header), default=0)
    return [" ".join(cells[i] for cells in header if i < len(cells) and cells[i]).strip() for i in range(width)]


def _tabular(rows: Sequence[Sequence[str]]) -> bool:
    """Whether these look like a header and rows of figures."""
    widths = {len(row) for row in rows}
    figures = sum(any(_DIGIT.match(cell.lstrip("~≈*-")) for cell in row) for row in rows[1:])
    return max(widths) >= 2 and max(widths) - min(widths) <= 2 and figures >= max(1, (len(rows) - 1) // 2)


_AMPERSAND = re.compile(r"&.*\\\\|^\s*\\(hline|toprule|midrule|bottomrule|cline)")


def _latex(lines: Sequence[str], start: int) -> Block | None:
    if "&" not in lines[start]:
        return None
    end = _run(lines, start, _AMPERSAND)
    rows = []
    for n in range(start, end):
        if "&" in lines[n]:
            body = re.sub(r"^\s*(\\(hline|toprule|midrule)\s*)+", "", _LATEX_END.sub("", lines[n].strip()))
            rows.append((n + 1, [cell.strip() for cell in re.split(r"(?<!\\)&", body)]))
    if len(rows) < 2 or not _tabular([cells for _, cells in rows]):
        return None
    return Block(start + 1, end, rows[0][1], rows[1:])


def _delimited(lines: Sequence[str], start: int) -> Block | None:
    """Comma-, tab- or semicolon-separated lines inside a text."""
    for delimiter in ("\t", ",", ";"):
        count = lines[start].count(delimiter)
        if count < 2:
            continue
        end = start
        while end < len(lines) and abs(lines[end].count(delimiter) - count) <= count // 2 and lines[end].strip():
            end += 1
        if end - start < 2:
            continue
        rows = [(n + 1, _split(lines[n], delimiter)) for n in range(start, end)]
        if not _tabular([cells for _, cells in rows]) or (delimiter == "," and _prose(lines[start:end])):
            continue
        return Block(start + 1, end, rows[0][1], rows[1:])
    return None


def _prose(lines: Sequence[str]) -> bool:
    """Sentences have commas too, followed by spaces and words."""
    return sum(len(re.findall(r"[a-z]{2,},? [a-z]{2,}", line)) for line in lines) > 3 * len(lines)


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except csv.Error:
        return [cell.strip() for cell in line.split(delimiter)]


_GAP = re.compile(r"\s{2,}|\t+")


def _aligned(lines: Sequence[str], start: int) -> Block | None:
    """Columns of spaces. Two blanks or more part cells; a line whose cells are one blank apart is split at each."""
    if len(lines[start].split()) < 2 or _is_rule(lines[start]):
        return None
    end = start
    while end < len(lines) and lines[end].strip() and len(lines[end].split()) >= 2:
        end += 1
    if (
        end < len(lines) and _is_rule(lines[end].replace(" ", "") or " ") and end == start + 1
    ):  # one rule, no blanks in it
        after = end + 1
        while after < len(lines) and lines[after].strip() and len(lines[after].split()) >= 2:
            after += 1
        end = after if after > end + 1 else end
    kept = [n for n in range(start, end) if not _is_rule(lines[n])]
    if len(kept) < 2:
        return None
    header, body = lines[kept[0]], [(n + 1, lines[n]) for n in kept[1:]]
    wide = [cell for cell in _GAP.split(header.strip()) if cell]
    names = wide if len(wide) >= 3 else header.split()
    cut = _cut_by_gaps(names, body) if len(wide) >= 3 else None
    cut = cut or _cut_by_blanks(header.split(), body) or (_cut_by_place(header, body) if len(wide) >= 3 else None)
    if cut is None:
        return None
    names, rows = cut
    if not _tabular([names, *[cells for _, cells in rows]]) or sum(map(_figure, names)) > len(names) // 2:
        return None
    return Block(start + 1, kept[-1] + 1, names, rows)


def _figure(cell: str) -> bool:
    return bool(_DIGIT.match(cell))


Cut = tuple[list[str], list[Row]]


def _cut_by_gaps(names: list[str], body: Sequence[tuple[int, str]]) -> Cut | None:
    rows = [(number, [cell for cell in _GAP.split(line.strip()) if cell]) for number, line in body]
    fitting = sum(len(cells) == len(names) for _, cells in rows)
    return (names, rows) if len(names) >= 3 and fitting == len(rows) else None


def _cut_by_blanks(names: list[str], body: Sequence[tuple[int, str]]) -> Cut | None:
    rows = [(number, line.split()) for number, line in body]
    fitting = sum(len(cells) == len(names) for _, cells in rows)
    numeric = sum(sum(map(_figure, cells)) * 2 >= len(cells) for _, cells in rows)
    return (names, rows) if len(names) >= 3 and fitting == len(rows) and numeric * 2 >= len(rows) else None


def _cut_by_place(header: str, body: Sequence[tuple[int, str]]) -> Cut | None:
    """Each cell under the name that it overlaps most or is nearest to: some rows lack cells."""
    header = header.expandtabs(8)
    spans = [(m.start(), m.end(), m[0]) for m in re.finditer(r"\S+(?: \S+)*", header)]
    rows: list[Row] = []
    for number, line in body:
        cells = [""] * len(spans)
        for match in re.finditer(r"\S+(?: \S+)*", line.expandtabs(8)):
            place = min(range(len(spans)), key=lambda i: _distance(spans[i], match.start(), match.end()))
            cells[place] = f"{cells[place]} {match[0]}".strip()
        rows.append((number, cells))
    filled = sum(bool(cell) for _, cells in rows for cell in cells)
    return ([name for _, _, name in spans], rows) if filled * 2 >= len(spans) * len(rows) else None


def _distance(span: tuple[int, int, str], start: int, end: int) -> float:
    overlap = min(span[1], end) - max(span[0], start)
    return -overlap if overlap > 0 else abs((span[0] + span[1]) / 2 - (start + end) / 2) + 1


def separated(lines: Sequence[str], delimiter: str) -> list[Block]:
    """A file of separated values: comment lines are text, a blank line may part two tables."""
    blocks, block = [], None
    body = [(n, line) for n, line in enumerate(lines, 1)]
    position = 0
    while position < len(body):
        number, line = body[position]
        if not line.strip() or line.lstrip().startswith("#"):
            block = block if line.strip() else None
            position += 1
            continue
        cells, used = _record(lines, position, delimiter)
        if block is None or (not any(map(_figure, cells)) and len(cells) > 1 and _names_again(block, cells)):
            if len([cell for cell in cells if cell]) > 1:
                block = Block(number, number + used - 1, cells)
                blocks.append(block)
        else:
            block.rows.append((number, cells))
            block.last = number + used - 1
        position += used
    return blocks


def _names_again(block: Block, cells: Sequence[str]) -> bool:
    return bool(block.rows) and len(set(cells) & set(block.header)) * 2 > len(cells)


def _record(lines: Sequence[str], position: int, delimiter: str) -> tuple[list[str], int]:
    """One record and how many lines it takes: a quoted value may hold line breaks."""
    used, text = 1, lines[position]
    while text.count('"') % 2 and position + used < len(lines) and used < 20:
        text += "\n" + lines[position + used]
        used += 1
    if text.count('"') % 2:
        text, used = lines[position], 1
    return _split(text.replace("\n", " "), delimiter), used
