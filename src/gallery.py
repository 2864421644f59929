"""Draw what the stages did to photos."""

import zipfile
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import stage
from landmarks.classical import features_file, matching
from landmarks.common import knobs
from landmarks.common.errors import InputError
from landmarks.common.files import read_json, whole_folder
from landmarks.dataset import places, schema, tables
from landmarks.demo import world
from landmarks.images import decoding
from landmarks.images.photo_store import PhotoStore
from landmarks.privacy import gate, redaction
from landmarks.reporting import gallery

CANDIDATES = 8  # photos among which the figure of keypoints looks for two that show the same
QUERIES = 6  # in the figure of retrieval


def main(
    data: Annotated[Path, typer.Argument(help="Folder of the examined photos and of the other stages' results")],
    landmarks: Annotated[Path, typer.Argument(help="CSV of the places stage")],
    folder: Annotated[Path, typer.Argument(help="Folder to write the PNGs to")],
    example: Annotated[
        Path, typer.Argument(help="YAML of the demo dataset, whose people are shown before and after; never a real one")
    ],
    features: Annotated[list[str], typer.Option(help="Keypoints of these; repeat for more [all declared]")] = [],  # noqa: B006 - typer makes a list anew
) -> str:
    """Draw faces before and after, the least certain faces, keypoints and matches, retrieval, and occlusion maps."""
    anonymous = data / "anonymous"
    audit = read_json(data / "faces.json", "anonymize")
    gallery.least_certain(folder / "detections.png", anonymous, audit["photos"])
    _draw_faces(folder / "faces.png", audit, example)
    with whole_folder(folder / "keypoints") as keypoints:
        files = stage.declared(data / "keypoints", ".arrow", list(stage.params()["features"]), features)
        for name, path in files.items():
            _draw_keypoints(keypoints / f"{name}.png", anonymous, features_file.read(path))
    _draw_retrieval(folder / "retrieval.png", data)
    _draw_occlusions(folder / "explain.png", data / "occlusion.npz", places.names(landmarks))
    return f"faces, retrieval, occlusion maps, keypoints of {len(files)} kinds"


def _draw_faces(figure: Path, audit: dict[str, Any], example: Path) -> None:
    """People of the demo dataset, as the anonymize stage treats them, and by both methods of the thesis."""
    models = stage.params()["anonymize"]["models"]  # where the files lie changes no picture
    settings = knobs.build(gate.GateSettings, {**audit, "models": models})
    look = {name: getattr(settings, name) for name in ("margin", "cells", "shape")}
    methods: list[redaction.Method] = list(dict.fromkeys(("blur", "pixelate", settings.method)))
    gallery.before_and_after(
        figure,
        world.portraits(**world.describe(example)),
        settings.faces_to_obscure,
        {method: partial(redaction.obscure, method=method, **look) for method in methods},
    )


def _draw_keypoints(figure: Path, anonymous: Path, features: features_file.Features) -> None:
    """Of the first landmark that has two photos, among its first ones: the two whose keypoints agree best."""
    settings = features.settings
    names, counts = np.unique(features.landmarks, return_counts=True)
    first = min(names[counts > 1] if (counts > 1).any() else names, key=schema.natural)
    candidates = np.flatnonzero(features.landmarks == first)[:CANDIDATES]

    def match(one: int, other: int) -> matching.Matches:
        pair = [one, other]
        return matching.match(tuple(features.points[pair]), tuple(features.values[pair]), settings.detector)

    pairs: list[tuple[int, int]] = list(combinations(candidates.tolist(), 2)) or [(int(candidates[0]),) * 2]
    matched = [(match(*pair), pair) for pair in pairs]
    best, (one, other) = max(matched, key=lambda each: each[0].inliers.sum())
    store = PhotoStore(anonymous)
    pictures = [decoding.read(store[features.ids[i]], settings.long_side) for i in (one, other)]
    points = [features.points[one], features.points[other]]
    gallery.keypoints_and_matches(figure, pictures, points, match(one, one), best, settings.detector, settings.count)


def _draw_retrieval(figure: Path, data: Path) -> None:
    """The first query of each of the first landmarks."""
    columns = ["query", "photo", "same_landmark", "inliers"]
    table = tables.read(data / "retrieval.csv", columns)
    landmarks = tables.read_split(data / "split.csv")["landmark_id"]
    queries = list(dict.fromkeys(table["query"]))
    if unknown := set(queries).difference(landmarks.index):
        raise InputError(f"{data / 'retrieval.csv'}: the photo {min(unknown)!r} is not in the split; run: dvc repro")
    first: dict[str, str] = {}
    for query in queries:
        first.setdefault(landmarks[query], query)
    shown = [first[landmark] for landmark in sorted(first, key=schema.natural)[:QUERIES]]
    rows = table.set_index("query", drop=False).loc[shown].reset_index(drop=True)
    gallery.retrieval(figure, data / "anonymous", rows)


def _draw_occlusions(figure: Path, path: Path, names: places.Names) -> None:
    try:
        with np.load(path) as file:
            maps = {name: file[name] for name in ("picture", "drops", "landmark", "probability")}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run: dvc repro explain") from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a file of the explain stage ({error}); run: dvc repro --force explain") from None
    shown = [names[landmark] for landmark in maps["landmark"].tolist()]
    gallery.occlusions(figure, maps["picture"], maps["drops"], shown, maps["probability"].tolist())


if __name__ == "__main__":
    stage.run(main)
