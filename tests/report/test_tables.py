"""Tables as people read them: golden Markdown, a terminal's width, raw CSV and JSON.

To accept a change of the golden files: HPCSCALE_GOLDEN=write pytest tests/report/test_tables.py, then read the diff.
"""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from hpcscale.ingest import published, schema
from hpcscale.report import table
from hpcscale.report.build import Report, build
from hpcscale.report.show import show_study

GOLDEN = Path(__file__).parent / "golden"
DOCUMENTS = ("megatron_30b_fugaku", "mpt_llm_foundry", "torchtitan", "nanotron_nemo", "fmengine")


def printed(report: Report, width: int) -> str:
    file = io.StringIO()
    table.print_table(report, Console(file=file, width=width))
    return file.getvalue()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_markdown_is_the_golden_file(document: str):
    text = table.markdown(build([document]))
    golden = GOLDEN / f"{document}.md"
    if os.environ.get("HPCSCALE_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("width", [80, 120, 140, 200])
def test_a_terminal_table_keeps_to_its_width_and_breaks_no_number(document: str, width: int):
    report = build([document])
    lines = printed(report, width).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert not any("…" in line for line in lines)
    throughput = [f"{row['tokens_per_second']:,.0f}" for row in report.rows if (row["tokens_per_second"] or 0) >= 1000]
    body = [line.split() for line in lines]
    assert throughput and all(any(number in cells for cells in body) for number in throughput)


def test_columns_that_do_not_fit_are_named():
    assert "Not shown at this width: " in printed(build(["torchtitan"]), 100)
    assert "Not shown" not in printed(build(["torchtitan"]), 250)


def test_what_all_rows_share_stands_above_the_table_and_not_in_it():
    text = table.markdown(build(["torchtitan"]))
    caption, head = text.splitlines()[0], text.splitlines()[2]
    assert "Device a100-80gb" in caption and "Precision bf16" in caption and "FLOPs counted as 6N" in caption
    assert "Precision" not in head and "Device " not in head


def test_failures_are_rows_with_their_memory():
    lines = table.markdown(build(["megatron_30b_fugaku"])).splitlines()
    failed = [line for line in lines if line.startswith("|") and "OOM" in line]
    assert len(failed) == 2
    assert "28.46" in failed[0] and "28.41" in failed[1]


def test_json_is_raw_and_complete():
    document = json.loads(table.as_json(build(["nanotron_nemo"])))
    assert len(document["rows"]) == 8
    assert document["rows"][0]["tokens_per_second_per_device_published"] == 4020
    assert document["rows"][0]["tflops_per_device"] == pytest.approx(185.26, abs=0.01)
    assert sum(check["verdict"] == "differs" for check in document["checks"]) == 3


def test_csv_is_raw_and_can_be_read_again(tmp_path: Path):
    report = build(["mpt_llm_foundry"])
    path = tmp_path / "again.csv"
    path.write_text(table.csv(report))
    again = published.read(path)
    for name in ("mfu", "tokens_per_second", "parameters", "efficiency"):
        assert again[name].tolist() == report.frame[name].tolist() or again[name].equals(report.frame[name])


def test_an_interval_and_an_unknown_peak_are_explained():
    rows = [
        {"origin": "measured", "source": "s", "status": "completed", "model": "m", "device": "cpu-core", "precision": "fp32",
         "devices": d, "global_batch_size": 8, "step_seconds": s, "step_seconds_low": 0.9 * s, "step_seconds_high": 1.2 * s,
         "tokens_per_second": 100 / s, "measured_steps": 5, "repeats": 1}
        for d, s in ((1, 2.0), (2, 1.2))
    ]  # fmt: skip
    lines = notes_of(rows)
    assert any("No MFU: no peak is known of cpu-core at fp32." in line for line in lines)
    assert any(
        "confidence interval of the median, smallest and largest where there are fewer than 6" in line for line in lines
    )


def notes_of(rows: list[dict[str, object]]) -> list[str]:
    from hpcscale.report.notes import definitions
    from hpcscale.report.scaling import with_scaling

    return definitions(with_scaling(schema.frame(rows))[1])


def test_show_study_prints_the_table_of_a_study(tmp_path: Path):
    file = io.StringIO()
    show_study("30b_scaling", tmp_path, Console(file=file, width=140))
    assert "TFLOPs/device: 15 of 15 rows reproduce, largest error 0.69 %" in file.getvalue()
