"""Describe the photos by their keypoints."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np

import stage
from landmarks.classical import features_file, local_features
from landmarks.classical.local_features import FeatureConfig, FeatureSettings, KeypointsConfig
from landmarks.common import parallel
from landmarks.common.files import write_json
from landmarks.common.result_cache import ResultCache, code_hash, fingerprint, path_for
from landmarks.dataset import schema, tables
from landmarks.images import decoding
from landmarks.images.photo_store import Photo, PhotoStore, sha256

FEW = 32  # keypoints that the thesis laid end to end: with fewer, its row ends in zeros


class Task(NamedTuple):
    """A photo to describe: all that a worker is told of it."""

    id: str
    photo: Photo


def main(
    listing: Annotated[Path, "CSV of the download stage: id, landmark_id"],
    anonymous: Annotated[Path, "Folder of the anonymize stage"],
    described: Annotated[Path, "Arrow file to write, a row a photo: id, landmark_id, found, points, values"],
    counts: Annotated[Path, "JSON to write: photos, those without keypoints, those with few"],
    keypoints: KeypointsConfig,
    feature: FeatureConfig,
) -> str:
    """Detect keypoints, keep the strongest by response and their descriptors.

    A photo that was described before, to the byte, under the same settings, by the same code and OpenCV, is not described
    again, even if the run was killed.
    """
    settings = FeatureSettings(**vars(keypoints), **vars(feature))
    landmarks = tables.read(listing, ["id", "landmark_id"]).set_index("id")["landmark_id"]
    store = PhotoStore(anonymous)
    there = store.listed(landmarks.index)
    ids = [photo for photo in there if landmarks[photo] != schema.UNKNOWN]  # no classical model is given the others
    made_by, describe = _identity(settings), partial(_described, settings=settings)
    keys = {photo: f"{made_by} {sha256(store[photo])}" for photo in ids}
    with ResultCache(path_for(described)) as cache:
        fresh = [photo for photo in ids if cache.get(keys[photo]) is None]
        tasks = [Task(photo, store[photo]) for photo in fresh]
        results = parallel.sound(
            parallel.each(describe, tasks, f"keypoints {described.stem}", shared=store.needs_folder)
        )
        for photo, content in zip(fresh, results, strict=True):
            cache.put(keys[photo], content)
        contents = ((photo, cache.get(keys[photo]) or describe(Task(photo, store[photo]))) for photo in ids)
        rows = (features_file.unpacked(content, photo, landmarks[photo], settings) for photo, content in contents)
        features_file.write(described, settings, rows)
        cache.prune(keys.values())
    made = features_file.read(described)
    few = np.minimum(made.found, keypoints.count)
    write_json(counts, {
        "photos": len(ids), "mean": round(float(few.mean()), 1),
        "none": int((few == 0).sum()), f"below_{FEW}": int((few < FEW).sum()),
    })  # fmt: skip
    known = stage.there(len(ids) - len(fresh))
    return f"{len(fresh)} of {len(ids)} photos described{known}; {few.mean():.0f} keypoints a photo"


def _identity(settings: FeatureSettings) -> str:
    """Name all that decides on the descriptors of a photo: settings, the code that decodes and describes it, OpenCV."""
    modules = local_features.__file__, decoding.__file__, features_file.__file__, __file__
    versions = {"opencv": cv2.__version__, "numpy": np.__version__}
    return fingerprint({**asdict(settings), "code": code_hash(*modules), **versions})


def _described(task: Task, settings: FeatureSettings) -> bytes:
    """Return the row of a photo, packed, its landmark left empty."""
    picture = decoding.read(task.photo, settings.long_side)
    points, values, found = local_features.describe(picture, settings)
    side = max(picture.shape[:2])
    where = [(*(v / side for v in (*point.pt, point.size)), point.angle) for point in points]
    row = features_file.Row(task.id, "", found, np.array(where, np.float32).reshape(-1, 4), values)
    return features_file.packed(row)


if __name__ == "__main__":
    stage.run(main)
