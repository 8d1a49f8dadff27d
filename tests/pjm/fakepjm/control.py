"""pjdel, pjhold and pjrls (CmdRef 3.1): one line for each job they were told of."""

from __future__ import annotations

import sys
import time

from . import processes
from .codes import ENDED, ENDINGS, RUNNING
from .commands import home
from .messages import error_line, info_line, refused
from .scheduler import dispatch
from .selection import Invalid, Wanted
from .store import Store

# command: numbers of its messages, and what it asks of a job
HUNDREDS = {"pjdel": 100, "pjhold": 300, "pjrls": 400}
# Options with a value that are accepted and change nothing here.
IGNORED = {"--enforce", "-p"}
ACCEPTED, ALREADY, WRONG_STATE, UNKNOWN, INVALID, NONE, OPTION = 0, 19, 13, 12, 11, 10, 1


def main(command: str, arguments: list[str]) -> int:
    base = HUNDREDS[command]
    options = [word for word in arguments if word.startswith("-") and word not in IGNORED]
    if options:
        raise refused(command, base + OPTION, option=options[0])
    words = [word for word in arguments if not word.startswith("-")]
    if not words:
        raise refused(command, base + NONE)
    store = Store(home())
    failures = 0
    for word in words:
        try:
            wanted = Wanted(word)
        except Invalid:
            failures += 1
            print(error_line(command, base + INVALID, job=word), file=sys.stderr)
            continue
        for name, outcome in treat(store, command, wanted):
            failures += not wanted.is_range and outcome not in (ACCEPTED, ALREADY)
            tell(command, base, name, outcome, quiet=wanted.is_range)
    sys.stdout.flush()
    dispatch(store)
    return 1 if failures else 0


def treat(store: Store, command: str, wanted: Wanted) -> list[tuple[str, int]]:
    """(job as it is called, outcome); a bulk job is called by its number, a step job by each sub job."""
    with store.lock():
        keys = wanted.keys(store)
        if not keys:
            return [(wanted.word, UNKNOWN)]
        found: dict[str, list[int]] = {}
        for key in keys:
            job = store.read(key)
            name = str(job["id"]) if job["model"] == "BU" and wanted.mark is None else key
            found.setdefault(name, []).append(ACTIONS[command](store, job))
    return [(name, overall(outcomes)) for name, outcomes in found.items()]


def overall(outcomes: list[int]) -> int:
    """Accepted if any sub job accepts."""
    return next((kind for kind in (ACCEPTED, ALREADY) if kind in outcomes), outcomes[0])


def tell(command: str, base: int, name: str, outcome: int, quiet: bool) -> None:
    if outcome in (ACCEPTED, ALREADY):
        print(info_line(command, base + outcome, job=name))
    elif not quiet:
        print(error_line(command, base + outcome, job=name), file=sys.stderr)


def delete(store: Store, job: dict) -> int:
    if job["state"] in ENDED:
        # Here a deleted job is gone at once, on a real machine after some seconds (emulator choice: as if still leaving).
        return ALREADY if job["pc"] == ENDINGS["pjdel"].code else WRONG_STATE
    if job["state"] in RUNNING:
        return ask(store, job, "pjdel")
    accepting = job["state"] == "ACC"
    job.update(state="RJT" if accepting else "CCL", last_state=job["state"], pc=1, ended=time.time())
    store.write(job)
    return ACCEPTED


def hold(store: Store, job: dict) -> int:
    if job["state"] in ENDED:
        return WRONG_STATE
    if job["held"]:
        return ALREADY
    if job["state"] in RUNNING:
        return ask(store, job, "pjhold")
    job.update(state="HLD", last_state=job["state"], held=True, pc=ENDINGS["pjhold"].code)
    store.write(job)
    return ACCEPTED


def release(store: Store, job: dict) -> int:
    if not job["held"]:
        return WRONG_STATE
    job.update(state="QUE", last_state="HLD", held=False, pc=0, ec=0, sn=0, started=None, ended=None)
    store.write(job)
    return ACCEPTED


def ask(store: Store, job: dict, kind: str) -> int:
    """Leaves a request for the supervisor of a running job and wakes it."""
    if job["request"]:
        return ALREADY
    job["request"] = {"kind": kind}
    store.write(job)
    if job["supervisor"] and processes.alive(job["supervisor"]):
        import signal

        processes.send([job["supervisor"]["pid"]], signal.SIGUSR1)
    return ACCEPTED


ACTIONS = {"pjdel": delete, "pjhold": hold, "pjrls": release}
