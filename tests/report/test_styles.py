"""Styles: each document's tables again, from recomputed values, cell by cell beside the originals.

The originals lie in golden/documents. A cell is the same, or one unit of its last digit off (the documents round what they
rounded before), or it is one of the cells that the audit lists as not following from their rows: all of those are named here.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from hpcscale.ingest import schema
from hpcscale.report import table
from hpcscale.report.build import Report, build
from hpcscale.report.sheet import sheet
from hpcscale.report.styles import STYLES, style
from hpcscale.spec.problems import InputError

ORIGINALS = Path(__file__).parent / "golden" / "documents"
# Headings of the originals that are longer than the name that studies/published gives their table
HEADINGS = {
    "A100 80GB with 1600 Gbps node-node interconnect (RoCE)": "A100 80GB",
    "A100 40GB with 1600 Gbps node-node interconnect (RoCE)": "A100 40GB",
}
Cells = dict[str, str]


@dataclass(frozen=True)
class Difference:
    table: str
    row: int
    column: str
    printed: str
    regenerated: str


def tables_of(markdown: str) -> dict[str, list[Cells]]:
    """The pipe tables of a text by the heading above them."""
    found: dict[str, list[Cells]] = {}
    for section in re.split(r"^## ", markdown, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        lines = [_cells(line) for line in body.splitlines() if line.startswith("|")]
        titles, rows = lines[0], lines[2:]
        if len(titles) == len(rows[0]) - 1:  # the one that the last MPT table's header lacks
            titles.insert(titles.index("HFU") + 1, "Model TFLOP")
        found[HEADINGS.get(heading, heading)] = [dict(zip(titles, row, strict=True)) for row in rows]
    return found


def _cells(line: str) -> list[str]:
    without_footnotes = re.sub(r"\[\^\d\]", "", line.strip().strip("|"))
    return [" ".join(cell.split()) for cell in without_footnotes.split("|")]


def compared(document: str, name: str, only: str = "") -> Iterator[tuple[Difference, bool]]:
    """Every cell of a document's tables, and whether it is the same."""
    originals = tables_of((ORIGINALS / f"{document}.md").read_text(encoding="utf-8"))
    made = tables_of(table.markdown(build([document]), style(name)))
    for heading in [only] if only else originals:
        assert len(originals[heading]) == len(made[heading]) > 0
        for number, (original, own) in enumerate(zip(originals[heading], made[heading], strict=True), 1):
            assert list(original) == list(own), heading  # the same columns under the same titles in the same order
            for column, printed in original.items():
                yield Difference(heading, number, column, printed, own[column]), printed == own[column]


# The unit of a column's last digit; relative ones are of documents that print more digits than their figures have
UNITS = {"TFLOPs": 0.005, "MFU": 0.011, "HFU": 0.011}
RELATIVE = {
    # to the digits of T/s, which is cut off (the audit: 0.026 and 0.035 %)
    "mpt": {"Model TFLOP": 0.00026, "MFU": 0.00026, "HFU": 0.00035},
    "nanotron": {"Tokens/s": 0.005},  # a unit of the third digit
}


def rounding(name: str, each: Difference) -> bool:
    """Whether a cell differs in its last digit alone."""
    try:
        printed, own = float(each.printed.rstrip("%")), float(each.regenerated.rstrip("%"))
    except ValueError:
        return False
    allowed = max(UNITS.get(each.column, 0.0), abs(printed) * RELATIVE.get(name, {}).get(each.column, 0.0))
    return abs(printed - own) <= allowed + 1e-9


# What differs beyond rounding, with the number under which facts list it: nothing else may.
MILLISECONDS = "1: the table of June prints milliseconds under Sec/it; its authors corrected it later"
WRONG_DP = "2: DP is not nodes / (MP x PP); its authors corrected it later"
ONE_ITERATION = "3: one iteration only, which the original says inside the number and the style in Notes"
OWN_RATE = "12, 14: Iter/s is not Tokens/s / (seqlen x Global bsz)"

EXPECTED = {
    ("megatron_30b_fugaku", "fugaku", ""): {
        ("June", "Sec/it"): (range(1, 12), MILLISECONDS),
        ("June", "DP"): ((4, 5, 6, 7), WRONG_DP),
        ("June", "Notes"): ((1,), ONE_ITERATION),
    },
    ("torchtitan", "torchtitan", ""): {},
    ("nanotron_nemo", "nanotron", "Nanotron"): {},
    ("nanotron_nemo", "nemo", "NeMo"): {("NeMo", "Iter/s"): ((1, 2, 3), OWN_RATE)},
    ("mpt_llm_foundry", "mpt", ""): {},
}
# How many cells differ in their last digit: Model TFLOP has seven digits, of which throughputs that are cut off give four.
ROUNDED = {
    "fugaku": {"TFLOPs": 3},
    "torchtitan": {},
    "nanotron": {"Tokens/s": 1},
    "nemo": {},
    "mpt": {"MFU": 9, "HFU": 15, "Model TFLOP": 190},
}


