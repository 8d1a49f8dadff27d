"""The five published documents: everything that is known to be wrong with them is found, and nothing else is said."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import pytest

from hpcscale.audit.examine import RowVerdict, TableVerdict, audit

DOCUMENTS = Path(__file__).parent / "documents"
REPOSITORY = Path(__file__).resolve().parents[2]


@lru_cache(maxsize=8)
def tables(name: str) -> tuple[TableVerdict, ...]:
    return tuple(audit((DOCUMENTS / f"{name}.md").read_text(encoding="utf-8")))


def codes(row: RowVerdict) -> set[str]:
    return {cause.code for cause in row.causes}


def cells(name: str, row: RowVerdict) -> list[str]:
    line = (DOCUMENTS / f"{name}.md").read_text(encoding="utf-8").splitlines()[row.line - 1]
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows(name: str) -> list[RowVerdict]:
    return [row for table in tables(name) for row in table.rows]


def sentences(found: Iterable[RowVerdict], code: str) -> str:
    return "\n".join(cause.sentence for row in found for cause in row.causes if cause.code == code)


def test_all_233_rows_but_the_csv_only_ones_are_read() -> None:
    counted = {
        name: [len(table.rows) for table in tables(name)]
        for name in ("mpt_llm_foundry", "megatron_30b_fugaku", "torchtitan", "nanotron_nemo", "fmengine_scaling")
    }
    assert counted == {
        "mpt_llm_foundry": [52, 7, 61, 78], "megatron_30b_fugaku": [5, 11], "torchtitan": [3, 5], "nanotron_nemo": [5, 2, 1],
        "fmengine_scaling": [1, 1],
    }  # fmt: skip


def test_fugakus_second_table_prints_milliseconds_under_seconds() -> None:
    first, second = tables("megatron_30b_fugaku")
    assert all("unit" in codes(row) for row in second.rows)
    assert not any("unit" in codes(row) for row in first.rows)
    assert "Sec/it is 1,841,599; 1841.6 would follow" in sentences(second.rows, "unit")


def test_fugakus_four_wrong_data_parallel_sizes_are_found_with_the_right_ones() -> None:
    second = tables("megatron_30b_fugaku")[1]
    found = {
        cells("megatron_30b_fugaku", row)[0]: sentences([row], "layout")
        for row in second.rows
        if "layout" in codes(row)
    }
    assert {nodes: text.partition(" would")[0] for nodes, text in found.items()} == {
        "1152": "DP is 8; 6", "1536": "DP is 16; 8", "3072": "DP is 32; 16", "6144": "DP is 64; 32",
    }  # fmt: skip


def test_fugakus_first_table_reproduces_as_equation_3_with_the_oom_row_unverifiable() -> None:
    first = tables("megatron_30b_fugaku")[0]
    assert [row.verdict for row in first.rows] == [
        "reproduces",
        "reproduces",
        "reproduces",
        "unverifiable",
        "reproduces",
    ]
    assert {row.convention for row in first.rows if row.verdict == "reproduces"} == {"eq3-hardware"}
    assert all((row.error or 0) <= 0.0070 for row in first.rows)


def test_notes_in_fugakus_cells_are_passed_on() -> None:
    first, second = tables("megatron_30b_fugaku")
    assert "1itrのみ実行" in second.rows[0].remarks
    assert "OOM after first epoch" in first.rows[0].remarks


def test_pflops_over_1024_are_a_remark_since_the_text_says_so() -> None:
    first = tables("megatron_30b_fugaku")[0]
    assert ["kilo" in codes(row) for row in first.rows] == [True, True, True, False, True]


def test_a_layout_measured_in_both_tables_is_a_remark_with_the_difference() -> None:
    first, second = tables("megatron_30b_fugaku")
    assert "5.2 % slower" in sentences([second.rows[0]], "duplicate")
    assert "11.4 % faster" in sentences([second.rows[5]], "duplicate")
    assert first.rows[1].verdict == "reproduces"


def test_the_missing_header_name_of_mpts_a100_40gb_table_is_found() -> None:
    *others, last = tables("mpt_llm_foundry")
    assert all("columns" in codes(row) for row in last.rows)
    assert not any("columns" in codes(row) for table in others for row in table.rows)
    assert "19 names and the rows have 20 cells: 'Model TFLOP' is missing" in sentences(last.rows[:1], "columns")


def test_mpts_model_tflop_is_in_hundreds() -> None:
    assert all("unit" in codes(row) for row in rows("mpt_llm_foundry"))
    assert "Model TFLOP is 1.526; 152.6 would follow" in sentences(tables("mpt_llm_foundry")[3].rows, "unit")


def test_mpt_is_counted_with_every_embedding_under_the_peak_of_its_precision() -> None:
    assert {table.convention for table in tables("mpt_llm_foundry")} == {"6N"}
    for row in rows("mpt_llm_foundry"):
        assert all(check.holds for check in row.checks), row.line
        mfu = next(check for check in row.checks if check.quantity == "mfu")
        assert abs(mfu.error) < 0.0004


def test_mpts_four_stragglers_are_found_and_no_other() -> None:
    found = [
        (index, *cells("mpt_llm_foundry", row)[:3])
        for index, table in enumerate(tables("mpt_llm_foundry"), 1)
        for row in table.rows
        if "straggler" in codes(row)
    ]
    assert found == [
        (1, "760m", "2048", "8"),
        (3, "760m", "1024", "8"),
        (3, "760m", "512", "8"),
        (4, "1b", "2048", "32"),
    ]


def test_mpts_sweep_over_micro_batches_is_no_duplicate_and_cut_off_figures_are_no_rounding_error() -> None:
    assert set().union(*map(codes, rows("mpt_llm_foundry"))) == {"unit", "columns", "straggler"}


def test_torchtitan_reproduces_with_the_embedding_counted() -> None:
    found = rows("torchtitan")
    assert {(row.verdict, row.convention, codes(row) == set()) for row in found} == {("reproduces", "6N", True)}
    assert max(row.error or 0 for row in found) < 0.0010


def test_nanotron_reproduces_with_four_devices_a_node() -> None:
    found = tables("nanotron_nemo")[0].rows
    assert {(row.verdict, row.convention, codes(row) == set()) for row in found} == {("reproduces", "nanotron", True)}


def test_nemos_iterations_per_second_are_off_and_its_large_batch_is_8192() -> None:
    _, base, large = tables("nanotron_nemo")
    assert [codes(row) for row in base.rows] == [{"rounding"}, {"rounding"}]
    assert codes(large.rows[0]) == {"batch"}
    assert "8,096; 8,192 would follow" in sentences(large.rows, "batch")


def test_fmengines_tables_hold_nothing_that_could_be_verified() -> None:
    assert {(row.verdict, codes(row) == set()) for row in rows("fmengine_scaling")} == {("unverifiable", True)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("fmengine", 0), ("torchtitan", 0), ("megatron_30b_fugaku", 0), ("nanotron_nemo", 3), ("mpt_llm_foundry", 4)],
)
def test_the_typed_tables_raise_only_what_was_left_in_them(name: str, expected: int) -> None:
    text = (REPOSITORY / "studies" / "published" / f"{name}.csv").read_text(encoding="utf-8")
    found = [row for table in audit(text, ",") for row in table.rows]
    assert sum(row.verdict == "inconsistent" for row in found) == expected
