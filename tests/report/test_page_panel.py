"""The panel of a row: every figure with its formula, and where the row is from."""

from __future__ import annotations

from pathlib import Path

import written_runs as written
from pages import Open, column, drawn, rows_of, shown_rows, sizes
from playwright.sync_api import expect

HOSTILE = "</script><img src=x onerror=alert(1)>"
PSEUDO_HTML = '<a href="javascript:alert(2)">click</a><br><b>bold</b>%{x}\u2028$x$'


def test_a_figure_leads_to_its_formula_and_the_line_of_its_document(open_page: Open):
    page = open_page("torchtitan", charts=False)
    page.locator("#table tbody tr").nth(1).get_by_text("58.19").click()
    card = page.locator(".figure.looked-at")
    expect(card).to_contain_text("MFU")
    expect(card).to_contain_text("TFLOPs/device ÷ dense peak of a device")
    expect(card).to_contain_text("181.5506 ÷ 312")
    expect(card).to_contain_text("printed 58.2, recomputed 58.19: reproduces")
    panel = page.get_by_role("dialog")
    expect(panel).to_contain_text("studies/published/torchtitan.csv, line 6")
    expect(panel).to_contain_text("Llama 3,llama3-8b,torchtitan-a100-80gb")
    expect(panel).to_contain_text("6 × 8,030,261,248 + 12 × 32 × 4,096 × 8,192")


def test_a_figure_that_differs_from_the_printed_one_says_by_how_much(open_page: Open):
    page = open_page("nanotron_nemo", charts=False)
    page.get_by_role("button", name="Row 6: how").click()
    expect(page.locator(".check.bad")).to_have_text("✗ printed 1.18, recomputed 1.139: differs by 3.4 %")


def test_a_measured_row_leads_to_its_spec_and_its_record(open_page: Open, tmp_path: Path):
    page = open_page(written.write_scaling(tmp_path), charts=False)
    page.locator("#words").fill("devices=32 dp32")
    page.locator("#table tbody button").click()
    panel = page.get_by_role("dialog")
    expect(panel).to_contain_text("attempts/1.0/record.jsonl")
    expect(panel).to_contain_text("median over the measured steps of the record")
    expect(panel).to_contain_text("95 % interval 11.88 – 12.12, 3 measured steps")
    expect(panel).to_contain_text("Resolved spec")
    expect(panel.locator("details", has_text="training").first).to_contain_text("micro_batch_size")
    panel.get_by_role("button", name="the smallest row: row").first.click()
    expect(panel).to_contain_text("this row is the smallest of its series")


def test_one_row_without_numbers_is_a_page(open_page: Open):
    page = open_page(rows_of({"model": "m", "status": "missing", "point": "dp1"}))
    assert shown_rows(page) == [1] and page.locator("#charts").count() == 0
    page.locator("#table tbody button").click()
    expect(page.get_by_role("dialog")).to_contain_text("This row has no figures.")


def test_hostile_names_stay_text(open_page: Open, tmp_path: Path):
    row = {
        "model": HOSTILE,
        "machine": PSEUDO_HTML,
        "note": HOSTILE,
        "table": PSEUDO_HTML,
        "global_batch_size": 8,
        "sharding": "ddp",
    }
    sizes = [{**row, "devices": n, "dp": n, "tokens_per_second": 10.0 * n, "tokens_per_second_per_device": 10.0, "peak_memory_bytes": 2**30} for n in (8, 16)]  # fmt: skip
    other = [{**each, "model": PSEUDO_HTML} for each in sizes]
    page = open_page(rows_of(*sizes, *other))
    assert column(page, "Model")[0] == HOSTILE
    card = drawn(page, "throughput")
    legend = card.locator(".legendtext").all_text_contents()
    assert any("<img src=x" in each for each in legend) and any("<a href=" in each for each in legend)
    page.locator("#table tbody button").first.click()
    expect(page.get_by_role("dialog")).to_contain_text(HOSTILE)
    page.keyboard.press("Escape")
    card.locator(".scatterlayer .point").first.hover(force=True)
    expect(card.locator(".hovertext")).to_contain_text("tokens/s on 8 devices")
    assert page.evaluate("document.querySelectorAll('img, main a, svg a, svg b, script[src]').length") == 0
    assert page.title().startswith("rows")


