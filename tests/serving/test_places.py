"""What is known about a place, in every answer; photos to try; answers that are kept for the next training."""

import csv
import importlib.util
import io
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests
from PIL import Image
from support import ROOT, gate_settings

from landmarks.common.errors import InputError
from landmarks.dataset import catalogues
from landmarks.demo import renderer

from .server import PHOTOS, running_server

if TYPE_CHECKING:
    from landmarks.serving.feedback import FeedbackFolder
    from landmarks.serving.predictor import Predictor

EXAMPLES = ROOT / "data" / "examples" / "photos.csv"


def folder_of(path: Path, most: int = 3) -> "FeedbackFolder":
    from landmarks.serving.feedback import FeedbackFolder

    return FeedbackFolder(path, gate_settings(detector="yunet", sizes=(320,), turned=0), most)


def answer(landmark: str, predicted: str = "unknown") -> Any:
    from landmarks.serving.messages import Answer

    return Answer(landmark=landmark, predicted=predicted)


def of_a_person() -> bytes:
    file, (package, name, _) = io.BytesIO(), renderer.PORTRAITS[0]
    found = importlib.util.find_spec(package)
    Image.open(Path(str(found and found.origin)).parent / name).convert("RGB").save(file, "JPEG", quality=95)
    return file.getvalue()


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "catalogue.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_prediction_carries_what_is_known_about_the_place(answering: "Predictor") -> None:
    sure = answering.to_prediction(np.array([0.9, 0.06, 0.04], np.float32), 2)
    assert sure.place
    assert (sure.place.country, sure.place.latitude, sure.place.url) == ("Spain", 37.5, "https://example.org/bridge")
    assert answering.to_prediction(np.array([0.4, 0.3, 0.3], np.float32), 2).place is None  # unknown
    assert answering.to_prediction(np.array([0.1, 0.9, 0], np.float32), 2).place is None  # nothing is known


def test_places_are_listed_and_described_for_programs(server_url: str) -> None:
    listed = requests.get(f"{server_url}/v1/places", timeout=10).json()["places"]
    assert [place["name"] for place in listed] == ["Old Bridge", "2", "Torre Añil"]
    schemas = requests.get(f"{server_url}/openapi.json", timeout=10).json()["components"]["schemas"]
    assert {"description", "country", "latitude", "longitude", "url"} <= schemas["Place"]["properties"].keys()
    assert "place" in schemas["Prediction"]["properties"]


def test_photos_to_try_are_the_examples_and_where_allowed_test_photos(
    answering: "Predictor", photos: Path, split: Path
) -> None:
    from landmarks.serving import samples

    known = list(samples.of_test_photos(answering.places, photos / "images", split))
    assert {sample.label for sample in known} == {"1", "2", "3"}
    assert [sample.name for sample in known if sample.label == "1"] == ["Old Bridge"]
    with running_server(answering, samples=[*known, *samples.of_examples(EXAMPLES)]) as url:
        listed = requests.get(f"{url}/v1/samples", timeout=30).json()["samples"]
        assert len(listed) == 3 + len(list(EXAMPLES.parent.glob("*.jpg")))
        assert all(sample["author"] and sample["license"] and sample["url"] for sample in listed if not sample["label"])
        photo = requests.get(f"{url}/v1/samples/{listed[-1]['id']}", timeout=10)
        assert photo.headers["content-type"] == "image/jpeg"
        assert requests.get(f"{url}/v1/samples/..%2f..%2fphotos.csv", timeout=10).status_code == 404
        assert (
            requests.post(f"{url}/v1/feedback", files={"photo": b"x"}, timeout=10).status_code == 404
        )  # not asked for
    with running_server(answering) as url:
        assert requests.get(f"{url}/v1/samples", timeout=10).json() == {"samples": []}


