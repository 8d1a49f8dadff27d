"""A single change to a row, with the cause that it would be and what it costs to believe in it."""

from __future__ import annotations

from dataclasses import dataclass

from hpcscale.audit.facts import Fact, Row
from hpcscale.audit.world import World

# code -> the cause in words; {name} is the column's name, {was} what is printed, {now} what it would be.
SENTENCES = {
    "unit": "{name} is {was}, which is in another unit than the name says: {now} would follow",
    "layout": "{name} is {was}; {now} would follow, since dp x tp x pp x cp is the number of devices",
    "recompute": "{name} is {was}; {now} would follow if recomputed work were counted as in the other rows",
    "embedding": "{name} is {was}; {now} would follow if embeddings were counted as in the other rows ({way})",
    "causal": "{name} is {was}; {now} would follow if masked attention were counted as in the other rows ({way})",
    "peak": "{name} is {was}; {now} would follow from the dense peak of this precision",
    "kilo": "{name} is {was}; {now} would follow with 1000 for 1024 or the other way round",
    "shape": "{name} is {was}; the figures are those of {now}",
    "columns": "the cells do not stand under their names: {now}",
    "batch": "{name} is {was}; {now} would follow",
    "rounding": "{name} is {was}; {now} follows, which its printed digits do not allow",
}


@dataclass(frozen=True)
class Edit:
    """A row and a world in which the row would be right; ``quantity`` is what would change, from and to."""

    codes: tuple[str, ...]
    cost: float
    row: Row
    world: World
    quantity: str
    was: str
    now: str
    way: str = ""
    value: float | None = None  # what it would be, in the quantity's unit


def number(value: float) -> str:
    """A number for a sentence: whole ones whole, others to five digits."""
    return f"{value:,.0f}" if abs(value) >= 1e5 or float(value).is_integer() else f"{value:.5g}"


def scaled(code: str, cost: float, row: Row, world: World, quantity: str, factor: float, way: str = "") -> Edit:
    value = row.facts[quantity].value
    return Edit(
        (code,),
        cost,
        row.scaled(quantity, factor),
        world,
        quantity,
        number(value),
        number(value * factor),
        way,
        value * factor,
    )


def replaced(code: str, cost: float, row: Row, world: World, quantity: str, value: float) -> Edit:
    fact = row.facts[quantity]
    changed = row.having(quantity, Fact(value, 0.0, fact.column, fact.step))
    return Edit((code,), cost, changed, world, quantity, number(fact.value), number(value), value=value)
