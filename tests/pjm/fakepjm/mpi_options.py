"""mpiexec's command line (MPIUG 4.1, FUG on MPI): options as a table, MPMD parts, and its complaints."""

from __future__ import annotations

from .messages import Refused

USAGE = "usage: mpiexec [-n N] [-std-proc F] [-stdin F] [--vcoordfile F] [-mca K V] [-x VAR[=V]] program [arguments] [: ...]"

# Option, with one dash or two: (what it sets, words that follow it). "drop" is accepted and means nothing here.
OPTIONS = {
    "n": ("count", 1), "np": ("count", 1), "c": ("count", 1),
    "std-proc": ("both", 1), "of-proc": ("both", 1),
    "stdout-proc": ("out", 1), "ofout-proc": ("out", 1),
    "stderr-proc": ("err", 1), "oferr-proc": ("err", 1),
    "stdin": ("stdin", 1), "x": ("export", 1), "mca": ("mca", 2), "am": ("drop", 1), "vcoordfile": ("vcoordfile", 1),
    "fjdbg-sig": ("drop", 1), "fjdbg-out-dir": ("drop", 1), "nompi": ("drop", 0), "debuglib": ("drop", 0),
}  # fmt: skip
# One file for all ranks, which Fugaku ignores with a remark: how they are called, which streams go there.
SHARED_FILES = {
    "std": ("-of/-std", ("out", "err")), "of": ("-of/-std", ("out", "err")),
    "stdout": ("-ofout/-stdout", ("out",)), "ofout": ("-ofout/-stdout", ("out",)),
    "stderr": ("-oferr/-stderr", ("err",)), "oferr": ("-oferr/-stderr", ("err",)),
}  # fmt: skip


def ple(number: int, text: str, *more: str) -> Refused:
    return Refused(f"[ERR.] PLE {number:04d} plexec {text}", *more)


class Launch:
    """What one mpiexec was asked for: parts of a program (MPMD), shared options."""

    def __init__(self) -> None:
        self.parts: list[dict] = []
        self.both: str | None = None
        self.out: str | None = None
        self.err: str | None = None
        self.stdin: str | None = None
        self.vcoordfile: str | None = None
        self.shared: list[tuple[str, tuple[str, ...], str]] = []  # how it is called, streams, file
        self.environment: dict[str, str] = {}


def read(words: list[str], environment: dict[str, str]) -> Launch:
    launch = Launch()
    for part in split(words):
        read_part(part, launch, environment)
    return launch


def split(words: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == ":":
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def read_part(words: list[str], launch: Launch, environment: dict[str, str]) -> None:
    count = None
    queue = list(words)
    while queue and queue[0].startswith("-"):
        word = queue.pop(0)
        name = word.lstrip("-")
        if name in SHARED_FILES:
            launch.shared.append((*SHARED_FILES[name], take(queue, 1)[0]))
            continue
        if name not in OPTIONS:
            raise Refused(f"mpiexec: unknown option {word}", USAGE)
        meaning, following = OPTIONS[name]
        values = take(queue, following)
        if meaning == "count":
            if not values[0].isdigit() or values[0] == "0":
                raise Refused(f"mpiexec: {word} takes a number of processes, not {values[0]}", USAGE)
            count = int(values[0])
        elif meaning == "export":
            variable, equals, value = values[0].partition("=")
            if equals or variable in environment:
                launch.environment[variable] = value if equals else environment[variable]
        elif meaning == "mca":
            launch.environment[f"OMPI_MCA_{values[0]}"] = values[1]
        elif meaning != "drop":
            setattr(launch, meaning, values[0])
    if not queue:
        raise ple(11, "The program is not specified.")
    launch.parts.append({"count": count, "command": queue})


def take(queue: list[str], number: int) -> list[str]:
    if len(queue) < number:
        raise Refused("mpiexec: an option lacks its argument", USAGE)
    taken = queue[:number]
    del queue[:number]
    return taken
