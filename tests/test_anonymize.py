"""Nothing leaves the anonymize stage that was not examined, and no face it found stays readable."""

import io
import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import Script, fails_in_one_line
from PIL import Image

from landmarks import faces, photos
from landmarks.errors import InputError
from landmarks.scenery import PORTRAITS


def portrait(package: str, file: str) -> Image.Image:
    import importlib.util

    found = importlib.util.find_spec(package)
    return Image.open(Path(str(found and found.origin)).parent / file).convert("RGB")


def stage(script: Script, folder: Path, out: Path, *knobs: object) -> subprocess.CompletedProcess[str]:
    rows = [{"id": path.stem, "landmark_id": 1, "status": "ok"} for path in sorted((folder).glob("*.jpg"))]
    pd.DataFrame(rows).to_csv(out / "photos.csv", index=False)
    paths = [out / name for name in ("anonymous", "faces.json", "quarantine.csv", "faces.png")]
    return script("anonymize", out / "photos.csv", folder, "data/demo/world.yaml", *paths, *knobs)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, upright and lying on their side with the EXIF tag that says so, and two files that are no photos."""
    folder = tmp_path_factory.mktemp("portraits")
    for n, (package, file, _) in enumerate(PORTRAITS):
        picture = portrait(package, file)
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "taken at home"
        picture.save(folder / f"upright{n}.jpg", quality=95)
        picture.rotate(90, expand=True).save(folder / f"turned{n}.jpg", quality=95, exif=exif)
    (folder / "web-page.jpg").write_bytes(b"<html>no photo</html>")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def examined(script: Script, portraits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("examined")
    done = stage(script, portraits, out)
    assert done.returncode == 0, done.stderr
    return out


def test_every_face_is_found_and_its_place_changed(examined: Path, portraits: Path) -> None:
    audit = json.loads((examined / "faces.json").read_text())
    assert audit["faces"] == audit["photos_with_faces"] == 4
    for photo in ("upright0", "upright1"):
        (face,) = audit["photos"][photo]
        before, after = (
            photos.read(folder / f"{photo}.jpg").astype(int) for folder in (portraits, examined / "anonymous")
        )
        window = np.s_[face["y"] : face["y"] + face["h"], face["x"] : face["x"] + face["w"]]
        assert np.abs(before - after)[window].mean() > 10
        assert np.abs(before - after)[: face["y"] // 2].mean() < 3


def test_the_detector_no_longer_finds_what_was_obscured(examined: Path) -> None:
    for path in (examined / "anonymous").glob("*.jpg"):
        assert not faces.detect(photos.read(path), 0.5), path.name


def test_a_photo_with_an_exif_turn_is_examined_and_written_upright_without_metadata(examined: Path) -> None:
    audit = json.loads((examined / "faces.json").read_text())["photos"]
    for n in (0, 1):
        (upright,), (turned,) = audit[f"upright{n}"], audit[f"turned{n}"]
        assert abs(upright["x"] - turned["x"]) + abs(upright["y"] - turned["y"]) <= 8
        content = (examined / "anonymous" / f"turned{n}.jpg").read_bytes()
        assert not Image.open(io.BytesIO(content)).getexif()
        assert b"taken at home" not in content


def test_what_does_not_decode_goes_to_quarantine_with_the_reason(examined: Path) -> None:
    quarantine = pd.read_csv(examined / "quarantine.csv")
    assert sorted(quarantine["id"]) == ["empty", "web-page"]
    assert quarantine["reason"].str.contains("does not decode").all()
    assert sorted(path.stem for path in (examined / "anonymous").iterdir()) == [
        "turned0",
        "turned1",
        "upright0",
        "upright1",
    ]


def test_a_missing_detector_is_an_error_never_no_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: Path("/nowhere"))
    with pytest.raises(Exception, match=r"/nowhere/centerface\.onnx: the face detector is missing"):
        faces.model_path()


def test_no_readable_photo_is_an_error_and_leaves_no_output(script: Script, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"no photo")
    fails_in_one_line(stage(script, tmp_path / "in", tmp_path), "none of 1 photos could be examined")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos.csv", "in"]


def test_one_worker_and_two_write_the_same_bytes(
    script: Script, examined: Path, portraits: Path, tmp_path: Path
) -> None:
    rows = examined / "photos.csv"
    paths = [tmp_path / name for name in ("anonymous", "faces.json", "quarantine.csv", "faces.png")]
    done = script("anonymize", rows, portraits, "data/demo/world.yaml", *paths, LANDMARKS_WORKERS="1")
    assert done.returncode == 0
    for name in ("faces.json", "quarantine.csv", "faces.png", "anonymous/upright0.jpg", "anonymous/turned1.jpg"):
        assert (tmp_path / name).read_bytes() == (examined / name).read_bytes()


@pytest.mark.parametrize(("method", "shades"), [("pixelate", 25), ("solid", 1)])
def test_no_more_shades_are_left_of_a_face_than_stated(method: faces.Method, shades: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    done = faces.obscure(noise, [faces.Face(50, 60, 80, 90, 1.0)], method, margin=0.1, cells=5)
    assert len(np.unique(done[51:159, 42:138].reshape(-1, 3), axis=0)) <= shades
    outside = np.ones((200, 200), bool)
    outside[51:159, 42:138] = False
    np.testing.assert_array_equal(done[outside], noise[outside])


def test_a_face_at_the_edge_of_the_photo_is_obscured_as_far_as_it_is_in_it() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    done = faces.obscure(
        noise,
        [faces.Face(-10, -10, 30, 30, 1.0), faces.Face(55, 45, 40, 40, 1.0), faces.Face(500, 500, 9, 9, 1.0)],
        "solid",
        0.0,
        5,
    )
    assert (done[:20, :20] == done[0, 0]).all()
    assert (done[45:, 55:] == done[-1, -1]).all()


def test_blur_leaves_no_detail_finer_than_its_cells() -> None:
    face = np.asarray(portrait(*PORTRAITS[0][:2]))[..., ::-1].copy()
    (found,) = faces.detect(face, 0.5)
    done = faces.obscure(face, [found], "blur", 0.0, 5)
    region = np.s_[found.y : found.y + found.h, found.x : found.x + found.w]
    sharpness = [cv2.Laplacian(picture[region], cv2.CV_64F).var() for picture in (face, done)]
    assert sharpness[1] < sharpness[0] / 50


@pytest.mark.parametrize("height", [60, 240, 900, 1500])
def test_a_face_is_covered_however_large_it_is(height: int) -> None:
    package, file, (x, y, w, h) = PORTRAITS[0]
    picture = np.asarray(portrait(package, file).crop((x - 60, y - 40, x + w + 60, y + h + 60)))[..., ::-1]
    scale = height / h
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    done = faces.obscure(picture, faces.detect(picture, 0.3), "solid", 0.15, 5)
    face = np.s_[int(75 * scale) : int(165 * scale), int(85 * scale) : int(150 * scale)]  # from brow to chin
    assert (np.abs(picture[face].astype(int) - done[face]).sum(axis=2) > 0).mean() > 0.9


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_accepted_format_is_read_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = np.zeros((40, 64, 3), np.uint8)
    upright[:20, :32] = (255, 0, 0)
    upright[20:, 32:] = (0, 0, 255)
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
              6: np.rot90(upright, 1), 7: np.rot90(upright, 2).transpose(1, 0, 2), 8: np.rot90(upright, -1)}[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "p.jpg", kind, exif=exif, quality=95)
    read = photos.read(tmp_path / "p.jpg")[..., ::-1].astype(int)
    assert read.shape == upright.shape
    assert np.abs(read - upright).mean() < 8


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "JPEG2000", "PCX"])
def test_a_format_whose_turn_nobody_vouches_for_is_refused(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "p.jpg", kind)
    with pytest.raises(InputError, match=r"p\.jpg: does not decode as a photo"):
        photos.read(tmp_path / "p.jpg")
