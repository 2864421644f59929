"""Photos of two people, and how the tests run the anonymize stage."""

import importlib.util
from pathlib import Path

import pandas as pd
from PIL import Image
from support import Done, Script

from landmarks.demo.renderer import PORTRAITS

OUTPUTS = ("faces.json", "quarantine.csv")
QUICK = ("--sizes", 320, "--turned", 0)  # enough for the portraits, a twentieth of the time


def portrait(package: str, file: str) -> Image.Image:
    found = importlib.util.find_spec(package)
    return Image.open(Path(str(found and found.origin)).parent / file).convert("RGB")


def save_portraits(folder: Path) -> Path:
    """Two people, upright and lying on their side with the EXIF tag that says so, and two files that are no photos."""
    for n, (package, file, _) in enumerate(PORTRAITS):
        picture = portrait(package, file)
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "taken at home"
        picture.save(folder / f"upright{n}.jpg", quality=95)
        picture.rotate(90, expand=True).save(folder / f"turned{n}.jpg", quality=95, exif=exif)
    (folder / "web-page.jpg").write_bytes(b"<html>no photo</html>")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


def stage(script: Script, folder: Path, out: Path, *knobs: object, **environment: str) -> Done:
    """Run the stage as dvc.yaml does, without the before-and-after figure."""
    rows = [{"id": path.stem, "landmark_id": 1} for path in sorted(folder.glob("*.jpg"))]
    pd.DataFrame(rows).to_csv(out / "photos.csv", index=False)
    outputs = [out / name for name in OUTPUTS]
    return script("anonymize", folder, out / "anonymous", out / "photos.csv", *outputs, *knobs, **environment)
