"""Jobs with sub jobs: bulk ranges, step numbers and step dependencies (CmdRef p.91-94); and ``--at``."""

from __future__ import annotations

import re
import time

from .codes import ENDED
from .messages import refused

DAY = re.compile(r"\d{8}(\d{4})?")
RANGE = re.compile(r"(\d{1,6})-(\d{1,6})")
LARGEST_STEP = 65534
STEP_KEYS = ("jid", "jnam", "sn", "sd")
DEPENDENCY = re.compile(r"(ec|pc)(==|!=|>=|<=|>|<)(\d+(?:,\d+)*)(?::(one|after|all))?((?::\d+)*)")
COMPARE = {
    "==": lambda value, wanted: value in wanted,
    "!=": lambda value, wanted: value not in wanted,
    ">": lambda value, wanted: value > wanted[0],
    "<": lambda value, wanted: value < wanted[0],
    ">=": lambda value, wanted: value >= wanted[0],
    "<=": lambda value, wanted: value <= wanted[0],
}


def start_time(text: str | None) -> float | None:
    """--at as seconds since the epoch."""
    if text is None:
        return None
    try:
        if not DAY.fullmatch(text):
            raise ValueError
        moment = time.mktime(time.strptime(text.ljust(12, "0"), "%Y%m%d%H%M"))
    except ValueError:
        raise refused("pjsub", 4, option="--at", argument=text) from None
    if moment < time.time() - 60:
        raise refused("pjsub", 56, time=text)
    return moment


def key(model: str, number: int, sub: int | None) -> str:
    return {"BU": f"{number}[{sub}]", "ST": f"{number}_{sub}"}.get(model, f"{number}")


def bulk_range(text: str) -> tuple[int, int]:
    found = RANGE.fullmatch(text)
    if not found or int(found[1]) > int(found[2]):
        raise refused("pjsub", 4, option="--sparam", argument=text)
    return int(found[1]), int(found[2])


def numbered(store, requests: list[dict]):
    """(request, job id, step number, dependencies) of each new sub job; under the lock."""
    given = step_parameters(requests[0]["sparam"])
    number, present = step_job(store, given)
    following = max(present, default=-1) + 1
    step = given["sn"] if given["sn"] is not None else following
    if step in present:
        raise refused("pjsub", 4, option="--sparam", argument=requests[0]["sparam"])
    if step + len(requests) - 1 > LARGEST_STEP:
        raise refused("pjsub", 60)
    number = store.next_id() if number is None else number
    for offset, request in enumerate(requests):
        yield request, number, step + offset, {"dependencies": given["sd"]}


def step_parameters(text: str | None) -> dict:
    found: dict = {"jid": None, "jnam": None, "sn": None, "sd": []}
    if text is None:
        return found
    words: list[str] = []
    for part in text.split(","):
        if part.strip().split("=", 1)[0] in STEP_KEYS:
            words.append(part.strip())
        elif words and words[-1].startswith("sd=") and part.strip()[:1].isdigit():
            words[-1] += f",{part.strip()}"  # sd=ec==1,2
        else:
            raise refused("pjsub", 3, option="--sparam", argument=part)
    for word in words:
        name, _, value = word.partition("=")
        if name == "sd":
            found["sd"] += dependency(value, word)
        elif name == "sn" or name == "jid":
            if not value.isdigit():
                raise refused("pjsub", 4, option="--sparam", argument=word)
            found[name] = int(value)
        else:
            found[name] = value
    if found["jid"] is not None and found["jnam"] is not None:
        raise refused("pjsub", 2, detail="jid and jnam")
    if found["sn"] is not None and found["sn"] > LARGEST_STEP:
        raise refused("pjsub", 60)
    return found


def dependency(text: str, word: str) -> list[dict]:
    if text == "NONE":
        return []
    found = DEPENDENCY.fullmatch(text)
    if not found:
        raise refused("pjsub", 4, option="--sparam", argument=word)
    return [
        {
            "of": found[1],
            "operator": found[2],
            "values": [int(value) for value in found[3].split(",")],
            "scope": found[4] or "one",
            "steps": [int(step) for step in found[5].split(":") if step],
        }
    ]


def step_job(store, given: dict) -> tuple[int | None, list[int]]:
    """The live step job that is added to (None: a new one) and its step numbers."""
    if given["jid"] is None and given["jnam"] is None:
        return None, []
    wanted = given["jid"]
    if wanted is None:
        named = [store.read(key) for key in store.live() if "_" in key]
        wanted = next((job["id"] for job in named if job["name"] == given["jnam"]), None)
    keys = [key for key in store.of(wanted) if "_" in key] if wanted is not None else []
    live = set(store.live())
    if not any(key in live for key in keys):
        raise refused("pjsub", 12, job=given["jid"] if wanted is None or given["jid"] else given["jnam"])
    return wanted, [int(key.split("_")[1]) for key in keys]


def before(job: dict, others: list[dict]) -> list[dict]:
    """The sub jobs of the same step job with smaller numbers, in order."""
    return sorted((other for other in others if other["number"] < job["number"]), key=lambda other: other["number"])


def must_go(job: dict, earlier: list[dict]) -> str | None:
    """``one``, ``after`` or ``all`` if a dependency says that this sub job is deleted; all earlier ones have ended."""
    for rule in job.get("dependencies", []):
        steps = rule["steps"] or ([earlier[-1]["number"]] if earlier else [])
        for other in earlier:
            value = other["ec"] if rule["of"] == "ec" else other["pc"]
            ran = other["state"] in ENDED and other["started"] is not None
            if (
                other["number"] in steps
                and (ran or rule["of"] == "pc")
                and COMPARE[rule["operator"]](value, rule["values"])
            ):
                return rule["scope"]
    return None


def deleted_with(job: dict, scope: str, later: list[dict]) -> list[dict]:
    """The sub jobs that go too: none, those that depend on it (and on them), or all that follow."""
    if scope == "one":
        return []
    if scope == "all":
        return later
    gone = {job["number"]}
    found = []
    for other in later:
        previous = other["number"] - 1
        named = {step for rule in other.get("dependencies", []) for step in rule["steps"] or [previous]}
        if named & gone:
            gone.add(other["number"])
            found.append(other)
    return found
