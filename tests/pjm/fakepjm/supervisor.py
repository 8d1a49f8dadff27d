"""One process for each running job: starts its script, holds its limits, writes down how it ended."""

from __future__ import annotations

import os
import select
import signal
import time

from . import environment, processes, stats_file
from . import site as sites
from .codes import ENDINGS
from .scheduler import dispatch
from .store import Store
from .values import UNLIMITED

NOT_STARTED = 255
KILL = "kill"


class Abrupt(Exception):
    """The job cannot start: the ending's name."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def run(store: Store, key: str) -> None:
    """Runs the job to its end, then starts what may run after it."""
    site = sites.load(store.home)
    wake = wakeable()
    job = begin(store, key, wake)
    if job is None:
        dispatch(store)
        return
    processes.adopt_orphans()
    ending: str | None = None
    status = 0
    stdout, stderr = environment.outputs(job)
    try:
        child = launch(store, job, site, stdout, stderr)
        ending, status = watch(store, job, child, wake)
    except Abrupt as reason:
        ending = reason.kind
    processes.kill_below(os.getpid())
    finish(store, key, site, ending, status, stderr)
    dispatch(store)


def wakeable() -> int:
    """A descriptor that becomes readable when somebody left a request (SIGUSR1)."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def begin(store: Store, key: str, wake: int) -> dict | None:
    """The job as running; None if it waits for a moment instead, or was deleted meanwhile."""
    with store.lock():
        job = store.read(key)
        if job["state"] == "RNA":
            job.update(
                supervisor=processes.this(),
                state="RUN",
                last_state="RNP",
                started=time.time(),
                ec=0,
                pc=0,
                sn=0,
                reason="-",
            )
            store.write(job)
            return job
        pause = moment(job)
    until = time.monotonic() + pause
    while (left := until - time.monotonic()) > 0:  # --at, or an acceptance that takes its time
        select.select([wake], [], [], min(left, 0.5))
        if not os.path.exists(store.file(key, "job.json")) or os.path.exists(os.path.join(store.home, "closed")):
            return None
        if store.read(key)["state"] not in ("ACC", "QUE", "HLD"):
            return None
    with store.lock():
        job = store.read(key)
        if job["state"] == "ACC":
            job.update(state="QUE", last_state="ACC", queued=time.time())
        if job["at"]:
            job["at_waited"] = job["at"]
            job["at"] = None
        store.write(job)
    return None


def moment(job: dict) -> float:
    """Seconds that a job waits for, scaled."""
    fault = job["emulator"]["fault"] or {}
    if job["state"] == "ACC":
        return fault["after"] / job["emulator"]["time_scale"]
    return max(0.0, (job["at"] or 0) - time.time()) / job["emulator"]["time_scale"]


def launch(store: Store, job: dict, site: dict, stdout: str, stderr: str) -> int:
    """Starts the script in a session of its own; its process id."""
    fault = job["emulator"]["fault"] or {}
    if fault.get("kind") in ("shell_fail", "reject") and not job["retries"]:
        raise Abrupt(fault["kind"])
    if not os.path.isdir(job["workdir"]):
        raise Abrupt("no_directory")
    hostfile = job["mpi"]["hostfile"]
    if hostfile and not os.access(os.path.join(job["workdir"], hostfile), os.R_OK):
        raise Abrupt("invalid_hostfile")
    try:
        files = [
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
            for path in dict.fromkeys((stdout, stderr))
        ]
    except OSError:
        raise Abrupt("no_output") from None
    variables = environment.of_job(store, job, site, stdout, stderr)
    command = interpreter(store.file(job["key"], "script"), job)
    told, tell = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child:
        for file in (*files, tell):
            os.close(file)
        failed = os.read(told, 1)  # nothing once the script's interpreter runs
        os.close(told)
        if failed:
            os.waitpid(child, 0)
            raise Abrupt("shell_fail")
        return child
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(files[0], 1)
        os.dup2(files[-1], 2)
        os.chdir(job["workdir"])
        os.execvpe(command[0], command, variables)
    except OSError:
        os.write(tell, b"!")
    finally:
        os._exit(NOT_STARTED)


