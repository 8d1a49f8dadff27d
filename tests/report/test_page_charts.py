"""The page's charts in Chromium, with a mouse and with keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import written_runs as written
from pages import Open, drawn, points, rows_of, shown_rows, sizes
from playwright.sync_api import expect


def test_charts_are_those_that_the_rows_have_figures_for(open_page: Open, shared_page: Open, tmp_path: Path):
    charts = {}
    for name, what in (("fugaku", "megatron_30b_fugaku"), ("torchtitan", "torchtitan")):
        page = shared_page(what)
        charts[name] = [each.get_attribute("data-chart") for each in page.locator(".card").all()]
    page = open_page(written.write_scaling(tmp_path))
    charts["measured"] = [each.get_attribute("data-chart") for each in page.locator(".card").all()]
    assert charts == {
        "fugaku": ["throughput", "per-device", "efficiency", "memory", "conventions", "layouts"],
        "torchtitan": ["per-device", "conventions"],
        "measured": ["throughput", "per-device", "efficiency", "memory", "losses", "conventions", "layouts"],
    }
    for chart in charts["measured"]:
        drawn(page, chart or "")


def test_a_study_shows_what_its_predictions_consist_of(shared_page: Open):
    page = shared_page("30b_scaling", foresee=True)
    card = drawn(page, "terms")
    assert card.locator(".barlayer .trace").count() >= 8
    expect(card.locator(".said")).to_contain_text("19 predicted rows")
    card.locator("select").focus()
    card.locator("select").select_option("share")
    expect(card.locator(".xtitle")).to_have_text("% of the predicted step")
    expect(card.locator("select")).to_be_focused()


def test_energy_is_drawn_where_rows_have_it(open_page: Open):
    row = {"model": "m", "devices": 8, "tokens_per_second": 10.0, "tokens_per_second_per_device": 1.25}
    report = rows_of(row, {**row, "devices": 16})
    for each in report.rows:
        each.update(energy_joules_per_step=100.0, tokens_per_joule=2.5)
    page = open_page(report)
    card = drawn(page, "energy")
    assert card.locator(".scatterlayer .point").count() == 2
    assert card.locator("select option").all_inner_texts() == ["tokens per joule", "joules a step"]


def test_a_choice_for_each_setting_filters_table_and_charts(shared_page: Open):
    page = shared_page("megatron_30b_fugaku")
    before = points(page, "throughput")
    page.locator("#filters").get_by_label("Model").select_option(label="gpt-30b-7176 (4)")
    assert shown_rows(page) == [13, 14, 15, 16]
    expect(page.locator("[data-chart=throughput] .scatterlayer .point")).to_have_count(4)
    assert before == 14
    page.get_by_role("button", name="Clear").click()
    assert len(shown_rows(page)) == 16


def test_a_chart_whose_rows_are_all_filtered_away_says_so(shared_page: Open):
    page = shared_page("megatron_30b_fugaku")
    drawn(page, "memory")
    page.locator("#words").fill("june")
    expect(page.locator('[data-chart="memory"] .empty')).to_be_visible()


def test_a_point_of_a_chart_opens_its_row(shared_page: Open):
    page = shared_page("torchtitan")
    card = drawn(page, "per-device")
    card.locator(".barlayer .point").nth(2).click(force=True)
    expect(page.get_by_role("dialog", name="Row 3")).to_be_visible()


def test_each_chart_has_its_figures_as_text(shared_page: Open):
    page = shared_page("megatron_30b_fugaku")
    card = drawn(page, "efficiency")
    label = card.locator(".plot").get_attribute("aria-label")
    assert label is not None and label.startswith("Scaling efficiency: 3 series, 192 to 6,144 devices")
    card.get_by_text("Figures as a table").click()
    expect(card.get_by_role("row", name="12 gpt-30b tp4 AC full June 6,144 strong 43.83")).to_be_visible()


def test_one_row_with_numbers_is_a_page(open_page: Open):
    page = open_page(
        rows_of({"model": "m", "devices": 1, "tokens_per_second": 10.0, "tokens_per_second_per_device": 10.0})
    )
    drawn(page, "per-device")
    assert page.locator(".card").count() == 1


def test_charts_are_walked_with_keys(shared_page: Open):
    page = shared_page("megatron_30b_fugaku")
    card = drawn(page, "per-device")
    plot, said = card.locator(".plot"), card.locator("[role=status]")
    plot.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()  # nothing is selected yet
    page.keyboard.press("ArrowRight")
    expect(said).to_have_text("2 gpt-30b tp4 AC full April × 192, 4.404 tokens/s/device on 192 nodes")
    expect(card.locator(".hovertext")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    expect(said).to_contain_text("on 3,072 nodes")
    page.keyboard.press("End")
    last = said.inner_text()
    page.keyboard.press("ArrowRight")
    expect(said).to_have_text(last)
    page.keyboard.press("ArrowDown")
    expect(said).to_contain_text("tp8")
    page.keyboard.press("ArrowDown")
    expect(said).to_contain_text("June")
    page.keyboard.press("End")
    page.keyboard.press("Home")
    expect(said).to_contain_text("on 192 nodes")
    row = said.inner_text().split()[0]
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name=f"Row {row}")).to_be_visible()
    page.keyboard.press("Escape")
    expect(plot).to_be_focused()
    page.keyboard.press("Tab")
    expect(card.locator(".hovertext")).to_have_count(0)


def test_a_heat_map_and_bars_are_walked_too(shared_page: Open):
    page = shared_page("megatron_30b_fugaku")
    for chart, start in (("layouts", "tokens/s/device"), ("conventions", " % as "), ("memory", "GiB")):
        card = drawn(page, chart)
        card.locator(".plot").focus()
        page.keyboard.press("ArrowDown")
        expect(card.locator("[role=status]")).to_contain_text(start)
        expect(card.locator(".hovertext")).to_have_count(1)
    page = shared_page("torchtitan")
    card = drawn(page, "per-device")
    card.locator(".plot").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(card.locator("[role=status]")).to_contain_text("3 llama3-70b")


def test_after_a_filter_keys_walk_what_is_left(shared_page: Open):
    page = shared_page("torchtitan")
    card = drawn(page, "per-device")
    card.locator(".plot").focus()
    page.keyboard.press("End")
    page.locator("#words").fill("llama3-70b")
    drawn(page, "per-device").locator(".plot").focus()
    expect(card.locator("[role=status]")).to_have_text("")
    page.keyboard.press("End")
    row = card.locator("[role=status]").inner_text().split()[0]
    assert int(row) == shown_rows(page)[-1]


def test_slower_rows_of_a_size_and_points_without_room_are_counted(open_page: Open):
    slower = sizes(8, 16, tokens_per_second=1.0, micro_batch_size=1)
    fast = sizes(8, 16, micro_batch_size=1)
    others = [row for i in range(410) for row in sizes(8, machine=f"machine{i}")]
    page = open_page(rows_of(*fast, *slower, *others))
    card = drawn(page, "throughput")
    expect(card.locator(".said")).to_contain_text("of each size the fastest row, without 2 slower")
    expect(card.locator(".legendtext", has_text="of other series")).to_contain_text(" of 401 rows of other series")


def test_charts_wait_until_nobody_types(shared_page: Open):
    page = shared_page("megatron_30b_fugaku")
    drawn(page, "throughput")
    waited = page.evaluate("""async () => {
      const card = document.querySelector('[data-chart=throughput]');
      const words = document.getElementById('words');
      let typed = 0;
      const drawn = new Promise((done) => new MutationObserver((_, watch) => {
        if (!card.hasAttribute('aria-busy')) { watch.disconnect(); done(performance.now() - typed); }
      }).observe(card, { attributes: true }));
      for (const text of ['j', 'ju', 'jun', 'june']) {
        words.value = text;
        typed = performance.now();
        words.dispatchEvent(new Event('input'));
        scrollTo(0, text.length % 2 ? 0 : 9999); // other charts come near
        await new Promise((done) => setTimeout(done, 60));
        scrollTo(0, 600);
      }
      return Promise.race([drawn, new Promise((done) => setTimeout(() => done(null), 10_000))]);
    }""")
    assert waited is not None and waited >= 149


def test_charts_and_panel_have_the_figures_in_their_units(open_page: Open):
    row = {"model": "m", "global_batch_size": 8, "step_seconds": 2.0, "step_seconds_low": 1.0, "step_seconds_high": 2.5, "peak_memory_bytes": 2**34}  # fmt: skip
    small = {**row, "devices": 8, "tokens_per_second": 80.0, "tokens_per_second_per_device": 10.0}
    large = {**row, "devices": 16, "tokens_per_second": 128.0, "tokens_per_second_per_device": 8.0}
    page = open_page(rows_of(small, large))
    found = {}
    for chart in ("throughput", "efficiency", "memory"):
        drawn(page, chart)
        found[chart] = page.evaluate(f"document.getElementById('chart-{chart}').data.map(t => ({{ y: t.y, error: t.error_y, dash: t.line && t.line.dash }}))")  # fmt: skip
    ideal, curve = found["throughput"]
    assert (ideal["dash"], ideal["y"], curve["y"]) == ("dash", [80, 160], [80, 128])
    assert curve["error"]["array"] == [80, 128] and curve["error"]["arrayminus"] == pytest.approx([16, 25.6])
    assert found["efficiency"][0]["y"] == [100, 80] and found["memory"][0]["y"] == [16, 16]
    page.locator("#table tbody button").last.click()
    expect(page.locator("[data-figure=peak_memory_bytes] .value")).to_have_text("16.00 GiB")
    expect(page.locator("[data-figure=efficiency] .value")).to_have_text("80.00 %")


def test_mfu_by_convention_is_tokens_times_each_conventions_flops_over_the_peak(shared_page: Open):
    page = shared_page("megatron_30b_fugaku")
    card = drawn(page, "conventions")
    traces = page.evaluate("document.getElementById('chart-conventions').data.map(t => ({ row: t.customdata[0], mfu: Object.fromEntries(t.x.map((name, i) => [name, t.y[i]])), filled: t.x.filter((_, i) => t.marker.symbol[i] === 'circle') }))")  # fmt: skip
    (second,) = (each for each in traces if each["row"] == 1)
    # 192 nodes of 6.144 TFLOP/s: 4.4043 tokens/s each, of a model with 29,977,507,840 parameters, 48 layers, 7168 wide, over 2,048
    whole = 6 * 29_977_507_840 + 12 * 48 * 7168 * 2048
    assert second["mfu"]["6N"] == pytest.approx(100 * 4.404301 * whole / 6.144e12, rel=1e-6)
    assert second["mfu"]["eq3-hardware"] == pytest.approx(100 * 1.1020193 / 6.144 * 3 / 4, rel=1e-6), (
        "a pass of four was recomputed"
    )
    assert second["filled"] == ["eq3-hardware"], "the document counts so"
    card.get_by_text("Figures as a table").click()
    expect(
        card.get_by_role("row", name=f"2 {second['mfu']['palm-full']:.2f} {second['mfu']['6N']:.2f} ")
    ).to_be_visible()


def test_a_heat_map_shows_the_fastest_row_of_each_layout(open_page: Open):
    rows = [
        {"model": "m", "machine": "x", "devices": 8, "tp": tp, "pp": pp, "tokens_per_second": 8 * rate, "tokens_per_second_per_device": rate}
        for tp, pp, rate in ((1, 1, 3.0), (1, 1, 5.0), (1, 1, 4.0), (2, 1, 2.0), (2, 4, 1.0))
    ]  # fmt: skip
    page = open_page(rows_of(*rows))
    drawn(page, "layouts")
    (found,) = page.evaluate("document.getElementById('chart-layouts').data.map(t => ({ x: t.x, y: t.y, z: t.z, rows: t.customdata }))")  # fmt: skip
    assert (found["x"], found["y"]) == (["pp 1", "pp 4"], ["tp 1", "tp 2"])
    assert (found["z"], found["rows"]) == ([[5, None], [2, 1]], [[1, None], [3, 4]])
