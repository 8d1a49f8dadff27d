"""A point: one fully resolved configuration of a study, and the document (point.json) that describes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from hpcscale.spec.job import Job
from hpcscale.spec.layout import Data, Layout, Protocol, Training
from hpcscale.spec.machine import Machine, Queue
from hpcscale.spec.model import Model

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
    warnings: tuple[str, ...] = field(default=())

    @property
    def ranks(self) -> int:
        return self.layout.ranks

    @property
    def communication(self) -> str:
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
        if self.job.time is not None:
            return self.job.time
        return self.queue.time.default if self.queue else None

    def document(self) -> dict[str, Any]:
        """The content of point.json: all that training and reporting read."""
        device = self.machine.device_facts
        return {
            "schema": SCHEMA,
            "study": self.study,
            "point": self.identity,
            "hash": self.hash,
            "scaling": self.scaling,
            "repeat": self.repeat,
            "machine": self.machine.name,
            "nodes": self.nodes,
            "ranks": self.ranks,
            "ranks_per_node": self.ranks_per_node,
            "devices": self.devices,
            "device": {
                "name": device.name,
                "kind": device.kind,
                "peak_tflops": device.peak(self.training.precision, self.resources),
                "memory_bytes": device.memory,
            },
            "resources": dict(self.resources),
            "communication": self.communication,
            "threads_per_rank": self.threads_per_rank,
            "model": _dump(self.model),
            "layout": _dump(self.layout),
            "training": _dump(self.training),
            "data": _dump(self.data),
            "protocol": _dump(self.protocol),
            "job": {"time_seconds": self.job_seconds, "queue": self.queue.name if self.queue else None},
        }


@lru_cache(maxsize=4096)
def _dump(value: BaseModel) -> dict[str, Any]:
    return value.model_dump(mode="json")


def text(document: Mapping[str, Any]) -> str:
    """point.json's text: one line a top-level key, so that a change is one line of a diff."""
    parts = (f'  "{key}": {_encode(value)}' for key, value in document.items())
    return "{\n" + ",\n".join(parts) + "\n}\n"


_encode = json.JSONEncoder(ensure_ascii=False).encode


@lru_cache(maxsize=4096)
def _varied(value: BaseModel) -> str:
    return json.dumps(value.model_dump(mode="json", exclude_defaults=True), sort_keys=True)


def hash_of(
    machine: Machine,
    model: Model,
    layout: Layout,
    training: Training,
    data: Data,
    protocol: Protocol,
    resources: Mapping[str, int],
    repeat: int,
) -> str:
    """8 hex digits over what is run and measured.

    Values that equal their defaults are left out, so that a key added in a later version changes no hash. Job demands
    (time, queue, account) are left out too: they do not change what is measured.
    """
    parts = [machine.name, repr(sorted(resources.items())), str(repeat)]
    parts += [_varied(each) for each in (model, layout, training, data)]
    parts.append(f"{protocol.warmup_steps}+{protocol.measured_steps}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]

