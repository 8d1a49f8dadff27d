"""The columns of five documents, in their order, under their titles, rounded as they round.

Sources: the documents that studies/published/*.csv name, as of the time of their tables. Where a document's own habit
would mislead, the column is as its authors printed it later, and ``remarks`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hpcscale.report.columns import Column, Row
from hpcscale.report.styles import cells
from hpcscale.report.styles.cells import Cell


@dataclass(frozen=True)
class Style:
    """How one document prints. ``tables``: columns of those of its tables that differ from ``columns``, by their name.

    ``convention``: how it counts FLOPs, so that a table in its style can be laid beside it; None: it prints no rates.
    ``computed``: lines that stand below a table and follow from its rows. ``says_status``: a column tells what became of
    a row that did not complete.
    """

    name: str
    columns: tuple[Column, ...]
    convention: str | None = None
    tables: Mapping[str, tuple[Column, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    computed: Callable[[Sequence[Row]], list[str]] | None = None
    says_status: bool = False


def _columns(*pairs: tuple[str, Cell], left: tuple[str, ...] = ()) -> tuple[Column, ...]:
    return tuple(Column(title, cell, left=title in left) for title, cell in pairs)


_YES_NO = {"full": "Yes", "none": "No"}

FUGAKU = Style(
    "fugaku",
    _columns(
        ("Nodes", cells.plain("nodes")),
        ("Freq", cells.clock),
        ("Size", cells.size),
        ("DP", cells.plain("dp")),
        ("MP", cells.plain("tp")),
        ("PP", cells.plain("pp")),
        ("MBS", cells.plain("micro_batch_size")),
        ("GBS", cells.plain("global_batch_size")),
        ("AC", cells.word("activation_checkpointing", _YES_NO)),
        ("Mem", cells.memory),
        ("Sec/it", cells.at_least("step_seconds", 1, 4)),
        ("TFLOPs", cells.at_least("tflops_per_device", 2, 2)),
        ("Est. Aggr. PetaFLOPs", cells.binary_pflops),
        ("Notes", cells.remark),
    ),
    "eq3-hardware",
    {
        "June": _columns(
            ("Nodes", cells.plain("nodes")),
            ("DP", cells.plain("dp")),
            ("MP", cells.plain("tp")),
            ("PP", cells.plain("pp")),
            ("MBS", cells.plain("micro_batch_size")),
            ("GBS", cells.plain("global_batch_size")),
            ("Sec/it", cells.shortest("step_seconds", 5)),
            ("TFLOPs", cells.half_cents("tflops_per_device")),
            ("hidden-size", cells.of_model("hidden")),
            ("num-attention-heads", cells.of_model("heads")),
            ("Notes", cells.remark),
        )
    },
    (
        "Sec/it is in seconds; the document's table of June printed milliseconds, which its authors corrected later.",
        "DP is nodes / (MP x PP); four rows of June printed another one, corrected later too.",
        "Est. Aggr. PetaFLOPs = TFLOPs * Nodes / 1024, as the document defines it: 2.3 % below the decimal unit.",
    ),
    says_status=True,
)  # fmt: skip

NANOTRON = Style(
    "nanotron",
    _columns(
        ("Nodes", cells.plain("nodes")),
        ("TFLOPs", cells.digits("tflops_per_device", 3)),
        ("Tokens/s per GPU", cells.digits("tokens_per_second_per_device", 3)),
        ("Tokens/s", cells.digits("tokens_per_second", 3)),
    ),
    "nanotron",
)


def _node_hours(rows: Sequence[Row]) -> list[str]:
    """Node-hours = nodes x steps x batch / (samples/s) / 3600, the document's case: 100k steps of global batch 4096."""
    lines = []
    for row in rows:
        if row["nodes"] and row["samples_per_second"]:
            hours = row["nodes"] * 100_000 * 4096 / row["samples_per_second"] / 3600
            lines.append(
                f"{row['model']}, seqlen {row['sequence_length']}: {hours:.0f} node hours per 100k steps of global batch 4096."
            )
    return lines


NEMO = Style(
    "nemo",
    _columns(
        ("Nodes", cells.plain("nodes")),
        ("seqlen", cells.plain("sequence_length")),
        ("Tokens/s", cells.decimals("tokens_per_second", 0)),
        ("Samples/s", cells.decimals("samples_per_second", 0)),
        ("Iter/s", cells.digits("steps_per_second", 3)),
        ("Global bsz", cells.plain("global_batch_size")),
    ),
    computed=_node_hours,
    remarks=("Iter/s and node hours follow from Tokens/s; those that the document printed are up to 4 % off them.",),
)

MPT = Style(
    "mpt",
    _columns(
        ("Model", cells.without("mpt-")),
        ("SeqLen (T)", cells.plain("sequence_length")),
        ("# GPUs", cells.plain("devices")),
        ("GPU", cells.plain("device")),
        ("MFU", cells.shortest("mfu", 2, 100)),
        ("HFU", cells.shortest("hfu", 2, 100)),
        ("Model TFLOP", cells.decimals("tflops_per_device", 6, 0.01)),
        ("MicroBatchSize", cells.plain("micro_batch_size")),
        ("GradAccum", cells.plain("gradient_accumulation")),
        ("GlobalBatchSize", cells.plain("global_batch_size")),
        ("Throughput (S/s)", cells.cut("samples_per_second")),
        ("Throughput (T/s)", cells.cut("tokens_per_second")),
        ("Throughput (T/s/GPU)", cells.cut("tokens_per_second_per_device")),
        ("GlobalBatchSize (T)", cells.plain("tokens_per_step")),
        ("Precision", cells.printed("Precision", "precision")),
        ("MP Mode", cells.printed("MP Mode")),
        (
            "Sharding Strategy",
            # FSDP's names for what is sharded (torch.distributed.fsdp.ShardingStrategy); ZeRO-1 has none
            cells.only("sharding", {"fsdp": "FULL_SHARD", "hsdp": "HYBRID_SHARD", "ddp": "NO_SHARD"}),
        ),
        ("Activation Checkpointing", cells.word("activation_checkpointing", {"full": "True", "none": "False"})),
        ("Activation CPUOffload", cells.printed("Activation CPUOffload")),
        ("NumParams", cells.plain("parameters")),
        left=("Model", "GPU", "Precision", "MP Mode", "Sharding Strategy"),
    ),
    "6N",
    remarks=(
        "Model TFLOP is in 100 TFLOP/s per GPU, as the document prints it; throughputs are cut off to whole numbers.",
    ),
)

TORCHTITAN = Style(
    "torchtitan",
    _columns(
        ("Model size", cells.size),
        ("Batch size", cells.local_batch),
        (
            "Activation checkpointing",
            # "selective layer" was every second layer, its default of the time
            cells.word(
                "activation_checkpointing",
                {"none": "no", "selective-layer:2": "selective layer", "selective-op": "selective op"},
            ),
        ),
        ("WPS", cells.decimals("tokens_per_second_per_device", 0)),
        ("MFU", cells.decimals("mfu", 1, 100, "%")),
        left=("Model size", "Activation checkpointing"),
    ),
    "6N",
    remarks=(
        "Batch size is per data-parallel rank, WPS per device; MFU counts the input embedding, "
        "as torchtitan did until 2024-04-26.",
    ),
)

STYLES: Mapping[str, Style] = {style.name: style for style in (FUGAKU, NANOTRON, NEMO, MPT, TORCHTITAN)}
