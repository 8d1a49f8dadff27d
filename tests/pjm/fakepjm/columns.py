"""pjstat's items (EUG appendix A): name, heading, and how a job shows in them."""

from __future__ import annotations

import time

from . import stats_file
from .values import UNLIMITED

# The headings as the real command prints them; columns begin where their heading does.
DEFAULT = "JOB_ID     JOB_NAME   MD ST  USER     START_DATE      ELAPSE_LIM           NODE_REQUIRE    VNODE  CORE V_MEM"
VERBOSE = (
    "JOB_ID     JOB_NAME   MD ST  USER     GROUP    START_DATE      ELAPSE_TIM ELAPSE_LIM            NODE_REQUIRE    VNODE  "
    "CORE V_MEM        V_POL E_POL RANK      LST EC  PC  SN PRI ACCEPT         RSC_GRP  REASON"
)
# Characters that a column shows at most; nothing is cut under --data (emulator choice).
WIDTHS = {"JOB_NAME": 10, "USER": 8, "GROUP": 8, "RSC_GRP": 8, "REASON": 16}


def date(moment: float | None) -> str:
    return time.strftime("%m/%d %H:%M:%S", time.localtime(moment)) if moment else "-"


def start(job: dict) -> str:
    """When it started, or in brackets when it will: with @ for a job that waits for its --at."""
    if job["started"] and job["state"] != "HLD":
        return date(job["started"])
    if job["state"] in ("HLD", "ACC", "ERR", "RJT", "CCL"):
        return "-"
    moment = job["at"] or time.time()
    return time.strftime("(%m/%d %H:%M)", time.localtime(moment)) + ("@" if job["at"] else "")


def clock(seconds: float) -> str:
    if seconds == UNLIMITED:
        return "unlimited"
    whole = int(seconds)
    return f"{whole // 3600:04d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def limit(job: dict) -> str:
    elapse = job["elapse"]
    if elapse["adaptive"]:
        return f"{clock(elapse['min'])}-{clock(elapse['max'])}"
    return clock(elapse["max"])


def used(job: dict) -> str:
    return clock(stats_file.seconds_used(job) or 0)


def nodes(job: dict) -> str:
    shape = job["node"]["shape"]
    return f"{job['node']['count']}:{'x'.join(map(str, shape))}" if len(shape) > 1 else str(job["node"]["count"])


def allocated(job: dict) -> str:
    return nodes(job) if job["started"] else "-"


def reason(job: dict) -> str:
    return job["reason"][:16]


# item: (heading, value)
ITEMS = {
    "jid": ("JOB_ID", lambda job: job["key"]),
    "jnam": ("JOB_NAME", lambda job: job["name"]),
    "jmdl": ("MD", lambda job: job["model"]),
    "snum": ("SUB_NUM", lambda job: job.get("sub_jobs", "-")),
    "st": ("ST", lambda job: job["state"]),
    "usr": ("USER", lambda job: job["user"]),
    "grp": ("GROUP", lambda job: job["group"]),
    "sdt": ("START_DATE", start),
    "elp": ("ELAPSE_TIM", used),
    "elpl": ("ELAPSE_LIM", limit),
    "nnumr": ("NODE_REQUIRE", nodes),
    "nnuma": ("NODE_ALLOC", allocated),
    "vnode": ("VNODE", lambda _: "-"),
    "core": ("CORE", lambda _: "-"),
    "vmem": ("V_MEM", lambda _: "-"),
    "vpol": ("V_POL", lambda _: "-"),
    "epol": ("E_POL", lambda _: "-"),
    "rank": ("RANK", lambda job: job["mpi"]["map"]["kind"]),
    "lst": ("LST", lambda job: job["last_state"]),
    "ec": ("EC", lambda job: job["ec"]),
    "pc": ("PC", lambda job: job["pc"]),
    "sn": ("SN", lambda job: job["sn"]),
    "pri": ("PRI", lambda job: job["priority"]),
    "adt": ("ACCEPT", lambda job: date(job["accepted"])),
    "rscu": ("RSC_UNIT", lambda job: job["rscunit"]),
    "rscg": ("RSC_GRP", lambda job: job["rscgrp"]),
    "ermsg": ("REASON", reason),
}
# Items that are columns only, no choice of --choose.
NOT_CHOSEN = {"vnode", "core", "vmem", "vpol", "epol", "rank"}
DEFAULT_ITEMS = ("jid", "jnam", "jmdl", "st", "usr", "sdt", "elpl", "nnumr", "vnode", "core", "vmem")
VERBOSE_ITEMS = (
    "jid", "jnam", "jmdl", "st", "usr", "grp", "sdt", "elp", "elpl", "nnumr", "vnode", "core", "vmem", "vpol", "epol", "rank",
    "lst", "ec", "pc", "sn", "pri", "adt", "rscg", "ermsg",
)  # fmt: skip
# What the summary line of a step job leaves out, since its sub jobs differ.
NOT_OF_A_STEP_JOB = {"elpl", "nnumr", "elp", "nnuma", "ec", "sn", "pc", "rscg", "rscu", "rank"}


def value(item: str, job: dict) -> str:
    if job.get("is_summary") and job["model"] == "ST" and item in NOT_OF_A_STEP_JOB:
        return "-"
    return str(ITEMS[item][1](job))


def line(items: tuple[str, ...] | list[str], job: dict, heading: str | None) -> str:
    """One line; columns begin where they do in ``heading``, or one blank after the one before."""
    cells = []
    for index, item in enumerate(items):
        title = ITEMS[item][0]
        text = value(item, job)[: WIDTHS.get(title)]
        cells.append(text.ljust(width(items, index, heading)))
    return " ".join(cells).rstrip()


def width(items: tuple[str, ...] | list[str], index: int, heading: str | None) -> int:
    if index + 1 == len(items):
        return 0
    title, following = ITEMS[items[index]][0], ITEMS[items[index + 1]][0]
    if heading is None:
        return COLUMN_WIDTHS.get(title, max(len(title), 10))
    return heading.index(f" {following}") - (heading.index(f" {title}") if index else -1) - 1


def _column_widths() -> dict[str, int]:
    return {ITEMS[item][0]: width(VERBOSE_ITEMS, index, VERBOSE) for index, item in enumerate(VERBOSE_ITEMS)}


COLUMN_WIDTHS: dict[str, int] = {}
COLUMN_WIDTHS.update(_column_widths(), REASON=16)


def header(items: list[str]) -> str:
    """The heading of chosen items."""
    titles = [ITEMS[item][0] for item in items]
    return " ".join(title.ljust(COLUMN_WIDTHS.get(title, max(len(title), 10))) for title in titles).rstrip()
