"""Energy of a step: the counters that GPUs (NVML) and processor packages (RAPL) keep, where they may be read.

Each rank finds the counters of what it runs on; where ranks share a device or a node, the lowest of them reads, so the sum
over ranks counts nothing twice. Nothing to read is no fault: then there is no energy in the record.

The counters cover the whole device or package, also what others do on it. NVML's moves about 20 times a second, RAPL's
about 1000 times: the energy of a shorter step is a matter of chance.
"""

from __future__ import annotations

import importlib
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist

from hpcscale.train import communication

POWERCAP = Path("/sys/class/powercap")
# Packages and their memory. psys is the whole board and core, uncore are parts of a package: each would count again.
_ZONE = re.compile(r"intel-rapl:\d+(:\d+)?")
_COUNTED = re.compile(r"package-\d+|dram")


class Counter(Protocol):
    """A counter that only grows. ``identity`` is the same for all ranks of a host that would read the same one."""

    identity: str
    name: str

    def joules(self) -> float: ...


class RaplZone:
    """One zone of /sys/class/powercap. ``energy_uj`` starts anew at ``max_energy_range_uj``."""

    def __init__(self, folder: Path):
        """Raises OSError or ValueError where the zone may not be read (by default only root may) or is no zone."""
        self.identity = str(folder)
        self.name = (folder / "name").read_text().strip()
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last = self._microjoules()
        self._sum = 0

    def joules(self) -> float:
        """Since the first reading. To be read more often than the counter wraps: every 262 kJ on many processors."""
        now = self._microjoules()
        self._sum += now - self._last if now >= self._last else now - self._last + self._range
        self._last = now
        return self._sum / 1e6

    def _microjoules(self) -> int:
        return int(self._file.read_text())


class NvmlDevice:
    """One GPU's counter, which NVML has since Volta."""

    def __init__(self, nvml: Any, uuid: str):
        """Raises whatever NVML raises where there is no such device or counter."""
        nvml.nvmlInit()
        self.identity, self.name = uuid, "gpu"
        self._nvml, self._handle = nvml, nvml.nvmlDeviceGetHandleByUUID(uuid)
        self.joules()

    def joules(self) -> float:
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3  # millijoules


@dataclass(frozen=True)
class Meter:
    """What this rank reads. ``source`` says in the record where the run's energy comes from; None: from nowhere."""

    source: str | None
    counters: Sequence[Counter] = ()

    def joules(self) -> float | None:
        """The sum of this rank's counters; None where it has none, or one has stopped answering."""
        try:
            return sum(counter.joules() for counter in self.counters) if self.counters else None
        except Exception:  # NVML's errors are classes of its own; a lost counter must not end a run
            return None


NONE = Meter(None)


def rapl_zones(powercap: Path = POWERCAP) -> list[Counter]:
    """The readable zones of this host's packages and their memory."""
    zones: list[Counter] = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        if not _ZONE.fullmatch(folder.name):
            continue
        try:
            zone = RaplZone(folder)
        except (OSError, ValueError):
            continue
        if _COUNTED.fullmatch(zone.name):
            zones.append(zone)
    return zones


def nvml_device(device: torch.device) -> list[Counter]:
    """The GPU of this rank, if the package ``pynvml`` (nvidia-ml-py) is there and the GPU keeps a counter."""
    try:
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        return [NvmlDevice(importlib.import_module("pynvml"), uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")]
    except Exception:  # no package, no driver library, no permission, a MIG slice: each means that there is no energy
        return []


def meter(device: torch.device, powercap: Path = POWERCAP) -> Meter:
    """This rank's share of the run's counters. A collective: all ranks call it, once, when they have met."""
    found = nvml_device(device) if device.type == "cuda" else rapl_zones(powercap)
    host, library = socket.gethostname(), "nvml" if device.type == "cuda" else "rapl"
    every = communication.gather_objects([(host, counter.identity, counter.name) for counter in found])
    rank = dist.get_rank() if dist.is_initialized() else 0
    return Meter(_source(library, every), _own(found, host, every, rank))


def _own(found: list[Counter], host: str, every: list[list[tuple[str, str, str]]], rank: int) -> list[Counter]:
    """Those counters that no lower rank reads."""
    taken = {(where, identity) for other in every[:rank] for where, identity, _ in other}
    return [counter for counter in found if (host, counter.identity) not in taken]


def _source(library: str, every: list[list[tuple[str, str, str]]]) -> str | None:
    """``rapl: 2 dram, 2 package``: how many counters of which kind are added up over all hosts."""
    distinct = {each for rank in every for each in rank}
    if not distinct:
        return None
    kinds = [name.split("-")[0] for _, _, name in distinct]
    return f"{library}: " + ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
