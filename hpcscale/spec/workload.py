"""Whose program a point runs: hpcscale's own trainer, or another system by a command template. Facts are in workloads.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache, reduce
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from hpcscale.spec import locate
from hpcscale.spec.layout import Layout, Training
from hpcscale.spec.machine import Machine, PlainName
from hpcscale.spec.model import Model
from hpcscale.spec.problems import InputError, suggestion
from hpcscale.spec.typed import Strict, validate
from hpcscale.spec.yaml12 import load

OWN = "hpcscale"
FOLDER = "templates/workloads"
SUFFIX = ".sh.j2"
CATALOGUE = Path(__file__).with_name("workloads.yaml")

Argument = str | int | float | bool | list[str | int | float] | None
# What the scheduler's launch line starts: every rank, or one launcher a node that starts that node's ranks.
Processes = Literal["rank", "node"]


class Workload(Strict):
    """The program of a point. ``arguments`` are further ones, by the system's own names."""

    name: PlainName
    command: str = ""  # a template of one's own, instead of the one that is named
    processes: Processes | None = None  # empty: as the system needs it; a template of one's own: rank
    # Where its code lies differs per person, so it is no part of the point; settings may say it too.
    path: str | None = Field(default=None, exclude=True)
    data: str | None = None
    tokenizer: str | None = None
    weights: str | None = None
    arguments: dict[str, Argument] = Field(default_factory=dict)

    @field_validator("arguments", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        for name in value if isinstance(value, dict) else ():
            if not str(name).replace("-", "").replace("_", "").replace(".", "").isalnum() or str(name).startswith("-"):
                raise ValueError(f"'{name}' is no argument's name; write it without dashes in front, as lr-decay-iters")
        return value

    @property
    def foreign(self) -> bool:
        return self.name != OWN


def as_mapping(value: Any) -> Any:
    """``workload: nanotron`` is short for ``workload: {name: nanotron}``."""
    return {"name": value} if isinstance(value, str) else value


WorkloadKey = Annotated[Workload, BeforeValidator(as_mapping, json_schema_input_type=str | Workload)]
HPCSCALE = Workload(name=OWN)


class Facts(Strict):
    """What one shipped system is and knows. A value of a point that ``accepts`` does not list cannot be said in it."""

    title: str
    source: str
    read_at: str
    processes: Processes
    schedulers: tuple[str, ...]
    needs: tuple[Literal["path", "data", "tokenizer", "weights"], ...]
    arguments: Literal["options", "assignments", "file"] = "options"
    accepts: dict[str, tuple[str | int | float | bool | None, ...]] = Field(default_factory=dict)
    rules: tuple[str, ...] = ()


class Catalogue(Strict):
    workloads: dict[str, Facts]


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, Facts]:
    return validate(Catalogue, load(CATALOGUE)).workloads


def names() -> list[str]:
    """Every workload that a study may name: hpcscale, the shipped ones, and a person's own templates."""
    return [OWN, *(name.removesuffix(".sh") for name in locate.available(FOLDER, SUFFIX))]


def facts_of(workload: Workload) -> Facts | None:
    """The facts of a shipped system; None for hpcscale itself and for a person's own command."""
    return None if workload.command else catalogue().get(workload.name)


def resolve(base: Any, changes: Mapping[tuple[str, ...], Any]) -> Workload:
    """The workload that a study's value means, with swept and set keys on top. Raises InputError or ValidationError."""
    if base is None and not changes:
        return HPCSCALE
    mapping = dict(as_mapping(base if base is not None else OWN))
    for (field, *rest), value in changes.items():
        mapping[field] = {**(mapping.get(field) or {}), rest[0]: value} if rest else value
    workload = Workload.model_validate(mapping)
    if not workload.foreign:
        extra = sorted(workload.model_fields_set - {"name"})
        if extra:
            raise InputError(f"workload.{extra[0]} means nothing to hpcscale's own trainer; name another workload")
        return HPCSCALE
    if not workload.command and workload.name not in names():
        message = f"there is no workload '{workload.name}'{suggestion(workload.name, names())}"
        raise InputError(f"{message}; one of your own is {FOLDER}/{workload.name}{SUFFIX}, or a workload.command")
    return workload


