"""The page in the dark, on a telephone and on paper."""

from __future__ import annotations

from typing import Any

import pytest
from pages import Open, drawn, shown_rows
from playwright.sync_api import expect


def test_the_dark_page_is_dark_and_so_are_its_charts(shared_page: Open):
    page = shared_page("torchtitan")
    ink = "[data-chart=per-device] .xtick text"
    drawn(page, "per-device")
    expect(page.locator(ink).first).to_have_css("fill", "rgb(27, 31, 36)")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 24, 29)")
    expect(page.locator(ink).first).to_have_css("fill", "rgb(230, 233, 237)")


def test_the_dark_page_can_be_switched_and_remembers_it(open_page: Open):
    page = open_page("torchtitan", color_scheme="dark", charts=False)
    page.get_by_role("button", name="Switch to light colours").click()
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: Any, open_page: Open):
    page = open_page("nanotron_nemo", color_scheme=scheme, charts=False)
    page.get_by_role("button", name="Row 6: how").click()
    contrast = """(selector) => {
      const luminance = (text) => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const element = document.querySelector(selector);
      let ground = element;
      while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
      const [a, b] = [luminance(getComputedStyle(element).color), luminance(getComputedStyle(ground).backgroundColor)].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    }"""
    for selector in ("h1", ".kind", ".common dt", ".tile .label", "#table td", "#table th button", ".said", ".formula", ".check.bad", ".check.good", ".notes li"):  # fmt: skip
        assert page.evaluate(contrast, selector) >= 4.5, selector


def test_paper_has_every_row_and_names_the_columns_that_do_not_fit(shared_page: Open):
    page = shared_page("mpt_llm_foundry")
    page.set_viewport_size({"width": 1047, "height": 718})  # A4 across, less its margins
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert len(shown_rows(page)) == 198
    said = page.locator("#unprinted").inner_text()
    assert said.startswith("Not printed for want of room: ") and "samples/s" in said
    assert page.locator("#table thead button").count() == 0
    assert page.locator("#table").evaluate("each => each.scrollWidth") <= 1047
    assert page.locator(".card .main-svg").count() >= 8
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert len(shown_rows(page)) == 50 and page.locator("#table thead button").count() > 20


def test_printing_makes_a_document_of_several_sheets(shared_page: Open):
    printed = shared_page("megatron_30b_fugaku").pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") >= 2


@pytest.mark.parametrize("name", ["mpt_llm_foundry", "30b_scaling"])
def test_a_telephone_scrolls_in_one_direction(name: str, open_page: Open):
    page = open_page(name, foresee=name == "30b_scaling")
    page.set_viewport_size({"width": 390, "height": 800})
    for chart in page.locator(".card").all():
        drawn(page, chart.get_attribute("data-chart") or "")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#table tbody button").first.click()
    assert page.locator("dialog .inside").evaluate("each => each.scrollWidth - each.clientWidth") <= 0


def test_a_menu_stays_on_a_telephones_screen(open_page: Open):
    page = open_page("megatron_30b_fugaku", charts=False)
    page.set_viewport_size({"width": 390, "height": 800})
    for name in ("More", "Columns"):
        page.locator("summary", has_text=name).click()
        left, right = page.locator("details[open] > div").evaluate(
            "each => { const { left, right } = each.getBoundingClientRect(); return [left, right]; }"
        )
        assert left >= 0 and right <= 390, name
        page.keyboard.press("Escape")
