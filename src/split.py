"""Divide the photos, once for every model."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

import stage
from landmarks.common import parallel
from landmarks.common.errors import InputError
from landmarks.common.files import write_json
from landmarks.common.knobs import Knob
from landmarks.dataset import schema, splitting, tables
from landmarks.images import decoding


@dataclass(frozen=True)
class SplitConfig:
    """The block ``split`` of params.yaml."""

    test: Annotated[float, Knob("Share of photos for the test", min=0.01, max=0.98)]
    validation: Annotated[float, Knob("Share of photos for selection", min=0.01, max=0.98)]
    duplicate_bits: Annotated[int, Knob("Photos whose 256-bit hashes differ in no more are one group", min=0, max=64)]


def main(
    listing: Annotated[Path, "CSV of the download stage: id, landmark_id"],
    anonymous: Annotated[Path, "Folder of the anonymize stage"],
    table: Annotated[Path, "CSV to write: id, landmark_id, split, group"],
    unknown: Annotated[Path, "CSV to write: id of the photos of other landmarks"],
    counts: Annotated[Path, "JSON to write: photos by split, near-duplicates"],
    split: SplitConfig,
    seed: stage.Seed,
) -> str:
    """Assign photos to train, validation and test: stratified by landmark, near-duplicates never on both sides.

    Photos of another source are the part external; those of them that resemble one of the others stand there as copy, in no part.
    """
    if split.test + split.validation >= 1:
        shares = f"split.test {split.test} and split.validation {split.validation}"
        raise InputError(f"{shares} leave nothing for training; lower them in params.yaml")
    landmarks = tables.read(listing, ["id", "landmark_id"]).set_index("id")["landmark_id"]
    photos = pd.DataFrame({"id": decoding.listed(anonymous, landmarks.index)})
    hashes = list(parallel.sound(parallel.each(partial(_hash, anonymous), list(photos["id"]), "split")))
    photos["landmark_id"] = landmarks[photos["id"]].to_numpy()
    elsewhere = photos["id"].map(schema.is_external).to_numpy(bool)
    grouped = partial(splitting.near_duplicates, distance=split.duplicate_bits)
    photos["group"], copies = splitting.apart(grouped, np.array(hashes), elsewhere)
    known = photos["landmark_id"] != schema.UNKNOWN
    divided, others = photos[known & ~elsewhere].copy(), photos[~known & ~elsewhere]
    external = photos[elsewhere].assign(split=np.where(copies[elsewhere], schema.COPY, schema.EXTERNAL))
    tested, new = external[known[elsewhere]], external[~known[elsewhere] & ~copies[elsewhere]]
    columns = list(divided["id"]), list(divided["landmark_id"]), divided["group"].to_numpy()
    divided["split"] = splitting.split(*columns, test=split.test, validation=split.validation, seed=seed)
    tables.write(table, pd.concat([divided, tested])[["id", "landmark_id", "split", "group"]])
    strangers = others[~others["group"].isin(divided["group"])]  # a near-duplicate of a known landmark is not unknown
    tables.write(unknown, pd.concat([strangers, new])[["id"]])
    sizes = divided["group"].value_counts()
    parts = {name: int((divided["split"] == name).sum()) for name in schema.PARTS}
    write_json(counts, {
        "photos": len(divided), **parts,
        "near_duplicates": int((sizes - 1).sum()), "landmarks": int(divided["landmark_id"].nunique()),
        "unknown": len(strangers), "unknown_left_out": len(others) - len(strangers),
        "external": int((tested["split"] == schema.EXTERNAL).sum()), "external_unknown": len(new), "external_left_out": int(copies.sum()),
    })  # fmt: skip
    listed = ", ".join(f"{count} {name}" for name, count in parts.items())
    return f"{listed}, {len(strangers)} of other landmarks, {(~copies[elsewhere]).sum()} from another source"


def _hash(folder: Path, photo: str) -> "np.typing.NDArray[np.bool_]":
    return decoding.perceptual_hash(decoding.read(folder / f"{photo}.jpg", long_side=256))


if __name__ == "__main__":
    stage.run(main)
