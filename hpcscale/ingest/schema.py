"""The one table: measured, published and predicted rows side by side, under the same column names.

Raw numbers with their units in the names. A column whose name ends in ``_published`` holds what a document prints; the
same name without the ending holds what follows from the rest of the row. Empty means unknown, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Kind = Literal["text", "int", "float", "bool"]


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind
    meaning: str


COLUMNS: tuple[Column, ...] = (
    # Where the row comes from
    Column("origin", "text", "measured, published or predicted"),
    Column("source", "text", "the study, the document or the file that the row comes from"),
    Column("table", "text", "the table or section of a document"),
    Column("line", "int", "line of the source's file that the row stands in"),
    Column("point", "text", "the point's identity; empty for rows of documents"),
    Column("hash", "text", "8 hex digits over what was run"),
    Column("attempt", "text", "the attempt folder's name"),
    Column("record", "text", "path of the record that the numbers come from"),
    Column("date", "text", "when it was measured, as written"),
    Column("note", "text", "what the row says beside its numbers"),
    Column("printed", "text", "a document's own words where unit or value differ from this table's"),
    # What ran where
    Column("status", "text", "completed, oom, timeout, preempted, node, nan, error, unfinished, unreadable, missing"),
    Column("machine", "text", "machine profile"),
    Column("device", "text", "device of the catalogue, as written"),
    Column("resources", "text", "what the job chose, as freq=2000,eco_state=0"),
    Column("nodes", "int", "nodes"),
    Column("devices", "int", "devices that the ranks use"),
    Column("ranks", "int", "processes"),
    Column("model", "text", "model of the catalogue"),
    Column("parameters", "int", "trained parameters, tied ones once"),
    Column("parameters_published", "int", "as printed"),
    # Layout and batch
    Column("dp", "int", "data-parallel size"),
    Column("dp_published", "int", "as printed, where that differs from what the devices say"),
    Column("tp", "int", "tensor-parallel size"),
    Column("pp", "int", "pipeline stages"),
    Column("cp", "int", "context-parallel size"),
    Column("sharding", "text", "ddp, zero1, fsdp, hsdp"),
    Column("micro_batch_size", "int", "sequences"),
    Column("global_batch_size", "int", "sequences"),
    Column("tokens_per_step", "int", "global batch x sequence length"),
    Column("tokens_per_step_published", "int", "as printed"),
    Column("gradient_accumulation", "int", "micro batches a replica and step"),
    Column("sequence_length", "int", "tokens"),
    Column("activation_checkpointing", "text", "none, full, selective-op, selective-layer:k, core-attention"),
    Column("precision", "text", "fp32, bf16, ..."),
    Column("scaling", "text", "strong, weak or none, as the study says"),
    # What was measured
    Column("measured_steps", "int", "steps that the figures use, warm-up dropped"),
    Column("repeats", "int", "runs that the figures use"),
    Column("step_seconds", "float", "median seconds per step, each step as slow as its slowest rank"),
    Column("step_seconds_low", "float", "lower end of the median's interval; of a predicted row, of its 80 % interval"),
    Column("step_seconds_high", "float", "upper end of that interval"),
    Column("step_seconds_published", "float", "as printed, in seconds"),
    Column("predicted_step_seconds", "float", "what hpcscale predicts for a measured or published row"),
    Column("predicted_step_seconds_low", "float", "lower end of the prediction's 80 % interval"),
    Column("predicted_step_seconds_high", "float", "upper end of the prediction's 80 % interval"),
    Column("tokens_per_second", "float", "of all devices"),
    Column("tokens_per_second_published", "float", "as printed"),
    Column("tokens_per_second_per_device", "float", "tokens/s / devices"),
    Column("tokens_per_second_per_device_published", "float", "as printed"),
    Column("samples_per_second", "float", "sequences per second"),
    Column("samples_per_second_published", "float", "as printed"),
    Column("steps_per_second", "float", "1 / step_seconds"),
    Column("steps_per_second_published", "float", "as printed"),
    Column("peak_memory_bytes", "int", "of the rank that needs most"),
    Column(
        "memory_kind",
        "text",
        "what peak_memory_bytes is: resident (RSS), allocated or reserved (CUDA), node (RSS of a node)",
    ),
    Column("loss_first", "float", "loss of the first step"),
    Column("loss_last", "float", "loss of the last step"),
    # Energy (ingest/energy.py says what each source covers)
    Column("energy_joules_per_step", "float", "joules of a step, of all that the source covers"),
    Column("watts_per_device", "float", "mean power of that over the devices"),
    Column("tokens_per_joule", "float", "tokens_per_step / energy_joules_per_step"),
    Column(
        "energy_source", "text", "nvml, rapl (with what was counted), sacct, pjm; as the record or the accounting says"
    ),
    # Rates
    Column("flops_convention", "text", "the convention of cost/flops.py that TFLOPs, MFU and HFU use"),
    Column("flops_per_token", "float", "FLOPs a token under that convention, forward and backward"),
    Column("peak_tflops", "float", "dense peak of one device at this precision and these resources"),
    Column("tflops_per_device", "float", "TFLOP/s per device under the convention"),
    Column("tflops_per_device_published", "float", "as printed, in TFLOP/s"),
    Column("aggregate_pflops", "float", "TFLOP/s per device x devices / 1000"),
    Column("aggregate_pflops_published", "float", "as printed"),
    Column("mfu", "float", "model FLOP/s over peak, 0 to 1"),
    Column("mfu_published", "float", "as printed, 0 to 1"),
    Column("hfu", "float", "MFU with the recomputed FLOPs of activation checkpointing, 0 to 1"),
    Column("hfu_published", "float", "as printed, 0 to 1"),
    # Scaling, filled in by report/
    Column("series", "text", "rows that differ only in their number of devices"),
    Column("speedup", "float", "throughput over that of the series' smallest row"),
    Column("efficiency", "float", "speedup / ratio of devices"),
    Column("efficiency_kind", "text", "strong, weak, or why there is none"),
)

NAMES = tuple(column.name for column in COLUMNS)
_DTYPES: dict[str, Any] = {"text": "string", "int": "Int64", "float": "Float64", "bool": "boolean"}
DTYPES: dict[str, Any] = {column.name: _DTYPES[column.kind] for column in COLUMNS}


def empty() -> pd.DataFrame:
    """The table without rows."""
    return pd.DataFrame({name: pd.Series(dtype=DTYPES[name]) for name in NAMES})


_PYTHON: dict[str, tuple[type, ...]] = {"text": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
_PLAIN = (str, float)  # nothing is wrong with one where its type is right
_TYPES = {column.name: _PYTHON[column.kind] for column in COLUMNS}


def check(row: dict[str, object]) -> None:
    """Raises TypeError for a value that its column cannot hold."""
    for name, value in row.items():
        if value is None or (type(value) in _PLAIN and type(value) in _TYPES[name]):
            continue
        too_large = isinstance(value, int) and abs(value) >= 2**63
        # True is an int to Python, and nobody's number of nodes
        is_flag = isinstance(value, bool) and bool not in _TYPES[name]
        if not isinstance(value, _TYPES[name]) or too_large or is_flag:
            raise TypeError(f"{name} is {value!r}")


def frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows (mappings from column name to value) as the table. Raises ValueError for a name that is no column."""
    given = {name for row in rows for name in row}
    unknown = given - set(NAMES)
    if unknown:
        raise ValueError(f"no such column: {', '.join(sorted(unknown))}")
    nothing = [None] * len(rows)
    columns = {
        name: pd.array([row.get(name) for row in rows] if name in given else nothing, dtype=DTYPES[name])
        for name in NAMES
    }
    return pd.DataFrame(columns)


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The table's rows as mappings from column name to value; empty cells are None, numbers Python's own."""
    columns = {
        str(name): table[name].astype(object).where(table[name].notna(), None).tolist() for name in table.columns
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
