"""The smallest change that makes a row's relations hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpcscale.audit import cells, edits, relations
from hpcscale.audit.edit import SENTENCES, Edit, number
from hpcscale.audit.facts import Reading, Row
from hpcscale.audit.rates import Check
from hpcscale.audit.world import World, peak_of

_STRAIN = 0.1  # what an error of the size of the tolerance costs: of two changes the one that fits better is likelier
_MOST = 3  # changes that one row is believed to need at most


@dataclass(frozen=True)
class Cause:
    """A code, and a sentence with the numbers in it. A ``remark`` does not make a row inconsistent."""

    code: str
    sentence: str
    remark: bool = False


def explain(row: Row, world: World, peers: Sequence[Row], reading: Reading) -> tuple[list[Cause], Row, World]:
    """Causes of what fails in ``row`` (none where no change with a name explains it), and the row as it would be right."""
    found: list[Cause] = []
    for _ in range(_MOST):
        failing = [check for check in relations.checks(row, world) if not (_mended(check) if found else check.holds)]
        if not failing:
            break
        edit = _best(row, world, failing, peers)
        if edit is None:
            break
        found += [Cause(code, sentence(code, edit, row, reading, failing)) for code in edit.codes]
        row, world = edit.row, edit.world
    return found, row, world


def _best(row: Row, world: World, failing: Sequence[Check], peers: Sequence[Row]) -> Edit | None:
    """The cheapest change after which everything holds; else the one that mends most and breaks nothing."""
    before = {(check.part, check.quantity, check.source) for check in failing}
    checked = len(relations.checks(row, world))
    partial: tuple[float, Edit] | None = None
    whole: tuple[float, Edit] | None = None
    tried = [_weighed(edit) for edit in edits.candidates(row, world, failing, peers)]
    for edit in sorted(tried, key=lambda each: each.cost):
        if whole is not None and edit.cost > whole[0]:
            break
        checks = relations.checks(edit.row, edit.world)
        if len(checks) < checked - sum(check.part == "limit" for check in failing):
            continue  # what is no longer compared is not mended
        left = [check for check in checks if not _mended(check)]
        if not left:
            worth = edit.cost + _STRAIN * max(
                (abs(check.error) / check.tolerance for check in checks if check.part == "rate"), default=0
            )
            if whole is None or worth < whole[0] - 1e-9:
                whole = (worth, edit)
        elif len(left) < len(before) and edit.cost < 2:
            new = {(check.part, check.quantity, check.source) for check in left} - before
            worth = edit.cost + len(left) + 2 * len(new)
            if partial is None or worth < partial[0] - 1e-9:
                partial = (worth, edit)
    if whole is not None:
        return whole[1]
    return partial[1] if partial else None


def _mended(check: Check) -> bool:
    """A change by a factor also moves the error that the row had before: twice the tolerance is near enough."""
    return abs(check.error) <= (2 if check.part in ("rate", "scaling") else 1) * check.tolerance


def _weighed(edit: Edit) -> Edit:
    """A change that leaves more FLOP/s than any device has is hard to believe."""
    return edit if believable(edit.row, edit.world) else replace(edit, cost=edit.cost + 0.7)


def believable(row: Row, world: World) -> bool:
    """Whether a row's figures are ones that a device can have."""
    most = 1.02 * (peak_of(row, world) or 5000.0)
    tflops, seconds = row.value("tflops_per_device"), row.value("step_seconds")
    shares = [row.value(each) or 0.5 for each in ("mfu", "hfu")]
    return (
        (tflops is None or 0.02 < tflops < most) and all(1e-3 < share < 1.02 for share in shares)
        and (seconds is None or 5e-3 < seconds < 1e6)
    )  # fmt: skip


def sentence(code: str, edit: Edit, row: Row, reading: Reading, failing: Sequence[Check]) -> str:
    """The cause with its numbers, as the table prints them and under its names."""
    quantity, was, now, value = edit.quantity, edit.was, edit.now, edit.value
    if quantity in ("work", "activation_checkpointing") or (quantity == "mfu" and not was):
        check = next((each for each in failing if each.way), failing[0])
        if code != "shape":
            quantity, was, now, value = (
                check.quantity,
                number(check.printed),
                number(check.expected),
                check.expected,
            )
    if value is not None and quantity in row.facts:
        was, now = as_printed(row, quantity, value, was, now)
    text = SENTENCES[code].format(name=reading.title(quantity), was=was, now=now, way=edit.way)
    return text.replace(" ()", "")


def as_printed(row: Row, quantity: str, value: float, was: str, now: str) -> tuple[str, str]:
    """A cell's text, and another value written in the cell's unit."""
    fact = row.facts[quantity]
    if not 0 <= fact.column < len(row.texts) or not fact.step:
        return was, now
    cell = cells.read(row.texts[fact.column])
    scale = cell.value / fact.value if cell.printed else 0.0
    if not scale:
        return was, now
    scale = (
        min((10.0**power for power in range(-12, 13)), key=lambda each: abs(math.log(each / scale)))
        if scale > 0.9
        else scale
    )
    scale = scale if abs(scale * fact.value / cell.value - 1) < 0.6 else cell.value / fact.value
    return number(cell.value) + cell.unit.strip("x"), number(value * scale) + cell.unit.strip("x")


def with_reading(reading: Reading, column: int, factor: float) -> Reading:
    return replace(reading, factors={**reading.factors, column: reading.factors.get(column, 1.0) * factor})
