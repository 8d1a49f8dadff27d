"""The page in Chromium, as people use it: with a mouse, with keys, in the dark, on a telephone, on paper.

Every page that a test opens must load nothing but itself and say nothing in the console (a breach of its content security
policy would stand there).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import written_runs as written
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hpcscale.ingest import schema
from hpcscale.report.build import Report, build
from hpcscale.report.columns import lay_out
from hpcscale.report.page import document, save
from hpcscale.report.scaling import with_scaling

CHROMIUM = shutil.which("chromium")
# Without a sandbox (CI is root in a container) and without the services that look for a network.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DOCUMENTS = ("megatron_30b_fugaku", "mpt_llm_foundry", "torchtitan", "nanotron_nemo", "fmengine")
HOSTILE = "</script><img src=x onerror=alert(1)>"
PSEUDO_HTML = '<a href="javascript:alert(2)">click</a><br><b>bold</b>%{x}\u2028$x$'
Open = Callable[..., Page]
expect.set_options(timeout=15_000)  # other workers compute meanwhile


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("HPCSCALE_REQUIRE_CHROMIUM"):
            pytest.fail("there is no chromium (apt-get install chromium)")
        pytest.skip("there is no chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """``open_page("torchtitan")`` shows the page of that document; a Report or a folder of runs will do as well.

    ``charts=False``: as for rows without figures, which spares Chromium five megabytes of plotly.js.
    """
    problems: list[str] = []
    contexts = []

    def opened(what: str | Report | Path, charts: bool = True, foresee: bool = False, **options: Any) -> Page:
        arguments = [str(what)] if isinstance(what, str | Path) else ["rows"]
        report = what if isinstance(what, Report) else build(arguments, tmp_path, foresee=foresee)
        path = tmp_path / f"{len(contexts)}.html"
        with monkeypatch.context() as without:
            if not charts:
                without.setattr(document, "drawable", lambda _: False)
            save.save(report, arguments, tmp_path, path)
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url == path.as_uri() or request.url.startswith("data:,") or problems.append(request.url))  # fmt: skip
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def column(page: Page, title: str) -> list[str]:
    """The cells of the column of that title, as shown."""
    titles = [each.replace("\n", " ").replace(" /", "/") for each in page.locator("#table thead th").all_inner_texts()]
    place = next(i for i, each in enumerate(titles) if each.strip() == title)
    return page.locator(f"#table tbody tr > :nth-child({place + 1})").all_inner_texts()


def numbers(texts: list[str]) -> list[float]:
    return [float(each.replace(",", "")) for each in texts if each != "–"]


def shown_rows(page: Page) -> list[int]:
    return [int(each) for each in page.locator("#table tbody th").all_inner_texts()]


def drawn(page: Page, chart: str) -> Any:
    """A chart's card, scrolled to and drawn."""
    card = page.locator(f'[data-chart="{chart}"]')
    card.scroll_into_view_if_needed()
    card.locator(".main-svg").first.wait_for()
    return card


def points(page: Page, chart: str) -> int:
    """How many markers a chart shows."""
    return drawn(page, chart).locator(".scatterlayer .point").count()


def rows_of(*rows: dict[str, Any]) -> Report:
    start = {"origin": "measured", "status": "completed", "source": "s"}
    frame = with_scaling(schema.frame([{**start, **row} for row in rows]))
    return Report(frame, schema.rows(frame), [], [], [], [])


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


def test_charts_are_those_that_the_rows_have_figures_for(open_page: Open, tmp_path: Path):
    charts = {}
    for name, what in (("fugaku", "megatron_30b_fugaku"), ("torchtitan", "torchtitan")):
        page = open_page(what)
        charts[name] = [each.get_attribute("data-chart") for each in page.locator(".card").all()]
    page = open_page(written.write_scaling(tmp_path))
    charts["measured"] = [each.get_attribute("data-chart") for each in page.locator(".card").all()]
    assert charts == {
        "fugaku": ["throughput", "per-device", "efficiency", "memory", "conventions", "layouts"],
        "torchtitan": ["per-device", "conventions"],
        "measured": ["throughput", "per-device", "efficiency", "memory", "losses", "conventions", "layouts"],
    }
    for chart in charts["measured"]:
        drawn(page, chart)


def test_a_study_shows_what_its_predictions_consist_of(open_page: Open):
    page = open_page("30b_scaling", foresee=True)
    card = drawn(page, "terms")
    assert card.locator(".barlayer .trace").count() >= 8
    expect(card.locator(".said")).to_contain_text("19 predicted rows")
    card.locator("select").select_option("share")
    expect(card.locator(".xtitle")).to_have_text("% of the predicted step")


