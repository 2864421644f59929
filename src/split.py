"""Divide the photos, once for every model."""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

import stage
from landmarks.common import parallel
from landmarks.common.errors import InputError
from landmarks.common.files import write_json
from landmarks.dataset import schema, splitting, tables
from landmarks.images import decoding


def main(
    listing: Annotated[Path, typer.Argument(help="CSV of the download stage: id, landmark_id")],
    anonymous: Annotated[Path, typer.Argument(help="Folder of the anonymize stage")],
    table: Annotated[Path, typer.Argument(help="CSV to write: id, landmark_id, split, group")],
    unknown: Annotated[Path, typer.Argument(help="CSV to write: id of the photos of other landmarks")],
    counts: Annotated[Path, typer.Argument(help="JSON to write: photos by split, near-duplicates")],
    test: Annotated[float, typer.Option(min=0.01, max=0.98, help="Share of photos for the test")] = 0.3,
    validation: Annotated[float, typer.Option(min=0.01, max=0.98, help="Share of photos for selection")] = 0.14,
    duplicate_bits: Annotated[
        int, typer.Option(min=0, max=64, help="Photos whose 256-bit hashes differ in no more bits are one group")
    ] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Which photos go where")] = 0,
) -> None:
    """Assign photos to train, validation and test: stratified by landmark, near-duplicates never on both sides."""
    if test + validation >= 1:
        raise InputError(
            f"split.test {test} and split.validation {validation} leave nothing for training; lower them in params.yaml"
        )
    landmarks = tables.read(listing, ["id", "landmark_id"]).set_index("id")["landmark_id"]
    shown = pd.DataFrame({"id": decoding.listed(anonymous, landmarks.index)})
    hashes = list(parallel.sound(parallel.each(partial(_hash, anonymous), list(shown["id"]), "split")))
    shown["landmark_id"] = landmarks[shown["id"]].to_numpy()
    shown["group"] = splitting.near_duplicates(np.array(hashes), duplicate_bits)
    known = shown["landmark_id"] != schema.UNKNOWN
    made, strangers = shown[known].copy(), shown[~known]
    made["split"] = splitting.split(
        list(made["id"]), list(made["landmark_id"]), made["group"].to_numpy(), test, validation, seed
    )
    tables.write(table, made[["id", "landmark_id", "split", "group"]])
    other = strangers[~strangers["group"].isin(made["group"])]  # a near-duplicate of a known place is not unknown
    tables.write(unknown, other[["id"]])
    sizes = made["group"].value_counts()
    write_json(counts, {
        "photos": len(made), **{name: int((made["split"] == name).sum()) for name in schema.PARTS},
        "near_duplicates": int((sizes - 1).sum()), "landmarks": int(made["landmark_id"].nunique()),
        "unknown": len(other), "unknown_left_out": len(strangers) - len(other),
    })  # fmt: skip


def _hash(folder: Path, photo: str) -> "np.typing.NDArray[np.bool_]":
    return decoding.perceptual_hash(decoding.read(folder / f"{photo}.jpg", long_side=256))


if __name__ == "__main__":
    stage.run(main)
