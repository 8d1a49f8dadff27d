"""``--mpi`` (CmdRef p.84-89, EUG 2.3.6): its keys, and how many ranks a job may start where."""

from __future__ import annotations

import os
import re

from . import values
from .messages import Refused, refused
from .options import Settings
from .resources import spelled

KEYS = (
    "shape",
    "proc",
    "max-proc-per-node",
    "rank-map-bynode",
    "rank-map-bychip",
    "rank-map-hostfile",
    "assign-online-node",
)
COORDINATE = re.compile(r"\((\d+)(?:,(\d+))?(?:,(\d+))?\)")
AXES = "XYZ"


def read(settings: Settings, shape: list[int], cores: int, workdir: str) -> dict:
    """The request with everything derived: shape, proc, max_per_node (None: not given), declared, map and order of nodes."""
    option = settings.spelled.get("mpi", "--mpi")
    given = separate(settings["mpi"] or {}, option)
    mapped = mpi_shape(given, shape, option)
    nodes = values.product(mapped)
    proc = number(given, "proc", option)
    per_node = number(given, "max-proc-per-node", option)
    if per_node is not None and per_node > cores:
        raise refused("pjsub", 48, limit=cores, option="max-proc-per-node")
    if proc is not None:
        most = nodes * (cores if per_node is None else per_node)
        if proc > most:
            raise refused("pjsub", 48, limit=most, option="proc")
    chosen = rank_map(given, mapped, option)
    declared = proc if proc is not None else (per_node or 1) * nodes
    order = None
    if "rank-map-hostfile" in given:
        path = os.path.join(workdir, given["rank-map-hostfile"] or "")
        order = hostfile(path, mapped, chosen["kind"], declared, cores)
    return {
        "given": bool(settings["mpi"]),
        "shape": mapped,
        "proc": proc,
        "max_per_node": per_node,
        "declared": declared,
        "per_node": per_node if per_node is not None else -(-declared // nodes),
        "map": chosen,
        "hostfile": given.get("rank-map-hostfile"),
        "order": order,
    }


def separate(given: dict, option: str) -> dict:
    """The keys alone: ``rank-map-bychip:XYZ`` is written with a colon."""
    found = {}
    for word, value in given.items():
        key, colon, permutation = word.partition(":")
        if key not in KEYS or (colon and key != "rank-map-bychip"):
            raise refused("pjsub", 3, option=option, argument=spelled(word, value))
        if key in ("rank-map-bychip", "assign-online-node") and value is not None:
            raise refused("pjsub", 4, option=option, argument=spelled(word, value))
        if key in ("shape", "proc", "max-proc-per-node", "rank-map-hostfile") and not value:
            raise refused("pjsub", 4, option=option, argument=spelled(word, value))
        found[key] = permutation if colon else value
    if "rank-map-bychip" in found and "rank-map-bynode" in found:
        raise refused("pjsub", 2, detail="rank-map-bynode and rank-map-bychip")
    return found


def number(given: dict, key: str, option: str) -> int | None:
    if key not in given:
        return None
    found = values.whole(given[key])
    if not found or found > values.LARGEST:
        raise refused("pjsub", 4, option=option, argument=spelled(key, given[key]))
    return found


def mpi_shape(given: dict, shape: list[int], option: str) -> list[int]:
    """The part of the nodes that ranks use: as many axes, each no longer."""
    if "shape" not in given:
        return shape
    found = values.shape_of(given["shape"].replace("X", "x"))
    if found is None or len(found) != len(shape) or any(mine > whole for mine, whole in zip(found, shape, strict=True)):
        raise refused("pjsub", 4, option=option, argument=spelled("shape", given["shape"]))
    return found


def rank_map(given: dict, shape: list[int], option: str) -> dict:
    kind = "bynode" if "rank-map-bynode" in given else "bychip"
    key = f"rank-map-{kind}"
    permutation = given.get(key)
    if permutation is not None:
        fits = len(shape) > 1 and sorted(permutation) == list(AXES[: len(shape)])
        if not fits:
            raise refused("pjsub", 4, option=option, argument=spelled(key, permutation))
    return {"kind": kind, "order": permutation, "given": key in given}


def hostfile(path: str, shape: list[int], kind: str, declared: int, cores: int) -> list[int]:
    """Node numbers in the file's order (EUG 2.3.6.7)."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise refused("pjsub", 20, path=path, errno=error.errno) from None
    nodes = []
    for line in lines:
        if not line or line.startswith("#"):
            continue
        place = coordinate(line, shape)
        if place is None:
            raise invalid(path)
        nodes.append(place)
    used = values.product(shape)
    if kind == "bychip":
        nodes = nodes[:used]
        if len(nodes) < used or len(set(nodes)) < used:
            raise invalid(path)
    elif not nodes or any(nodes[:declared].count(node) > cores for node in set(nodes)):
        raise invalid(path)
    return nodes


def coordinate(line: str, shape: list[int]) -> int | None:
    """The number of the node at ``(x,y,z)``, x running fastest; None outside the shape."""
    found = COORDINATE.fullmatch(line)
    axes = [int(axis) for axis in found.groups() if axis is not None] if found else []
    if len(axes) != len(shape) or any(axis >= length for axis, length in zip(axes, shape, strict=True)):
        return None
    place, step = 0, 1
    for axis, length in zip(axes, shape, strict=True):
        place += axis * step
        step *= length
    return place


def invalid(path: str) -> Refused:
    return refused("pjsub", 4, option="--mpi", argument=f"rank-map-hostfile={path}")
