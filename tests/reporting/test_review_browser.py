"""The review page in a browser: by keyboard and by mouse, on a desk and on a phone, and the file that it saves."""

import importlib.resources
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, browsing, needs_chromium

from landmarks.demo import renderer
from landmarks.images import decoding
from landmarks.privacy import redaction, verdicts
from landmarks.privacy.verdicts import Verdict
from landmarks.reporting import review
from landmarks.reporting.review import Question

AXE = importlib.resources.files("axe_core_python") / "axe.min.js"
pytestmark = [needs_chromium, pytest.mark.slow]
NAMES = ('a, "first" photo', "second", "third")
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "ArrowUp": 38, "ArrowDown": 40, "Enter": 13, "Escape": 27}
EARLIER = [
    Verdict("e" * 64, "elsewhere", (1, 2, 3, 4), "face", 2),
    Verdict("b" * 64, "second", (30, 40, 50, 60), "face", 3),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a photo in quarantine, a detection left readable and one obscured, of photos of 640 x 480 pixels."""
    folder = tmp_path_factory.mktemp("review")
    prepared = review.Review(left_out=3, hopeless=[("broken", "cannot be read: not a photo")])
    questions = [
        Question("quarantined", NAMES[0], "a" * 64, cover=((10, 20, 30, 40),), found=((60, 60, 9, 9),)),
        Question("readable", NAMES[1], "b" * 64, box=(30, 40, 50, 60), score=0.29),
        Question("obscured", NAMES[2], "c" * 64, box=(500, 100, 50, 60), score=0.31),
    ]
    for number, question in enumerate(questions):
        original = folder / f"{number}.jpg"
        original.write_bytes(renderer.photo(7, 1, number))
        picture = decoding.read(original)
        prepared.photos[question.source] = review._frame(picture, review.SIDE)
        prepared.files[question.source] = original
        if question.box:
            prepared.crops[question] = review._crop(picture, question.box)
    prepared.questions = questions
    review.write(folder / "review.html", prepared, EARLIER, Path("data/verdicts.csv"), "dvc repro")
    return folder / "review.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(browser: Page, written: Path) -> Page:
    """The page, without what an earlier test left."""
    browser.open(written, 1200, 900)
    browser.run("localStorage.clear()")
    browser.open(written, 1200, 900)
    return browser


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.press(key, KEYS.get(key, ord(key[0].upper())))


def text(page: Page, name: str) -> str:
    return str(page.run(f"document.getElementById('{name}').textContent"))


def saved(page: Page, folder: Path) -> dict[tuple[str, redaction.Box | None], str]:
    """What the stage reads from the file that the button gives."""
    page.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.run("document.getElementById('save').click()")
    page.wait("true")
    for _ in range(200):
        if (folder / "verdicts.csv").is_file():
            break
        page.run("new Promise(done => setTimeout(done, 50))")
    return {(one.photo, one.box): one.verdict for one in verdicts.read(folder / "verdicts.csv")}


def test_keys_decide_and_the_stage_reads_what_is_saved(page: Page, tmp_path: Path) -> None:
    assert text(page, "title").startswith("1 of 3. In quarantine: a face is still found")
    press(page, "a")
    assert text(page, "status") == "Question 1: No face is readable: let it pass. 2 left."
    assert text(page, "title").startswith("2 of 3. Found, but not obscured: second, score 0.29")
    press(page, "r", "r")
    assert "All are decided" in text(page, "status")
    assert text(page, "count") == "3 of 3, faces added: 0, not saved"
    assert saved(page, tmp_path) == {
        ("elsewhere", (1, 2, 3, 4)): "face",  # kept from before
        (NAMES[0], (10, 20, 30, 40)): "face",  # what was obscured when a person let the photo pass
        (NAMES[0], None): "pass",
        ("second", (30, 40, 50, 60)): "not_a_face",  # decided anew
        ("third", (500, 100, 50, 60)): "not_a_face",
    }
    assert text(page, "count") == "3 of 3, faces added: 0"
    assert page.complaints() == []


def test_keys_move_and_undo(page: Page) -> None:
    press(page, "j", "ArrowRight", "j", "k")
    assert text(page, "title").startswith("2 of 3")
    press(page, "a")
    assert text(page, "title").startswith("3 of 3")
    press(page, "a")
    assert text(page, "title").startswith("1 of 3")
    press(page, "u", "u")
    assert text(page, "title").startswith("2 of 3")
    assert text(page, "count").startswith("0 of 3")
    page.run("document.getElementById('keys').click()")
    press(page, "a")
    assert text(page, "count").startswith("0 of 3")


def test_the_mouse_decides_too_and_a_decision_can_be_changed(page: Page) -> None:
    page.run("document.querySelectorAll('#list button')[2].click()")
    page.run("document.getElementById('reject').click()")
    page.run("document.querySelectorAll('#list button')[2].click()")
    assert page.run("document.getElementById('reject').ariaPressed") == "true"
    page.run("document.getElementById('accept').click()")
    assert page.run("rows().filter(row => row[1] === 'third').map(row => row[6])") == ["face"]


def test_what_was_decided_survives_a_reload(page: Page, written: Path) -> None:
    press(page, "a", "r")
    page.open(written)
    assert text(page, "count") == "2 of 3, faces added: 0, not saved"
    assert text(page, "title").startswith("3 of 3")
    press(page, "u")
    assert text(page, "count").startswith("1 of 3")


def test_a_missed_face_is_added_by_dragging_a_box_over_it(page: Page) -> None:
    press(page, "j")
    frame = page.run("document.querySelector('#photo svg').getBoundingClientRect().toJSON()")
    width, height = page.run("photos[questions[1].source].region.slice(2)")
    across, down = frame["width"] / width, frame["height"] / height
    for kind, (x, y) in (("mousePressed", (100, 80)), ("mouseMoved", (150, 120)), ("mouseReleased", (160, 140))):
        where = {"x": frame["x"] + x * across, "y": frame["y"] + y * down}
        page.ask("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **where)
    (row,) = page.run("rows().filter(row => row[1] === 'second' && row[2] !== 30)")
    assert row[0] == "b" * 64
    assert row[2:6] == pytest.approx([100, 80, 60, 60], abs=2)
    assert row[6] == "face"
    page.run("document.querySelector('#added button').click()")
    assert page.run("rows().length") == len(EARLIER)
    press(page, "u")
    assert page.run("rows().length") == len(EARLIER) + 1


def test_a_missed_face_is_added_by_the_keyboard(page: Page) -> None:
    press(page, "f", "ArrowLeft", "ArrowUp", "Escape")
    assert page.run("rows().length") == len(EARLIER)
    press(page, "f", "ArrowRight", "ArrowDown", "Enter")
    width, height = page.run("photos[questions[0].source].region.slice(2)")
    side, step = round(min(width, height) / 8), max(round(max(width, height) / 100), 1)
    (row,) = page.run("rows().filter(row => row[0][0] === 'a')")
    centre = [round((width - side) / 2) + step, round((height - side) / 2) + step]
    assert row[2:6] == pytest.approx([*centre, side, side], abs=1)
    assert text(page, "count").startswith("0 of 3, faces added: 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_it_fits_a_phone_and_a_desk_and_can_be_read_by_all(page: Page, written: Path, width: int, scheme: str) -> None:
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.open(written, width, 800)
    press(page, "a", "f", "Enter")
    page.run(f"{AXE.read_text()}; 0")
    assert page.run("axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 200)))") == []
    assert page.run("document.documentElement.scrollWidth") <= width
    paper = json.loads(
        page.run("JSON.stringify(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number))")
    )
    assert (max(paper) < 60) == (scheme == "dark")
    assert {address for address in page.asked() if not address.startswith("data:")} == {written.as_uri()}
    assert page.run("[...document.images].filter(i => i.src && !i.naturalWidth).length") == 0
    assert page.complaints() == []


def test_a_screen_reader_meets_names_for_all_it_can_press(page: Page) -> None:
    press(page, "j")
    met = page.read_aloud()
    assert all(name for role, name in met if role in ("button", "image", "checkbox", "link", "heading", "progressbar"))
    assert ("button", "a A face: obscure it") in met
    assert any(role == "image" and "Photo second" in name for role, name in met)
