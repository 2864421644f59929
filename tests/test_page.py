"""The page as people use it: in a real browser, as wide as a phone, by keyboard, read aloud."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Page, browsing, needs_chromium
from test_serve import at_work

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

pytestmark = [
    pytest.mark.slow,
    needs_chromium,
]
DONE = "document.getElementById('status').textContent === 'Done.'"
FAILED = "document.getElementById('error').textContent !== ''"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def url(answering: Predictor, photos: Path, split: Path) -> Iterator[str]:
    from landmarks.serving import similar

    with at_work(answering, learn=partial(similar.learn, answering, photos / "images", split)) as address:
        yield f"{address}/"


def text(browser: Page, name: str) -> str:
    return str(browser.run(f"document.getElementById('{name}').innerText"))


def test_a_photo_gets_its_place_the_shares_a_map_and_its_like(browser: Page, url: str, photos: Path) -> None:
    browser.open(url)
    browser.give("#file", photos / "images" / "p1_00.jpg")
    browser.wait(DONE)
    assert "does not know" in text(browser, "place")  # it has learnt nothing, and says so
    assert "If it had to guess" in text(browser, "sure")
    for name in ("Torre Añil", "Old Bridge", "2"):
        assert name in text(browser, "bars")
    assert browser.run("document.querySelectorAll('#similar img').length") == 5
    assert browser.run("[...document.images].every(image => image.naturalWidth > 0)")
    map_, photo = (
        browser.run(f"document.getElementById('{name}').getBoundingClientRect().toJSON()") for name in ("map", "photo")
    )
    assert map_["width"] == pytest.approx(map_["height"], abs=1)  # the middle square of a photo that is wider
    assert map_["x"] + map_["width"] / 2 == pytest.approx(photo["x"] + photo["width"] / 2, abs=1)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_screen_reader_meets_names_and_shares_and_the_answer_has_the_focus(
    browser: Page, url: str, photos: Path
) -> None:
    browser.open(url)
    browser.give("#camera", photos / "images" / "p2_00.jpg")
    browser.wait(DONE)
    heard = browser.read_aloud()
    for role in ("button", "image", "checkbox", "link", "heading", "table", "rowheader", "listitem"):
        assert [name for kind, name in heard if kind == role], role
    assert all(name for role, name in heard if role in ("button", "image", "checkbox", "link", "heading", "rowheader"))
    assert any(name.startswith("Map over the photo: what matters most lies") for _, name in heard)
    assert browser.run("document.activeElement.id") == "said"
    assert browser.run("document.querySelector('html').lang") == "en"


def test_the_keyboard_reaches_everything(browser: Page, url: str, photos: Path) -> None:
    browser.open(url)
    browser.give("#file", photos / "images" / "p3_00.jpg")
    browser.wait(DONE)
    browser.run("document.activeElement.blur(), scrollTo(0, 0)")
    browser.run("document.body.tabIndex = -1, document.body.focus()")
    reached = []
    for _ in range(5):
        browser.press("Tab", 9)
        reached.append(browser.run("document.activeElement.id || document.activeElement.tagName"))
    assert reached == ["file", "camera", "show", "SUMMARY", "A"]


def test_what_is_no_photo_is_said_in_words_and_the_next_photo_is_answered(
    browser: Page, url: str, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    browser.open(url)
    browser.give("#file", tmp_path / "notes.txt")
    browser.wait(FAILED)
    assert text(browser, "error").startswith("not a photo: JPEG")
    assert browser.run("document.getElementById('said').hidden")
    browser.give("#file", photos / "images" / "p1_01.jpg")
    browser.wait(DONE)
    assert text(browser, "error") == ""


def test_it_tells_what_the_model_does_not_know_and_which_it_is(browser: Page, url: str) -> None:
    browser.open(url)
    browser.wait("document.getElementById('model').textContent !== ''")
    assert "taught 3 landmarks" in text(browser, "knows")
    assert "Below 50 %" in text(browser, "knows")
    assert "as dvc.lock has it" in str(browser.run("document.getElementById('model').textContent"))


def test_a_key_is_asked_for_where_the_server_wants_one(browser: Page, answering: Predictor, photos: Path) -> None:
    with at_work(answering, key="sesame") as address:
        browser.open(f"{address}/")
        browser.wait("!document.getElementById('ask').hidden")
        browser.run("document.getElementById('key').value = 'sesame'")
        browser.run("document.getElementById('key').dispatchEvent(new Event('change'))")
        browser.give("#file", photos / "images" / "p1_01.jpg")
        browser.wait(DONE)
        assert browser.run("document.getElementById('alike').hidden")  # no training photos are there