@pytest.mark.parametrize(("document", "name", "only"), EXPECTED)
def test_a_document_is_regenerated_but_for_what_the_audit_lists(document: str, name: str, only: str):
    differing = [each for each, same in compared(document, name, only) if not same]
    beyond = [each for each in differing if not rounding(name, each)]
    expected = {
        (heading, row, column)
        for (heading, column), (rows, _) in EXPECTED[document, name, only].items()
        for row in rows
    }
    assert {(each.table, each.row, each.column) for each in beyond} == expected
    last_digits: dict[str, int] = {}
    for each in differing:
        if each not in beyond:
            last_digits[each.column] = last_digits.get(each.column, 0) + 1
    assert last_digits == ROUNDED[name]


def test_the_mpt_table_has_its_198_rows_and_20_columns():
    cells = list(compared("mpt_llm_foundry", "mpt"))
    assert len(cells) == 198 * 20
    assert sum(same for _, same in cells) == 198 * 20 - 190 - 9 - 15


def report_of(*rows: dict[str, object]) -> Report:
    frame = schema.frame([{"source": "own", "status": "completed", "origin": "measured", **row} for row in rows])
    return Report(frame, schema.rows(frame), [], [], [], [])


@pytest.mark.parametrize("name", STYLES)
def test_a_cell_that_nobody_knows_is_a_dash(name: str):
    (part,) = sheet(report_of({"model": "mine"}), STYLES[name]).parts
    assert len(part.layout.columns) == len(part.layout.cells[0])
    assert set(part.layout.cells[0]) <= {"-", "mine"}


def test_own_runs_appear_in_a_documents_columns():
    own = report_of(
        {
            "model": "gpt-30b", "nodes": 8, "devices": 32, "dp": 2, "tp": 4, "pp": 4, "micro_batch_size": 1,
            "global_batch_size": 64, "activation_checkpointing": "selective-op", "step_seconds": 0.012345,
            "peak_memory_bytes": 3 * 2**30, "resources": "freq=2200,eco_state=2", "tflops_per_device": 123.456,
        },
        {"model": "gpt-30b", "nodes": 8, "devices": 32, "status": "timeout", "note": "the limit was an hour"},
    )  # fmt: skip
    first, second = (dict(zip(titles(own, "fugaku"), row, strict=True)) for row in rows_of(own, "fugaku"))
    assert first["Freq"] == "2.2GHz" and first["Size"] == "30B" and first["AC"] == "selective-op"
    assert first["Sec/it"] == "0.01235" and first["TFLOPs"] == "123.46" and first["Mem"] == "3072.0 MiB"
    assert second["Notes"] == "timeout, the limit was an hour"


def titles(report: Report, name: str) -> list[str]:
    return [column.name for column in sheet(report, STYLES[name]).parts[0].layout.columns]


def rows_of(report: Report, name: str) -> tuple[tuple[str, ...], ...]:
    return sheet(report, STYLES[name]).parts[0].layout.cells


def test_torchtitans_batch_size_is_a_replicas():
    own = report_of({"global_batch_size": 64, "dp": 8, "micro_batch_size": 2})
    assert rows_of(own, "torchtitan")[0][1] == "8"


def test_nobody_takes_a_prediction_for_a_measurement():
    both = report_of({"model": "m", "devices": 1}, {"model": "m", "devices": 1, "origin": "predicted"})
    assert "## own\n" in table.markdown(both, STYLES["mpt"]) and "## own (predicted)" in table.markdown(
        both, STYLES["mpt"]
    )
    rows = list(csv.reader(io.StringIO(table.csv(both, STYLES["mpt"]))))
    assert [row[0] for row in rows] == ["Table", "own", "own (predicted)"]


def test_rows_that_failed_are_named_below_a_table_that_has_no_column_for_it():
    assert "- row 1: oom" in table.markdown(report_of({"status": "oom"}), STYLES["nanotron"])


def test_a_style_is_printed_in_a_terminal_and_as_csv():
    report, titan = build(["torchtitan"]), STYLES["torchtitan"]
    file = io.StringIO()
    table.print_table(report, Console(file=file, width=90), titan)
    assert "70B                  1  selective op               355  50.8%" in file.getvalue()
    rows = list(csv.reader(io.StringIO(table.csv(report, titan))))
    assert rows[0] == ["Table", "Model size", "Batch size", "Activation checkpointing", "WPS", "MFU"]
    assert len(rows) == 9 and rows[-1] == ["Llama 2", "70B", "2", "full", "353", "50.5%"]


def test_nemos_node_hours_stand_below_its_table():
    text = table.markdown(build(["nanotron_nemo"]), STYLES["nemo"])
    # printed: 188, 1151 and 536, from the Iter/s that do not follow from Tokens/s
    for said in ("512: 195 node hours", "2048: 1128 node hours", "512: 539 node hours"):
        assert said in text


def test_another_style_is_refused_with_the_names():
    with pytest.raises(InputError, match="there is no style 'pile'; valid: fugaku, mpt, nanotron, nemo, torchtitan"):
        style("pile")
