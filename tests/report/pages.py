"""Pages for tests: made, opened in Chromium, and read as a person sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, ViewportSize, expect

from hpcscale.ingest import schema
from hpcscale.report.build import Report, build
from hpcscale.report.page import document, save
from hpcscale.report.scaling import with_scaling

DOCUMENTS = ("megatron_30b_fugaku", "mpt_llm_foundry", "torchtitan", "nanotron_nemo", "fmengine")
# Without a sandbox (CI is root in a container) and without the services that look for a network.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZE = ViewportSize(width=1280, height=900)
Open = Callable[..., Page]
expect.set_options(timeout=15_000)  # other workers compute meanwhile


class Pages:
    """Opens pages, each of which must load nothing but itself and say nothing in the console (a breach of its content security policy
    would stand there). What a page is made of is made once."""

    def __init__(self, browser: Browser, folder: Path):
        self._browser, self._folder = browser, folder
        self._made: dict[tuple[Any, ...], Path] = {}
        self._kept: dict[str, Page] = {}
        self.problems: list[str] = []

    def open(self, what: str | Report | Path, charts: bool = True, foresee: bool = False, **options: Any) -> Page:
        """Of a document, a Report or a folder of runs. ``charts=False``: as for rows without figures, which spares Chromium five
        megabytes of plotly.js."""
        path = self._file(what, charts, foresee)
        page = self._browser.new_context(viewport=SIZE, **options).new_page()
        page.set_default_timeout(15_000)
        self._watch(page, path.as_uri())
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    def _watch(self, page: Page, address: str) -> None:
        say = self.problems.append

        def dismiss(dialog: Dialog) -> None:
            say(f"dialog: {dialog.message}")
            dialog.dismiss()

        def check(request: Request) -> None:
            if request.url != address and not request.url.startswith("data:,"):
                say(request.url)

        page.on("console", lambda message: say(f"console: {message.text}"))
        page.on("pageerror", lambda error: say(f"error: {error}"))
        page.on("dialog", dismiss)
        page.on("request", check)

    def shared(self, name: str, foresee: bool = False) -> Page:
        """The one page of a document that tests use in turn: opening it takes longest. As it opens, but for charts drawn."""
        if name not in self._kept:
            self._kept[name] = self.open(name, foresee=foresee)
            return self._kept[name]
        page = self._kept[name]
        page.set_viewport_size(SIZE)
        page.emulate_media(media="screen", color_scheme="light")
        page.keyboard.press("Escape")
        if page.locator("#clear").is_enabled():
            page.locator("#clear").click()
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        return page

    def _file(self, what: str | Report | Path, charts: bool, foresee: bool) -> Path:
        key = (what if isinstance(what, str) else id(what), charts, foresee)
        if not isinstance(what, str) or key not in self._made:
            arguments = [str(what)] if isinstance(what, str | Path) else ["rows"]
            report = what if isinstance(what, Report) else build(arguments, self._folder, foresee=foresee)
            path = self._folder / f"{len(list(self._folder.iterdir()))}.html"
            with pytest.MonkeyPatch.context() as without:
                if not charts:
                    without.setattr(document, "drawable", lambda _: False)
                save.save(report, arguments, self._folder, path)
            self._made[key] = path
        return self._made[key]


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
    """A chart's card, scrolled to and drawn as the rows are."""
    card = page.locator(f'[data-chart="{chart}"]')
    card.scroll_into_view_if_needed()
    page.locator(f'[data-chart="{chart}"]:not([aria-busy]) .main-svg').first.wait_for()
    return card


def points(page: Page, chart: str) -> int:
    """How many markers a chart shows."""
    return drawn(page, chart).locator(".scatterlayer .point").count()


def rows_of(*rows: dict[str, Any]) -> Report:
    start = {"origin": "measured", "status": "completed", "source": "s"}
    frame = with_scaling(schema.frame([{**start, **row} for row in rows]))[0]
    return Report(frame, schema.rows(frame), [], [], [], [])


def sizes(*devices: int, **more: Any) -> list[dict[str, Any]]:
    """Rows of a series at these sizes that scales perfectly: 10 tokens/s a device."""
    return [
        {"model": "m", "devices": n, "global_batch_size": 8, "tokens_per_second": 10.0 * n, "tokens_per_second_per_device": 10.0, **more}
        for n in devices
    ]  # fmt: skip
