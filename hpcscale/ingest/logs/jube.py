"""A result table of JUBE, as CARAML's benchmark of Megatron-LM writes it: a CSV line a run.

The figures are means over a run's printed iterations. Which model a size such as ``800M`` is, the table does not say.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcscale.ingest.logs.attempt import Attempt, Steps
from hpcscale.ingest.logs.blocks import Log
from hpcscale.ingest.logs.numbers import positive, whole
from hpcscale.spec.problems import InputError

# FZJ-JSC/CARAML llm_training/llm_benchmark_nvidia_amd.yaml, the table's columns (without case).
_WHOLE = {
    "nodes": "nodes",
    "devices": "devices",
    "globalbatchsize": "training.global_batch_size",
    "microbatchsize": "training.micro_batch_size",
    "sequencelength": "training.sequence_length",
    "pipelineparallel": "layout.pp",
    "tensorparallel": "layout.tp",
    "dataparallel": "layout.dp",
}
_SECONDS = "time/iteration(s)"
_PRINTED = {
    "tokens/second": "tokens_per_second_published",
    "avg_tflops/gpu": "tflops_per_device_published",
}
_KNOWN = {*_WHOLE, *_PRINTED, _SECONDS, "jobid", "system", "model", "modelsize", "iterations"}
_ENOUGH = 5

Cells = Mapping[str, str]


def is_result(log: Log) -> bool:
    """Whether the file starts with such a table's header."""
    first = next(_lines(log), "")
    names = {name.strip().lower() for name in first.split(",")}
    return len(names & _KNOWN) >= _ENOUGH and (_SECONDS in names or "tokens/second" in names)


def read(log: Log, folder: Path, given: Mapping[str, Any]) -> list[Attempt]:
    """An attempt for each line of the table."""
    lines = _rows(log)
    names = [name.strip().lower() for name in next(lines, [])]
    found = []
    for number, cells in enumerate(lines, 2):
        if len(cells) == len(names):
            attempt = Attempt(folder / f"{number}.steps", first_line=number)
            _fill(attempt, dict(zip(names, (cell.strip() for cell in cells), strict=True)), given.get)
            found.append(attempt)
    return found


def _rows(log: Log) -> Iterator[list[str]]:
    reader = csv.reader(_lines(log))
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"{log.path}:{reader.line_num}: the line is no CSV: {error}") from None


def _lines(log: Log) -> Iterator[str]:
    for block in log.blocks():
        yield from block.decode("utf-8-sig", "replace").splitlines()


def _fill(attempt: Attempt, row: Cells, given: Callable[[str], Any]) -> None:
    facts = {fact: whole(row.get(name)) for name, fact in _WHOLE.items()}
    attempt.facts = {name: value for name, value in facts.items() if value is not None}
    if words := " ".join(filter(None, (row.get("model"), row.get("modelsize")))):
        attempt.facts["model.text"] = words
    attempt.remarks += [
        f"{what} {row[name]}" for name, what in (("system", "system"), ("jobid", "job")) if row.get(name)
    ]
    iterations = whole(row.get("iterations")) or 1
    seconds = positive(row.get(_SECONDS, "").encode())
    printed = {key: positive(row.get(name, "").encode()) for name, key in _PRINTED.items()}
    if seconds is None and not any(printed.values()):
        return
    batch = facts["training.global_batch_size"] or given("training.global_batch_size")
    length = facts["training.sequence_length"] or given("training.sequence_length")
    steps = Steps(attempt, means_of_intervals=True)
    steps.add(b"", iterations, {
        "step_seconds": seconds, "loss": None, "tokens": batch * length if batch and length else None,
        "first_averages": iterations, **{key: value for key, value in printed.items() if value is not None},
    })  # fmt: skip
    steps.close()
    attempt.planned_steps = iterations
