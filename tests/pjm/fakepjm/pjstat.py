"""pjstat (CmdRef p.58-73, EUG 2.4): live jobs, or with -H those that have ended."""

from __future__ import annotations

import sys
import time

from . import columns, filters, processes, stats_file
from . import site as sites
from .codes import ENDED, RUNNING
from .commands import home
from .messages import refused
from .scheduler import dispatch, lost
from .selection import Invalid, Wanted
from .store import Store

FLAGS = {
    "-A": "all_users", "-E": "expand", "--expand": "expand", "--rscunit": "unit", "--ru": "unit", "--rscgrp": "group",
    "--rg": "group", "--data": "data", "-H": "history", "-v": "verbose", "-s": "stats", "-S": "node_stats", "--summary": "summary",
    "--with-summary": "with_summary", "--rsc": "resources", "--shape": "shape", "--limit": "limit", "-X": "no_expand", "--help": "help",
}  # fmt: skip
VALUES = {"--choose", "--filter", "--sort", "--delimiter"}
# Flags that may carry a value behind "=".
WITH_WORD = {"--rscunit", "--ru", "--rscgrp", "--rg", "--pattern"}
HISTORY_DAYS = 3
# The state of a job with sub jobs is the first of these that one of them is in.
SUMMARY_ORDER = (RUNNING, ("ACC", "QUE"), ("HLD", "ERR"), ("CCL", "RJT"), ("EXT",))
USAGE = "usage: pjstat [-A] [-E] [-H [day=N]] [-v|-s|-S] [--choose items] [--filter items] [--data] [jobid...]"


def main(_command: str, arguments: list[str]) -> int:
    given, words = read(arguments)
    if given.get("help"):
        print(USAGE)
        return 0
    store = Store(home())
    if given.get("resources") or given.get("limit"):
        print(resources(sites.load(store.home)))
        return 0
    notice_lost(store)
    unit = given.get("only unit")
    if unit and unit not in sites.load(store.home)["rscunit"]:
        raise refused("pjstat", 297, name=unit)
    jobs = [job for job in shown(store, given, words) if filters.matches(job, given.get("--filter"))]
    jobs = [job for job in jobs if unit in (None, job["rscunit"]) and given.get("only group") in (None, job["rscgrp"])]
    if given.get("--sort"):
        jobs = filters.in_order(jobs, given["--sort"])
    present(jobs, given)
    return 0


def read(arguments: list[str]) -> tuple[dict, list[str]]:
    given: dict = {}
    words: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if name in VALUES:
            if not equals and not queue:
                raise refused("pjstat", 201, option=name)
            given[name] = value if equals else queue.pop(0)
        elif word in FLAGS:
            given[FLAGS[word]] = word
            if word == "-H":
                given["period"] = period(queue)
        elif name in WITH_WORD and equals:
            given[FLAGS.get(name, name)] = name
            given[f"only {FLAGS.get(name, name)}"] = value
        elif word.startswith("-"):
            raise refused("pjstat", 201, option=word)
        else:
            words.append(word)
    exclusive = [given[kind] for kind in ("verbose", "stats", "node_stats") if kind in given]
    if len(exclusive) > 1:
        raise refused("pjstat", 202, first=exclusive[0], second=exclusive[1])
    return given, words


def period(queue: list[str]) -> tuple[float, float]:
    """The argument of -H, which may be missing: day=N | start=YYYYMMDD[,end=YYYYMMDD] | start=…,period=N."""
    now = time.time()
    if not queue or queue[0].split("=")[0] not in ("day", "start", "end", "period"):
        return now - HISTORY_DAYS * 86400, now
    word = queue.pop(0)
    values = {key: value for key, _, value in (part.partition("=") for part in word.split(","))}
    try:
        if "day" in values:
            days = int(values["day"])
            if not 1 <= days <= 365:
                raise ValueError
            return now - days * 86400, now
        start = time.mktime(time.strptime(values["start"], "%Y%m%d"))
        if "period" in values:
            return start, start + int(values["period"]) * 86400
        return start, time.mktime(time.strptime(values["end"], "%Y%m%d")) + 86400 if "end" in values else now
    except (ValueError, KeyError):
        raise refused("pjstat", 204, option="-H", argument=word) from None


def notice_lost(store: Store) -> None:
    """Jobs whose supervisor died silently end now, and their places go to others."""
    dead = [key for key in store.running() if not processes.alive((store.find(key) or {}).get("supervisor"))]
    if dead:
        with store.lock():
            found = [key for key in dead if key in store.running() and lost(store, key)]
        if found:
            dispatch(store)


