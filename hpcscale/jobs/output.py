"""What the ranks of an attempt printed: one file, or where the launcher keeps ranks apart, one file a rank."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcscale.jobs import progress as progresses
from hpcscale.spec.problems import InputError

# srun --label writes "12: " before each line of rank 12, padded for as many ranks as there are.
_LABEL = re.compile(r" *(\d+): ?")
_BEGINNING_BYTES = 64 * 1024
_POLL_SECONDS = 0.5
# Nothing was printed for so long and the record does not move: it is said that nobody may be there any more.
_QUIET_SECONDS = 600.0


@dataclass(frozen=True)
class Output:
    """Where an attempt's output lies. ``rank`` is set where one file holds all ranks and only one is wanted."""

    attempt: Path
    files: list[Path]
    rank: int | None = None


def find(point: Path, attempt: str | None, rank: int | None) -> Output:
    """The output of a point's newest attempt, or of the named one. Raises InputError if there is none."""
    attempts = progresses.attempts(point)
    if attempt is not None:
        named = [each for each in attempts if each.name == attempt or each.name.rpartition(".")[0] == attempt]
        if not named:
            known = ", ".join(each.name for each in attempts[-8:]) or "none"
            raise InputError(f"{point.name} has no attempt '{attempt}'; it has: {known}")
        attempts = named
    if not attempts:
        logs = sorted(point.glob("*.log"), key=lambda path: path.stat().st_mtime)
        if logs and rank is None:
            return Output(point, logs[-1:])  # what the batch script itself printed
        raise InputError(f"{point.name} has not begun: there is no attempt in {point}")
    chosen = attempts[-1]
    where = chosen / "output"
    if where.is_dir():
        return Output(chosen, _of_ranks(where, rank))
    if not where.is_file():
        raise InputError(f"{chosen} has printed nothing yet")
    if rank is not None and not _labelled(where):
        raise InputError(
            f"{where} holds all ranks' lines without their numbers (no launcher label), so rank {rank} cannot be told apart; "
            "leave --rank away"
        )
    return Output(chosen, [where], rank)


def _of_ranks(folder: Path, rank: int | None) -> list[Path]:
    """Files ``<hundreds>/rank.<n>.<rank>``; folders keep a thousand ranks each."""
    found = {}
    for path in folder.glob("**/*"):
        number = path.name.rpartition(".")[2]
        if path.is_file() and number.isdigit():
            found[path] = int(number)
    chosen = [path for path, number in sorted(found.items(), key=lambda each: each[1]) if rank in (None, number)]
    if not chosen:
        ranks = f"ranks {min(found.values())} to {max(found.values())} printed something" if found else "no rank did"
        what = f"rank {rank} has printed nothing" if rank is not None else "nothing was printed"
        raise InputError(f"{folder}: {what}; {ranks}")
    return chosen


def _labelled(path: Path) -> bool:
    """Whether lines say whose they are; srun's own do not."""
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING_BYTES).decode(errors="replace")
    return any(_LABEL.match(line) for line in beginning.splitlines())


def content(output: Output, lines: int | None = None) -> Iterator[str]:
    """The text, file by file; several files are named before they begin."""
    for path in output.files:
        if len(output.files) > 1:
            yield f"==> {path.relative_to(output.attempt)} <==\n"
        text = _of_rank(path.read_text(encoding="utf-8", errors="replace"), output.rank)
        if lines is not None:
            text = "".join(text.splitlines(keepends=True)[-lines:])
        yield text


def _of_rank(text: str, rank: int | None) -> str:
    if rank is None:
        return text
    kept = []
    for line in text.splitlines(keepends=True):
        match = _LABEL.match(line)
        if match and int(match.group(1)) == rank:
            kept.append(line[match.end() :])
    return "".join(kept)


def follow(output: Output) -> Iterator[str]:
    """The text as it comes, until the attempt's record has its last line, or nothing has come for long."""
    places = dict.fromkeys(output.files, 0)
    quiet = time.monotonic()
    while True:
        ended = progresses.progress(output.attempt).status != "unfinished"  # before reading: nothing comes after it
        something = False
        for path, place in places.items():
            text, places[path] = _from(path, place)
            if text:
                something = True
                yield _of_rank(text, output.rank)
        if something:
            quiet = time.monotonic()
        elif ended:
            return
        elif time.monotonic() - quiet > _QUIET_SECONDS:
            yield f"[hpcscale: nothing was printed for {_QUIET_SECONDS / 60:.0f} minutes; hpcscale status says whether it runs]\n"
            return
        else:
            time.sleep(_POLL_SECONDS)


def _from(path: Path, place: int) -> tuple[str, int]:
    """Whole lines from a place on, and the place after them."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(place)
        raw = file.read(size - place)
    whole = raw[: raw.rfind(b"\n") + 1]
    return whole.decode(errors="replace"), place + len(whole)
