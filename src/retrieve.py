"""Which photos look alike, and do they show the same points?"""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

import stage
from landmarks.classical import features_file, matching, saved_models
from landmarks.common import parallel
from landmarks.common.errors import InputError
from landmarks.common.files import write_json
from landmarks.dataset import schema, tables
from landmarks.images import decoding
from landmarks.reporting import plots

SHOWN = 6  # queries in the figure
SIDE = 256  # pixels of a photo in it


def main(
    described: Annotated[Path, typer.Argument(help="File of the keypoints stage")],
    split: Annotated[Path, typer.Argument(help="CSV of the split stage")],
    model: Annotated[Path, typer.Argument(help="Model of the baseline stage, whose encoding is used")],
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    figure: Annotated[Path, typer.Argument(help="PNG to write: queries and their nearest training photos")],
    counts: Annotated[Path, typer.Argument(help="JSON to write: share of the nearest that show the query's landmark")],
    nearest: Annotated[int, typer.Option(min=1, help="Photos that count as found")] = 5,
    verified: Annotated[int, typer.Option(min=1, help="Photos nearest by encoding whose keypoints are matched")] = 20,
    trusted: Annotated[
        int, typer.Option(min=1, help="Photos with so many inliers go first, in their order; the others stay")
    ] = 30,
    ratio: Annotated[float, typer.Option(min=0.1, max=1.0, help="Lowe's ratio test")] = 0.8,
) -> None:
    """Look for the validation photos among the training photos: by encoding, then by the keypoints that one homography explains."""
    found = features_file.read(described)
    parts = tables.read_split(split, found.ids, found.landmarks)["split"].to_numpy()
    encoder = saved_models.load(model, found.settings)[:-1]
    queries, known = np.flatnonzero(parts == "validation"), np.flatnonzero(parts == "train")
    if not len(queries) or not len(known):
        raise InputError(f"{split}: no photo for validation, or none for training; run: dvc repro split")
    with threadpool_limits(1):
        asked, answers = (normalize(encoder.transform(found.values[part])) for part in (queries, known))
    likeness = asked @ answers.T  # cosines
    ranked = known[np.argsort(-likeness, axis=1, kind="stable")[:, : max(verified, nearest)]]
    inliers = partial(_inliers, described=described, ratio=ratio)
    verification = np.array(
        list(parallel.sound(parallel.each(inliers, list(zip(queries, ranked, strict=True)), "retrieve")))
    )
    order = np.argsort(-np.where(verification >= trusted, verification, 0), axis=1, kind="stable")
    again, inliers_of = (np.take_along_axis(each, order, axis=1) for each in (ranked, verification))
    write_json(counts, {
        "queries": len(queries), "nearest": nearest,
        "precision": _precision(found, queries, ranked, nearest),
        "precision_verified": _precision(found, queries, again, nearest),
    })  # fmt: skip
    read = partial(_read, anonymous, found.ids)
    rows = []
    for place in _one_a_landmark(found.landmarks[queries]):
        shown = list(zip(again[place], inliers_of[place], strict=True))[:nearest]
        same = found.landmarks[queries[place]]
        rows.append((read(queries[place]), [(read(i), bool(found.landmarks[i] == same), int(n)) for i, n in shown]))
    plots.retrieval(figure, rows)


def _inliers(task: tuple[int, NDArray[np.intp]], described: Path, ratio: float) -> list[int]:
    query, others = task
    found = features_file.mapped(described)  # here: handing it over would copy the descriptors of every photo
    return [
        int(matching.match(
            (found.points[query], found.points[other]), (found.values[query], found.values[other]),
            found.settings.detector, ratio,
        ).inliers.sum())
        for other in others
    ]  # fmt: skip


def _precision(
    found: features_file.Features, queries: NDArray[np.intp], ranked: NDArray[np.intp], nearest: int
) -> float:
    same = found.landmarks[ranked[:, :nearest]] == found.landmarks[queries][:, None]
    return round(float(same.mean()), 4)


def _one_a_landmark(landmarks: NDArray[np.str_]) -> list[int]:
    """The place of the first query of each of the first landmarks."""
    names = sorted(set(landmarks.tolist()), key=schema.natural)[:SHOWN]
    return [int((landmarks == name).argmax()) for name in names]


def _read(folder: Path, ids: NDArray[np.str_], place: int) -> decoding.Picture:
    return decoding.read(folder / f"{ids[place]}.jpg", SIDE)


if __name__ == "__main__":
    stage.run(main)
