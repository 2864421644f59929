"""The report in a browser: on a desk, on a phone and on paper. One Chromium for all."""

import base64
import importlib.resources
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Page, browsing, needs_chromium
from PIL import Image
from report_inputs import make, write

AXE = importlib.resources.files("axe_core_python") / "axe.min.js"
CUT = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollHeight > e.clientHeight + 1 && getComputedStyle(e).overflowY !== 'visible').length"
pytestmark = [needs_chromium, pytest.mark.slow]


@pytest.fixture(scope="module")
def report(photos: Path, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("left")
    write(make(folder, photos, split), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (360, "light"), (360, "dark")])
def test_a_browser_shows_it_on_a_phone_and_a_desk(page: Page, report: Path, width: int, scheme: str) -> None:
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.open(report, width, 800)
    assert page.complaints() == []
    assert {address for address in page.asked() if not address.startswith("data:")} == {report.as_uri()}
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("document.title").startswith("Which")
    broken = "Promise.all([...document.images].map(i => i.decode())).then(() => [...document.images].filter(i => !i.naturalWidth).length)"
    assert page.run(broken) == 0
    picture = np.asarray(Image.open(io.BytesIO(page.picture())).convert("L"), float)
    assert picture.shape == (800, width)
    assert picture.std() > 20
    page.run(f"{AXE.read_text()}; 0")
    found = page.run("axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 200)))")
    assert found == []
    if width == 360:
        assert page.run("document.documentElement.scrollHeight") <= 20 * 800
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.run("document.documentElement.scrollWidth") <= width


def test_a_link_opens_what_is_folded(page: Page, report: Path) -> None:
    page.open(report)
    assert page.run("document.querySelector('#confusion-bayes').closest('details').open") is False
    page.run("document.querySelector('a[href=\"#confusion-bayes\"]').click()")
    page.wait("document.querySelector('#confusion-bayes').closest('details').open")


def test_it_prints_whole(page: Page, report: Path) -> None:
    """On paper nothing can be scrolled: no box is cut, and the pages are not blank."""
    page.open(report, 718, 1000)  # the width of an A4 page within its margins
    page.ask("Emulation.setEmulatedMedia", media="print")
    cut = page.run(CUT)
    page.ask("Emulation.setEmulatedMedia", media="")
    assert cut == 0
    printed = page.ask("Page.printToPDF", printBackground=True)["data"]
    assert len(printed) > 100_000
    assert 5 <= len(re.findall(rb"/Type\s*/Page[^s]", base64.b64decode(printed))) <= 14
