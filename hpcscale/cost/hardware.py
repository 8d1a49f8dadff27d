"""What one rank of a machine has, in the numbers that the cost models read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hpcscale.cost.constants import Kind
from hpcscale.spec import device as devices
from hpcscale.spec.device import Device
from hpcscale.spec.machine import Machine

# Where neither profile nor catalogue says more: PCIe 4.0 x16, and 100 Gbit/s Ethernet or InfiniBand for each device.
_LINK, _NETWORK = 32e9, 12.5e9
_SIXTEEN_BITS = ("bf16", "fp16")


class Unknown(ValueError):
    """Something that a prediction needs and nobody said; the message is a sentence."""


@dataclass(frozen=True)
class Hardware:
    """Rates of one rank: ``peak`` and ``attention_peak`` FLOP/s, the others bytes/s; ``memory`` bytes, None if unknown.

    ``assumed`` says what came from a usual node of the device and not from the machine.
    """

    kind: Kind
    peak: float
    attention_peak: float
    bandwidth: float
    link: float
    network: float
    node_ranks: int
    memory: float | None
    assumed: tuple[str, ...] = ()


def of_machine(
    machine: Machine, precision: str, resources: Mapping[str, int] | None = None, ranks_per_node: int | None = None
) -> Hardware:
    """What a rank of ``machine`` has at this precision and these resource values. Raises Unknown."""
    count = int(machine.node.devices)
    ranks = ranks_per_node or machine.launch.ranks_per_node or count
    resources = {**machine.default_resources(), **(resources or {})}
    own = machine.calibration.measured if machine.calibration is not None else {}
    device = machine.device_facts
    found = _of_device(device, precision, resources, own.get("peak_flops"), own.get("memory_bandwidth"))
    assumed = [each for each in found.assumed if each != "nodes"]
    network = found.network
    if machine.network.bandwidth_per_node is not None:
        network = machine.network.bandwidth_per_node / count
        assumed = [each for each in assumed if each != "network"]
    share = count / ranks  # of a device for each rank, where several share one
    usable = device.memory if device.kind == "gpu" else None
    if usable is not None:
        memory: float | None = usable * min(1.0, share)
    else:
        node = machine.node.usable_memory or machine.node.memory
        memory = node / ranks if isinstance(node, int) else None
    share = min(1.0, share)
    # Ranks that share a device talk through its memory; a node that is one device has no other link.
    link = found.bandwidth / 4 if device.kind == "cpu" else found.link
    return replace(
        found, peak=found.peak * share, attention_peak=found.attention_peak * share, bandwidth=found.bandwidth * share,
        link=link, network=network * share, node_ranks=ranks, memory=memory, assumed=tuple(assumed),
    )  # fmt: skip


def of_device(name: str, precision: str, nodes: float | None, count: float) -> Hardware:
    """What a rank of a usual machine with this device has; ``count`` devices on ``nodes`` nodes, where that is known."""
    found = _named(name)
    hardware = _of_device(found, precision, _usual_resources(found), None, None)
    if nodes and count / nodes >= 1:
        hardware = replace(hardware, node_ranks=round(count / nodes))
    if found.kind == "cpu":
        hardware = replace(hardware, link=hardware.network)
    # A rank that owns a device; one that is a whole node may use what its system leaves.
    memory = None if found.memory is None else found.memory * (1.0 if found.kind == "gpu" else 0.89)
    return replace(hardware, memory=memory)


def fuses_attention(kind: Kind) -> bool:
    """Whether other systems than hpcscale have fused attention there: it came with compute capability 8.0."""
    return kind.generation not in ("volta", "a64fx")


def _of_device(
    device: Device, precision: str, resources: Mapping[str, int], peak: float | None, bandwidth: float | None
) -> Hardware:
    tflops = device.peak(precision, resources)
    if peak is None and tflops is None:
        known = sorted({key for mode in device.modes for key in mode.peak_tflops} | set(device.peak_tflops))
        way = f"known: {', '.join(known)}" if known else "measure it with: hpcscale probe"
        raise Unknown(f"no {precision} peak of {device.name} is known; {way}")
    rate = peak if peak is not None else float(tflops or 0) * 1e12
    wide = next((each for each in (device.peak(p, resources) for p in _SIXTEEN_BITS) if each), None)
    attention = wide * 1e12 if precision == "fp8" and wide else rate
    memory = bandwidth if bandwidth is not None else device.memory_bandwidth
    if memory is None:
        raise Unknown(f"the memory bandwidth of {device.name} is not known; measure it with: hpcscale probe")
    return Hardware(
        kind=Kind(device.kind, device.generation), peak=rate, attention_peak=attention, bandwidth=float(memory),
        link=float(device.link or _LINK), network=float(device.network or _NETWORK),
        node_ranks=device.node_devices or 1, memory=device.memory, assumed=("nodes", "network"),
    )  # fmt: skip


def _named(name: str) -> Device:
    """The device of a table's cell: catalogue's names and aliases, however they are spelled; a family's usual member."""
    found = devices.find(name)
    if found is None:
        plain = _plain(name)
        by_name = {
            _plain(each): device for device in devices.catalogue().values() for each in (device.name, *device.aliases)
        }
        found = by_name.get(plain) or next((by_name[key] for key in _usual(plain) if key in by_name), None)
    if found is None:
        raise Unknown(devices.unknown(name))
    return found


def _plain(name: str) -> str:
    return re.sub(r"nvidia|amd|[^a-z0-9]", "", name.lower())


# family -> the catalogue's device that a bare name of it means, the first that its name starts with
_FAMILIES = {
    "gh200": "gh200-96", "gb200": "gb200", "b200": "b200", "h200": "h200", "h100pcie": "h100-pcie", "h100nvl": "h100-nvl",
    "h100": "h100-sxm", "h800": "h100-sxm", "a10080": "a100-80gb-sxm", "a10064": "a100-64gb-leonardo", "a100": "a100-40gb",
    "v100": "v100-sxm", "mi250": "mi250x-gcd", "mi300": "mi300x", "mi355": "mi355x", "rtx3090": "rtx3090", "3090": "rtx3090",
    "a64fx": "a64fx", "l40s": "l40s", "a6000": "a6000", "h20": "h20",
}  # fmt: skip


def _usual(plain: str) -> list[str]:
    return [_plain(device) for family, device in _FAMILIES.items() if plain.startswith(family)]


def _usual_resources(device: Device) -> dict[str, int]:
    """The first mode of a device that has several: full speed at its base clock."""
    return dict(device.modes[0].when) if device.modes else {}
