"""Names that do not stand over their cells: a missing or superfluous name, two that changed places, a row short of a cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hpcscale.audit import cells, columns
from hpcscale.audit.tables import Line, Table


@dataclass(frozen=True)
class Header:
    """A header to try; ``sentence`` says how it differs from the printed one, empty where it does not."""

    names: tuple[str, ...]
    sentence: str = ""


def width(table: Table) -> int:
    """How many cells most rows have."""
    return Counter(len(row.cells) for row in table.rows).most_common(1)[0][0]


def aligned(table: Table, others: Sequence[tuple[str, ...]] = ()) -> list[Header]:
    """The printed header if it has a name for each cell, else each way to make it so; ``others`` are the file's headers."""
    names, cells_of_row = table.header, width(table)
    missing = cells_of_row - len(names)
    count = f"the header has {len(names)} names and the rows have {cells_of_row} cells"
    if missing == 1:
        for other in others:  # the same header, with the name that is missing here
            place = next((i for i in range(len(names)) if (*other[:i], *other[i + 1 :]) == names), None)
            if len(other) == cells_of_row and place is not None:
                return [
                    Header(
                        other, f"{count}: '{other[place]}' is missing, so every later name stands a column too far left"
                    )
                ]
        found = [Header((*names, ""))]
        for place in reversed(range(len(names))):
            silent = place == 0 and _counts_rows(table)
            text = (
                ""
                if silent
                else f"{count}: a name is missing before '{names[place]}', so every later one stands a column too far left"
            )
            found.append(Header((*names[:place], "", *names[place:]), text))
        return found
    if missing == -1 and len(names) > 2:
        found = [Header(names[:-1])]
        for place in reversed(range(len(names) - 1)):
            text = f"{count}: '{names[place]}' has no cells, so every later name stands a column too far right"
            found.append(Header((*names[:place], *names[place + 1 :]), text))
        return found
    return [Header(names)]


def _counts_rows(table: Table) -> bool:
    """Whether the first column is an index that nobody names: 0, 1, 2."""
    first = [cells.read(row.cells[0]).value for row in table.rows if row.cells]
    return first in (list(map(float, range(len(first)))), [each + 1.0 for each in range(len(first))])


def shifted(names: tuple[str, ...]) -> Iterator[Header]:
    """Headers in which names changed places: two neighbours, or all from one on by a column."""
    known = [bool(columns.name(each).meanings) for each in names]
    for place in range(len(names) - 1):
        if known[place] or known[place + 1]:
            swapped = (*names[:place], names[place + 1], names[place], *names[place + 2 :])
            yield Header(swapped, f"the names '{names[place]}' and '{names[place + 1]}' have changed places")
    for place in range(len(names) - 2):
        rest = names[place:]
        for turned, side in (((*rest[1:], rest[0]), "right"), ((rest[-1], *rest[:-1]), "left")):
            yield Header((*names[:place], *turned), f"from '{names[place]}' on the names stand a column too far {side}")
    for first in range(len(names)):
        for second in range(first + 2, len(names)):
            if known[first] and known[second]:
                swapped = list(names)
                swapped[first], swapped[second] = names[second], names[first]
                yield Header(tuple(swapped), f"the names '{names[first]}' and '{names[second]}' have changed places")


def mistyped(table: Table, names: tuple[str, ...]) -> int:
    """How many names stand over cells that cannot be theirs: a count over words, a model over fractions."""
    wrong = 0
    for index, each in enumerate(names):
        meanings = columns.name(each).meanings
        read = [cells.read(row.cells[index]) for row in table.rows if index < len(row.cells)]
        filled = [cell for cell in read if cell.state in ("number", "text")]
        if not meanings or not filled:
            continue
        numbers = sum(cell.printed for cell in filled) * 2 >= len(filled)
        whole = all(cell.value.is_integer() and cell.value >= 1 for cell in filled if cell.printed)
        if (
            (not numbers and not set(meanings) & columns.WORDS)
            or (numbers and meanings[0] in WHOLE and not whole)
            or (numbers and meanings[0] in ("precision", "activation_checkpointing") and not whole)
        ):
            wrong += 1
    return wrong


WHOLE = frozenset(
    {"nodes", "devices", "dp", "tp", "pp", "cp", "micro_batch_size", "accumulation", "layers", "heads", "kv_heads"}
)


def realigned(line: Line, wanted: int) -> Iterator[tuple[Line, str]]:
    """A row with other cells than the table's, made to fit; a row of the right length, with two neighbours exchanged."""
    have = len(line.cells)
    if have == wanted - 1:
        for place in range(have):
            yield replace(line, cells=(*line.cells[:place], "", *line.cells[place:])), f"cell {place + 1} is missing"
    elif have == wanted + 1:
        for place in range(have):
            yield (
                replace(line, cells=(*line.cells[:place], *line.cells[place + 1 :])),
                f"cell {place + 1} is one too many",
            )
    elif have == wanted:
        for place in range(have - 1):
            if line.cells[place] != line.cells[place + 1]:
                pair = (line.cells[place + 1], line.cells[place])
                changed = (*line.cells[:place], *pair, *line.cells[place + 2 :])
                yield replace(line, cells=changed), f"'{pair[1]}' and '{pair[0]}' have changed places"
