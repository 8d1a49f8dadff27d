"""What a layout must obey, as arithmetic: each rule answers with a sentence that has the numbers in it.

Sources: Megatron-LM (heads and vocabulary divide by tp; batches divide by dp x micro batch when pp > 1), llm-foundry
(with pp 1 a micro batch need not divide the batch), ring attention with zigzag placement (two chunks per rank), torch's
pipeline schedules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hpcscale.spec.layout import Layout, Training
from hpcscale.spec.machine import Machine
from hpcscale.spec.model import Model

NodeShape = tuple[int, ...]

_NODE_SHAPE = re.compile(
    r"[1-9][0-9]*(x[1-9][0-9]*){0,2}(:(torus|mesh|noncont))?(:(strict|strict-io))?(:(io-exclusive|no-io-exclusive))?\Z"
)


def layout_violations(model: Model, layout: Layout, training: Training) -> Iterator[str]:
    """Why this model cannot train with this layout; nothing if it can."""
    yield from _tensor_parallel(model, layout)
    yield from _pipeline(model, layout)
    yield from _sequence(model, layout, training)
    yield from _batch(layout, training)
    yield from _rounds(layout, training)
    yield from _sharding(layout)


def _tensor_parallel(model: Model, layout: Layout) -> Iterator[str]:
    tp = layout.tp
    if model.heads % tp:
        yield f"tp {tp} does not divide the {model.heads} heads of {model.name} (nearest that do: {_near(tp, model.heads)})"
    elif model.kv_heads % tp:
        near = _near(tp, model.kv_heads)
        yield f"tp {tp} does not divide the {model.kv_heads} key/value heads of {model.name} (nearest that do: {near})"
    if model.ffn % tp:
        yield f"tp {tp} does not divide the feed-forward size {model.ffn} of {model.name}"


def _pipeline(model: Model, layout: Layout) -> Iterator[str]:
    stages = layout.pp * layout.virtual_stages
    if stages > model.layers:
        what = f"pp {layout.pp}" + (f" x {layout.virtual_stages} virtual stages" if layout.virtual_stages > 1 else "")
        yield f"{what} wants {stages} stages, but {model.name} has {model.layers} layers"
    interleaved = layout.schedule in ("interleaved-1f1b", "interleaved-zero-bubble", "zbv")
    if layout.pp == 1 and layout.virtual_stages > 1:
        yield f"virtual_stages {layout.virtual_stages} means something only with pp above 1"
    if layout.virtual_stages > 1 and not interleaved:
        yield f"virtual_stages {layout.virtual_stages} needs an interleaved schedule, but the schedule is {layout.schedule}"
    if layout.schedule == "zbv" and layout.virtual_stages != 2:
        yield f"the schedule zbv has exactly 2 virtual stages, not {layout.virtual_stages}"
    elif layout.schedule == "interleaved-zero-bubble" and layout.pp > 1 and layout.virtual_stages == 1:
        yield "the schedule interleaved-zero-bubble needs virtual_stages of 2 or more"


def _sequence(model: Model, layout: Layout, training: Training) -> Iterator[str]:
    length = training.sequence_length
    chunks = 2 * layout.cp if model.causal else layout.cp
    if layout.cp > 1 and length % chunks:
        yield f"cp {layout.cp} cuts a sequence into {chunks} equal chunks, but {chunks} does not divide {length} tokens"
    if layout.sequence_parallel and (length // layout.cp) % layout.tp:
        yield f"sequence_parallel wants tp {layout.tp} to divide the {length // layout.cp} tokens of a rank"
    if model.positions == "learned" and model.max_positions is not None and length > model.max_positions:
        message = f"sequence_length {length} is beyond the {model.max_positions} learned positions of {model.name}"
        yield message + f"; set model.max_positions: {length} to train more positions"


def _batch(layout: Layout, training: Training) -> Iterator[str]:
    batch, micro, dp = training.global_batch_size, training.micro_batch_size, layout.dp
    if batch % dp:
        low = batch // dp * dp
        near = f"{low} or {low + dp}" if low else f"{dp}"
        yield f"global_batch_size {batch} is not divisible by dp {dp} (nearest: {near})"
    elif layout.pp > 1 and isinstance(micro, int) and batch % (dp * micro):
        step = dp * micro
        low = batch // step * step
        near = f"{low} or {low + step}" if low else f"{step}"
        yield (
            f"with pp {layout.pp} the global_batch_size {batch} must be divisible by dp {dp} x micro_batch_size {micro} "
            f"= {step} (nearest: {near})"
        )


def _rounds(layout: Layout, training: Training) -> Iterator[str]:
    """Interleaved schedules go in rounds of about pp micro batches, all of the same length (torch's and Megatron's rule)."""
    micro = training.micro_batch_size
    if layout.pp == 1 or "interleaved" not in layout.schedule or not isinstance(micro, int):
        return
    step = layout.dp * micro
    count, rest = divmod(training.global_batch_size, step)
    if rest or count <= layout.pp:
        return
    rounds = count // layout.pp
    if count % rounds:
        low, high = (each * step for each in _near_rounds(count, layout.pp))
        yield (
            f"the schedule {layout.schedule} goes in {rounds} equal rounds, but {rounds} does not divide the {count} micro batches "
            f"of a replica (nearest global_batch_size that does: {low} or {high})"
        )


def _near_rounds(count: int, pp: int) -> tuple[int, int]:
    """The nearest numbers of micro batches below and above that go in equal rounds."""
    low, high = count, count
    while low % max(1, low // pp):
        low -= 1
    while high % max(1, high // pp):
        high += 1
    return low, high


def _sharding(layout: Layout) -> Iterator[str]:
    if layout.sharding == "hsdp":
        if layout.dp_replicate is None:
            yield f"sharding hsdp needs dp_replicate, the number of replicas (a divisor of dp {layout.dp})"
        elif layout.dp % layout.dp_replicate:
            yield f"dp_replicate {layout.dp_replicate} does not divide dp {layout.dp}"
    elif layout.dp_replicate is not None:
        yield f"dp_replicate {layout.dp_replicate} only means something with sharding hsdp, not {layout.sharding}"


def machine_violations(
    machine: Machine, training: Training, ranks: int, nodes: int, ranks_per_node: int, resources: Mapping[str, int]
) -> Iterator[str]:
    """Why this machine cannot run such a job, queues aside; nothing if it can."""
    if nodes > machine.nodes and machine.scheduler == "local":
        yield f"{ranks} ranks are more than {machine.name} holds ({machine.nodes * ranks_per_node})"
    elif nodes > machine.nodes:
        yield f"{nodes} nodes are more than {machine.name} has ({machine.nodes})"
    communication = training.communication
    if communication == "auto":
        communication = machine.launch.communication
    limit = machine.network.socket_node_limit
    if communication == "gloo" and limit is not None and nodes > limit:
        yield f"communication gloo needs TCP/IP, which {machine.name} allows in jobs of up to {limit} nodes, not {nodes}; use mpi"
    choices = machine.launch.ranks_per_node_choices
    if choices and ranks_per_node not in choices:
        yield f"ranks_per_node {ranks_per_node} is none of {', '.join(map(str, choices))} on {machine.name}"
    for name, value in resources.items():
        if name == "ranks_per_node":
            continue
        reason = machine.resources[name].refuses(value)
        if reason:
            yield f"{name} {value} is not possible on {machine.name}: {reason}"


def parse_node_shape(text: str) -> NodeShape | None:
    """``8x24x32:torus`` -> (8, 24, 32); None if it is no shape that PJM reads (Command Reference, -L node=)."""
    if not _NODE_SHAPE.match(text):
        return None
    return tuple(int(axis) for axis in text.split(":", 1)[0].split("x"))


def batch_warnings(layout: Layout, training: Training) -> Iterator[str]:
    micro = training.micro_batch_size
    per_replica = training.global_batch_size // layout.dp
    if isinstance(micro, int) and 0 < per_replica < micro:
        yield f"micro_batch_size {micro} is more than a replica's {per_replica} sequences; {per_replica} will be used"


def _near(value: int, total: int) -> str:
    divisors = [d for d in range(1, total + 1) if total % d == 0]
    below = [d for d in divisors if d < value][-1:]
    above = [d for d in divisors if d > value][:1]
    return " and ".join(str(d) for d in below + above)
