"""A point: one fully resolved configuration of a study, and the document (point.json) that describes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hpcscale.spec.job import Job
from hpcscale.spec.layout import Data, Layout, Protocol, Training
from hpcscale.spec.machine import Communication, Machine, Queue
from hpcscale.spec.model import Model
from hpcscale.spec.typed import Strict
from hpcscale.spec.workload import HPCSCALE, Workload

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration. ``identity`` names its folder: a readable slug of what varies and 8 hex digits of its hash."""

    study: str
    identity: str
    hash: str
    scaling: str
    machine: Machine
    model: Model
    layout: Layout
    training: Training
    data: Data
    protocol: Protocol
    job: Job
    resources: Mapping[str, int]
    repeat: int
    nodes: int
    ranks_per_node: int
    queue: Queue | None
    peak_tflops: float | None  # of one device, dense, at this precision and these resources
    warnings: tuple[str, ...] = field(default=())
    workload: Workload = HPCSCALE
    time_source: str = ""  # where the wall time comes from, if it was predicted

    @property
    def ranks(self) -> int:
        return self.layout.ranks

    @property
    def communication(self) -> Communication:
        wanted = self.training.communication
        return self.machine.launch.communication if wanted == "auto" else wanted

    @property
    def ranks_per_device(self) -> int:
        """More than 1 where several ranks share a device (one rank per CMG of an A64FX)."""
        return max(1, self.ranks_per_node // int(self.machine.node.devices))

    @property
    def devices(self) -> int:
        """Devices that the ranks use; a node's remaining ones idle."""
        return -(-self.ranks // self.ranks_per_device)

    @property
    def threads_per_rank(self) -> int:
        given = self.machine.launch.threads_per_rank
        return given or max(1, int(self.machine.node.cores) // self.ranks_per_node)

    @property
    def job_seconds(self) -> int | None:
        """The job's wall time; None where nobody limits it, or where ``auto`` is not yet resolved (cost/job_time.py)."""
        if self.job.time is not None:
            return self.job.seconds
        return self.queue.time.default if self.queue else None

    def text(self) -> str:
        """point.json: all that training and reporting read. One line a top-level key, so a change is one line of a diff."""
        resources = ", ".join(f'"{name}": {value}' for name, value in self.resources.items())
        device = self.machine.device_facts
        peak = f'"peak_tflops": {"null" if self.peak_tflops is None else self.peak_tflops}'
        memory = f'"memory_bytes": {"null" if device.memory is None else device.memory}'
        seconds = "null" if self.job_seconds is None else self.job_seconds
        on_oom = "" if self.job.on_oom == "fail" else f', "on_oom": {_quoted(self.job.on_oom)}'
        lines = [
            f'  "schema": {SCHEMA}',
            f'  "study": {_quoted(self.study)}',
            f'  "point": {_quoted(self.identity)}',
            f'  "hash": {_quoted(self.hash)}',
            f'  "scaling": {_quoted(self.scaling)}',
            f'  "repeat": {self.repeat}',
            f'  "machine": {_quoted(self.machine.name)}',
            f'  "nodes": {self.nodes}',
            f'  "ranks": {self.ranks}',
            f'  "ranks_per_node": {self.ranks_per_node}',
            f'  "devices": {self.devices}',
            f'  "device": {{"name": {_quoted(device.name)}, "kind": "{device.kind}", {peak}, {memory}}}',
            f'  "resources": {{{resources}}}',
            f'  "communication": {_quoted(self.communication)}',
            f'  "threads_per_rank": {self.threads_per_rank}',
            f'  "job": {{"time_seconds": {seconds}, "queue": {_quoted(self.queue.name) if self.queue else "null"}{on_oom}}}',
        ]
        parts = ("model", self.model), ("layout", self.layout), ("training", self.training), ("data", self.data)
        # pyright does not see the hash that pydantic gives frozen models
        lines += [f'  "{key}": {_written(value)}' for key, value in (*parts, ("protocol", self.protocol))]  # pyright: ignore[reportArgumentType]
        if self.workload.foreign:
            lines.append(f'  "workload": {_said(self.workload)}')
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def document(self) -> dict[str, Any]:
        """The content of point.json as a mapping."""
        return json.loads(self.text())


@lru_cache(maxsize=4096)
def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=4096)
def _written(value: Strict) -> str:
    return value.model_dump_json()


def _said(workload: Workload) -> str:
    """What a study says of its workload; where its code lies is not in it."""
    return json.dumps(workload.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)


@lru_cache(maxsize=4096)
def _varied(value: Strict) -> str:
    return value.model_dump_json(exclude_defaults=True)


def hash_of(
    machine: Machine,
    model: Model,
    layout: Layout,
    training: Training,
    data: Data,
    protocol: Protocol,
    resources: Mapping[str, int],
    repeat: int,
    workload: Workload = HPCSCALE,
) -> str:
    """8 hex digits over what is run and measured.

    Values that equal their defaults are left out, so that a key added in a later version changes no hash. Job demands
    (time, queue, account) are left out too: they do not change what is measured.
    """
    parts = [machine.name, repr(sorted(resources.items())), str(repeat)]
    parts += [_varied(each) for each in (model, layout, training, data)]  # pyright: ignore[reportArgumentType]
    parts.append(f"{protocol.warmup_steps}+{protocol.measured_steps}")
    if workload.foreign:
        parts.append(_said(workload))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
