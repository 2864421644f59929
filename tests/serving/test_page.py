"""The page in a real browser: at the width of a phone, by keyboard, through the accessibility tree."""

import importlib.resources
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Page, browsing, needs_chromium
from PIL import Image
from support import ROOT, gate_settings

from .server import running_server

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

pytestmark = [pytest.mark.slow, needs_chromium]
AXE = importlib.resources.files("axe_core_python") / "axe.min.js"
DONE = "document.getElementById('status').textContent === 'Done.'"
EXAMPLES = ROOT / "data" / "examples" / "photos.csv"
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
    assert reached == ["file", "show", "SUMMARY", "SUMMARY", "A"]


def test_the_photo_is_uploaded_once(browser: Page, server_url: str, photos: Path) -> None:
    predict(browser, server_url, photos / "images" / "p1_00.jpg")
    asked = sorted(url.partition("/v1/")[2] for url in browser.asked() if "/v1/" in url)
    assert asked == ["explain?top=100", "models/landmarks/metadata", "samples"]


def test_the_page_says_what_it_knows(browser: Page, server_url: str) -> None:
    browser.open(f"{server_url}/")
    browser.wait("$('places').children.length > 0")
    assert text(browser, "places").split("\n") == ["Old Bridge", "Landmark 2", "Torre Añil"]
    assert "synthetic demo" in text(browser, "demo")
    assert browser.run("document.getElementById('demo').hidden") is False


def test_probabilities_below_one_percent_are_folded(browser: Page, server_url: str) -> None:
    browser.open(f"{server_url}/")
    values = [0.96, 0.02, 0.009, 0.0001]
    top = [{"label": str(number), "name": str(number), "confidence": value} for number, value in enumerate(values)]
    browser.run(f"$('result').hidden = false, show({json.dumps({**top[0], 'known': True, 'top': top})})")
    assert text(browser, "probabilities").split() == [
        "Probabilities",
        "Landmark",
        "0",
        "96",
        "%",
        "Landmark",
        "1",
        "2.0",
        "%",
        "2",
        "below",
        "1",
        "%",
    ]
    browser.run("$('more').click()")
    assert "Landmark 3" in text(browser, "probabilities")
    assert browser.run("$('more').getAttribute('aria-expanded')") == "true"


def test_a_tall_photo_stays_within_the_window(browser: Page, server_url: str, tmp_path: Path) -> None:
    Image.new("RGB", (60, 900), "teal").save(tmp_path / "tall.jpg")
    predict(browser, server_url, tmp_path / "tall.jpg")
    photo, map_ = (browser.run(f"$('{name}').getBoundingClientRect().toJSON()") for name in ("photo", "map"))
    assert photo["height"] <= 0.7 * 740 + 1
    assert (map_["width"], map_["height"]) == pytest.approx((photo["width"], photo["width"]), abs=1)


def test_what_cannot_be_predicted_is_answered(browser: Page, server_url: str, tmp_path: Path) -> None:
    browser.open(f"{server_url}/")
    browser.run("dropped({ files: [] })")
    assert "save the photo first" in text(browser, "error")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    browser.run("$('error').textContent = ''")
    browser.give("#file", tmp_path / "photo.heic")
    browser.wait(FAILED)
    assert "Most Compatible" in text(browser, "error")
    for kind, body, shown in (
        ("text/html", "<html><title>Bad gateway", "code 502"),
        ("text/plain", "upstream timed out", "upstream timed out"),
    ):
        reply = f"new Response({body!r}, {{ status: 502, headers: {{ 'Content-Type': '{kind}' }} }})"
        browser.run(f"window.fetch = async () => {reply}, predict([new File(['x'], 'x.jpg')])")
        assert shown in text(browser, "error")


