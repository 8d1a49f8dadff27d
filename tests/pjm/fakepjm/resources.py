"""What ``-L``, ``--llio`` and ``-x`` may say (CmdRef p.76-90), independent of the site's limits."""

from __future__ import annotations

from . import values
from .messages import refused
from .options import Settings

# -L keys and their readers; custom resources of the site come beside them.
ALIASES = {"ru": "rscunit", "rg": "rscgrp"}
PROCESS_LIMITS = (
    "proc-core", "proc-cpu", "proc-crproc", "proc-data", "proc-lockm", "proc-msgq", "proc-openfd", "proc-psig", "proc-filesz",
    "proc-stack", "proc-vmem",
)  # fmt: skip
MOST_OPEN_FILES = 1048576
LONGEST_NAME = 63
MOST_CUSTOM = 64
# Keys of PRIMERGY (PG) clusters, unknown to FX ones.
PRIMERGY_KEYS = ("vnode", "vnode-core", "vnode-mem", "core-mem")

SWITCH = ("on", "off")
# --llio keys: a tuple of words, or (smallest, largest) in bytes, or None for anything.
LLIO = {
    "localtmp-size": (0, None),
    "sharedtmp-size": (0, None),
    "auto-readahead": SWITCH,
    "async-close": SWITCH,
    "cn-cached-write-size": (0, None),
    "cn-cache-size": (4 * 2**20, None),
    "cn-read-cache": SWITCH,
    "sio-read-cache": SWITCH,
    "stripe-count": "count",
    "stripe-size": (64 * 2**10, 4194240 * 2**10),
    "perf": "flag",
    "uncompleted-fileinfo-path": "text",
}


def rsc_list(settings: Settings, site: dict) -> dict:
    """-L as checked values: node, elapse, node-mem, rscunit, rscgrp, process limits, custom resources."""
    option = settings.spelled.get("rsc-list", "-L")
    found: dict = {"custom": {}, "process": {}}
    arch = {unit.get("arch", "FX") for unit in site["rscunit"].values()}
    for written, value in (settings["rsc-list"] or {}).items():
        key = str(ALIASES.get(written, written))
        known = key in KEYS or key in PROCESS_LIMITS or key in site["custom"] or (key in PRIMERGY_KEYS and "PG" in arch)
        if not known:
            raise refused("pjsub", 3, option=option, argument=spelled(key, value))
        if key in site["custom"]:
            found["custom"][key] = value or ""
            continue
        checked = KEYS.get(key, process_limit)(value or "") if key != "proc-openfd" else open_files(value or "")
        if checked is None:
            raise refused("pjsub", 4, option=option, argument=spelled(key, value))
        if key in PROCESS_LIMITS:
            found["process"][key] = checked
        else:
            found[key] = checked
    if len(found["custom"]) > MOST_CUSTOM:
        raise refused("pjsub", 77)
    return found


def spelled(key: str, value: str | None) -> str:
    return key if value is None else f"{key}={value}"


def name_of(text: str) -> str | None:
    return text if 0 < len(text.encode()) <= LONGEST_NAME else None


def process_limit(text: str) -> str | None:
    return text if text == "unlimited" or values.size(text) is not None else None


def open_files(text: str) -> str | None:
    number = values.whole(text)
    return text if number is not None and number <= MOST_OPEN_FILES else None


KEYS = {
    "node": values.node,
    "elapse": values.elapse,
    "node-mem": lambda text: values.UNLIMITED if text == "unlimited" else values.size(text),
    "rscunit": name_of,
    "rscgrp": name_of,
}


def llio(settings: Settings, site: dict) -> dict:
    """--llio as checked words."""
    option = settings.spelled.get("llio", "--llio")
    given = settings["llio"] or {}
    for key, value in given.items():
        if key not in LLIO:
            raise refused("pjsub", 3, option=option, argument=spelled(key, value))
        if not llio_value(LLIO[key], value, site):
            raise refused("pjsub", 4, option=option, argument=spelled(key, value))
    total = sum(values.size(given[key] or "") or 0 for key in ("sharedtmp-size", "localtmp-size") if key in given)
    limit = site.get("llio_max_bytes")
    if limit is not None and total > limit:
        raise refused("pjsub", 49, limit=limit)
    return given


def llio_value(rule: object, value: str | None, site: dict) -> bool:
    if rule == "flag":
        return value is None
    if not value:
        return False
    if rule == "text":
        return True
    if rule == "count":
        count = values.whole(value)
        return count is not None and 1 <= count <= site.get("stripe_count_max", values.LARGEST)
    if rule is SWITCH:
        return value in SWITCH
    assert isinstance(rule, tuple)
    size = values.size(value)
    return size is not None and size >= rule[0] and (rule[1] is None or size <= rule[1])


def variables(settings: Settings, environment: dict[str, str]) -> dict[str, str]:
    """-x: a variable without a value has that of the submitting shell."""
    found = {}
    for key, value in (settings["x"] or {}).items():
        if not key or not key.replace("_", "a").isalnum() or key[0].isdigit():
            raise refused("pjsub", 4, option="-x", argument=spelled(key, value))
        if value is not None:
            found[key] = value
        elif key in environment:
            found[key] = environment[key]
    return found
