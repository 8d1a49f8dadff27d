"""The limits of a machine: what its profile says that no such job can have."""

from __future__ import annotations

from hpcscale.jobs.lint.finding import Remark, error
from hpcscale.jobs.lint.options import Reading
from hpcscale.jobs.lint.request import Amount, Request
from hpcscale.spec.machine import Machine, Queue
from hpcscale.spec.problems import suggestion
from hpcscale.spec.units import format_seconds

# The settings that a machine may require, as the schedulers' options say them.
_REQUIRED = {
    "slurm": {"account": "--account", "qos": "--qos"},
    "pjm": {"group": "-g"},
}
_QUEUE = {"slurm": "--partition", "pjm": "-L rscgrp"}


def beyond(requests: list[Request], reading: Reading, machine: Machine) -> list[Remark]:
    """What of the requests the machine does not give, and what it wants and does not find."""
    line = requests[0].line
    remarks = [
        error(line, f"{machine.name} wants {option} ({setting}), and no line has it; add {option} <{setting}>")
        for setting, option in _REQUIRED.get(machine.scheduler, {}).items()
        if setting in machine.requires and not reading.has(option)
    ]
    for request in requests:
        remarks += _queue(request, machine) + _node(request, machine)
    return remarks


def _queue(request: Request, machine: Machine) -> list[Remark]:
    known: dict[str, list[Queue]] = {}
    for queue in machine.queues:
        name = queue.partition if machine.scheduler == "slurm" else queue.name
        if name is not None:
            known.setdefault(name, []).append(queue)
    remarks = []
    for name, line in request.queues:
        if name not in known:
            option = _QUEUE[machine.scheduler]
            remarks.append(error(line, f"{option}: {machine.name} has no queue '{name}'{suggestion(name, known)}"))
        else:
            # Several where a partition's limits depend on nodes or QOS: one that takes the job is enough.
            remarks += min((_limits(request, queue, machine) for queue in known[name]), key=len)
    if not request.queues and request.nodes and request.nodes.number > machine.nodes:
        way = "ask for fewer"
        remarks.append(
            _too(request.nodes, f"{machine.name} has {machine.nodes:,} nodes, not {request.nodes.number:,}; {way}")
        )
    longest = max((queue.time.max for queue in machine.queues), default=None)
    if not request.queues and request.seconds and longest is not None and request.seconds.number > longest:
        message = f"no queue of {machine.name} runs longer than {format_seconds(longest)}; ask for less time"
        remarks.append(_too(request.seconds, message))
    return remarks


def _limits(request: Request, queue: Queue, machine: Machine) -> list[Remark]:
    """Nodes and time of one queue."""
    remarks = []
    doubt = "" if queue.verified else f" by the profile of {machine.name}, which no official page confirms"
    seconds, nodes, most = request.seconds, request.nodes, request.nodes_max
    if seconds and not queue.time.min <= seconds.number <= queue.time.max:
        low = f"{format_seconds(queue.time.min)} to " if queue.time.min else "at most "
        message = (
            f"{format_seconds(seconds.number)} is out of what {queue.name} takes, {low}{format_seconds(queue.time.max)}"
        )
        remarks.append(_too(seconds, f"{message}{doubt}{_other(machine, queue, nodes, seconds)}"))
    low, high = queue.nodes
    for amount in {nodes, most} - {None}:
        assert amount is not None
        if not low <= amount.number <= high:
            message = f"{queue.name} takes {low:,} to {high:,} nodes and not {amount.number:,}{doubt}"
            remarks.append(_too(amount, f"{message}{_other(machine, queue, amount, seconds)}"))
    return remarks


def _other(machine: Machine, queue: Queue, nodes: Amount | None, seconds: Amount | None) -> str:
    """The way out: a queue that would take the job, or other numbers."""
    count, length = nodes.number if nodes else 1, seconds.number if seconds else None
    fitting = [each.name for each in machine.queues if each is not queue and not each.admits(count, length)]
    return f"; {', '.join(fitting)} would take it" if fitting else "; no queue takes such a job, change nodes or time"


def _node(request: Request, machine: Machine) -> list[Remark]:
    """What one node has: GPUs, cores, memory."""
    node, remarks = machine.node, []
    assert isinstance(node.cores, int)
    assert isinstance(node.devices, int)
    assert isinstance(node.memory, int)
    gpus = request.gpus_per_node
    have = node.devices if machine.device_facts.kind == "gpu" else 0
    if gpus and gpus.number > have:
        remarks.append(
            _too(gpus, f"a node of {machine.name} has {have} GPUs, not {gpus.number}; ask for at most {have}")
        )
    threads = 1 if request.one_thread_per_core else node.threads_per_core
    per_task, tasks = request.cpus_per_task, request.tasks_per_node
    processors = node.cores * threads
    wanted = (per_task.number if per_task else 1) * (tasks.number if tasks else 1)
    larger = per_task or tasks
    if larger and wanted > processors:
        what = f"{tasks.number} tasks of {per_task.number} processors" if tasks and per_task else f"{wanted}"
        kind = "cores" if threads == 1 else f"cores with {threads} threads each"
        message = f"{what} need {wanted} processors a node, and {machine.name} has {node.cores} {kind}; ask for fewer"
        remarks.append(_too(larger, message))
    memory, mebibytes = request.mebibytes_per_node, node.memory / 2**20
    if memory and memory.number > mebibytes:
        message = (
            f"{memory.number:,} MiB is more than the {mebibytes:,.0f} MiB of a node of {machine.name}; ask for less"
        )
        remarks.append(_too(memory, message))
    return remarks + _spread(request)


def _spread(request: Request) -> list[Remark]:
    """More tasks than fit on the nodes."""
    tasks, per_node, nodes = request.tasks, request.tasks_per_node, request.nodes_max
    if tasks and per_node and nodes and tasks.number > per_node.number * nodes.number:
        room = per_node.number * nodes.number
        message = f"{tasks.number:,} tasks do not fit on {nodes.number:,} nodes with {per_node.number} each ({room:,})"
        return [_too(tasks, f"{message}; ask for more nodes or fewer tasks")]
    return []


def _too(amount: Amount, message: str) -> Remark:
    return error(amount.line, f"{amount.option}: {message}")
