"""Nothing leaves the anonymize stage that was not examined, and no face it found stays readable."""

import dataclasses
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, Host, Script, fails_in_one_line, turned
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from landmarks.common import files
from landmarks.common.errors import InputError
from landmarks.demo.renderer import PORTRAITS
from landmarks.images import decoding
from landmarks.privacy import face_detectors, gate, redaction


def portrait(package: str, file: str) -> Image.Image:
    import importlib.util

    found = importlib.util.find_spec(package)
    return Image.open(Path(str(found and found.origin)).parent / file).convert("RGB")


OUTPUTS = ("faces.json", "quarantine.csv", "detections.png")


def stage(
    script: Script, folder: Path, out: Path, *knobs: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The stage as dvc.yaml calls it, without the figure of the made world."""
    rows = [{"id": path.stem, "landmark_id": 1} for path in sorted(folder.glob("*.jpg"))]
    pd.DataFrame(rows).to_csv(out / "photos.csv", index=False)
    outputs = [out / name for name in OUTPUTS]
    return script("anonymize", folder, out / "anonymous", out / "photos.csv", *outputs, *knobs, **environment)


def detect(picture: redaction.Picture, confidence: float) -> list[redaction.Face]:
    return face_detectors.detect(picture, confidence)


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
    assert audit["photos_with_faces"] == 4
    for photo in ("upright0", "upright1"):
        face = max(audit["photos"][photo]["faces"], key=lambda face: face["score"])
        before, after = (
            decoding.read(folder / f"{photo}.jpg").astype(int) for folder in (portraits, examined / "anonymous")
        )
        window = np.s_[face["y"] : face["y"] + face["h"], face["x"] : face["x"] + face["w"]]
        assert np.abs(before - after)[window].mean() > 10
        assert np.abs(before - after)[: face["y"] // 2].mean() < 3


def test_the_detector_no_longer_finds_what_was_obscured(examined: Path) -> None:
    for path in (examined / "anonymous").glob("*.jpg"):
        assert not detect(decoding.read(path), 0.5), path.name


def test_a_photo_with_an_exif_turn_is_examined_and_written_upright_without_metadata(examined: Path) -> None:
    audit = json.loads((examined / "faces.json").read_text())["photos"]
    for n in (0, 1):
        upright, turned = (
            max(audit[f"{way}{n}"]["faces"], key=lambda face: face["score"]) for way in ("upright", "turned")
        )
        assert abs(upright["x"] - turned["x"]) + abs(upright["y"] - turned["y"]) <= 8
        content = (examined / "anonymous" / f"turned{n}.jpg").read_bytes()
        assert not Image.open(io.BytesIO(content)).getexif()
        assert b"taken at home" not in content


def test_what_does_not_decode_goes_to_quarantine_with_the_reason(examined: Path) -> None:
    quarantine = pd.read_csv(examined / "quarantine.csv")
    assert sorted(quarantine["id"]) == ["empty", "web-page"]
    assert (quarantine["reason"] == "cannot be read: not a photo").all()
    assert sorted(path.stem for path in (examined / "anonymous").iterdir()) == [
        "turned0",
        "turned1",
        "upright0",
        "upright1",
    ]


def test_a_missing_or_altered_detector_is_an_error_never_no_faces(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    with pytest.raises(InputError, match=r"centerface\.onnx: the face detector is missing"):
        face_detectors.digests("centerface")
    (tmp_path / "centerface.onnx").write_bytes(b"something else")
    with pytest.raises(InputError, match="not the model it should be"):
        face_detectors.digests("centerface")


@pytest.mark.parametrize("name", ["yunet", "ssd", "strict"])
def test_a_model_that_is_not_there_ends_in_one_line_that_says_where_to_get_it(
    script: Script, portraits: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "models").mkdir()
    knobs = ("--detector", name, "--models", tmp_path / "models")
    fails_in_one_line(
        stage(script, portraits, tmp_path, *knobs), "the face detector is missing", "https://github.com/opencv/"
    )
    model = "opencv_face_detector_uint8.pb" if name == "ssd" else "face_detection_yunet_2023mar.onnx"
    (tmp_path / "models" / model).write_bytes(b"a web page that says: not found")
    fails_in_one_line(stage(script, portraits, tmp_path, *knobs), model, "not the model it should be")
    assert not (tmp_path / "anonymous").exists() or not list((tmp_path / "anonymous").iterdir())


def test_a_model_is_fetched_once_checked_and_kept(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.body = b"the model"
    model = face_detectors.Model("m.onnx", f"{host.url}/body", hashlib.sha256(host.body).hexdigest())
    monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path / "cache"))
    for _ in range(2):
        assert face_detectors.path(model).read_bytes() == host.body
    assert host.asked == {"/body": 1}
    with pytest.raises(InputError, match="cannot be fetched"):
        face_detectors.path(dataclasses.replace(model, name="n.onnx", url="http://127.0.0.1:9/m.onnx"))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("name", ["centerface", "haar"])
def test_a_face_is_found_in_all_four_turns(name: face_detectors.Name, turns: int) -> None:
    upright = np.asarray(portrait(*PORTRAITS[0][:2]))[..., ::-1].copy()
    height, width = upright.shape[:2]
    best = max(face_detectors.detect(upright, 0.5, name), key=lambda face: face.score)
    found = face_detectors.detect(np.ascontiguousarray(np.rot90(upright, turns)), 0.5, name)
    back = [redaction.turn_back(face, turns, width, height) for face in found]
    assert min(abs(face.x - best.x) + abs(face.y - best.y) for face in back) < best.w / 3


@given(st.integers(0, 3), st.integers(1, 60), st.integers(1, 60), st.data())
def test_a_box_is_turned_back_to_where_it_was(turns: int, width: int, height: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    marked = np.zeros((height, width), np.uint8)
    marked[y : y + h, x : x + w] = 1
    rows, columns = np.nonzero(np.rot90(marked, turns))
    seen = redaction.Face(int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1, 1.0)
    assert redaction.turn_back(seen, turns, width, height) == redaction.Face(x, y, w, h, 1.0)


BOXES = st.builds(
    redaction.Face, *(st.integers(0, 60) for _ in range(2)), *(st.integers(1, 60) for _ in range(2)), st.floats(0, 1)
)


@given(st.lists(BOXES, min_size=1, max_size=12))
def test_merged_boxes_carry_the_highest_score_of_what_lies_in_them(found: list[redaction.Face]) -> None:
    merged = redaction.merge(found)
    assert max(face.score for face in merged) == max(face.score for face in found)
    for face in found:
        assert any(redaction._inside(face, larger) and larger.score >= face.score for larger in merged)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1), st.floats(0.15, 1.5), st.floats(0, 8), st.floats(-40, 40), st.sampled_from([0.3, 0.6]))
def test_a_photo_in_which_a_face_scores_enough_does_not_pass_as_it_is(
    person: int, scale: float, blur: float, turn: float, confidence: float
) -> None:
    picture = portrait(*PORTRAITS[person][:2]).rotate(turn).resize((int(400 * scale), int(480 * scale)))
    shown = cv2.GaussianBlur(np.asarray(picture)[..., ::-1], (0, 0), 0.1 + blur * scale)
    looked = gate.Settings(sizes=(160, 320, 640), confidence=confidence, recheck=confidence / 4)
    assert bool(looked.first(shown)) == bool(looked.look()(shown, confidence))


def test_no_readable_photo_is_an_error_and_leaves_no_output(script: Script, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"no photo")
    fails_in_one_line(
        stage(script, tmp_path / "in", tmp_path), "quarantine.csv", "1 of 1 photos did not pass", "a: cannot be read"
    )
    assert not list((tmp_path / "anonymous").iterdir())
    assert not (tmp_path / "faces.json").exists()


def test_more_in_quarantine_than_allowed_is_an_error_that_names_the_first(
    script: Script, portraits: Path, tmp_path: Path
) -> None:
    done = stage(script, portraits, tmp_path, "--max-quarantined", 1)
    fails_in_one_line(done, "2 of 6 photos did not pass", "empty: cannot be read", "anonymize.max_quarantined")


def test_a_second_look_that_would_overlook_more_is_an_error(script: Script, portraits: Path, tmp_path: Path) -> None:
    fails_in_one_line(stage(script, portraits, tmp_path, "--recheck", 0.6), "anonymize.recheck", "lower it")


def test_a_face_that_is_still_found_keeps_its_photo_from_passing(portraits: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    class Stubborn(gate.Settings):  # a detector that sees a face whatever is done to it
        def look(self) -> face_detectors.Look:
            return lambda picture, confidence: seen.append(1) or [redaction.Face(9, 9, 40, 40, 0.9)]  # type: ignore[func-returns-value]

    with pytest.raises(gate.Quarantined, match=r"still found after 2 passes \(score 0\.9\)"):
        gate.examine(portraits / "upright0.jpg", tmp_path / "out.jpg", Stubborn(passes=2))
    assert len(seen) == 3
    assert not (tmp_path / "out.jpg").exists()


def test_what_was_examined_is_not_examined_again_unless_something_changed(
    script: Script, portraits: Path, tmp_path: Path
) -> None:
    def examined_now(*knobs: object) -> set[str]:
        before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "anonymous").glob("*.jpg")}
        assert stage(script, tmp_path / "in", tmp_path, *knobs).returncode == 0
        after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "anonymous").glob("*.jpg")}
        return {name.removesuffix(".jpg") for name in after if after[name] != before.get(name)}

    (tmp_path / "in").mkdir()
    for name in ("upright0", "upright1"):
        shutil.copy(portraits / f"{name}.jpg", tmp_path / "in")
    assert examined_now() == {"upright0", "upright1"}
    first = json.loads((tmp_path / "faces.json").read_text())
    shutil.copy(portraits / "turned0.jpg", tmp_path / "in")
    assert examined_now() == {"turned0"}
    second = json.loads((tmp_path / "faces.json").read_text())
    assert {k: second["photos"][k] for k in first["photos"]} == first["photos"]
    shutil.copy(portraits / "turned1.jpg", tmp_path / "in" / "upright1.jpg")  # another original of that name
    assert examined_now() == {"upright1"}
    (tmp_path / "anonymous" / "upright0.jpg").write_bytes(b"tampered with")
    assert examined_now() == {"upright0"}
    assert examined_now("--cells", 4) == {"upright0", "upright1", "turned0"}
    (tmp_path / "in" / "upright0.jpg").unlink()
    assert examined_now("--cells", 4) == set()
    assert sorted(path.stem for path in (tmp_path / "anonymous").iterdir()) == ["turned0", "upright1"]


@pytest.mark.slow
def test_a_killed_run_is_taken_up_where_it_stopped(script: Script, photos: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert stage(script, photos / "images", whole).returncode == 0
    again = tmp_path / "again"
    again.mkdir()
    shutil.copy(whole / "photos.csv", again)
    outputs = [again / "anonymous", again / "photos.csv", *(again / name for name in OUTPUTS)]
    command = [sys.executable, "src/anonymize.py", photos / "images", *outputs]
    with subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as run:
        while not (again / ".faces.journal").exists() or (again / ".faces.journal").read_text().count("sha256") < 12:
            assert run.poll() is None
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
    done = {path.name: path.stat().st_mtime_ns for path in (again / "anonymous").glob("*.jpg")}
    lines = (again / ".faces.journal").read_text().splitlines()
    known = [
        json.loads(line)["id"]
        for line in lines
        if "sha256" in line and line.startswith('{"id":') and line.endswith("}")
    ]
    assert stage(script, photos / "images", again).returncode == 0
    assert all((again / "anonymous" / f"{name}.jpg").stat().st_mtime_ns == done[f"{name}.jpg"] for name in known)
    for path in (whole / "anonymous").iterdir():
        assert (again / "anonymous" / path.name).read_bytes() == path.read_bytes()
    assert (again / "faces.json").read_bytes() == (whole / "faces.json").read_bytes()


def test_what_a_killed_run_did_under_other_settings_does_not_count(portraits: Path, tmp_path: Path) -> None:
    originals = {"upright0": portraits / "upright0.jpg"}
    (tmp_path / "out").mkdir()

    def examined(method: redaction.Method) -> str:
        settings = gate.Settings(method=method)
        journal, identity = tmp_path / "journal", gate.identity(settings)
        ((_, result),) = gate.examine_all(originals, tmp_path / "out", journal, {}, settings, identity)
        assert isinstance(result, gate.Passed)
        return result.sha256

    solid, blurred = examined("solid"), examined("blur")  # the journal of both stays, as after a kill
    assert solid != blurred
    assert examined("solid") == solid
    assert files.sha256(tmp_path / "out" / "upright0.jpg") == solid


def test_a_full_disk_is_one_line_not_a_quarantine(portraits: Path, tmp_path: Path) -> None:
    rows = [{"id": "upright0"}, {"id": "upright1"}]
    pd.DataFrame(rows).to_csv(tmp_path / "photos.csv", index=False)
    outputs = [tmp_path / "anonymous", tmp_path / "photos.csv", *(tmp_path / name for name in OUTPUTS)]
    done = subprocess.run(
        [sys.executable, "src/anonymize.py", str(portraits), *map(str, outputs)], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "LANDMARKS_WORKERS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
    )  # fmt: skip
    fails_in_one_line(done, "File too large", "what is examined is kept")
    assert not (tmp_path / "faces.json").exists()


def test_any_folder_of_photos_can_be_anonymized_and_none_is_written_over(
    script: Script, portraits: Path, tmp_path: Path
) -> None:
    (tmp_path / "in" / "trip").mkdir(parents=True)
    shutil.copy(portraits / "upright0.jpg", tmp_path / "in" / "trip" / "me.JPEG")
    Image.open(portraits / "upright1.jpg").save(tmp_path / "in" / "you.png")
    done = script("anonymize", tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[:4]] == [
        ["photos", "2"], ["passed", "2"], ["faces", "2"], ["photos", "with", "faces", "2"],
    ]  # fmt: skip
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"trip/me.jpg", "you.jpg", *OUTPUTS}
    fails_in_one_line(script("anonymize", tmp_path / "in", tmp_path / "in"), "lies in the folder of the originals")
    fails_in_one_line(script("anonymize", tmp_path / "in", portraits), "not an earlier result")
    Image.open(portraits / "upright1.jpg").save(tmp_path / "in" / "you.bmp")
    fails_in_one_line(script("anonymize", tmp_path / "in", tmp_path / "out"), "you.png", "rename one")


def odd(kind: str) -> bytes:
    out = io.BytesIO()
    colour = Image.new("RGB", (64, 48), (90, 120, 150))
    if kind == "animated":
        colour.save(out, "WEBP", save_all=True, append_images=[colour.rotate(90)])
    elif kind == "16-bit":
        Image.new("I;16", (64, 48), 30_000).save(out, "PNG")
    elif kind == "1x1":
        Image.new("RGB", (1, 1)).save(out, "JPEG")
    elif kind == "40000x3":
        Image.new("RGB", (40_000, 3)).save(out, "JPEG")
    elif kind == "bomb":
        Image.new("1", (30_000, 30_000)).save(out, "PNG")
    elif kind == "gif":
        colour.save(out, "GIF")
    else:
        colour.convert({"cmyk": "CMYK", "grey": "L", "alpha": "RGBA"}[kind]).save(
            out, "PNG" if kind == "alpha" else "JPEG"
        )
    return out.getvalue()


@pytest.mark.parametrize("kind", ["animated", "16-bit", "1x1", "40000x3", "cmyk", "grey", "alpha"])
def test_an_odd_photo_passes_as_an_ordinary_one(tmp_path: Path, kind: str) -> None:
    (tmp_path / "odd").write_bytes(odd(kind))
    assert gate.examine(tmp_path / "odd", tmp_path / "out.jpg", gate.Settings()).faces == []
    assert Image.open(tmp_path / "out.jpg").mode == "RGB"


@pytest.mark.parametrize("kind", ["bomb", "gif"])
def test_a_hostile_or_unknown_photo_does_not_pass(tmp_path: Path, kind: str) -> None:
    (tmp_path / "odd").write_bytes(odd(kind))
    with pytest.raises(gate.Quarantined, match=r"cannot be read: (too large|not a photo)"):
        gate.examine(tmp_path / "odd", tmp_path / "out.jpg", gate.Settings())
    assert not (tmp_path / "out.jpg").exists()


def test_no_later_stage_depends_on_the_originals() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    after = list(stages)[list(stages).index("anonymize") + 1 :]
    assert after
    for name in after:
        definition = stages[name].get("do", stages[name])
        assert not any(str(dep).startswith("data/images") for dep in definition["deps"]), name
        assert "data/images" not in definition["cmd"], name


def test_one_worker_and_two_write_the_same_bytes(
    script: Script, examined: Path, portraits: Path, tmp_path: Path
) -> None:
    assert stage(script, portraits, tmp_path, LANDMARKS_WORKERS="1").returncode == 0
    for name in (*OUTPUTS, "anonymous/upright0.jpg", "anonymous/turned1.jpg"):
        assert (tmp_path / name).read_bytes() == (examined / name).read_bytes()


@pytest.mark.parametrize(("method", "shades"), [("pixelate", 25), ("solid", 1)])
def test_no_more_shades_are_left_of_a_face_than_stated(method: redaction.Method, shades: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    done = redaction.obscure(noise, [redaction.Face(50, 60, 80, 90, 1.0)], method, margin=0.1, cells=5)
    assert len(np.unique(done[51:159, 42:138].reshape(-1, 3), axis=0)) <= shades
    outside = np.ones((200, 200), bool)
    outside[51:159, 42:138] = False
    np.testing.assert_array_equal(done[outside], noise[outside])


def test_a_face_at_the_edge_of_the_photo_is_obscured_as_far_as_it_is_in_it() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    done = redaction.obscure(
        noise,
        [
            redaction.Face(-10, -10, 30, 30, 1.0),
            redaction.Face(55, 45, 40, 40, 1.0),
            redaction.Face(500, 500, 9, 9, 1.0),
        ],
        "solid",
        0.0,
        5,
    )
    assert (done[:20, :20] == done[0, 0]).all()
    assert (done[45:, 55:] == done[-1, -1]).all()


@pytest.mark.parametrize("method", ["pixelate", "solid"])
def test_what_is_left_does_not_depend_on_the_face(method: redaction.Method) -> None:
    draw = np.random.default_rng(0)
    around = draw.integers(0, 256, (80, 80, 3), np.uint8)
    left = []
    for _ in range(200):
        picture = around.copy()
        picture[20:60, 20:60] = draw.integers(0, 256, 3)  # a face of another colour
        left.append(
            (
                picture[40, 40].astype(float),
                redaction.obscure(picture, [redaction.Face(20, 20, 40, 40, 1.0)], method, 0.0, 5),
            )
        )
    before = np.array([colour for colour, _ in left])
    after = np.array([done[20:60, 20:60].mean((0, 1)) for _, done in left])
    for channel in range(3):
        if after[:, channel].std():
            assert abs(np.corrcoef(before[:, channel], after[:, channel])[0, 1]) < 0.25
    outside = np.ones((80, 80), bool)
    outside[20:60, 20:60] = False
    assert all((done[outside] == around[outside]).all() for _, done in left)


def test_an_ellipse_covers_the_middle_and_leaves_the_corners() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    done = redaction.obscure(noise, [redaction.Face(20, 20, 40, 40, 1.0)], "solid", 0.0, 5, "ellipse")
    assert (done[40, 20:60] == redaction.GREY).all()
    assert (done[20:60, 40] == redaction.GREY).all()
    np.testing.assert_array_equal(done[20:24, 20:24], noise[20:24, 20:24])


@pytest.mark.parametrize("height", [60, 240, 900, 1500])
def test_a_face_is_covered_however_large_it_is(height: int) -> None:
    package, file, (x, y, w, h) = PORTRAITS[0]
    picture = np.asarray(portrait(package, file).crop((x - 60, y - 40, x + w + 60, y + h + 60)))[..., ::-1]
    scale = height / h
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    done = redaction.obscure(picture, detect(picture, 0.3), "solid", 0.15, 5)
    face = np.s_[int(75 * scale) : int(165 * scale), int(85 * scale) : int(150 * scale)]  # from brow to chin
    assert (np.abs(picture[face].astype(int) - done[face]).sum(axis=2) > 0).mean() > 0.9


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_accepted_format_is_read_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = np.zeros((40, 64, 3), np.uint8)
    upright[:20, :32] = (255, 0, 0)
    upright[20:, 32:] = (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(turned(upright, orientation)).save(tmp_path / "p.jpg", kind, exif=exif, quality=95)
    read = decoding.read(tmp_path / "p.jpg")[..., ::-1].astype(int)
    assert read.shape == upright.shape
    assert np.abs(read - upright).mean() < 8


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "JPEG2000", "PCX"])
def test_a_format_whose_turn_nobody_vouches_for_is_refused(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "p.jpg", kind)
    with pytest.raises(InputError, match=r"p\.jpg: does not decode as a photo"):
        decoding.read(tmp_path / "p.jpg")
