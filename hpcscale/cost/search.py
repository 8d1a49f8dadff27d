"""Which layout is best: all of them predicted, those that run out of memory dropped, the rest ranked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcscale.cost import hardware, layouts
from hpcscale.cost.layouts import Layouts, layout_of
from hpcscale.cost.memory import OOM
from hpcscale.cost.predict import Predictions, predict_alike
from hpcscale.spec import rules
from hpcscale.spec.job import Job
from hpcscale.spec.layout import Data, Layout, Protocol, Training
from hpcscale.spec.machine import Machine, Queue
from hpcscale.spec.model import Model
from hpcscale.spec.point import Point
from hpcscale.spec.problems import InputError

# Predictions this near to each other are a tie, and the simpler layout comes first: none is that exact.
_TIE = 0.005
_HOUR = 3600.0


def question(model: Model, machine: Machine, training: Training, resources: Mapping[str, int]) -> Point:
    """What is to be trained where: a point without a layout. ``resources`` may hold ranks_per_node."""
    ranks_per_node = resources.get("ranks_per_node") or machine.launch.ranks_per_node or int(machine.node.devices)
    given = {**machine.default_resources(), **resources}
    return Point(
        study="search", identity="", hash="", scaling="none", machine=machine, model=model, layout=Layout(), training=training,
        data=Data(), protocol=Protocol(), job=Job(), resources=given, repeat=1, nodes=1, ranks_per_node=ranks_per_node,
        queue=None, peak_tflops=machine.device_facts.peak(training.precision, given),
    )  # fmt: skip


def refusal(asked: Point, nodes: int) -> str | None:
    """Why the machine cannot give so many nodes; None if it can."""
    machine, ranks = asked.machine, nodes * asked.ranks_per_node
    reasons = [*rules.machine_violations(machine, asked.training, ranks, nodes, asked.ranks_per_node, asked.resources)]
    if not reasons and machine.queues and _queue(machine, nodes) is None:
        reasons = [
            f"no queue of {machine.name} takes {_nodes(nodes)}: "
            + ", ".join(each.admits(nodes, None) or "" for each in _open(machine))
        ]
    return "; ".join(reasons) or None


def _open(machine: Machine) -> list[Queue]:
    return [each for each in machine.queues if not each.on_request]


def _queue(machine: Machine, nodes: int) -> Queue | None:
    return next((each for each in _open(machine) if each.admits(nodes, None) is None), None)


@dataclass(frozen=True)
class Ranked:
    """The layouts of one node count that fit, best first; the first ``len(layouts)`` of ``fitting``.

    ``paid``: nodes that the queue hands out for it.
    """

    point: Point
    queue: Queue | None
    paid: int
    layouts: Layouts
    predictions: Predictions
    legal: int
    fitting: int
    least: float  # bytes that the most frugal legal one needs; inf where there is none
    usable: float  # bytes that a rank has; nan where nobody knows


@dataclass(frozen=True)
class Choice:
    """One layout with its prediction: seconds per step with the ends of the 80 % interval, bytes a rank."""

    ranked: Ranked
    place: int
    keys: dict[str, Any]
    seconds: float
    low: float
    high: float
    memory: float
    verdict: str

    @property
    def nodes(self) -> int:
        return self.ranked.point.nodes

    @property
    def mesh(self) -> tuple[int, ...]:
        return (self.nodes, *(self.keys[name] for name in ("dp", "tp", "pp", "cp")))

    @property
    def point(self) -> Point:
        """The point that this layout makes of the question."""
        asked = self.ranked.point
        training = asked.training.model_copy(
            update={"micro_batch_size": self.keys["mbs"], "activation_checkpointing": self.keys["ac"]}
        )
        return replace(asked, layout=layout_of(self.keys), training=training, queue=self.ranked.queue)

    def hours(self, tokens: float) -> float:
        """To train so many tokens."""
        training = self.ranked.point.training
        return tokens / (training.global_batch_size * training.sequence_length) * self.seconds / _HOUR

    def node_hours(self, tokens: float) -> float:
        return self.hours(tokens) * self.ranked.paid


def rank(asked: Point, nodes: int, variants: bool = False, keep: int = 1000) -> Ranked:
    """The best ``keep`` layouts on so many nodes; without ``variants`` only the best one of each dp x tp x pp x cp.

    Raises InputError where nothing is known of the machine's speed.
    """
    try:
        have = hardware.of_machine(asked.machine, asked.training.precision, asked.resources, asked.ranks_per_node)
    except hardware.Unknown as error:
        raise InputError(str(error)) from None
    point = replace(asked, nodes=nodes)
    found = layouts.every(point, nodes * point.ranks_per_node)
    cases = layouts.as_cases(point, found, have)
    predictions = predict_alike(cases, have.kind, point.machine.calibration)
    fitting = np.flatnonzero(np.array(predictions.verdict, dtype=object) != OOM)
    order = fitting[_order(found[fitting], predictions.seconds[fitting])]
    if not variants:
        order = order[_firsts(found[order])]
    order = order[:keep]
    queue = _queue(point.machine, nodes)
    unit = queue.allocation_unit if queue else 1
    return Ranked(
        point=point, queue=queue, paid=-(-nodes // unit) * unit, layouts=found[order],
        predictions=predict_alike(cases[order], have.kind, point.machine.calibration), legal=len(found), fitting=len(fitting),
        least=float(np.min(predictions.memory, initial=np.inf)), usable=float("nan") if have.memory is None else have.memory,
    )  # fmt: skip


def check(asked: Point) -> None:
    """Raises InputError for what no layout can mend."""
    reasons = list(rules.layout_violations(asked.model, Layout(), asked.training))
    if reasons:
        raise InputError("; ".join(reasons))


def why_empty(ranked: Ranked) -> str | None:
    """Why no layout is left on these nodes, with a way out; None if some are."""
    point = ranked.point
    if ranked.fitting:
        return None
    if ranked.legal:
        return (
            f"all {ranked.legal:,} legal layouts of {point.model.name} on {_nodes(point.nodes)} run out of memory: the most frugal needs "
            f"{ranked.least / 2**30:.1f} of {ranked.usable / 2**30:.1f} GiB a rank; take more nodes or a smaller sequence length"
        )
    near = [each for each in range(max(1, point.nodes - 64), point.nodes + 65) if len(layouts.every_mesh(point, each))]
    way = f" (nearest that do: {_nearest(near, point.nodes)} nodes)" if near else "; take another global batch size"
    return (
        f"no layout of {point.model.name} uses exactly the {point.nodes * point.ranks_per_node} ranks of {_nodes(point.nodes)}: tp must divide its heads, pp is "
        f"at most its {point.model.layers} layers, and dp must divide the global batch of {point.training.global_batch_size}{way}"
    )


def _nodes(count: int) -> str:
    return f"{count:,} node{'s' if count > 1 else ''}"


def _nearest(counts: Sequence[int], wanted: int) -> str:
    below, above = [each for each in counts if each < wanted][-1:], [each for each in counts if each > wanted][:1]
    return " and ".join(map(str, below + above))


def _order(found: Layouts, seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Fastest first; of those that tie the simplest: fewest axes, virtual stages, shards and recomputed layers."""
    axes = (found.tp > 1, found.pp > 1, found.cp > 1, found.sequence_parallel)
    simple = sum(each.astype(float) for each in axes) + np.log2(found.virtual) + found.mode + found.sharding
    return np.lexsort((seconds, simple, np.floor(np.log(seconds) / _TIE)))


