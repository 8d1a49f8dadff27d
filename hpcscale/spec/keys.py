"""The keys that a sweep, a derived value or ``--set`` may name: dotted everywhere, short where that is unique."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from hpcscale.spec.job import Job
from hpcscale.spec.layout import Data, Layout, Protocol, Training
from hpcscale.spec.model import Model
from hpcscale.spec.problems import suggestion
from hpcscale.spec.typed import partial, problems_of
from hpcscale.spec.workload import Workload, as_mapping
from hpcscale.spec.yaml12 import Document

Key = tuple[str, ...]

SECTIONS: dict[str, type[BaseModel]] = {
    "layout": Layout,
    "training": Training,
    "job": Job,
    "protocol": Protocol,
    "data": Data,
}
PARTS = {name: partial(kind, kind.__name__ + "Part") for name, kind in SECTIONS.items()}

ALIASES: dict[str, Key] = {
    "mp": ("layout", "tp"),
    "layout.mp": ("layout", "tp"),
    "mbs": ("training", "micro_batch_size"),
    "gbs": ("training", "global_batch_size"),
    "seq": ("training", "sequence_length"),
    "ac": ("training", "activation_checkpointing"),
    "lr": ("training", "optimizer", "learning_rate"),
    "ranks_per_node": ("resources", "ranks_per_node"),
}
# How a key is written in slugs and tables.
SHORT: dict[Key, str] = {
    ("layout", "tp"): "tp",
    ("training", "micro_batch_size"): "mbs",
    ("training", "global_batch_size"): "gbs",
    ("training", "sequence_length"): "seq",
    ("training", "activation_checkpointing"): "ac",
    ("training", "optimizer", "learning_rate"): "lr",
    ("resources", "ranks_per_node"): "rpn",
}
# Names that expressions may read beside the keys: they follow from layout and machine and cannot be set.
COMPUTED = ("ranks", "nodes", "devices")
MODEL_KEYS = tuple(name for name in Model.model_fields if name not in ("name", "family", "source"))


@lru_cache(maxsize=1)
def _short_names() -> dict[str, Key]:
    fields = [(section, name) for section, kind in SECTIONS.items() for name in kind.model_fields]
    fields += [("model", name) for name in MODEL_KEYS]
    count = Counter(name for _, name in fields)
    return {name: (section, name) for section, name in fields if count[name] == 1}


def valid_names(resources: Iterable[str]) -> list[str]:
    """Every spelling that :func:`resolve` understands, for suggestions."""
    return [
        "model",
        "workload",
        *(f"workload.{name}" for name in Workload.model_fields),
        *_short_names(),
        *ALIASES,
        *resources,
    ]


def resolve(name: str, resources: Iterable[str] = ()) -> Key:
    """The key that ``name`` means. Raises ValueError with a sentence for an unknown or a computed one."""
    if name in ALIASES:
        return ALIASES[name]
    if name in ("model", "workload"):
        return (name,)
    if name in resources:
        return ("resources", name)
    if name in _short_names():
        return _short_names()[name]
    if name.startswith("workload.arguments."):
        return ("workload", "arguments", name.removeprefix("workload.arguments."))  # whose own names may have dots
    parts = tuple(name.split("."))
    if len(parts) > 1 and _exists(parts, resources):
        return parts
    if name in COMPUTED:
        raise ValueError(f"'{name}' follows from the layout and the machine and is never typed; set dp, tp, pp or cp")
    raise ValueError(f"'{name}' is no key that can be set{suggestion(name, valid_names(resources))}")


def _exists(parts: Key, resources: Iterable[str]) -> bool:
    section, field = parts[0], parts[1]
    if section == "model":
        return len(parts) == 2 and field in (*MODEL_KEYS, "base")
    if section == "resources":
        return len(parts) == 2 and (field in resources or field == "ranks_per_node")
    if section == "workload":
        return len(parts) == 2 and field in Workload.model_fields
    kind = SECTIONS.get(section)
    if kind is None or field not in kind.model_fields:
        return False
    if len(parts) == 2:
        return True
    annotation = kind.model_fields[field].annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return len(parts) == 3 and parts[2] in annotation.model_fields
    return len(parts) == 3 and field in ("directives",)


def short(key: Key) -> str:
    """How the key is written where space is short."""
    return SHORT.get(key, key[-1])


@lru_cache(maxsize=65536)
def _checked(key: Key, value: Any, _kind: type) -> str | None:
    return _check(key, value)


def check(key: Key, value: Any) -> str | None:
    """None if ``value`` may stand at ``key``, else the sentence that says why not."""
    try:
        return _checked(key, value, type(value))
    except TypeError:  # a list or mapping is not hashable
        return _check(key, value)


def _check(key: Key, value: Any) -> str | None:
    section, rest = key[0], key[1:]
    if key == ("model",) and not isinstance(value, str | dict):
        return f"model is {value!r}; it must be a model's name or a mapping of its keys"
    if key == ("model", "base") and not isinstance(value, str):
        return f"model.base is {value!r}; it must be a model's name"
    if key == ("protocol", "repeats"):
        return "repeats is no axis: each repeat of a point is a run of its own; write it under protocol"
    if section == "resources" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        return f"{key[-1]} is {value!r}; it must be a whole number"
    if section == "workload":
        return _check_workload(rest, value)
    if section not in PARTS:
        return None  # models and resources are checked whole, where the point is built
    data: Any = value
    for part in reversed(rest):
        data = {part: data}
    try:
        PARTS[section].model_validate(data)
    except ValidationError as error:
        return problems_of(error, PARTS[section], Document(data, ""))[0].message
    return None


def _check_workload(rest: Key, value: Any) -> str | None:
    data: Any = value
    for part in reversed(rest):
        data = {part: data}
    data = {"name": "any", **data} if rest else as_mapping(data)
    try:
        Workload.model_validate(data)
    except ValidationError as error:
        return problems_of(error, Workload, Document(data, "workload"))[0].message
    return None
