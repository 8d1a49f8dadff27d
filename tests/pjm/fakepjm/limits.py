"""Whether the site accepts a request: group, place, resource group and its ranges, custom resources.

The order in which PJM reports several errors is not documented (emulator choice: the order below).
"""

from __future__ import annotations

import os
import re

from . import values
from .messages import CORE_RETENTION, NOT_A_DATA_AREA, SPACK_WITHOUT_VOLUME, Refused, refused
from .options import Settings
from .site import default_group, default_unit


def group_of(settings: Settings, site: dict) -> str:
    groups = site.get("groups", [])
    wanted = settings["gname"] or settings["gid"]
    if wanted is None and not site.get("group_required"):
        return groups[0] if groups else str(os.getgid())
    if wanted is None or (settings["gname"] and wanted not in groups) or (settings["gid"] and wanted not in gids(site)):
        raise refused("pjsub", 71, group=wanted or os.getgid())
    return wanted if settings["gname"] else groups[gids(site).index(wanted)]


def gids(site: dict) -> list[str]:
    return [str(gid) for gid in site.get("gids", [])]


def check_directory(settings: Settings, site: dict, directory: str) -> None:
    roots = site.get("data_area_roots", [])
    inside = any(os.path.commonpath([root, directory]) == root for root in map(os.path.realpath, roots))
    if roots and not inside and not settings["no-check-directory"]:
        raise Refused(*(line.format(directory=directory) for line in NOT_A_DATA_AREA))


def check_spack(settings: Settings, site: dict, script: str, exported: dict[str, str]) -> None:
    volume = site.get("spack_volume")
    if not volume or settings["no-check-gfscache"] or not re.search(r"\bspack\b", script):
        return
    if volume not in exported.get("PJM_LLIO_GFSCACHE", "").split(":"):
        raise Refused(*SPACK_WITHOUT_VOLUME)


def place(wanted: dict, site: dict) -> tuple[str, str]:
    """The resource unit and group: named or the site's default, existing and enabled."""
    chosen = []
    for key, default in (("rscunit", default_unit), ("rscgrp", default_group)):
        name = wanted.get(key) or default(site)
        if name is None:
            raise refused("pjsub", 69, key=key)
        if name not in site[key]:
            raise refused("pjsub", 58, key=key, value=name)
        if site[key][name].get("stopped"):
            raise refused("pjsub", 59, key=key, value=name)
        chosen.append(name)
    if site["rscgrp"][chosen[1]].get("interactive_only"):
        raise refused("pjsub", 70, detail="")
    return chosen[0], chosen[1]


def within(key: str, value: int, limits: tuple[int | None, int | None] | list, shown: object = None) -> None:
    low, high = limits
    shown = value if shown is None else shown
    if low is not None and value < low:
        raise refused("pjsub", 54, key=key, value=shown, limit=low)
    if high is not None and value > high:
        raise refused("pjsub", 57, key=key, value=shown, limit=high)


def check_nodes(shape: list[int], group: dict) -> None:
    within("node", values.product(shape), group.get("node", [1, None]))


def elapse(wanted: tuple | None, group: dict, nodes: int) -> dict:
    """{min, max, adaptive} in seconds, with the group's default and its limits."""
    low, high = group.get("elapse", [1, None])
    for most, limit in group.get("elapse_by_nodes", []):
        if nodes <= most:
            high = limit
            break
    if wanted is None:
        default = group.get("elapse_default", low)
        return {"min": default, "max": default, "adaptive": False}
    first, last = wanted
    if first is None:
        infinite = last == values.UNLIMITED
        within(
            "elapse", 2**62 if infinite and high is not None else last, (low, high), "unlimited" if infinite else None
        )
        return {"min": last, "max": last, "adaptive": False}
    longest = group.get("elapse_adaptive_max", high)
    within("elapse", first, (low, high))
    if last is not None and last != values.UNLIMITED:
        within("elapse", last, (low, longest))
    return {"min": first, "max": longest if last in (None, values.UNLIMITED) else last, "adaptive": True}


def allocation(node: dict, group: dict) -> str:
    """torus, mesh or noncont; what the group does not allocate is refused (emulator choice: as an invalid argument)."""
    allowed = group.get("alloc", ["noncont", "mesh", "torus"])
    mode = node["mode"] or allowed[0]
    torus_only = node["strict"] or node["exclusive"] == "io-exclusive"
    if mode not in allowed or (torus_only and mode != "torus"):
        raise refused("pjsub", 4, option="-L", argument=f"node={'x'.join(map(str, node['shape']))}:{mode}")
    return mode


def custom(wanted: dict[str, str], site: dict) -> dict[str, str]:
    """The custom resources, each an enumeration, a range ``low..high`` or any word, over the site's defaults."""
    for key, value in wanted.items():
        rule = site["custom"][key]
        if isinstance(rule, list):
            if value not in map(str, rule):
                raise refused("pjsub", 76, ",".join(map(str, rule)), key=key, value=value)
        elif rule != "any":
            number = values.whole(value)
            if number is None:
                raise refused("pjsub", 4, option="-L", argument=f"{key}={value}")
            within(key, number, [int(bound) for bound in rule.split("..")])
    return {**{key: str(value) for key, value in site.get("custom_defaults", {}).items()}, **wanted}


def core_retention(resources: dict[str, str], nodes: int, site: dict) -> str | None:
    """Fugaku's remark on large jobs, which are accepted all the same [FUG, power control]."""
    most = site.get("core_retention_nodes")
    retained = resources.get("retention_state", "1") != "0"
    return CORE_RETENTION if most is not None and nodes > most and retained else None


def check_memory(wanted: int | None, site: dict) -> None:
    most = site.get("node_mem_max_bytes")
    if wanted is not None and wanted != values.UNLIMITED and most is not None:
        within("node-mem", wanted, (None, most))


def check_permissions(settings: Settings, site: dict) -> None:
    for option in ("bulk", "step"):
        if settings[option] and f"pjsub-{option}" in site.get("denied", []):
            raise refused("pjsub", 70, detail=f": pjsub-{option}")


def check_accept_limit(present: int, more: int, site: dict) -> None:
    if present + more > site.get("accept_limit", values.LARGEST):
        raise refused("pjsub", 72, limit="ru-accept")
