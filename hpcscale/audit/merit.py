"""How well a table holds together under one understanding of it."""

from __future__ import annotations

from collections.abc import Sequence

from hpcscale.audit import relations
from hpcscale.audit.facts import Row
from hpcscale.audit.rates import Check
from hpcscale.audit.world import World


def failing(rows: Sequence[Row], world: World) -> list[list[Check]]:
    """Per row, the relations that do not hold."""
    return [[check for check in relations.checks(row, world) if not check.holds] for row in rows]


def merit(rows: Sequence[Row], world: World) -> float:
    """How much of a table holds together: relations that hold, less those that do not. Fitted work proves little."""
    total = 0.0
    for row in rows:
        for check in relations.checks(row, world):
            weight = 0.3 if check.way and world.way is None else 1.0
            total += weight if check.holds else -0.5 * weight
    return total


def cut_columns(rows: Sequence[Row], world: World) -> frozenset[str]:
    """Columns whose figures are cut off after the last printed digit: most lie below what follows, none above it."""
    shares: dict[str, list[float]] = {}
    for row in rows:
        for check in relations.checks(row, world):
            fact = row.facts.get(check.quantity)
            if check.part != "rate" or fact is None or not fact.step or abs(check.error) > 1:
                continue
            others = (check.digits - fact.tolerance) * fact.value
            if others < 0.3 * fact.step:
                shares.setdefault(check.quantity, []).append((check.expected - fact.value) / fact.step)
    found = set()
    for quantity, each in shares.items():
        inside = sum(-0.1 <= share <= 1.1 for share in each)
        beyond = sum(share > 0.55 for share in each)
        if len(each) >= 4 and inside >= 0.9 * len(each) and beyond >= max(2, 0.15 * len(each)):
            found.add(quantity)
    return frozenset(found)
