"""Memory bandwidth by arrays that no cache holds, and what starting a kernel costs that does nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from hpcscale.train.probe.cases import Call, Case

ELEMENT_BYTES = 4
SMALLEST_ARRAY_BYTES = 64 * 2**20
MEMORY_SHARE = 16  # an array takes at most this part of what a rank has
ARRAYS = {"copy": 2, "add": 3}  # read and written by one call, as STREAM counts (stream.c)


def cases(size: int | None, ranks_on_node: int, device: torch.device) -> Iterator[Case]:
    """``size``: bytes of one array; None: beyond the caches."""
    size = size or array_bytes(ranks_on_node, device)
    for operation, arrays in ARRAYS.items():
        line = {"kind": "memory", "dtype": "fp32", "operation": operation, "bytes": arrays * size}
        prepare = partial(_operation, operation, size // ELEMENT_BYTES, device)
        yield Case(line, prepare, arrays * size)
    yield Case({"kind": "launch", "dtype": "fp32"}, partial(_tiny, device))


def _operation(operation: str, elements: int, device: torch.device) -> Call:
    first, target = torch.ones(elements, device=device), torch.ones(elements, device=device)
    if operation == "copy":
        return partial(target.copy_, first)
    return partial(torch.add, first, torch.ones(elements, device=device), out=target)


def _tiny(device: torch.device) -> Call:
    return partial(torch.zeros(1, device=device).add_, 1.0)


def array_bytes(ranks_on_node: int, device: torch.device) -> int:
    """Of one array: as large as all last-level caches together (two or three of them do not fit), if the memory allows."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        cache, memory = getattr(properties, "L2_cache_size", 0), properties.total_memory
    else:
        cache = cache_bytes()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // ranks_on_node
    wanted = min(max(SMALLEST_ARRAY_BYTES, cache), memory // MEMORY_SHARE)
    return wanted // ELEMENT_BYTES * ELEMENT_BYTES


def cache_bytes(system: Path = Path("/sys/devices/system/cpu")) -> int:
    """Last-level caches of the cores that this process may use, each counted once; 0 where the system does not say."""
    found: dict[str, int] = {}
    for core in os.sched_getaffinity(0):
        try:
            last = max((system / f"cpu{core}" / "cache").glob("index*"), key=lambda path: _text(path / "level"))
            found[_text(last / "shared_cpu_list")] = int(_text(last / "size").removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return sum(found.values())


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