def test_hostile_notes_and_titles_stay_text(open_page: Open, tmp_path: Path):
    path = tmp_path / "<img src=x onerror=alert(1)>.csv"
    path.write_text('model,devices,tokens_per_second_published,note\nm,8,100,"<script>alert(3)</script>"\n')
    page = open_page(path, charts=False)
    expect(page.locator("h1")).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.locator(".notes")).to_contain_text("row 1: <script>alert(3)</script>")
    assert page.locator("img").count() == 0


def test_the_focus_stays_in_the_panel_and_goes_back_to_where_it_came_from(open_page: Open):
    page = open_page("megatron_30b_fugaku", charts=False)
    tile = page.locator(".tile", has_text="lowest efficiency")
    tile.focus()
    page.keyboard.press("Enter")
    title = page.locator("#detail-title")
    expect(title).to_be_focused()
    page.get_by_role("button", name="the smallest row: row").first.focus()
    page.keyboard.press("Enter")
    expect(title).to_be_focused()
    before = page.get_by_role("button", name="Previous row")
    before.focus()
    for _ in range(16):
        page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Row 1")).to_be_visible()
    expect(title).to_be_focused()
    page.keyboard.press("Escape")
    expect(tile).to_be_focused()


def test_a_figure_is_rounded_as_in_the_table(open_page: Open):
    page = open_page(rows_of(*sizes(1, 2, tokens_per_second=1234.5)), charts=False)
    page.locator("#table tbody button").first.click()
    assert column(page, "tokens/s")[0] == "1,234"
    expect(page.locator("[data-figure=tokens_per_second] .value")).to_have_text("1,234")


def test_an_interval_over_runs_counts_runs(open_page: Open):
    row = {
        "step_seconds": 2.0,
        "step_seconds_low": 1.9,
        "step_seconds_high": 2.1,
        "measured_steps": 15,
        "repeats": 3,
        "record": "r",
    }
    page = open_page(rows_of({"model": "m", "devices": 8, **row}), charts=False)
    page.locator("#table tbody button").click()
    expect(page.locator("[data-figure=step_seconds]")).to_contain_text("95 % interval 1.900 – 2.100, 3 runs")


def test_a_run_that_is_called_as_a_table_is_has_no_line_of_it(open_page: Open, tmp_path: Path):
    table = tmp_path / "constructor.csv"
    table.write_text("model,devices,source\nm,8,t\n")
    report = rows_of(
        {"model": "m", "devices": 4, "source": "t"}, {"model": "m", "devices": 8, "source": "constructor", "line": 2}
    )
    page = open_page(report, charts=False)
    for row in range(2):
        page.locator("#table tbody button").nth(row).click()
        expect(page.get_by_role("dialog", name=f"Row {row + 1}")).to_contain_text("source")
        expect(page.get_by_role("dialog")).not_to_contain_text(", line")


def test_hostile_keys_of_a_spec_stay_text(open_page: Open, tmp_path: Path):
    point = {
        **written.described(8),
        "__proto__": {"said": "polluted", "__proto__": 1},
        "remark": "",
        "constructor": {"name": HOSTILE},
    }
    written.write(tmp_path, point, [2.0, 2.0, 1.0])
    page = open_page(tmp_path / "s", charts=False)
    page.locator("#table tbody button").click()
    panel = page.get_by_role("dialog")
    expect(panel.locator("details", has_text="__proto__").first).to_contain_text("polluted")
    expect(panel.locator("dt:has-text('remark') + dd")).to_have_text('""')
    expect(panel).to_contain_text("median over the measured steps")
    assert page.evaluate("({}).said") is None