def test_answers_become_rows_of_a_catalogue(answering: "Predictor", photo: bytes, tmp_path: Path) -> None:
    with running_server(answering, feedback=folder_of(tmp_path, most=2)) as url:

        def keep(content: bytes, **fields: str) -> requests.Response:
            return requests.post(f"{url}/v1/feedback", files={"photo": content}, data=fields, timeout=30)

        first = keep(photo, landmark="10", predicted="unknown")
        assert first.status_code == 200, first.text
        again = keep(photo, landmark="2", predicted="1")
        assert again.json() == first.json()
        assert keep(renderer.photo(7, 2, 0), landmark="", predicted="1").status_code == 200
        full = keep(renderer.photo(7, 3, 0), landmark="1", predicted="1")
        assert (full.status_code, full.json()["error"]) == (409, "2 photos are kept, no more are")
        for content, fields, code in (
            (b"GIF89a", {"landmark": "1", "predicted": "1"}, 415),
            (photo, {"landmark": "elsewhere", "predicted": "1"}, 422),
            (photo, {"landmark": "1"}, 422),
        ):
            assert keep(content, **fields).status_code == code
    one, other = rows_of(tmp_path)
    assert (one["landmark_id"], one["predicted"]) == ("2", "1")
    assert other["landmark_id"] == f"other_{other['id']}"
    assert catalogues.read(tmp_path / "catalogue.csv")["id"].to_pylist() == [one["id"], other["id"]]
    assert {path.stem for path in (tmp_path / "photos").iterdir()} == {one["id"], other["id"]}


def test_faces_are_obscured_before_anything_is_written(tmp_path: Path) -> None:
    from landmarks.images import decoding
    from landmarks.privacy.redaction import obscure

    photo, folder = of_a_person(), folder_of(tmp_path)
    id_ = folder.keep(photo, answer("1"))
    settings = gate_settings(detector="yunet", sizes=(320,), turned=0)
    before, after = decoding.decode(photo), decoding.read(tmp_path / "photos" / f"{id_}.jpg")
    faces = settings.faces_to_obscure(before)
    assert faces
    assert not settings.faces_to_obscure(after)
    expected = obscure(before, faces, "solid", 0, 1)
    inside = (expected != before).any(axis=2)
    assert np.abs(after.astype(int) - before)[inside].mean() > 20


def test_a_folder_is_used_by_one_server_and_only_its_own_files_are_removed(photo: bytes, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    with pytest.raises(InputError, match="another server keeps photos in it"):
        folder_of(tmp_path)
    del folder
    for name in ("feedback_0.jpg", ".1.feedback_0.jpg", "mine.jpg"):
        (tmp_path / "photos" / name).write_bytes(photo)
    folder_of(tmp_path)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["mine.jpg"]


def _keep_on(path: Path, contents: list[bytes]) -> None:
    folder = folder_of(path, most=100)
    for content in contents:
        folder.keep(content, answer("1"))


@pytest.mark.slow
def test_a_killed_server_leaves_every_row_with_its_photo(tmp_path: Path) -> None:
    contents = [renderer.photo(7, 1, view) for view in range(12)]
    for wanted in (1, 3):
        process = multiprocessing.get_context("spawn").Process(target=_keep_on, args=(tmp_path, contents))
        process.start()
        while len(list((tmp_path / "photos").glob("feedback_*.jpg"))) < wanted and process.is_alive():
            time.sleep(0.002)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        if (tmp_path / "catalogue.csv").exists():
            assert all((tmp_path / "photos" / f"{row['id']}.jpg").is_file() for row in rows_of(tmp_path))
    _keep_on(tmp_path, contents)
    assert len(rows_of(tmp_path)) == len(list((tmp_path / "photos").iterdir())) == 12


def test_drift_is_seen_beside_the_test_photos(answering: "Predictor", photo: bytes) -> None:
    with running_server(answering, tested=[(0.95, 0.1), (0.35, 0.1)]) as url:
        requests.post(f"{url}{PHOTOS}", files={"photo": photo}, timeout=30).raise_for_status()
        lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    for line in (
        'landmarks_test_confidence_bucket{le="0.4"} 1.0',
        "landmarks_test_confidence_count 2.0",
        "landmarks_test_megapixels_sum 0.2",
        "landmarks_confidence_count 1.0",
        "landmarks_megapixels_count 1.0",
    ):
        assert line in lines
