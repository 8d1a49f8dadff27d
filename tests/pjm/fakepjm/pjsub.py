"""pjsub: reads script and options, asks whether the site accepts them, stores the jobs (CmdRef p.73-102)."""

from __future__ import annotations

import os
import sys

from . import limits, mpi_request, options, resources, scan, settings, steps
from . import site as sites
from .commands import home
from .messages import info_line, refused
from .scheduler import dispatch
from .store import Store

USAGE = """usage: pjsub [options] [script]
  -L|--rsc-list, --mpi, -g, -x, -X, -N, -o, -e, -j, -s|-S, --spath, -p, --at, --bulk --sparam, --step [--sparam], --llio, -z jid"""

# The option that makes a job of another model than the normal one.
MODELS = {"bulk": "BU", "step": "ST", "mswk": "MW"}


class Script:
    """What is submitted: its text is copied now, so that a later change of the file does not matter."""

    def __init__(self, path: str | None) -> None:
        if path is None:
            self.name, self.file, self.text = "STDIN", "STDIN", sys.stdin.read()
            return
        self.file = path
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                self.text = file.read()
        except OSError as error:
            raise refused("pjsub", 20, path=path, errno=error.errno) from None
        base = os.path.basename(path)
        self.name = (("J" if base[:1].isdigit() else "") + base)[:63]


def main(_command: str, arguments: list[str]) -> int:
    store = Store(home())
    site = sites.load(store.home)
    allowed = set(site.get("extra_options", []))
    line = options.Settings()
    files = options.read(arguments, line, allowed)
    if line["help"]:
        print(USAGE)
        return 0
    if line["step"]:
        files = [name for word in files for name in word.split(line["script-delimiter"] or ",")]
    elif len(files) > 1:
        raise refused("pjsub", 23)
    requests = [request(Script(name), line, site, allowed) for name in files or [None]]
    keys = submit(store, requests, site)
    for key in keys:
        print(str(key) if line["z"] else info_line("pjsub", 0, job=key))
    sys.stdout.flush()
    dispatch(store)
    return 0


def request(script: Script, line: options.Settings, site: dict, allowed: set[str]) -> dict:
    """One job that the site accepts, all values checked."""
    within = options.Settings()
    prefix = line["dir-prefix"] or "#PJM"
    if len(prefix) > 63:
        raise refused("pjsub", 4, option=line.spelled["dir-prefix"], argument=prefix)
    for words in scan.directives(script.text, script.file, prefix):
        rest = options.read(words, within, allowed, in_script=True)
        if rest:
            raise refused("pjsub", 1, option=rest[0])
    chosen = line.over(within)
    options.check_combinations(chosen)
    options.check_values(chosen)
    wanted = resources.rsc_list(chosen, site)
    llio = resources.llio(chosen, site)
    exported = resources.variables(chosen, dict(os.environ))
    at = steps.start_time(chosen["at"])
    if chosen["interact"]:
        raise refused("pjsub", 70, detail="")
    directory = os.getcwd()
    group = limits.group_of(chosen, site)
    limits.check_directory(chosen, site, directory)
    limits.check_spack(chosen, site, script.text, exported)
    unit, queue = limits.place(wanted, site)
    rules = site["rscgrp"][queue]
    node = wanted.get("node") or {"shape": [1], "mode": None, "strict": None, "exclusive": None}
    limits.check_nodes(node["shape"], rules)
    nodes = limits.values.product(node["shape"])
    elapse = limits.elapse(wanted.get("elapse"), rules, nodes)
    limits.check_memory(wanted.get("node-mem"), site)
    custom = limits.custom(wanted["custom"], site)
    limits.check_permissions(chosen, site)
    mpi = mpi_request.read(chosen, node["shape"], sites.cores(site, unit), directory)
    remark = limits.core_retention(custom, nodes, site)
    if remark:
        print(remark, file=sys.stderr)
    from .identity import submitter

    return {
        **submitter(),
        "model": next((model for option, model in MODELS.items() if chosen[option]), "NM"),
        "name": chosen["name"] or script.name,
        "script": script.text,
        "workdir": directory,
        "group": group,
        "rscunit": unit,
        "rscgrp": queue,
        "node": {**node, "count": nodes, "mode": limits.allocation(node, rules)},
        "elapse": elapse,
        "node_mem": wanted.get("node-mem"),
        "process_limits": wanted["process"],
        "custom": custom,
        "custom_given": wanted["custom"],
        "mpi": mpi,
        "llio": llio,
        "export": exported,
        "inherit": {**os.environ} if chosen["X"] else None,
        "stdout": chosen["out"],
        "stderr": chosen["err"],
        "join": bool(chosen["join"]),
        "stats": "S" if chosen["STATS"] else "s" if chosen["stats"] else None,
        "stats_path": chosen["spath"],
        "priority": int(chosen["priority"] or 127),
        "at": at,
        "restart": True if chosen["restart"] else False if chosen["norestart"] else None,
        "comment": chosen["comment"],
        "appname": chosen["appname"],
        "fs": chosen["fs"],
        "mail": chosen["mail"],
        "net_route": chosen["net-route"],
        "dir_prefix": prefix,
        "omp": chosen["omp"],
        "sparam": chosen["sparam"],
        "emulator": settings.of_submission(),
    }


def submit(store: Store, requests: list[dict], site: dict) -> list[str]:
    """Stores the jobs; what pjsub prints of each (a bulk job has one line, a step job one for each sub job)."""
    first = requests[0]
    if first["model"] == "BU":
        low, high = steps.bulk_range(first["sparam"])
        with store.lock():
            limits.check_accept_limit(len(store.live()), high - low + 1, site)
            number = store.next_id()
            for sub in range(low, high + 1):
                create(store, first, number, sub, {"bulk": [low, high]})
        return [str(number)]
    with store.lock():
        limits.check_accept_limit(len(store.live()), len(requests), site)
        if first["model"] != "ST":
            return [create(store, first, store.next_id(), None, {})]
        return [create(store, each, number, sub, more) for each, number, sub, more in steps.numbered(store, requests)]


def create(store: Store, wanted: dict, number: int, sub: int | None, more: dict) -> str:
    """Stores one job or sub job as queued; its key."""
    import time

    key = steps.key(wanted["model"], number, sub)
    now = time.time()
    accepting = (wanted["emulator"]["fault"] or {}).get("kind") == "accept"
    job = {
        "key": key,
        "id": number,
        "number": sub,
        **{name: value for name, value in wanted.items() if name not in ("script", "sparam")},
        **more,
        "state": "ACC" if accepting else "QUE",
        "last_state": "ACC",
        "ec": 0,
        "pc": 0,
        "sn": 0,
        "reason": "-",
        "accepted": now,
        "queued": now,
        "started": None,
        "ended": None,
        "held": False,
        "retries": 0,
        "supervisor": None,
        "request": None,
    }
    os.makedirs(store.folder(key), exist_ok=True)
    with open(store.file(key, "script"), "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(wanted["script"])
    store.write(job)
    return key
