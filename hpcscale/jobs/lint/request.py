"""What a script asks the scheduler for, in the words of neither."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from hpcscale.jobs.lint import values
from hpcscale.jobs.lint.options import Given, Reading

_GPU = re.compile(r"(?:gres[:/])?gpu(?:[:=/][A-Za-z][\w.-]*)?(?:[:=](\d+))?\Z")
_FACTORS = {"": 1, "k": 1024, "m": 1024**2}


@dataclass(frozen=True)
class Amount:
    """A number with the line and the option that say it."""

    number: int
    line: int
    option: str


@dataclass(frozen=True)
class Request:
    """One job, or one component of it. None: not said, or not in a way that can be read."""

    line: int  # where a finding about what is missing points to
    queues: tuple[tuple[str, int], ...] = ()  # (name, line)
    nodes: Amount | None = None  # the fewest
    nodes_max: Amount | None = None
    seconds: Amount | None = None
    tasks: Amount | None = None
    tasks_per_node: Amount | None = None
    cpus_per_task: Amount | None = None
    one_thread_per_core: bool = False
    gpus_per_node: Amount | None = None
    mebibytes_per_node: Amount | None = None


def slurm(reading: Reading, component: int) -> Request:
    part = Reading([each for each in reading.given if each.component == component])
    low, _, high = (part.value("--nodes") or "").lower().partition("-")
    tasks, per_node = _number(part, "--ntasks"), _number(part, "--ntasks-per-node")
    nodes = _amount(part.of("--nodes"), _nodes(low))
    if nodes is None and tasks and per_node and per_node.number:
        nodes = Amount(math.ceil(tasks.number / per_node.number), tasks.line, "--ntasks")
    queue = part.of("--partition")
    time, memory = part.of("--time"), part.of("--mem")
    mebibytes = values.mebibytes(memory.value or "") if memory else None
    return Request(
        line=part.given[0].line if part.given else 1,
        queues=tuple((name.strip(), queue.line) for name in (queue.value or "").split(",") if name) if queue else (),
        nodes=nodes,
        nodes_max=_amount(part.of("--nodes"), _nodes(high)) or nodes,
        seconds=_amount(time, values.slurm_seconds(time.value or "") if time else None),
        tasks=tasks,
        tasks_per_node=per_node,
        cpus_per_task=_number(part, "--cpus-per-task"),
        one_thread_per_core=part.value("--hint") == "nomultithread" or part.value("--threads-per-core") == "1",
        gpus_per_node=_gpus(part),
        mebibytes_per_node=_amount(memory, math.ceil(mebibytes) if mebibytes else None),
    )


def pjm(reading: Reading) -> Request:
    queue, node = reading.of("-L rscgrp"), reading.of("-L node")
    time, memory = reading.of("-L elapse"), reading.of("-L node-mem")
    mebibytes = values.mebibytes(memory.value or "") if memory else None
    shape = re.match(r"\d+(x\d+)*", (node.value or "") if node else "")
    nodes = _amount(node, math.prod(map(_int, shape[0].split("x"))) if shape else None)
    return Request(
        line=reading.given[0].line if reading.given else 1,
        queues=((queue.value, queue.line),) if queue and queue.value else (),
        nodes=nodes,
        nodes_max=nodes,
        seconds=_amount(time, values.pjm_seconds(time.value or "") if time else None),
        tasks=_number(reading, "--mpi proc"),
        tasks_per_node=_number(reading, "--mpi max-proc-per-node"),
        mebibytes_per_node=_amount(memory, math.ceil(mebibytes) if mebibytes else None),
    )


def _amount(given: Given | None, number: int | None) -> Amount | None:
    return None if given is None or number is None else Amount(number, given.line, given.name)


def _number(reading: Reading, name: str) -> Amount | None:
    given = reading.of(name)
    text = given.value if given else None
    return _amount(given, _int(text) if text and text.isdecimal() else None)


def _int(digits: str) -> int:
    return int(digits) if len(digits) < 20 else 10**19


def _nodes(text: str) -> int | None:
    digits, unit = (text[:-1], text[-1]) if text[-1:] in ("k", "m") else (text, "")
    return _int(digits) * _FACTORS[unit] if digits.isdecimal() else None


def _gpus(reading: Reading) -> Amount | None:
    """GPUs a node, by --gres or by --gpus-per-node."""
    gres, per_node = reading.of("--gres"), reading.of("--gpus-per-node")
    for part in (gres.value or "").split(",") if gres else []:
        if match := _GPU.match(part):
            return _amount(gres, _int(match[1] or "1"))
    digits = ((per_node.value or "") if per_node else "").rpartition(":")[2]
    return _amount(per_node, _int(digits) if digits.isdecimal() else None)
