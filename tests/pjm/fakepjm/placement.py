"""Which node a rank runs on, and its number there (EUG 2.3.6): contiguous blocks, round robin, or a list of places."""

from __future__ import annotations

import re

from .mpi_options import ple
from .mpi_request import coordinate
from .values import product

# The node id that messages show: the first node of a job here is always this one.
FIRST_NODE = 0x01010001
CODE = "1938,793745140674134016,0"  # real CODEs are internal; no source explains them
PLACE = re.compile(r"(\([\d,]+\))(?:\s+core=(\d+))?")


def nid(node: int) -> str:
    return f"0x{FIRST_NODE + node:08X}"


def most_ranks(job: dict) -> int:
    """How many ranks one mpiexec may start: the places of all nodes."""
    mpi = job["mpi"]
    nodes = product(mpi["shape"])
    per_node = mpi["max_per_node"] if mpi["max_per_node"] is not None else -(-mpi["declared"] // nodes)
    return per_node * nodes


def nodes_of(job: dict, count: int, coordinates: list[int] | None) -> list[int]:
    """The node of each rank."""
    mpi = job["mpi"]
    if coordinates is not None:
        return [coordinates[rank] for rank in range(count)]
    nodes = mpi["order"] or axis_order(mpi["shape"], mpi["map"]["order"])
    if mpi["map"]["kind"] == "bynode":
        return [nodes[rank % len(nodes)] for rank in range(count)]
    return [nodes[min(rank // mpi["per_node"], len(nodes) - 1)] for rank in range(count)]


def axis_order(shape: list[int], permutation: str | None) -> list[int] | range:
    """Node numbers in rank order; the permutation's first axis runs fastest."""
    if permutation is None or len(shape) == 1:
        return range(product(shape))
    strides = {"X": 1, "Y": shape[0], "Z": shape[0] * (shape[1] if len(shape) > 1 else 1)}
    lengths = dict(zip("XYZ", shape, strict=False))
    places = [0]
    for axis in permutation:
        places = [place + step * strides[axis] for step in range(lengths[axis]) for place in places]
    return places


def on_node(nodes: list[int]) -> list[int]:
    """Each rank's number among the ranks of its node."""
    seen: dict[int, int] = {}
    found = []
    for node in nodes:
        found.append(seen.get(node, 0))
        seen[node] = found[-1] + 1
    return found


def vcoordfile(path: str, shape: list[int], count: int) -> list[int]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        raise ple(44, f'The file "{path}" specified with --vcoordfile does not exist.') from None
    places = []
    for line in lines:
        found = PLACE.fullmatch(line)
        place = coordinate(found[1], shape) if found else None
        if place is None:
            raise ple(60, "Format error in --vcoordfile.")
        places.append(place)
    if len(places) < count:
        raise ple(60, "Format error in --vcoordfile.")
    return places