def interpreter(script: str, job: dict) -> list[str]:
    """The ``#!`` line's program with its one argument, else the shell."""
    with open(script, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        first = file.readline()
    if not first.startswith("#!"):
        return [environment.shell(job), script]
    # Only blanks part the words: the \r of a script from Windows belongs to the program's name, as to the kernel.
    words = first[2:].strip(" \t\n").replace("\t", " ").split(" ", 1)
    return [*words, script] if words[0] else [environment.shell(job), script]


def watch(store: Store, job: dict, child: int, wake: int) -> tuple[str | None, int]:
    """Waits for the script; (what ended it or None, its status)."""
    events = planned(job)
    ending: str | None = None
    handle = os.pidfd_open(child)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        request = store.read(job["key"])["request"]
        if request and request["kind"] != ending:
            ending = str(request["kind"])
            events = stop(job, ending)
        pause = max(0.0, events[0][0] - time.monotonic()) * 1000 if events else None
        ready = {descriptor for descriptor, _ in poll.poll(pause)}
        if handle in ready:
            os.close(handle)
            return ending, os.waitpid(child, 0)[1]
        if wake in ready:
            os.read(wake, 4096)
        elif events and events[0][0] <= time.monotonic():
            _, kind = events.pop(0)
            if kind == KILL:
                strike("SIGKILL")
            else:
                ending = kind
                events = stop(job, kind)


def stop(job: dict, ending: str) -> list[tuple[float, str]]:
    """Sends the ending's first signal; when the last one follows."""
    how = ENDINGS[ending]
    strike(how.first)
    return [(time.monotonic() + grace(job), KILL)] if how.then_kill else []


def planned(job: dict) -> list[tuple[float, str]]:
    """(moment, ending) of what will stop the job if it does not end before."""
    scale = job["emulator"]["time_scale"]
    now = time.monotonic()
    events: list[tuple[float, str]] = []
    if job["elapse"]["max"] != UNLIMITED:
        events.append((now + job["elapse"]["max"] / scale, "elapse"))
    fault = job["emulator"]["fault"]
    if fault and fault["kind"] in ENDINGS and not job["retries"]:
        events.append((now + fault["after"] / scale, fault["kind"]))
    return sorted(events)


def grace(job: dict) -> float:
    return job["emulator"]["grace"] / job["emulator"]["time_scale"]


def strike(name: str) -> None:
    """The signal to all processes of the job."""
    processes.send(processes.descendants(os.getpid()), getattr(signal, name))


def finish(store: Store, key: str, site: dict, ending: str | None, status: int, stderr: str) -> None:
    with store.lock():
        job = store.read(key)
        job.update(supervisor=None, request=None, last_state="RNO", ended=time.time())
        job["sn"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        job["ec"] = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        if ending == "node_down" and job["restart"]:
            requeue(job)
        elif ending:
            after(job, ending)
        else:
            job.update(state="EXT", pc=0)
        if ending == "shell_fail":
            job.update(ec=0, sn=0)
        say(job, ending, site, stderr)
        if job["stats"] and job["state"] in ("EXT", "CCL"):
            stats_file.write(job, site)
        for name in ("localtmp", "sharedtmp"):
            if os.path.isdir(store.file(key, name)):
                import shutil

                shutil.rmtree(store.file(key, name), ignore_errors=True)
        store.write(job)


def after(job: dict, ending: str) -> None:
    how = ENDINGS[ending]
    job.update(state=how.state, pc=how.code, reason=how.reason)
    if how.state == "HLD":
        job.update(held=True, ended=None)


def requeue(job: dict) -> None:
    job.update(state="QUE", last_state="RNO", retries=job["retries"] + 1, ended=None, started=None, ec=0, sn=0)


def say(job: dict, ending: str | None, site: dict, stderr: str) -> None:
    """The job manager's message, in the job's error file."""
    message = ENDINGS[ending].message if ending else None
    if ending is None or message is None or not site.get("job_messages"):
        return
    number, text = message.format(job=job["key"], user=job["user"]).split(" ", 1)
    try:
        with open(stderr, "a", encoding="utf-8") as file:
            file.write(f"[{ENDINGS[ending].level}] PJM {number} {text}\n")
    except OSError:
        pass
