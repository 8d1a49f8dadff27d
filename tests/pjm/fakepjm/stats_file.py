"""The ``.stats`` file of -s and -S (EUG appendix A, CmdRef p.95). Sites change items and their order: read it by key."""

from __future__ import annotations

import time

from . import names
from .values import UNLIMITED

TITLE = "Job Statistical Information"
NODE_TITLE = "Node Statistical Information"
LINE = "-" * 80
# Watts of one node at work: what Fugaku's guide shows for one (FUG, power control).
NODE_WATTS = 142.9


def write(job: dict, site: dict) -> None:
    path = names.output(job, job["stats_path"], "stats")
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text(job, site, nodes=job["stats"] == "S"))
    except OSError:
        pass


def text(job: dict, site: dict, nodes: bool) -> str:
    blocks = [block(TITLE, items(job, site))]
    if nodes:
        for node in range(min(job["node"]["count"], 16)):
            blocks += [LINE + "\n", block(NODE_TITLE, node_items(job, node))]
    return "\n".join(blocks)


def block(title: str, pairs: list[tuple[str, object]]) -> str:
    lines = [f" {key:<35} : {'-' if value is None else value}\n" for key, value in pairs]
    return f"{title}\n\n{''.join(lines)}"


def items(job: dict, site: dict) -> list[tuple[str, object]]:
    used = seconds_used(job)
    bulk = job.get("bulk", [None, None])
    found: list[tuple[str, object]] = [
        ("JOB ID", job["key"]),
        ("JOB NAME", job["name"]),
        ("JOB TYPE", "BATCH"),
        ("JOB MODEL", job["model"]),
        ("RETRY NUM", job["retries"]),
        ("SUB JOB NUM", bulk[1] - bulk[0] + 1 if bulk[0] is not None else None),
        ("USER", job["user"]),
        ("GROUP", job["group"]),
        ("RESOURCE UNIT", job["rscunit"]),
        ("RESOURCE GROUP", job["rscgrp"]),
        ("APRIORITY", 127),
        ("PRIORITY", job["priority"]),
        ("SHELL", job["origin"].get("SHELL")),
        ("COMMENT", job["comment"]),
        ("ELAPSE TIME (LIMIT)", clock(job["elapse"]["max"])),
        ("ELAPSE TIME (USE)", clock(used)),
        ("NODE NUM (REQUIRE)", job["node"]["count"]),
        ("MEMORY SIZE (LIMIT)", memory(job["node_mem"])),
        ("MAX MEMORY SIZE (USE)", None),
        ("ACCEPT DATE", date(job["accepted"])),
        ("QUEUED DATE", date(job["queued"])),
        ("JOB START DATE", date(job["started"])),
        ("JOB END DATE", date(job["ended"])),
        ("EXIT DATE", date(job["ended"])),
        ("EXIT CODE", job["ec"]),
        ("SIGNAL NO", job["sn"] or None),
        ("PJM CODE", job["pc"]),
        ("START BULKNO", bulk[0]),
        ("END BULKNO", bulk[1]),
    ]
    if site.get("power_statistics") and used is not None:
        found += [
            ("AVG POWER CONSUMPTION OF NODE (IDEAL)", NODE_WATTS),
            ("ENERGY CONSUMPTION OF NODE (IDEAL)", f"{NODE_WATTS * job['node']['count'] * used / 3600:.4f}"),
        ]
    return found


def seconds_used(job: dict) -> float | None:
    """By the machine's clock, which may run faster than ours."""
    if not job["started"]:
        return None
    return ((job["ended"] or time.time()) - job["started"]) * job["emulator"]["time_scale"]


def node_items(job: dict, node: int) -> list[tuple[str, object]]:
    per_node = job["mpi"]["per_node"]
    ranks = range(node * per_node, min((node + 1) * per_node, job["mpi"]["declared"]))
    return [
        ("NODE ID", f"0x{0x01010001 + node:08X}"),
        ("TOFU COORDINATE", f"({node},0,0,0,0,0)"),
        ("CPU BITMAP (USE)", "0x" + "F" * 12),
        ("RANK NO", ",".join(map(str, ranks)) or None),
    ]


def clock(number: float | None) -> str | None:
    if number is None:
        return None
    if number == UNLIMITED:
        return "unlimited"
    whole = int(number)
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d} ({whole})"


def memory(number: int | None) -> str | None:
    return None if number is None or number == UNLIMITED else f"{number / 2**20:.1f} MiB ({number})"


def date(moment: float | None) -> str | None:
    return time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(moment)) if moment else None