def _firsts(found: Layouts) -> npt.NDArray[np.intp]:
    """The first one of each mesh, in order."""
    meshes = np.stack([found.dp, found.tp, found.pp, found.cp])
    return np.sort(np.unique(meshes, axis=1, return_index=True)[1])


def choices(ranked: Ranked) -> list[Choice]:
    """What was kept, best first."""
    p = ranked.predictions
    return [
        Choice(
            ranked, i, ranked.layouts.keys(i), float(p.seconds[i]), float(p.low[i]), float(p.high[i]), float(p.memory[i]),
            p.verdict[i],
        )
        for i in range(len(ranked.layouts))
    ]  # fmt: skip


def by_node_hours(found: Iterable[Choice]) -> list[Choice]:
    """Cheapest first, whatever their numbers of nodes."""
    return sorted(found, key=lambda each: (each.node_hours(1.0), each.seconds))


def front(found: Sequence[Choice]) -> list[Choice]:
    """Pareto's: those that no other one beats in time without costing more node-hours; fastest first."""
    kept: list[Choice] = []
    for each in sorted(found, key=lambda one: (one.seconds, one.node_hours(1.0))):
        if not kept or each.node_hours(1.0) < kept[-1].node_hours(1.0):
            kept.append(each)
    return kept


def steps_between(first: int, last: int) -> list[int]:
    """The node counts of a range that are tried: its ends, and every power of two and three times one in it."""
    counts = {factor << power for factor in (1, 3) for power in range(last.bit_length())}
    return sorted({first, last} | {each for each in counts if first < each < last})


def within(
    found: Sequence[Choice], tokens: float, deadline: float | None, budget: float | None
) -> tuple[list[Choice], str]:
    """(those that train ``tokens`` within ``deadline`` hours and ``budget`` node-hours, why there is none)."""
    left = [
        each
        for each in found
        if (deadline is None or each.hours(tokens) <= deadline)
        and (budget is None or each.node_hours(tokens) <= budget)
    ]
    if left or not found:
        return left, ""
    limits = [f"{deadline:g} hours"] if deadline is not None else []
    limits += [f"{budget:,.0f} node-hours"] if budget is not None else []
    message = f"no layout trains {tokens:g} tokens within {' and '.join(limits)}"
    nearest = {}
    if deadline is not None:
        nearest["the fastest"] = min(found, key=lambda each: each.seconds)
    if budget is not None:
        nearest["the cheapest"] = min(found, key=lambda each: each.node_hours(1.0))
    if len({id(each) for each in nearest.values()}) == 1 < len(nearest):
        nearest = {"the fastest and cheapest": nearest["the fastest"]}
    said = [
        f"{what} takes {each.hours(tokens):,.1f} hours and {each.node_hours(tokens):,.0f} node-hours on {_nodes(each.nodes)}"
        for what, each in nearest.items()
    ]
    return left, f"{message}: {'; '.join(said)}"
