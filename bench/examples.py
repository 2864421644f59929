"""What the stages do to real photos, those of data/examples: keypoints, privacy gate, prediction. After `make repro`.

python bench/examples.py docs/examples.jpg
"""

import tempfile
from pathlib import Path
from typing import Annotated

import cv2
import typer
from material import ROOT
from PIL import Image

import stage
from landmarks.classical import local_features
from landmarks.dataset import csv_rows
from landmarks.images import decoding
from landmarks.privacy.gate import GateSettings
from landmarks.reporting import figures
from landmarks.serving import predictor

SHOWN = ("colosseum", "brandenburg_gate", "statue_of_liberty")
YELLOW = (0, 255, 255)
SIDE = 400  # pixels of the longer side, as in the keypoints stage
QUALITY = 80  # of the JPEG, which is in git


def main(
    figure: Annotated[Path, typer.Argument(help="JPEG to write")],
    model: Annotated[Path, typer.Option(help="JSON of the cnn stage")] = Path("models/plain.json"),
) -> None:
    """Draw three photos, a row each."""
    names = {row["id"]: row["name"] for row in csv_rows.read(ROOT / "data/examples/photos.csv", ("id", "name"))}
    kaze = local_features.FeatureSettings(detector="kaze", protocol="joint", count=200, long_side=SIDE)
    gate, loaded = stage.block("anonymize", GateSettings), predictor.load(ROOT / model, ROOT / "dvc.lock")
    drawn, grid = figures.cells(len(SHOWN), 3, figures.WIDE / 3, 1.75)
    for axes, photo in zip(grid, SHOWN, strict=True):
        path = ROOT / "data/examples" / f"{photo}.jpg"
        picture = decoding.read(path, SIDE)
        points, _, _ = local_features.describe(picture, kaze)
        rich = cv2.drawKeypoints(picture, points, None, YELLOW, cv2.DRAW_MATCHES_FLAGS_DRAW_RICH_KEYPOINTS)
        figures.show(axes[0], rich, f"{names[photo]}: {len(points)} keypoints")
        left = gate.faces_to_obscure(decoding.read(path))
        figures.show(axes[1], picture, f"after the gate: {len(left)} faces found")
        (answer,) = loaded.predict([loaded.preprocess(path.read_bytes())], 1)
        figures.show(axes[2], picture, f"{answer.name}, {answer.confidence:.2f}")
        for cell in axes:
            cell.title.set_size(8)
    with tempfile.TemporaryDirectory() as place:
        figures.save(whole := Path(place) / "whole.png", drawn)
        Image.open(whole).convert("RGB").save(figure, "JPEG", quality=QUALITY, optimize=True)


if __name__ == "__main__":
    typer.run(main)
