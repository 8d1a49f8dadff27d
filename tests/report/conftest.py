"""What tests of archives and pages share: making or opening one takes seconds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import archives
import pytest
from pages import FLAGS, Open, Pages
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study with runs and its archive, s.tar.gz; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    archives.make(folder)
    return folder


@pytest.fixture
def archive(made: Path) -> Path:
    return made / "s.tar.gz"


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("HPCSCALE_REQUIRE_CHROMIUM"):
            pytest.fail("there is no chromium (apt-get install chromium)")
        pytest.skip("there is no chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield Pages(browser, tmp_path_factory.mktemp("pages"))
        browser.close()


@pytest.fixture
def open_page(pages: Pages) -> Iterator[Open]:
    """``open_page("torchtitan")`` shows the page of that document, which is closed afterwards."""
    opened = []

    def open_one(*arguments: object, **options: object):
        opened.append(pages.open(*arguments, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for page in opened:
        page.context.close()
    _nothing_said(pages)


@pytest.fixture
def shared_page(pages: Pages) -> Iterator[Open]:
    """``shared_page("torchtitan")`` is the same page for all tests; they leave its theme, sorting and columns as they are."""
    yield pages.shared
    _nothing_said(pages)


def _nothing_said(pages: Pages) -> None:
    said, pages.problems[:] = list(pages.problems), []
    assert said == []
