"""How each published document prints its figures: what it measured, how it rounds, how tightly it reproduces.

Found by recomputing every row from its own numbers under the row's FLOP convention. A tolerance is the largest relative
error that the document's rounding leaves; a document that is not listed here gets the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Habit:
    """How a document prints one quantity."""

    tolerance: float = 0.005  # relative; half a unit of the third significant digit at worst
    cut_off: bool = False  # the digits after the last printed one are dropped, not rounded
    factor: float = 1.0  # what is printed over what this table's unit and definition give
    why: str = ""  # that factor, in words


@dataclass(frozen=True)
class Document:
    """``measured``: the printed throughput that the others follow from, the first one that a row has."""

    measured: tuple[str, ...] = ("step_seconds", "tokens_per_second", "tokens_per_second_per_device")
    habits: Mapping[str, Habit] = field(default_factory=dict)

    def habit(self, quantity: str) -> Habit:
        return self.habits.get(quantity, _DEFAULTS.get(quantity, Habit()))


_EXACT = Habit(tolerance=0.0)
_DEFAULTS = {"parameters": _EXACT, "tokens_per_step": _EXACT}

DOCUMENTS: Mapping[str, Document] = {
    "mpt_llm_foundry": Document(
        habits={
            "mfu": Habit(0.00026),
            "hfu": Habit(0.00035),
            "tflops_per_device": Habit(0.00026),
            "samples_per_second": Habit(0.0, cut_off=True),
            "tokens_per_second_per_device": Habit(0.0, cut_off=True),
        }
    ),
    "megatron_30b_fugaku": Document(
        habits={
            "tflops_per_device": Habit(0.0070),  # means of a few values printed to two digits
            "aggregate_pflops": Habit(0.0, factor=1000 / 1024, why="the document divides by 1024, not 1000"),
        }
    ),
    "torchtitan": Document(habits={"mfu": Habit(0.0009)}),
    "nanotron_nemo": Document(
        # tokens/s are printed to three digits of a much larger number
        measured=("tokens_per_second_per_device", "tokens_per_second"),
        habits={
            "tflops_per_device": Habit(0.0023),
            "tokens_per_second": Habit(0.0027),
            "samples_per_second": Habit(0.0017),
            "steps_per_second": Habit(0.001),
        },
    ),
}


def document(source: str | None) -> Document:
    return DOCUMENTS.get(source or "", Document())
