"""A machine profile: what one YAML file in machines/ says about a supercomputer, a cluster or this computer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from hpcscale.spec import device as devices
from hpcscale.spec.device import Device
from hpcscale.spec.model import Positive
from hpcscale.spec.problems import InputError
from hpcscale.spec.typed import Strict, validate
from hpcscale.spec.units import Bytes, Seconds, format_seconds
from hpcscale.spec.yaml12 import load

Communication = Literal["auto", "nccl", "gloo", "mpi"]


# Names that stand in scripts and folder names as they are.
PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Node(Strict):
    """One node. ``devices`` counts what the scheduler and people count: GPUs, or 1 where the node is the device."""

    devices: Positive | Literal["cores"] = 1
    cores: Positive | Literal["auto"]
    threads_per_core: Positive = 1
    memory: Bytes | Literal["auto"]
    usable_memory: Bytes | None = None  # what a job may take of it

    def found(self) -> Node:
        """With ``auto`` and ``cores`` replaced by what this computer has."""
        # process-wide affinity, not os.cpu_count(): containers and login nodes give a process fewer cores
        cores = len(os.sched_getaffinity(0)) if self.cores == "auto" else self.cores
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if self.memory == "auto" else self.memory
        count = cores if self.devices == "cores" else self.devices
        return self.model_copy(update={"cores": cores, "memory": memory, "devices": count})


class Network(Strict):
    name: str = ""
    topology: str = ""
    bandwidth_per_node: Bytes | None = None  # bytes per second and direction
    group_nodes: Positive | None = None  # nodes of one cell, group or rack
    socket_node_limit: Positive | None = None  # TCP/IP works only in jobs up to this size
    verified: bool = True


class TimeRange(Strict):
    min: Seconds = 0
    default: Seconds | None = None
    max: Seconds


class Queue(Strict):
    """A partition (Slurm) or resource group (PJM). The first of the list that admits a job takes it."""

    name: PlainName
    nodes: tuple[Positive, Positive]
    time: TimeRange
    on_request: bool = False  # only when job.queue names it
    debug: bool = False  # short and quickly served: hpcscale submit --smoke goes there
    allocation_unit: Positive = 1  # nodes are handed out in multiples of this
    # Slurm: what asks for it where that is not --partition=<name> (a QOS, a constraint). May replace the machine's.
    directives: dict[str, str | int | bool] = Field(default_factory=dict)
    verified: bool = True
    note: str = ""

    def admits(self, nodes: int, seconds: int | None) -> str | None:
        """None if the queue takes such a job, else why not."""
        low, high = self.nodes
        if not low <= nodes <= high:
            return f"{self.name} takes {low} to {high} nodes"
        if seconds is not None and not self.time.min <= seconds <= self.time.max:
            return f"{self.name} takes {format_seconds(self.time.min)} to {format_seconds(self.time.max)}"
        return None

    @property
    def asked_with(self) -> dict[str, str | int | bool]:
        """The Slurm options that send a job here."""
        return dict(self.directives) or {"partition": self.name}

    @property
    def partition(self) -> str | None:
        """Slurm's partition of this queue; None where the site chooses it by QOS or constraint."""
        found = self.asked_with.get("partition")
        return None if found is None else str(found)


class Resource(Strict):
    """A value that a job may choose (clock, power mode). ``directive``: how the script says it; empty: not at all."""

    choices: tuple[int, ...] | None = None
    minimum: int | None = None
    maximum: int | None = None
    default: int
    emit: Literal["changed", "always", "never"] = "changed"

    def refuses(self, value: int) -> str | None:
        if self.choices is not None and value not in self.choices:
            return "it must be one of " + ", ".join(str(each) for each in self.choices)
        if (self.minimum is not None and value < self.minimum) or (self.maximum is not None and value > self.maximum):
            return f"it must be {self.minimum} to {self.maximum}"
        return None


class Launch(Strict):
    """How ranks start. ``command`` is one shell line in Jinja; the training command follows it.

    It may read ``ranks``, ``ranks_per_node``, ``nodes``, ``threads_per_rank``, ``python`` and ``exported`` (the names of
    the variables that scripts export, for launchers that pass on only those that are named).
    """

    command: str
    # How one process starts on each node, to unpack environment.archive: Jinja that may also read ``output``, a file name
    # for what such a process prints. Slurm needs none. More than one a node does no harm where PLE_RANK_ON_NODE counts them.
    on_each_node: str = ""
    communication: Communication = "auto"
    ranks_per_node: Positive | None = None  # default: one per device
    ranks_per_node_choices: tuple[Positive, ...] = ()
    threads_per_rank: Positive | None = None  # default: cores / ranks per node
    torchrun: str = ""  # what starts a node's ranks of a workload that uses torchrun; default: torch's own