def shown(store: Store, given: dict, words: list[str]) -> list[dict]:
    """The lines to show: jobs, summaries of jobs with sub jobs, and with -E or when named the sub jobs themselves."""
    named = []
    for word in words:
        try:
            named.append(Wanted(word))
        except Invalid:
            raise refused("pjstat", 211, job=word) from None
    live = store.live()
    if named:
        keys = [key for wanted in named for key in wanted.keys(store)]
    else:
        keys = store.all() if given.get("history") else live
    jobs = {key: job for key in dict.fromkeys(keys) if (job := store.find(key))}
    lines = []
    history = bool(given.get("history"))
    for number in dict.fromkeys(job["id"] for job in jobs.values()):
        subs = [job for job in jobs.values() if job["id"] == number]
        lines += lines_of(store, subs, named, given, history)
    return [job for job in lines if not history or in_period(job, given["period"])]


def lines_of(store: Store, subs: list[dict], named: list[Wanted], given: dict, history: bool) -> list[dict]:
    first = subs[0]
    if first["number"] is None:
        return [first] if (first["state"] in ENDED) == history else []
    whole = [store.read(key) for key in store.of(first["id"])]
    by_sub = {wanted.mark for wanted in named if any(wanted.matches(job["key"]) for job in subs)} - {None}
    over = all(job["state"] in ENDED for job in whole)
    wanted_subs = [job for job in subs if (job["state"] in ENDED) == history]
    if by_sub:
        return wanted_subs
    lines = [summary_of(whole)] if over == history else []
    return lines + (wanted_subs if given.get("expand") else [])


def in_period(job: dict, period: tuple[float, float]) -> bool:
    return period[0] <= (job["ended"] or job["accepted"]) <= period[1] + 1


def summary_of(subs: list[dict]) -> dict:
    """A job with sub jobs as one line: running if any runs, then waiting, then held, else how they ended."""
    states = [job["state"] for job in subs]
    lead = next(job for group in SUMMARY_ORDER for job in subs if job["state"] in group)
    started = [job["started"] for job in subs if job["started"]]
    ended = [job["ended"] for job in subs if job["ended"]]
    return {
        **lead,
        "key": str(lead["id"]),
        "is_summary": True,
        "sub_jobs": len(subs),
        "name": subs[0]["name"],
        "started": min(started, default=None),
        "ended": max(ended, default=None) if all(state in ENDED for state in states) else None,
        "ec": next((job["ec"] for job in subs if job["ec"]), 0),
        "pc": next((job["pc"] for job in subs if job["pc"]), 0),
    }


def present(jobs: list[dict], given: dict) -> None:
    lines: list[str] = []
    if given.get("summary") or given.get("with_summary"):
        lines += filters.summary(jobs)
        if given.get("summary"):
            jobs = []
        else:
            lines.append("")
    if given.get("stats") or given.get("node_stats"):
        lines += [stats_file.text(job, sites.load(home()), bool(given.get("node_stats"))) for job in jobs]
    elif not given.get("summary"):
        lines += table(jobs, given)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def table(jobs: list[dict], given: dict) -> list[str]:
    heading: str | None = columns.VERBOSE if given.get("verbose") else columns.DEFAULT
    items: list[str] = list(columns.VERBOSE_ITEMS if given.get("verbose") else columns.DEFAULT_ITEMS)
    if "--choose" in given:
        known = columns.ITEMS.keys() - columns.NOT_CHOSEN
        items = [item for item in given["--choose"].split(",") if item in known]  # others are dropped silently
        heading = None
    place = [key for key in ("unit", "group") if given.get(key)]
    if given.get("data"):
        return data(jobs, items, place, given.get("--delimiter", ","))
    first = columns.header(items) if heading is None else heading
    extra = {"unit": ("RSCUNIT", "rscunit"), "group": ("RSCGRP", "rscgrp")}
    before = "".join(f"{extra[key][0]:<17}" for key in place)
    return [before + first] + [
        "".join(f"{job[extra[key][1]]:<17}" for key in place) + columns.line(items, job, heading) for job in jobs
    ]


def data(jobs: list[dict], items: list[str], place: list[str], delimiter: str) -> list[str]:
    """--data: the header begins with H, a line of data with nothing. With units or groups the header has one field more."""
    extra = {"unit": ("RSCUNIT", "rscunit"), "group": ("RSCGRP", "rscgrp")}
    titles = [columns.ITEMS[item][0] for item in items]
    header = ["H", *(extra[key][0] for key in place), *([""] if place else []), *titles]
    lines = [
        ["", *(job[extra[key][1]] for key in place), *(columns.value(item, job) for item in items)] for job in jobs
    ]
    return [delimiter.join(line) for line in [header, *lines]]


def resources(site: dict) -> str:
    """--rsc and --limit: units and groups with their state (the layout is an emulator choice)."""
    lines = []
    for unit in site["rscunit"]:
        lines.append(f"RSCUNIT                 RSCGRP                  STATE\n{unit}[ENABLE,START]")
        for name, group in site["rscgrp"].items():
            lines.append(f"{unit:<24}{name:<24}[{'DISABLE,STOP' if group.get('stopped') else 'ENABLE,START'}]")
    return "\n".join(lines)
