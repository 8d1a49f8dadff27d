"""Tables are read as people publish them, and no text makes the reader fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcscale.audit import cells, columns, tables
from hpcscale.audit.examine import audit


def only(text: str) -> tables.Table:
    (table,) = tables.read(text)
    return table


def test_a_pipe_table_keeps_its_lines_and_headings() -> None:
    table = only("# A\n\n## B\nwords\n\n| GPUs | MFU |\n|--|--|\n| 8 | 40 |\n| 16 | 39 |\n")
    assert (table.line, table.headings, table.before.strip()) == (6, ("A", "B"), "words")
    assert [(row.number, row.cells) for row in table.rows] == [(8, ("8", "40")), (9, ("16", "39"))]


def test_an_html_table_inside_markdown_is_read_with_spans() -> None:
    text = (
        "text\n<table>\n<tr><th>GPUs</th><th>MFU<br>(%)</th></tr>\n"
        "<tr><td rowspan=2>8</td><td><b>40</b></td></tr>\n<tr><td>41</td></tr>\n</table>\n"
    )
    table = only(text)
    assert table.header == ("GPUs", "MFU (%)")
    assert [(row.number, row.cells) for row in table.rows] == [(4, ("8", "40")), (5, ("8", "41"))]


def test_columns_of_blanks_with_a_rule_and_a_missing_cell() -> None:
    text = "Nodes   Sec/it   Notes     TFLOPs\n-----   ------   -------   ------\n4       10.5               120\n8       10.9     rerun     115\n"
    assert [row.cells for row in only(text).rows] == [("4", "10.5", "", "120"), ("8", "10.9", "rerun", "115")]


def test_a_latex_table_and_values_parted_by_commas_inside_a_text() -> None:
    found = tables.read(
        "a & b & c \\\\ \\hline\n1 & 2 & 3 \\\\\n\nSome words, and more of them.\n\nnodes,dp,tok/s\n1,2,100\n2,4,200\n"
    )
    assert [[row.cells for row in table.rows] for table in found] == [
        [("1", "2", "3")],
        [("1", "2", "100"), ("2", "4", "200")],
    ]


def test_two_tables_count_from_one() -> None:
    found = tables.read("|a|b|\n|-|-|\n|1|2|\n\n|c|d|\n|-|-|\n|3|4|\n")
    assert [(table.number, table.line) for table in found] == [(1, 1), (2, 5)]


@pytest.mark.parametrize(
    ("text", "value", "step", "unit"),
    [
        ("1,234,567", 1234567, 1, ""), ("**57.3%**", 57.3, 0.1, "%"), ("~6300", 6300, 1, ""), ("[185](x)", 185, 1, ""), ("1[^1]", 1, 1, ""),
        ("3534883.3(1itrのみ実行)", 3534883.3, 0.1, ""), ("29138.6 MiB (OOM)", 29138.6, 0.1, "MiB"), ("30B", 30, 1, "B"), ("１２３", 123, 1, ""),
        ("1.5e3", 1500, 100, ""), ("2,5", 2.5, 0.1, ""), ("12 345", 12345, 1, ""), ("510 ms", 510, 1, "ms"),
    ],
)  # fmt: skip
def test_a_cell_is_a_number_with_its_digits_and_unit(text: str, value: float, step: float, unit: str) -> None:
    cell = cells.read(text)
    assert (cell.state, cell.unit) == ("number", unit)
    assert (cell.value, cell.step) == (pytest.approx(value), pytest.approx(step))


@pytest.mark.parametrize(
    ("text", "state"), [("OOM", "oom"), ("-", "missing"), ("n/a", "missing"), ("", "missing"), ("selective", "text")]
)
def test_a_cell_without_a_number_says_what_it_is(text: str, state: str) -> None:
    assert cells.read(text).state == state


@pytest.mark.parametrize(
    ("printed", "quantity", "factor"),
    [
        ("Throughput (T/s/GPU)", "tokens_per_second_per_device", 1), ("Tokens / sec / GPU", "tokens_per_second_per_device", 1),
        ("elapsed time per iteration (ms)", "step_seconds", 0.001), ("Sec/it", "step_seconds", 1), ("秒/反復", "step_seconds", 1),
        ("Achieved aggregate petaFLOP/s", "aggregate_pflops", 1), ("Model TFLOP / sec / GPU", "tflops_per_device", 1),
        ("Percentage of theoretical peak FLOP/s", "mfu", 0.01), ("Tensor model-parallel size", "tp", 1), ("MP", "tp", 1),
        ("GradAccum", "accumulation", 1), ("Global bsz", "global_batch_size", 1), ("GlobalBatchSize (T)", "tokens_per_step", 1),
        ("Number of parameters (billion)", "parameters", 1e9), ("ノード数", "nodes", 1), ("#-GPUs", "devices", 1), ("Model size", "model", 1),
    ],
)  # fmt: skip
def test_a_columns_name_is_understood_with_its_unit(printed: str, quantity: str, factor: float) -> None:
    name = columns.name(printed)
    assert name.meanings[0] == quantity
    assert columns.scale(quantity, name.normal, "") == pytest.approx(factor)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    for table in tables.read(text):
        assert all(row.number >= table.line for row in table.rows)


_CELL = st.one_of(
    st.text(st.characters(exclude_characters="\n\r|", exclude_categories=["Cs"]), max_size=12),
    st.floats(allow_nan=True).map(str), st.integers(-5, 10**25).map(str), st.sampled_from(["OOM", "-", "1e400", "0", "7b", "1,5", "50%"]),
)  # fmt: skip
_NAME = st.sampled_from(
    ["GPUs", "Nodes", "Model", "DP", "TP", "PP", "MBS", "GBS", "Seq", "Sec/it", "TFLOPs", "MFU", "HFU", "PFLOPs", "Tokens/s", "Tokens/s/GPU", "AC", "Params", "Layers", "Hidden", "Heads", "Efficiency", "Speedup", "", "x"]
)  # fmt: skip


def test_a_layout_beyond_all_devices_does_not_reproduce() -> None:
    (table,) = audit(
        "| GPUs | DP | TP | Sec/it |\n|--|--|--|--|\n| 8 | 100000000 | 2 | 1.0 |\n| 16 | 200000000 | 2 | 1.0 |\n"
    )
    assert all(row.verdict != "reproduces" for row in table.rows)


@pytest.mark.parametrize(
    "rows",
    [
        "| 64 | 16 | 8 | 3.2 |\n",
        "| 64 | 16 | 8 | 3.2 |\n| 128 | 32 | 8 | 1.7 |\n",
        "| 64 | 16 | 8 | 3.2 |\n| 128 | 16 | 4 | 1.7 |\n| 8 | 8 | 2 | 20 |\n",
    ],
)
def test_a_layout_of_more_parts_than_devices_is_named_also_without_all_axes(rows: str) -> None:
    (table,) = audit("| GPUs | DP | TP | Sec/it |\n|--|--|--|--|\n" + rows)
    too_many = [row for row in table.rows if row.line != 4 or "| 16 | 4 |" not in rows]
    assert [(row.verdict, row.causes[0].code) for row in too_many] == [("inconsistent", "layout")] * len(too_many)


def test_devices_that_are_each_two_to_the_layout_are_no_error() -> None:
    # cards with two dies, as MI250X
    (table,) = audit(
        "| GPUs | DP | TP | Tokens/s |\n|--|--|--|--|\n| 64 | 16 | 8 | 3200 |\n| 128 | 32 | 8 | 6300 |\n| 256 | 64 | 8 | 12300 |\n"
    )
    assert {row.verdict for row in table.rows} == {"reproduces"}


def test_words_about_a_figure_are_no_figure() -> None:
    """The column that names the convention is headed by a word for FLOPs, and its cells begin with a digit."""
    (table,) = audit((Path(__file__).parent / "documents" / "jeanzay_8n.csv").read_text(encoding="utf-8"), ",")
    assert not table.causes
    assert {row.verdict for row in table.rows} == {"reproduces"}
    assert {row.convention for row in table.rows} == {"8 (N - embedding), attention not counted"}
    assert "02-20; Choosing the fastest 3D Topology; single 2nd iteration" in table.rows[0].remarks


@settings(max_examples=60, deadline=None)
@given(st.lists(_NAME, min_size=2, max_size=7), st.lists(st.lists(_CELL, max_size=8), min_size=1, max_size=4))
@example(["GPUs", "MFU", "Efficiency"], [["2.6e-259", "1", "1E200"]])
def test_no_table_makes_the_audit_fail(names: list[str], rows: list[list[str]]) -> None:
    lines = ["| " + " | ".join(line) + " |" for line in [names, ["---"] * len(names), *rows]]
    for table in audit("# llama2-7b on A100\n\n" + "\n".join(lines)):
        assert all(row.verdict in ("reproduces", "inconsistent", "unverifiable") for row in table.rows)
