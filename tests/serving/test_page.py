"""The page in a real browser: at the width of a phone, by keyboard, through the accessibility tree."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Page, browsing, needs_chromium

from .server import running_server

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

pytestmark = [pytest.mark.slow, needs_chromium]
DONE = "document.getElementById('status').textContent === 'Done.'"
FAILED = "document.getElementById('error').textContent !== ''"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


def predict(browser: Page, url: str, photo: Path, field: str = "#file") -> None:
    browser.open(f"{url}/")
    browser.give(field, photo)
    browser.wait(DONE)


def text(browser: Page, name: str) -> str:
    return str(browser.run(f"document.getElementById('{name}').innerText"))


def test_a_photo_gets_all_parts_of_a_result(browser: Page, server_url: str, photos: Path) -> None:
    predict(browser, server_url, photos / "images" / "p1_00.jpg")
    assert "Unknown" in text(browser, "landmark")  # the network is untrained: every probability is below the threshold
    assert "below the threshold" in text(browser, "confidence")
    for name in ("Torre Añil", "Old Bridge", "2"):
        assert name in text(browser, "bars")
    assert browser.run("document.querySelectorAll('#similar img').length") == 5
    assert browser.run("[...document.images].every(image => image.naturalWidth > 0)")
    box = "document.getElementById('{}').getBoundingClientRect().toJSON()"
    map_, photo = (browser.run(box.format(name)) for name in ("map", "photo"))
    assert map_["width"] == pytest.approx(map_["height"], abs=1)  # the middle square of a photo that is wider
    assert map_["x"] + map_["width"] / 2 == pytest.approx(photo["x"] + photo["width"] / 2, abs=1)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_screen_reader_reads_the_result(browser: Page, server_url: str, photos: Path) -> None:
    predict(browser, server_url, photos / "images" / "p2_00.jpg", "#camera")
    nodes = browser.read_aloud()
    for role in ("button", "image", "checkbox", "link", "heading", "table", "rowheader", "listitem"):
        assert [name for kind, name in nodes if kind == role], role
    assert all(name for role, name in nodes if role in ("button", "image", "checkbox", "link", "heading", "rowheader"))
    assert any(name.startswith("Map over the photo: the most important place is") for _, name in nodes)
    assert browser.run("document.activeElement.id") == "result"
    assert browser.run("document.querySelector('html').lang") == "en"


def test_the_keyboard_reaches_everything(browser: Page, server_url: str, photos: Path) -> None:
    predict(browser, server_url, photos / "images" / "p3_00.jpg")
    browser.run("document.activeElement.blur(), scrollTo(0, 0), document.body.tabIndex = -1, document.body.focus()")
    reached = []
    for _ in range(5):
        browser.press("Tab", 9)
        reached.append(browser.run("document.activeElement.id || document.activeElement.tagName"))
    assert reached == ["file", "camera", "show", "SUMMARY", "A"]


def test_a_file_that_is_no_photo_gets_a_reason(browser: Page, server_url: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    browser.open(f"{server_url}/")
    browser.give("#file", tmp_path / "notes.txt")
    browser.wait(FAILED)
    assert text(browser, "error").startswith("not a photo: JPEG")
    assert browser.run("document.getElementById('result').hidden")
    browser.give("#file", photos / "images" / "p1_01.jpg")
    browser.wait(DONE)
    assert text(browser, "error") == ""


def test_the_page_describes_the_limits_and_the_version_of_the_model(browser: Page, server_url: str) -> None:
    browser.open(f"{server_url}/")
    browser.wait("document.getElementById('model').textContent !== ''")
    assert "trained on 3 landmarks" in text(browser, "limits")
    assert "Below a probability of 50 %" in text(browser, "limits")
    assert "as recorded in dvc.lock" in str(browser.run("document.getElementById('model').textContent"))


def test_the_page_asks_for_a_required_key(browser: Page, answering: "Predictor", photos: Path) -> None:
    with running_server(answering, key="sesame") as address:
        browser.open(f"{address}/")
        browser.wait("!document.getElementById('keyfield').hidden")
        key = "document.getElementById('key')"
        browser.run(f"{key}.value = 'sesame', {key}.dispatchEvent(new Event('change'))")
        browser.give("#file", photos / "images" / "p1_01.jpg")
        browser.wait(DONE)
        assert browser.run("document.getElementById('neighbours').hidden")  # this server has no training photos