def test_a_prediction_stays_when_its_explanation_fails(browser: Page, server_url: str) -> None:
    browser.open(f"{server_url}/")
    choice = {"label": "1", "name": "Old Bridge", "confidence": 0.9}
    line = json.dumps({"predictions": [{**choice, "known": True, "top": [choice]}]})
    browser.run(f"window.fetch = async () => new Response({line + chr(10)!r}), predict([new File(['x'], 'x.jpg')])")
    assert text(browser, "landmark") == "Old Bridge"
    assert text(browser, "error") == (
        "Where the network looks could not be computed: the server ended its answer; try again."
    )
    assert not browser.run("$('result').hidden")


def test_a_second_file_is_answered_and_a_photo_can_be_cancelled(browser: Page, server_url: str) -> None:
    browser.open(f"{server_url}/")
    browser.run(
        "window.fetch = (_, { signal }) => new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason)))"
    )
    browser.run("void predict([new File(['x'], 'x.jpg'), new File(['y'], 'y.jpg')])")
    assert "the first of 2" in text(browser, "error")
    assert not browser.run("$('spinner').hidden")
    browser.run("$('cancel').click()")
    assert text(browser, "status") == "Cancelled."
    assert browser.run("$('result').hidden && $('spinner').hidden && $('cancel').hidden")


def test_what_is_known_about_a_place_is_shown_and_nothing_is_fetched_for_it(browser: Page, server_url: str) -> None:
    browser.open(f"{server_url}/")
    place = {
        "description": "Crosses <b>it</b>",
        "country": "Spain",
        "latitude": -37.5,
        "longitude": 4.25,
        "url": "https://x.org/",
    }
    browser.run(f"showPlace({json.dumps(place)}), $('result').hidden = false")
    assert text(browser, "description") == "Crosses <b>it</b>"
    assert text(browser, "facts") == "Spain · 37.5000° S, 4.2500° E"
    links = browser.run("[...document.querySelectorAll('#links a')].map(a => [a.href, a.rel])")
    assert [rel for _, rel in links] == ["noopener noreferrer"] * 2
    assert "mlat=-37.5&mlon=4.25" in links[1][0]
    assert all(address.startswith(server_url) for address in browser.asked())


def test_the_places_can_be_tried_and_an_answer_is_kept(
    browser: Page, answering: "Predictor", photos: Path, split: Path, tmp_path: Path
) -> None:
    from landmarks.serving import samples
    from landmarks.serving.feedback import FeedbackFolder

    folder = FeedbackFolder(tmp_path, gate_settings(detector="yunet", sizes=(320,), turned=0), 5)
    shown = [*samples.of_test_photos(answering.places, photos / "images", split), *samples.of_examples(EXAMPLES)]
    with running_server(answering, samples=shown, feedback=folder) as address:
        browser.open(f"{address}/")
        browser.wait("document.querySelectorAll('#others button').length > 20")
        assert "Old Bridge" in text(browser, "places")
        assert "CC0" in str(browser.run("$('others').textContent"))
        browser.run("document.querySelector('#places button').click()")
        browser.wait(DONE)
        assert text(browser, "answer").endswith("none of these")
        browser.run("$('answer').value = '10', $('feedback').requestSubmit()")
        browser.wait("$('thanks').textContent === 'Kept. Thank you.'")
    assert "10,unknown" in (tmp_path / "catalogue.csv").read_text()


def test_a_button_for_the_camera_is_there_where_fingers_point(browser: Page, server_url: str) -> None:
    for touch in (True, False):
        browser.ask("Emulation.setTouchEmulationEnabled", enabled=touch)
        browser.open(f"{server_url}/")
        assert browser.run("$('take').hidden") != touch


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_is_accessible(browser: Page, server_url: str, photos: Path, scheme: str, width: int) -> None:
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(f"{server_url}/", width)
    browser.give("#file", photos / "images" / "p1_00.jpg")
    browser.wait(DONE)
    browser.run(AXE.read_text())
    rules = "{ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] }"
    found = browser.run(
        f"axe.run({rules}).then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 200)))"
    )
    assert found == []
    sizes = "[...document.querySelectorAll('a, button, summary, .button, #show')].map(e => e.getBoundingClientRect().height)"
    assert all(height == 0 or height >= 24 for height in browser.run(sizes))  # 0: hidden


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