class LocalStorage(Strict):
    """A folder that every node has for itself (a disk or memory). Plain variables of the job may stand in it."""

    folder: str
    emptied: bool = False  # the system removes what a job left there
    note: str = ""


class Slurm(Strict):
    """What only Slurm's template reads."""

    directives: dict[str, str | int | bool] = Field(default_factory=dict)
    cpus_per_core: Positive = 1  # what --cpus-per-task counts: 2 where hardware threads are CPUs
    requeue: bool = True  # false where the site forbids it: a successor is submitted instead
    host_suffix: str = ""  # appended to the first node's name for the rendezvous (JSC: "i", InfiniBand)


class Pjm(Strict):
    """What only PJM's template reads."""

    resource_unit: str | None = None
    max_proc_per_node: bool = True  # False: ranks per node are said to mpiexec alone
    local_storage: str | None = None  # the option without which the nodes' own folder is not there
    container: str | None = None  # the option without which no container starts
    # Whole option texts, as they follow #PJM. Jinja that may read what launch.command may.
    directives: tuple[str, ...] = ()


class Calibration(Strict):
    """What was learned from runs on this machine; ``hpcscale calibrate`` writes it."""

    date: str
    source: str  # where the rows come from
    constants: dict[str, PositiveFloat] = Field(default_factory=dict)  # of cost/priors.yaml, this machine's own
    # Rates of one rank that were measured where the catalogue has none: peak_flops (FLOP/s), memory_bandwidth (bytes/s)
    measured: dict[Literal["peak_flops", "memory_bandwidth"], PositiveFloat] = Field(default_factory=dict)
    error: float | None = Field(default=None, ge=0)  # median relative error of the rows, each predicted without itself
    # The rows: what each was (columns of a table for hpcscale predict), and the logarithm of measured over predicted
    rows: tuple[dict[str, str | float], ...] = ()


class Machine(Strict):
    """One machine. Sizes in bytes, times in seconds."""

    name: PlainName
    title: str = ""
    scheduler: Literal["slurm", "pjm", "local"]
    verified: bool = True
    source: str = ""
    nodes: Positive
    device: str | Device
    node: Node
    network: Network = Network()
    queues: tuple[Queue, ...] = ()
    requires: tuple[str, ...] = ()  # settings without which no script is written
    uses: tuple[str, ...] = ()  # settings that make sense here beside the required ones
    resources: dict[str, Resource] = Field(default_factory=dict)
    launch: Launch
    variables: dict[str, str] = Field(default_factory=dict)
    setup: str = ""  # shell lines that every job of this machine needs
    slurm: Slurm = Slurm()
    pjm: Pjm | None = None
    tools: dict[str, str] = Field(default_factory=dict)
    local_storage: LocalStorage | None = None
    container: PlainName | None = "apptainer"  # what runs images: apptainer, singularity or nothing
    internet_on_compute_nodes: bool = True
    calibration: Calibration | None = None
    python: str = "python3"

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str | Device) -> str | Device:
        if isinstance(value, str) and devices.find(value) is None:
            raise ValueError(devices.unknown(value))
        return value

    @model_validator(mode="after")
    def _scheduler_has_its_part(self) -> Machine:
        if self.scheduler == "pjm" and self.pjm is None:
            raise ValueError("a machine with scheduler pjm needs a 'pjm' section")
        if self.scheduler != "pjm" and any(resource.emit != "never" for resource in self.resources.values()):
            raise ValueError(f"only PJM's scripts can say resources; with {self.scheduler} write emit: never for each")
        if self.scheduler != "slurm" and any(queue.directives for queue in self.queues):
            raise ValueError(f"only Slurm's queues have directives; with {self.scheduler} a queue is asked for by name")
        if self.scheduler != "local" and not self.queues:
            raise ValueError("a machine with a scheduler needs at least one queue")
        return self

    @property
    def device_facts(self) -> Device:
        found = devices.find(self.device) if isinstance(self.device, str) else self.device
        assert found is not None, "the validator above refuses unknown devices"
        return found

    def default_resources(self) -> dict[str, int]:
        return {name: resource.default for name, resource in self.resources.items()}

    def found(self) -> Machine:
        """With what can only be seen at run time (cores and memory of this computer) filled in."""
        return self.model_copy(update={"node": self.node.found()})


def read(path: Path) -> Machine:
    """One machine profile. Raises InputError with every problem of the file."""
    document = load(path)
    machine = validate(Machine, document)
    for name, resource in machine.resources.items():
        reason = resource.refuses(resource.default)
        if reason:
            raise InputError(document.problem(("resources", name), f"default {resource.default} of {name}: {reason}"))
    return machine.found()
