"""Ways to count a token's work, as published tables do: the named conventions and the short forms without attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from hpcscale.cost import flops
from hpcscale.cost.parameters import count
from hpcscale.spec.model import Model

Attention = Literal["full", "half", "none"]


@dataclass(frozen=True)
class Way:
    """One way. ``embedding``: whether looking words up counts; ``hardware``: whether recomputed work does."""

    name: str
    embedding: bool
    attention: Attention
    hardware: bool = False
    short: bool = False  # needs no shape, only the number of parameters


# Which of two questions a convention answers how; the formulas are those of hpcscale/cost/flops.py.
_NAMED = (
    Way("palm-full", False, "full"),
    Way("6N", True, "full"),
    Way("nanotron", False, "full"),
    Way("megatron-causal", False, "half"),
    Way("eq3-hardware", False, "full", hardware=True),
    Way("megatron-deepspeed", False, "full", hardware=True),
    Way("nemo", False, "half"),
    Way("nanogpt", True, "full"),
    Way("nanochat", False, "full"),
)
# Forms that tables print without a tool's name: BLOOM's chronicles (8 N: 4 passes of 2 N), many papers (6 N).
_SHORT = (
    Way("6N, attention not counted", True, "none", short=True),
    Way("8N, attention not counted", True, "none", hardware=True, short=True),
    Way("6N, causal attention", True, "half"),
    Way("6 (N - embedding), attention not counted", False, "none"),
    Way("8 (N - embedding), attention not counted", False, "none", hardware=True),
)
WAYS = (*_NAMED, *_SHORT)
_OF_TOOLS = {way.name: flops.convention(way.name) for way in _NAMED}
_EXTRA: dict[str, Callable[[float, float, float], float]] = {
    "6N, attention not counted": lambda total, lookups, attention: 6 * total,
    "8N, attention not counted": lambda total, lookups, attention: 8 * total,
    "6N, causal attention": lambda total, lookups, attention: 6 * total + attention / 2,
    "6 (N - embedding), attention not counted": lambda total, lookups, attention: 6 * (total - lookups),
    "8 (N - embedding), attention not counted": lambda total, lookups, attention: 8 * (total - lookups),
}


# Models are frozen, so they can be keys of a cache; a type checker does not see that of pydantic's, hence the ignores.
@lru_cache(maxsize=65536)
def work(way: Way, model: Model, sequence_length: int, tp: int = 1, full: bool = False) -> float:
    """FLOPs per token of one training step; ``full``: with full activation checkpointing, for hardware conventions."""
    if way.name in _OF_TOOLS:
        return _OF_TOOLS[way.name].flops_per_token(model, sequence_length, tp, "full" if full else "none")
    parts = count(model, sequence_length, tp)
    # "without the embedding" means without its matrix, also where the output layer shares it
    lookups = parts.position_embedding + parts.token_type_embedding + parts.token_embedding
    attention = 12 * model.layers * model.hidden * sequence_length
    return float(_EXTRA[way.name](parts.total, lookups, attention))


@lru_cache(maxsize=4096)
def parameter_counts(model: Model, sequence_length: int) -> tuple[float, ...]:
    """What tables print as a model's size: every parameter, without positions, without the lookup table, blocks only."""
    parts = count(model, sequence_length)
    without = parts.total - parts.position_embedding
    return (float(parts.total), float(without), float(without - parts.token_embedding), float(parts.layers))


def differences(one: Way, other: Way) -> tuple[str, ...]:
    """The codes of what two ways answer differently."""
    found = []
    if one.hardware != other.hardware:
        found.append("recompute")
    if one.embedding != other.embedding:
        found.append("embedding")
    if one.attention != other.attention:
        found.append("causal")
    return tuple(found)
