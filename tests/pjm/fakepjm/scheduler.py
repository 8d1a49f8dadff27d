"""Who runs next: first in, first out among equal priorities, FAKEPJM_MAX_RUN at once.

There is no daemon: whoever changes the queue (pjsub, an ending job, pjdel, pjrls) calls ``dispatch``.
"""

from __future__ import annotations

import os
import time

from . import processes, steps
from .codes import ENDED, ENDINGS
from .settings import max_run
from .store import Store, order

# A job that was chosen but whose supervisor has not yet said its id is given this long.
STARTING_SECONDS = 60.0


def dispatch(store: Store) -> None:
    """Starts what may run now. Stops for good when ``closed`` lies in the home (a test that ends)."""
    with store.lock():
        chosen = choose(store)
    for key in chosen:
        start(store, key)


def choose(store: Store) -> list[str]:
    """Marks the jobs that start now; under the lock."""
    if os.path.exists(os.path.join(store.home, "closed")):
        return []
    running = [key for key in store.running() if not lost(store, key)]
    free = max_run() - len(running)
    # Waiting for a moment (--at, acceptance) needs a process, and does not count as running.
    now = time.time()
    waiting = [store.read(key) for key in store.waiting()] if free > 0 else []
    chosen = []
    for job in sorted(waiting, key=lambda job: (-job["priority"], order(job["key"]))):
        if job["state"] != "QUE" or job["held"] or free <= 0:
            continue
        if (job["at"] and job["at"] > now) or not ready(store, job):
            continue
        job.update(state="RNA", last_state="QUE", chosen=now, supervisor=None)
        store.write(job)
        chosen.append(job["key"])
        free -= 1
    return chosen + alarms(store)


def alarms(store: Store) -> list[str]:
    """Jobs that wait for a moment and have nobody to wait with them."""
    found = []
    for key in store.waiting():
        if not os.path.exists(store.file(key, "moment")):
            job = store.read(key)
            if job["state"] == "ACC" or (job["at"] and job["at"] > time.time()):
                with open(store.file(key, "moment"), "w", encoding="utf-8"):
                    found.append(key)
    return found


def ready(store: Store, job: dict) -> bool:
    """Whether a step sub job's turn has come; deletes it where its dependencies say so."""
    if job["model"] != "ST":
        return True
    others = [store.read(key) for key in store.of(job["id"])]
    earlier = steps.before(job, others)
    if store.read(job["key"])["state"] in ENDED or any(other["state"] not in ENDED for other in earlier):
        return False
    scope = steps.must_go(job, earlier)
    if scope is None:
        return True
    later = sorted((other for other in others if other["number"] > job["number"]), key=lambda other: other["number"])
    for gone in [job, *steps.deleted_with(job, scope, later)]:
        end_without_running(store, gone, "step")
    return False


def end_without_running(store: Store, job: dict, kind: str, state: str | None = None) -> None:
    ending = ENDINGS[kind]
    job.update(
        state=state or ending.state, last_state=job["state"], pc=ending.code, reason=ending.reason, ended=time.time()
    )
    store.write(job)


def lost(store: Store, key: str) -> bool:
    """Whether the job's supervisor is gone without a word, which is what a dead node looks like; then the job ends."""
    job = store.find(key)
    if job is None:
        return True
    if processes.alive(job["supervisor"]):
        return False
    if job["supervisor"] is None and time.time() - job.get("chosen", 0) < STARTING_SECONDS:
        return False
    job["last_state"] = job["state"]
    end_without_running(store, job, "node_down")
    return True


def start(store: Store, key: str) -> None:
    """A supervisor of its own for the job: a grandchild in a session of its own, holding none of our files."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        processes.become_supervisor()
        os.closerange(3, 1024)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        if null > 2:
            os.close(null)
        if os.fork():
            os._exit(0)
        supervise(store, key)
    finally:
        os._exit(1)


def supervise(store: Store, key: str) -> None:
    log = os.open(store.file(key, "emulator.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ["FAKEPJM_HOME"] = store.home
    try:
        from .supervisor import run

        run(store, key)
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
