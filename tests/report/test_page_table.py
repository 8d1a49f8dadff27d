"""The page's table and filter in Chromium, with a mouse and with keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import DOCUMENTS, Open, column, numbers, rows_of, shown_rows
from playwright.sync_api import expect

from hpcscale.ingest import schema
from hpcscale.report.build import Report, build
from hpcscale.report.columns import lay_out


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_table_has_the_cells_of_the_report(name: str, open_page: Open):
    page = open_page(name, charts=False)
    if page.locator("#pages select").count():
        page.locator("#pages select").select_option("250")
    layout = lay_out(build([name]).rows)
    shown = page.evaluate(
        "[...document.querySelectorAll('#table tbody tr')].map(r => [...r.querySelectorAll('td')].map(c => c.textContent))"
    )
    expected = [["–" if text == "-" else text for text in cells] for cells in layout.cells]
    assert shown == expected


def test_a_click_on_a_title_sorts_by_the_raw_numbers(open_page: Open):
    page = open_page("megatron_30b_fugaku", charts=False)
    title = page.get_by_role("button", name="sec/it", exact=True)
    head = page.locator("th", has=title)
    assert head.get_attribute("aria-sort") == "none"
    title.click()
    found = column(page, "sec/it")
    assert numbers(found) == sorted(numbers(found)) and found[-1] == "–"
    assert head.get_attribute("aria-sort") == "ascending"
    title.click()
    found = column(page, "sec/it")
    assert numbers(found) == sorted(numbers(found), reverse=True) and found[-1] == "–"
    assert head.get_attribute("aria-sort") == "descending"
    title.click()
    assert shown_rows(page) == list(range(1, 17)) and head.get_attribute("aria-sort") == "none"


def test_words_and_comparisons_leave_the_rows_that_match(open_page: Open):
    page = open_page("mpt_llm_foundry", charts=False)
    page.locator("#words").fill("mpt-7b h100 mfu>40")
    expect(page.locator("#shown")).to_have_text("3 of 198 rows")
    assert set(column(page, "Model")) == {"mpt-7b"} and min(numbers(column(page, "MFU (%)"))) > 40
    page.locator("#words").fill("nothing of that name")
    expect(page.locator("#table tbody")).to_have_text("No row matches.")


def test_many_rows_come_a_page_at_a_time(open_page: Open):
    page = open_page("mpt_llm_foundry", charts=False)
    assert len(shown_rows(page)) == 50
    page.get_by_role("button", name="Last page").click()
    assert shown_rows(page)[-1] == 198
    page.get_by_label("rows a page").select_option("250")
    assert len(shown_rows(page)) == 198


def test_columns_can_be_hidden(open_page: Open):
    page = open_page("torchtitan", charts=False)
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="HFU (%)").uncheck()
    assert "HFU\n(%)" not in page.locator("#table thead th").all_inner_texts()
    assert "MFU\n(%)" in page.locator("#table thead th").all_inner_texts()


def test_everything_is_reached_with_keys(open_page: Open):
    page = open_page("torchtitan", charts=False)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the table")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#table tbody button')"):
            break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", page.evaluate("document.activeElement.outerHTML")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Row 2")
    expect(dialog).to_be_visible()
    page.get_by_role("button", name="Next row").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Row 3")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent") == "3"  # the row that was looked at last


def test_sorting_works_with_keys_and_keeps_the_focus(open_page: Open):
    page = open_page("torchtitan", charts=False)
    title = page.get_by_role("button", name="GBS", exact=True)
    title.focus()
    page.keyboard.press("Enter")
    assert numbers(column(page, "GBS")) == sorted(numbers(column(page, "GBS")))
    expect(title).to_be_focused()


def test_a_report_without_rows_is_a_page(open_page: Open):
    page = open_page(Report(schema.empty(), [], [], [], [], []))
    expect(page.locator("#table tbody")).to_have_text("No row matches.")


def test_the_command_writes_the_page_beside_its_table(cli: Callable[..., Any], tmp_path: Path):
    done = cli("report", "torchtitan", "--html", "pages/t.html")
    assert done.returncode == 0 and "llama3-8b" in done.stdout and "page written to pages/t.html" in done.stderr
    assert (tmp_path / "pages/t.html").stat().st_size > 4_000_000
    done = cli("report", "torchtitan", "--html", "t.pdf")
    assert (done.returncode, done.stdout) == (2, "") and "a page is written as .html, not '.pdf'" in done.stderr


def test_a_word_that_all_rows_share_leaves_all_of_them(open_page: Open):
    page = open_page("torchtitan", charts=False)
    shared = page.locator(".common dd").first.inner_text()
    page.locator("#words").fill(f"{shared} llama3-8b")
    assert set(column(page, "Model")) == {"llama3-8b"}


def test_a_comparison_may_have_blanks_and_be_unfinished(open_page: Open):
    page = open_page("mpt_llm_foundry", charts=False)
    found = {}
    for words in ("mfu>40", "mfu > 40", "mfu>4.0e+1", "mfu>", "mfu>-", "no-column>4", "(>4"):
        page.locator("#words").fill(words)
        found[words] = page.locator("#shown").inner_text()
    some = found["mfu>40"]
    every, none = "198 rows", "0 of 198 rows"
    assert some not in (every, none)
    assert found == {
        "mfu>40": some, "mfu > 40": some, "mfu>4.0e+1": some, "mfu>": every, "mfu>-": every, "no-column>4": none, "(>4": none
    }  # fmt: skip


def test_turning_pages_with_keys_keeps_the_focus(open_page: Open):
    page = open_page("mpt_llm_foundry", charts=False)
    following = page.get_by_role("button", name="Next page")
    following.focus()
    for _ in range(2):
        page.keyboard.press("Enter")
        expect(following).to_be_focused()
    page.keyboard.press("Enter")
    assert shown_rows(page)[-1] == 198
    expect(page.get_by_role("button", name="First page")).to_be_focused()  # there is no next one
    page.get_by_label("rows a page").focus()
    page.get_by_label("rows a page").select_option("100")
    expect(page.get_by_label("rows a page")).to_be_focused()


def test_a_menu_closes_with_escape_and_with_a_click_elsewhere(open_page: Open):
    page = open_page("torchtitan", charts=False)
    menu, box = page.get_by_text("Columns", exact=True), page.get_by_role("checkbox", name="HFU (%)")
    menu.click()
    box.focus()
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(menu).to_be_focused()
    menu.click()
    page.locator("h1").click()
    expect(box).to_be_hidden()


def test_enter_opens_a_row_also_where_text_is_selected(open_page: Open):
    page = open_page("torchtitan", charts=False)
    page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))")
    page.locator("#table tbody button").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Row 1")).to_be_visible()


@pytest.mark.parametrize(("rows", "shown"), [(1000, 50), (1001, 25)])
def test_of_very_many_rows_a_screenful_is_shown_at_a_time(open_page: Open, rows: int, shown: int):
    row = {"model": "m", "tokens_per_second": 1.0}
    page = open_page(rows_of(*({**row, "devices": each} for each in range(1, rows + 1))), charts=False)
    assert page.locator("#table tbody tr").count() == shown
    expect(page.get_by_label("rows a page")).to_have_value(str(shown))
