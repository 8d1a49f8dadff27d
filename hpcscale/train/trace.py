"""A Chrome trace of one step (chrome://tracing, ui.perfetto.dev), with what is sent beside what is computed.

On GPUs the profiler sees NCCL's kernels. On CPUs it sees Gloo's collectives, which end in Gloo's own threads, but a Gloo send
or receive only ends for it when somebody waits for it, which a pipeline does at the end of its schedule: so here a thread
waits for each one from its start. Our MPI backend reports its own operations.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile, record_function

# (operation, start, end, bytes); times of time.perf_counter_ns
Event = tuple[str, int, int, int]
Span = tuple[float, float]  # start, end; microseconds of the trace

CATEGORY = "communication"
_FIRST_LANE = 1_000_000_000  # rows of their own, numbered beyond any thread
_CLOCK = "hpcscale.clock"  # a span whose beginning both the profiler's clock and perf_counter_ns saw
_SENDS = ("send", "isend")
_WATCHED = ("send", "recv", "recv_anysource")  # methods of a process group


@contextlib.contextmanager
def recording(path: Path, rank: int, device: torch.device) -> Iterator[None]:
    """Writes what happens inside as a trace of this rank to ``path`` (.json.gz)."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    events: list[Event] = []
    with contextlib.ExitStack() as watching:
        if device.type == "cpu" and dist.is_initialized():
            mpi = _mpi()
            watching.enter_context(_watched_sends(events) if mpi is None else _recorded_by(mpi, events))
        with profile(activities=activities) as profiler:
            with record_function(_CLOCK):
                clock_ns = time.perf_counter_ns()
            yield
            if device.type == "cuda":
                torch.cuda.synchronize(device)
    _write(profiler, path, rank, events, clock_ns)


def read(path: Path) -> list[dict[str, Any]]:
    """The events of a trace."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)["traceEvents"]


def send_seconds(trace: list[dict[str, Any]]) -> float:
    """For how long at least one send was on its way."""
    return _length(_sends(trace))


def overlap_seconds(trace: list[dict[str, Any]]) -> float:
    """For how much of that time this rank computed as well.

    Computing is an ``aten`` operation without the waiting for communication inside it; on a GPU a kernel that is not NCCL's.
    """
    return _length(_common(_sends(trace), _computing(trace)))


def _sends(trace: list[dict[str, Any]]) -> list[Span]:
    return _union(
        _span(event)
        for event in _complete(trace)
        if (event.get("cat") == CATEGORY and event["name"] in _SENDS)
        or (event.get("cat") == "kernel" and "nccl" in event["name"] and "Send" in event["name"])
    )


def _computing(trace: list[dict[str, Any]]) -> list[Span]:
    complete = _complete(trace)
    kernels = [event for event in complete if event.get("cat") == "kernel"]
    if kernels:
        return _union(_span(event) for event in kernels if "nccl" not in event["name"])
    operations = [event for event in complete if event.get("cat") == "cpu_op"]
    computing = _union(_span(event) for event in operations if event["name"].startswith("aten::"))
    return _without(computing, _union(_span(event) for event in operations if "c10d" in event["name"]))


# Gloo


class _Watched(dist.Work):
    """A send or receive that a thread waits for from the start, so that its end is known when it comes."""

    def __init__(self, work: dist.Work, kind: str, size: int, events: list[Event]):
        super().__init__()
        self._started = time.perf_counter_ns()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, args=(work, kind, size, events), daemon=True)
        self._thread.start()

    def _watch(self, work: dist.Work, kind: str, size: int, events: list[Event]) -> None:
        try:
            work.wait()
        except BaseException as error:
            self._error = error
        events.append((kind, self._started, time.perf_counter_ns(), size))

    def is_completed(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, timeout: Any = None) -> bool:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return True


@contextlib.contextmanager
def _watched_sends(events: list[Event]) -> Iterator[None]:
    """Every Gloo send and receive that starts inside becomes an event when it ends."""
    started: list[_Watched] = []
    group = dist.ProcessGroup

    def watched(kind: str, method: Callable[..., dist.Work]) -> Callable[..., dist.Work]:
        def start(self: dist.ProcessGroup, tensors: list[torch.Tensor], *rest: Any) -> dist.Work:
            size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            started.append(_Watched(method(self, tensors, *rest), kind, size, events))
            return started[-1]

        return start

    own = {name: group.__dict__[name] for name in _WATCHED}  # getattr would give functions that no longer bind self
    for name in own:
        setattr(group, name, watched(name.split("_")[0], getattr(group, name)))
    try:
        yield
    finally:
        for name, method in own.items():
            setattr(group, name, method)
        for work in started:
            work._thread.join(timeout=1.0)  # one that nobody waited for must not hold the run up


# MPI


def _mpi() -> ModuleType | None:
    """Our MPI backend, where it runs."""
    if "mpi" not in dist.get_backend():
        return None
    try:
        module = importlib.import_module("hpcscale.train.mpi")
    except ImportError:
        return None
    return module if hasattr(module, "record_events") else None


@contextlib.contextmanager
def _recorded_by(mpi: ModuleType, events: list[Event]) -> Iterator[None]:
    mpi.record_events(True)
    try:
        yield
    finally:
        events.extend(mpi.events())
        mpi.record_events(False)


# The file


def _write(profiler: profile, path: Path, rank: int, events: list[Event], clock_ns: int) -> None:
    """Merges the profiler's trace with ``events``; communication gets rows of its own, where spans do not cross."""
    part = path.with_suffix(f".{os.getpid()}.part")
    profiler.export_chrome_trace(str(part))
    document = json.loads(part.read_text(encoding="utf-8"))
    part.unlink()
    profiled = document["traceEvents"]
    clock = next(event for event in profiled if event.get("name") == _CLOCK)
    ours = [
        {
            "name": name,
            "ts": clock["ts"] + (start - clock_ns) / 1e3,
            "dur": (end - start) / 1e3,
            "args": {"bytes": size},
        }
        for name, start, end, size in events
    ]
    gloo = [event for event in profiled if event.get("name", "").startswith("gloo:") and event.get("ph") == "X"]
    ours += [
        {"name": event["name"].removeprefix("gloo:"), "ts": event["ts"], "dur": event["dur"], "args": {}}
        for event in gloo
        if event["name"].removeprefix("gloo:") not in (*_SENDS, "recv", "recvAnySource")
    ]
    dropped = {id(event) for event in gloo}
    kept = [event for event in profiled if id(event) not in dropped]
    process = clock["pid"]
    document["traceEvents"] = [*kept, *_lanes(ours, process), _label(process, "process_name", 0, f"rank {rank}")]
    with gzip.open(part, "wt", encoding="utf-8") as file:
        json.dump(document, file)
    part.replace(path)


