"""Which configuration of B is which of A's."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from hpcscale.report.comparison.sides import Side
from hpcscale.spec.problems import InputError, suggestion

# What a row of any origin says of its configuration.
COLUMNS = (
    "model", "machine", "device", "resources", "nodes", "devices", "ranks", "dp", "tp", "pp", "cp", "sharding",
    "micro_batch_size", "global_batch_size", "sequence_length", "activation_checkpointing", "precision",
)  # fmt: skip
_MOST_NAMED = 4


@dataclass(frozen=True)
class Pair:
    """A configuration of both. ``unlike``: settings in which the two differ all the same, as ``training.seed 1 / 2``."""

    a: Side
    b: Side
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matches:
    pairs: list[Pair]
    only_a: list[Side]
    only_b: list[Side]


def match(a: Sequence[Side], b: Sequence[Side], ignored: Sequence[str] = ()) -> Matches:
    """Pairs that agree in all of their settings; of what is left, those that alone agree in the table's columns.

    ``ignored``: columns or settings in which pairs may differ. A column that is empty in all of A or of B tells nothing.
    """
    _check(ignored, a, b)
    pairs, rest_a, rest_b = _paired(a, b, lambda side: _settings(side, ignored))
    columns = [
        name for name in COLUMNS
        if name not in ignored and all(any(side.row[name] is not None for side in each) for each in (a, b))
    ]  # fmt: skip
    more, rest_a, rest_b = _paired(rest_a, rest_b, lambda side: tuple(side.row[name] for name in columns))
    return Matches(pairs + [Pair(pair.a, pair.b, _unlike(pair.a, pair.b)) for pair in more], rest_a, rest_b)


def _paired(
    a: Sequence[Side], b: Sequence[Side], key: Callable[[Side], Hashable | None]
) -> tuple[list[Pair], list[Side], list[Side]]:
    """Pairs of equal keys that only one of each side has, and who is left. None equals nothing."""
    by_key: dict[Hashable, tuple[list[Side], list[Side]]] = {}
    for place, each in enumerate((a, b)):
        for side in each:
            if (found := key(side)) is not None:
                by_key.setdefault(found, ([], []))[place].append(side)
    pairs = [Pair(x[0], y[0]) for x, y in by_key.values() if len(x) == len(y) == 1]
    taken = {id(side) for pair in pairs for side in (pair.a, pair.b)}
    return pairs, [side for side in a if id(side) not in taken], [side for side in b if id(side) not in taken]


def _settings(side: Side, ignored: Sequence[str]) -> Hashable | None:
    if side.configuration is None:
        return None
    kept = (
        (key, repr(value)) for key, value in side.configuration.items()
        if not any(key == name or key.startswith(f"{name}.") or key.endswith(f".{name}") for name in ignored)
    )  # fmt: skip
    return frozenset(kept)


def _unlike(a: Side, b: Side) -> tuple[str, ...]:
    if a.configuration is None or b.configuration is None:
        return ()
    keys = sorted({*a.configuration, *b.configuration})
    pairs = [(key, a.configuration.get(key), b.configuration.get(key)) for key in keys]
    found = [f"{key} {x} / {y}" for key, x, y in pairs if x != y]
    return (*found[:_MOST_NAMED], *([f"{len(found) - _MOST_NAMED} more"] if len(found) > _MOST_NAMED else []))


def _check(ignored: Sequence[str], *sides: Sequence[Side]) -> None:
    settings = {key for each in sides for side in each for key in side.configuration or ()}
    parts = {part for key in settings for part in (key, key.partition(".")[0], key.rpartition(".")[2])}
    for name in ignored:
        if name not in parts and name not in COLUMNS:
            near = suggestion(name, {*COLUMNS, *parts})
            raise InputError(f"--ignore {name}: there is no such column or setting{near}")