def processes_of(workload: Workload) -> Processes:
    facts = facts_of(workload)
    return workload.processes or (facts.processes if facts else "rank")


def violations(workload: Workload, machine: Machine, parts: Mapping[str, Any], nodes: int) -> Iterator[str]:
    """Why this system cannot run such a point; nothing if it can, or if it is nothing that is known here.

    ``parts``: the point's model, layout, training and data.
    """
    if not workload.foreign:
        return
    model, layout, training = parts["model"], parts["layout"], parts["training"]
    if processes_of(workload) == "node" and layout.ranks % nodes:
        yield f"{workload.name} starts equally many ranks on each node, but {nodes} nodes do not divide {layout.ranks} ranks"
    facts = facts_of(workload)
    if facts is None:
        return
    if machine.scheduler not in facts.schedulers:
        known = ", ".join(facts.schedulers)
        yield f"the launch of {workload.name} is written for {known}, not for {machine.scheduler} ({machine.name})"
    for key, accepted in facts.accepts.items():
        section, *fields = key.split(".")
        value = reduce(getattr, fields, parts[section])
        word = value.split(":")[0] if isinstance(value, str) else value  # selective-layer:2 is a selective-layer
        if word not in accepted:
            known = ", ".join(_said(each) for each in accepted)
            yield f"{workload.name} cannot say {key} {_said(value)} (it knows: {known})"
    for rule in facts.rules:
        reason = RULES[rule](model, layout, training)
        if reason:
            yield f"{workload.name} {reason}"


def _said(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _equal_stages(model: Model, layout: Layout, training: Training) -> str | None:
    del training
    stages = layout.pp * layout.virtual_stages
    counted = model.layers + layout.embedding_weight + layout.head_weight
    return (
        f"deals equally many layers to each stage, but {stages} stages do not divide {counted} layers"
        if counted % stages
        else None
    )


def _whole_micro_batches(model: Model, layout: Layout, training: Training) -> str | None:
    del model
    micro = training.micro_batch_size
    if not isinstance(micro, int):
        return "wants micro_batch_size as a number, not auto"
    step = layout.dp * micro
    if training.global_batch_size % step == 0:
        return None
    return f"wants global_batch_size {training.global_batch_size} to be a multiple of dp {layout.dp} x micro_batch_size {micro} = {step}"


def _sequence_parallel_with_tp(model: Model, layout: Layout, training: Training) -> str | None:
    del model, training
    if layout.tp == 1 or layout.sequence_parallel:
        return None
    return "has tensor parallelism only with sequence parallelism; set layout.sequence_parallel: true"


def _ddp_alone(model: Model, layout: Layout, training: Training) -> str | None:
    del model, training
    alone = layout.sharding != "ddp" or layout.dp == 1 or layout.model_parallel == 1
    return None if alone else "has sharding ddp only without tp, pp and cp; choose fsdp"


def _sharded_precision(model: Model, layout: Layout, training: Training) -> str | None:
    del model
    replicas = {"ddp": layout.dp, "hsdp": layout.dp_replicate or 1}.get(layout.sharding, 1)
    sharded = layout.dp > replicas or layout.cp > 1
    if sharded or layout.tp * layout.pp == 1 or training.precision == "fp32":
        return None
    return f"computes in {training.precision} with tp or pp only where weights are sharded, and else in fp32; set dp or cp above 1"


def _whole_expansion(model: Model, layout: Layout, training: Training) -> str | None:
    del layout, training
    return (
        f"wants ffn {model.ffn} to be a whole multiple of hidden {model.hidden}" if model.ffn % model.hidden else None
    )


# The rules that workloads.yaml may name: what follows a workload's name in the sentence, or None.
RULES = {
    "equal_stages": _equal_stages,
    "whole_micro_batches": _whole_micro_batches,
    "sequence_parallel_with_tp": _sequence_parallel_with_tp,
    "ddp_alone": _ddp_alone,
    "sharded_precision": _sharded_precision,
    "whole_expansion": _whole_expansion,
}