def _lanes(events: list[dict[str, Any]], process: Any) -> list[dict[str, Any]]:
    """Each event in the first row that is free when it starts."""
    free_from: list[float] = []
    placed: list[dict[str, Any]] = []
    for event in sorted(events, key=lambda event: event["ts"]):
        lane = next((lane for lane, free in enumerate(free_from) if free <= event["ts"]), len(free_from))
        free_from[lane : lane + 1] = [event["ts"] + event["dur"]]
        placed.append({"ph": "X", "cat": CATEGORY, "pid": process, "tid": _FIRST_LANE + lane, **event})
    names = [_label(process, "thread_name", _FIRST_LANE + lane, CATEGORY) for lane in range(len(free_from))]
    return [*placed, *names]


def _label(process: Any, what: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


# Spans


def _complete(trace: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in trace if event.get("ph") == "X"]


def _span(event: dict[str, Any]) -> Span:
    return event["ts"], event["ts"] + event["dur"]


def _union(spans: Iterable[Span]) -> list[Span]:
    """The same time as spans that do not touch, in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _common(some: list[Span], others: list[Span]) -> list[Span]:
    """What two unions have in common."""
    found: list[Span] = []
    first = second = 0
    while first < len(some) and second < len(others):
        start = max(some[first][0], others[second][0])
        end = min(some[first][1], others[second][1])
        if start < end:
            found.append((start, end))
        if some[first][1] < others[second][1]:
            first += 1
        else:
            second += 1
    return found


def _without(some: list[Span], others: list[Span]) -> list[Span]:
    """What of one union is not in another."""
    edges = [float("-inf"), *(edge for span in others for edge in span), float("inf")]
    return _common(some, list(zip(edges[::2], edges[1::2], strict=True)))


def _length(spans: list[Span]) -> float:
    """In seconds."""
    return sum(end - start for start, end in spans) / 1e6
