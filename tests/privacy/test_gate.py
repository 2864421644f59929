"""Only photos that were examined leave the anonymize stage, and no face that it found stays readable."""

import dataclasses
import io
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from gate_runs import OUTPUTS, QUICK, portrait, save_portraits, stage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import Script, examples, fails_in_one_line, gate_settings

from landmarks.demo.renderer import PORTRAITS
from landmarks.images import decoding
from landmarks.images.perceptual_hash import perceptual_hash
from landmarks.privacy import cascade, gate, redaction


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_portraits(tmp_path_factory.mktemp("portraits"))


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
        folders = (portraits, examined / "anonymous")
        before, after = (decoding.read(folder / f"{photo}.jpg").astype(int) for folder in folders)
        window = np.s_[face["y"] : face["y"] + face["h"], face["x"] : face["x"] + face["w"]]
        assert np.abs(before - after)[window].mean() > 10
        outside = np.ones(before.shape[:2], bool)
        for x, y, w, h in ([each[side] for side in "xywh"] for each in audit["photos"][photo]["faces"]):
            outside[max(y - h // 2, 0) : y + h + h // 2, max(x - w // 2, 0) : x + w + w // 2] = False
        assert outside.mean() > 0.3
        assert np.abs(before - after)[outside].mean() < 3


def test_the_hash_recorded_is_of_the_original_upright(examined: Path, portraits: Path) -> None:
    """So that two copies are told by what they show, not by where their faces were found."""
    audit = json.loads((examined / "faces.json").read_text())["photos"]
    for photo, record in audit.items():
        assert record["hash"] == perceptual_hash(decoding.read(portraits / f"{photo}.jpg"))
        assert record["hash"] != perceptual_hash(decoding.read(examined / "anonymous" / f"{photo}.jpg"))


def test_the_detector_no_longer_finds_what_was_obscured(examined: Path) -> None:
    for path in (examined / "anonymous").glob("*.jpg"):
        assert not gate_settings().faces_to_obscure(decoding.read(path)), path.name


def test_a_photo_with_an_exif_turn_is_examined_and_written_upright_without_metadata(examined: Path) -> None:
    audit = json.loads((examined / "faces.json").read_text())["photos"]
    for n in (0, 1):
        found = (audit[f"{way}{n}"]["faces"] for way in ("upright", "turned"))
        upright, turned = (max(faces, key=lambda face: face["score"]) for faces in found)
        assert abs(upright["x"] - turned["x"]) + abs(upright["y"] - turned["y"]) <= 8
        content = (examined / "anonymous" / f"turned{n}.jpg").read_bytes()
        assert not Image.open(io.BytesIO(content)).getexif()
        assert b"taken at home" not in content


def test_what_does_not_decode_goes_to_quarantine_with_the_reason(examined: Path) -> None:
    quarantine = pd.read_csv(examined / "quarantine.csv")
    assert sorted(quarantine["id"]) == ["empty", "web-page"]
    reasons = dict(zip(quarantine["id"], quarantine["reason"], strict=True))
    assert reasons == {"empty": "cannot be read: not a photo", "web-page": "cannot be read: html"}
    passed = {path.stem for path in (examined / "anonymous").iterdir()}
    assert passed == {"turned0", "turned1", "upright0", "upright1"}


@settings(max_examples=examples(20))
@given(st.integers(0, 1), st.floats(0.15, 1.5), st.floats(0, 8), st.floats(-40, 40), st.sampled_from([0.3, 0.6]),
       st.sampled_from(["cascade", "centerface"]))  # fmt: skip
def test_a_photo_in_which_a_face_scores_enough_does_not_pass_as_it_is(
    person: int, scale: float, blur: float, turn: float, confidence: float, detector: str
) -> None:
    picture = portrait(*PORTRAITS[person][:2]).rotate(turn).resize((int(400 * scale), int(480 * scale)))
    shown = cv2.GaussianBlur(np.asarray(picture)[..., ::-1], (0, 0), 0.1 + blur * scale)
    used = gate_settings(detector=detector, sizes=(160, 320), turned=0, confidence=confidence, recheck=confidence / 4)
    alike = dataclasses.replace(used, recheck=confidence)
    assert bool(used.faces_to_obscure(shown)) == bool(alike.faces_to_obscure(shown))


def test_no_readable_photo_is_an_error_and_leaves_no_output(script: Script, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"no photo")
    done = stage(script, tmp_path / "in", tmp_path)
    fails_in_one_line(done, "quarantine.csv", "1 of 1 photos did not pass", "a: cannot be read")
    assert not list((tmp_path / "anonymous").iterdir())
    assert not (tmp_path / "faces.json").exists()


def test_more_in_quarantine_than_allowed_is_an_error_that_names_one(
    script: Script, portraits: Path, tmp_path: Path
) -> None:
    done = stage(script, portraits, tmp_path, "--max-quarantined", 1)
    fails_in_one_line(done, "2 of 6 photos did not pass", "empty: cannot be read", "anonymize.max_quarantined")


def test_a_second_examination_that_is_less_strict_is_an_error(script: Script, portraits: Path, tmp_path: Path) -> None:
    fails_in_one_line(stage(script, portraits, tmp_path, "--recheck", 0.6), "anonymize.recheck", "lower it")


def test_a_face_that_is_still_found_keeps_its_photo_from_passing(portraits: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    class Stubborn(cascade.Search):  # sees a face whatever is done to it
        def found(
            self, picture: decoding.Picture, confidence: float, recheck: float, big: float = 0
        ) -> list[redaction.Face]:
            seen.append(1)
            return [redaction.Face(9, 9, 40, 40, 0.9)]

    class Settings(gate.GateSettings):
        def search(self) -> cascade.Search:
            return Stubborn()

    settings = Settings(**{**vars(gate_settings()), "passes": 2})
    with pytest.raises(gate.QuarantineError, match=r"still found after 2 passes \(score 0\.9\)"):
        gate.examine(portraits / "upright0.jpg", tmp_path / "out.jpg", settings)
    assert len(seen) == 3
    assert not (tmp_path / "out.jpg").exists()


def test_any_folder_can_be_anonymized_and_none_is_written_over(script: Script, portraits: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "trip").mkdir(parents=True)
    shutil.copy(portraits / "upright0.jpg", tmp_path / "in" / "trip" / "me.JPEG")
    Image.open(portraits / "upright1.jpg").save(tmp_path / "in" / "you.png")
    done = script("anonymize", tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    counts = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines()[:4])
    faces = json.loads((tmp_path / "out" / "faces.json").read_text())["faces"]
    assert counts == {"photos": "2", "passed": "2", "faces": str(faces), "photos with faces": "2"}
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"trip/me.jpg", "you.jpg", *OUTPUTS}
    fails_in_one_line(script("anonymize", tmp_path / "in", tmp_path / "in"), "lies in the folder of the originals")
    fails_in_one_line(script("anonymize", tmp_path / "in", portraits), "not an earlier result")
    Image.open(portraits / "upright1.jpg").save(tmp_path / "in" / "you.bmp")
    fails_in_one_line(script("anonymize", tmp_path / "in", tmp_path / "out"), "you.png", "rename one")


def test_what_lies_beside_photos_stops_nothing_and_names_need_not_be_utf8(process: Script, tmp_path: Path) -> None:
    given, out = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    photos = ["DSC1.JPG", "IMG_1.JPG", "a.jfif", "b.jpe", os.fsdecode(b"caf\xe9.jpg")]
    for number, name in enumerate(photos):
        Image.new("RGB", (64, 48), (90, 120, 25 * number)).save(given / name, "JPEG")
    for name in ("DSC1.ARW", "IMG_1.MOV", "a.xmp", "notes.txt", os.fsdecode(b"\xe9.xmp")):
        (given / name).write_bytes(b"no photo")
    for _ in range(2):  # the second run reads the audit file, in which the names are
        done = process("anonymize", given, out, *QUICK)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "anonymize: not looked at: 2 .xmp, 1 .arw, 1 .mov, 1 .txt"
        assert {path.name for path in out.glob("*.jpg")} == {f"{Path(name).stem}.jpg" for name in photos}
        audited = json.loads((out / "faces.json").read_text(encoding="utf-8"))["photos"]
        assert set(audited) == {Path(name).stem for name in photos}


def test_a_photo_in_quarantine_may_have_a_name_that_is_not_utf8(process: Script, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"no photo")
    done = process("anonymize", tmp_path / "in", tmp_path / "out", *QUICK)
    assert done.returncode == 0, done.stderr
    assert r"caf\udce9,cannot be read" in (tmp_path / "out" / "quarantine.csv").read_text(encoding="utf-8")


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
        mode, form = {"cmyk": ("CMYK", "JPEG"), "grey": ("L", "JPEG"), "alpha": ("RGBA", "PNG")}[kind]
        colour.convert(mode).save(out, form)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["animated", "16-bit", "1x1", "40000x3", "cmyk", "grey", "alpha"])
def test_an_odd_photo_passes_as_an_ordinary_one(tmp_path: Path, kind: str) -> None:
    (tmp_path / "odd").write_bytes(odd(kind))
    assert gate.examine(tmp_path / "odd", tmp_path / "out.jpg", gate_settings()).faces == []
    assert Image.open(tmp_path / "out.jpg").mode == "RGB"


@pytest.mark.parametrize("kind", ["bomb", "gif"])
def test_a_hostile_or_unknown_photo_does_not_pass(tmp_path: Path, kind: str) -> None:
    (tmp_path / "odd").write_bytes(odd(kind))
    with pytest.raises(gate.QuarantineError, match=r"cannot be read: (too large|not a photo|gif)"):
        gate.examine(tmp_path / "odd", tmp_path / "out.jpg", gate_settings())
    assert not (tmp_path / "out.jpg").exists()


def test_one_worker_and_two_write_the_same_bytes(
    script: Script, examined: Path, portraits: Path, tmp_path: Path
) -> None:
    assert stage(script, portraits, tmp_path, LANDMARKS_WORKERS="2").returncode == 0
    for name in (*OUTPUTS, "anonymous/upright0.jpg", "anonymous/turned1.jpg"):
        assert (tmp_path / name).read_bytes() == (examined / name).read_bytes()