def test_energy_is_drawn_where_rows_have_it(open_page: Open):
    row = {"model": "m", "devices": 8, "tokens_per_second": 10.0, "tokens_per_second_per_device": 1.25}
    report = rows_of(row, {**row, "devices": 16})
    for each in report.rows:
        each.update(energy_joules_per_step=100.0, tokens_per_joule=2.5)
    page = open_page(report)
    card = drawn(page, "energy")
    assert card.locator(".scatterlayer .point").count() == 2
    assert card.locator("select option").all_inner_texts() == ["tokens per joule", "joules a step"]


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


def test_a_choice_for_each_setting_filters_table_and_charts(open_page: Open):
    page = open_page("megatron_30b_fugaku")
    before = points(page, "throughput")
    page.locator("#filters").get_by_label("Model").select_option(label="gpt-30b-7176 (4)")
    assert shown_rows(page) == [13, 14, 15, 16]
    expect(page.locator("[data-chart=throughput] .scatterlayer .point")).to_have_count(4)
    assert before == 14
    page.get_by_role("button", name="Clear").click()
    assert len(shown_rows(page)) == 16


def test_a_chart_whose_rows_are_all_filtered_away_says_so(open_page: Open):
    page = open_page("megatron_30b_fugaku")
    drawn(page, "memory")
    page.locator("#words").fill("june")
    expect(page.locator('[data-chart="memory"] .empty')).to_be_visible()


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


def test_a_point_of_a_chart_opens_its_row(open_page: Open):
    page = open_page("torchtitan")
    card = drawn(page, "per-device")
    card.locator(".barlayer .point").nth(2).click(force=True)
    expect(page.get_by_role("dialog", name="Row 3")).to_be_visible()


def test_each_chart_has_its_figures_as_text(open_page: Open):
    page = open_page("megatron_30b_fugaku")
    card = drawn(page, "efficiency")
    label = card.locator(".plot").get_attribute("aria-label")
    assert label is not None and label.startswith("Scaling efficiency: 3 series, 192 to 6,144 devices")
    card.get_by_text("Figures as a table").click()
    expect(card.get_by_role("row", name="12 gpt-30b tp4 AC full June 6,144 strong 43.83")).to_be_visible()


def test_the_dark_page_is_dark_and_can_be_switched(open_page: Open):
    page = open_page("torchtitan", color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('[data-chart] .xtick text')).fill"
    drawn(page, "per-device")
    assert page.evaluate(ground) == "rgb(20, 24, 29)" and page.evaluate(ink) == "rgb(230, 233, 237)"
    page.get_by_role("button", name="Switch to light colours").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    drawn(page, "per-device")
    expect(page.locator("[data-chart] .xtick text").first).to_have_css("fill", "rgb(27, 31, 36)")
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"  # what was chosen stays


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


def test_paper_has_every_row_and_names_the_columns_that_do_not_fit(open_page: Open):
    page = open_page("mpt_llm_foundry", color_scheme="dark")
    page.set_viewport_size({"width": 1047, "height": 718})  # A4 across, less its margins
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert len(shown_rows(page)) == 198
    said = page.locator("#unprinted").inner_text()
    assert said.startswith("Not printed for want of room: ") and "samples/s" in said
    assert page.locator("#table thead button").count() == 0
    assert page.locator("#table").evaluate("each => each.scrollWidth") <= 1047
    assert page.locator(".card .main-svg").count() >= 8
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert len(shown_rows(page)) == 50 and page.locator("#table thead button").count() > 20


def test_printing_makes_a_document_of_several_sheets(open_page: Open):
    printed = open_page("megatron_30b_fugaku").pdf(prefer_css_page_size=True)
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


def test_one_row_without_numbers_is_a_page(open_page: Open):
    page = open_page(rows_of({"model": "m", "status": "missing", "point": "dp1"}))
    assert shown_rows(page) == [1] and page.locator("#charts").count() == 0
    page.locator("#table tbody button").click()
    expect(page.get_by_role("dialog")).to_contain_text("This row has no figures.")


def test_one_row_with_numbers_is_a_page(open_page: Open):
    page = open_page(
        rows_of({"model": "m", "devices": 1, "tokens_per_second": 10.0, "tokens_per_second_per_device": 10.0})
    )
    drawn(page, "per-device")
    assert page.locator(".card").count() == 1


def test_a_report_without_rows_is_a_page(open_page: Open):
    page = open_page(Report(schema.empty(), [], [], [], [], []))
    expect(page.locator("#table tbody")).to_have_text("No row matches.")


def test_the_command_writes_the_page_beside_its_table(cli: Callable[..., Any], tmp_path: Path):
    done = cli("report", "torchtitan", "--html", "pages/t.html")
    assert done.returncode == 0 and "llama3-8b" in done.stdout and "page written to pages/t.html" in done.stderr
    assert (tmp_path / "pages/t.html").stat().st_size > 4_000_000
    done = cli("report", "torchtitan", "--html", "t.pdf")
    assert (done.returncode, done.stdout) == (2, "") and "a page is written as .html, not '.pdf'" in done.stderr
