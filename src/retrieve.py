"""Which photos look alike, and do they show the same points?"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

import stage
from landmarks.classical import features_file, matching, saved_models
from landmarks.common import parallel
from landmarks.common.files import write_json
from landmarks.common.knobs import Knob
from landmarks.dataset import tables


@dataclass(frozen=True)
class RetrieveConfig:
    """The block ``retrieve`` of params.yaml."""

    nearest: Annotated[int, Knob("Photos that count as found", min=1)]
    verified: Annotated[int, Knob("Photos nearest by encoding whose keypoints are matched", min=1)]
    trusted: Annotated[int, Knob("Photos with so many inliers go first, in their order; the others stay", min=1)]
    ratio: Annotated[float, Knob("Lowe's ratio test", min=0.1, max=1.0)]


def main(
    described: Annotated[Path, "File of the keypoints stage"],
    split: Annotated[Path, "CSV of the split stage"],
    model: Annotated[Path, "Model of the baseline stage, whose encoding is used"],
    table: Annotated[Path, "CSV to write: query, rank, photo, same_landmark, inliers; the nearest of each query"],
    counts: Annotated[Path, "JSON to write: share of the nearest that show the query's landmark"],
    retrieve: RetrieveConfig,
) -> str:
    """Look for the validation photos among the training photos: by encoding, then by the keypoints that one homography explains."""
    found = features_file.read(described)
    parts = tables.read_split(split, found.ids, found.landmarks)["split"].to_numpy()
    encoder = saved_models.load(model, found.settings)[:-1]
    queries, known = np.flatnonzero(parts == "validation"), np.flatnonzero(parts == "train")
    tables.require_parts(split, parts, ("train", "validation"))
    nearest, verified = (_at_most(name, getattr(retrieve, name), len(known)) for name in ("nearest", "verified"))
    with threadpool_limits(1):
        asked, answers = (normalize(encoder.transform(found.values[part])) for part in (queries, known))
    likeness = asked @ answers.T  # cosines
    ranked = known[np.argsort(-likeness, axis=1, kind="stable")[:, : max(verified, nearest)]]
    inliers = partial(_inliers, described=described, ratio=retrieve.ratio)
    tasks = list(zip(queries, ranked, strict=True))
    verification = np.array(list(parallel.sound(parallel.each(inliers, tasks, "retrieve"))))
    order = np.argsort(-np.where(verification >= retrieve.trusted, verification, 0), axis=1, kind="stable")
    again, inliers_of = (np.take_along_axis(each, order, axis=1) for each in (ranked, verification))
    alike = found.landmarks[queries][:, None]
    same = [found.landmarks[each[:, :nearest]] == alike for each in (ranked, again)]
    precision, precise_again = (round(float(each.mean()), 4) for each in same)
    shares = {"precision": precision, "precision_verified": precise_again}
    write_json(counts, {"queries": len(queries), "nearest": nearest, **shares})
    tables.write(table, _listed(found, queries, again[:, :nearest], inliers_of[:, :nearest]))
    return f"{precise_again:.3f} of the {nearest} nearest photos show the place, {precision:.3f} before verification"


def _at_most(name: str, asked: int, photos: int) -> int:
    if asked > photos:
        print(
            f"retrieve: retrieve.{name} {asked}: there are {photos} training photos; all of them are taken",
            file=sys.stderr,
        )
    return min(asked, photos)


def _inliers(task: tuple[int, NDArray[np.intp]], described: Path, ratio: float) -> list[int]:
    query, others = task
    found = features_file.mapped(described)  # here: handing it over would copy the descriptors of every photo
    pairs = [((found.points[query], found.points[k]), (found.values[query], found.values[k])) for k in others]
    return [int(matching.match(*pair, found.settings.detector, ratio).inliers.sum()) for pair in pairs]


def _listed(
    found: features_file.Features, queries: NDArray[np.intp], ranked: NDArray[np.intp], inliers: NDArray[np.int64]
) -> pd.DataFrame:
    """A row for each of the photos ``ranked`` (queries, nearest) for a query, the nearest first."""
    same = found.landmarks[ranked] == found.landmarks[queries][:, None]
    count = ranked.shape[1]
    return pd.DataFrame({
        "query": np.repeat(found.ids[queries], count), "rank": np.tile(np.arange(1, count + 1), len(queries)),
        "photo": found.ids[ranked].ravel(), "same_landmark": np.where(same, "true", "false").ravel(),
        "inliers": inliers.ravel(),
    })  # fmt: skip


if __name__ == "__main__":
    stage.run(main)
