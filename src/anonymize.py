"""Obscure the faces."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

import stage
from landmarks import faces, figures, photos, tables, work, world
from landmarks.errors import InputError
from landmarks.files import whole_folder, write_json


def main(
    listing: Annotated[Path, typer.Argument(help="CSV of the download stage: id, landmark_id")],
    images: Annotated[Path, typer.Argument(help="Folder of its photos")],
    example: Annotated[
        Path, typer.Argument(help="World .yaml: the before-and-after figure shows its made people, never a real one")
    ],
    anonymous: Annotated[Path, typer.Argument(help="Folder to write: the photos that passed")],
    audit: Annotated[Path, typer.Argument(help="JSON to write: detector, settings, and the faces of each photo")],
    quarantine: Annotated[Path, typer.Argument(help="CSV to write: photos that did not pass, and why")],
    figure: Annotated[Path, typer.Argument(help="PNG to write: before and after")],
    confidence: Annotated[float, typer.Option(min=0.01, max=0.99, help="Lowest score taken for a face")] = 0.3,
    method: Annotated[faces.Method, typer.Option(help="What is done to a face")] = "pixelate",
    margin: Annotated[float, typer.Option(min=0, max=2, help="How far beyond the face, in parts of its box")] = 0.15,
    cells: Annotated[int, typer.Option(min=1, max=16, help="Shades a side that are left of a face")] = 5,
    quality: Annotated[int, typer.Option(min=50, max=100, help="JPEG quality of what is written")] = 92,
) -> None:
    """Examine every photo and obscure its faces; a photo that cannot be examined goes to quarantine.

    Photos are written upright and without metadata. Later stages see these, never the originals.
    """
    rows = tables.read(listing, ["id", "landmark_id"])
    tables.check_ids(listing, rows)
    ids = list(rows["id"])
    settings = {"confidence": confidence, "method": method, "margin": margin, "cells": cells}
    model = faces.model_sha256()
    obscure = partial(faces.obscure, method=method, margin=margin, cells=cells)
    found, refused = {}, []
    with whole_folder(anonymous) as folder:
        work_on = partial(_pass, images=images, folder=folder, confidence=confidence, obscure=obscure, quality=quality)
        for photo, result in zip(ids, work.each(work_on, ids, "anonymize"), strict=True):
            if isinstance(result, work.Failure):
                if isinstance(result.error, OSError):  # a full disk is no fault of the photo
                    raise result.error
                refused.append({"id": photo, "reason": str(result.error)})
            else:
                found[photo] = [dataclasses.asdict(face) for face in result]
        if not found:
            raise InputError(
                f"{images}: none of {len(ids)} photos could be examined ({refused[:1]}); run the download stage again"
            )
    write_json(audit, {
        "detector": "centerface", "model_sha256": model, **settings,
        "faces": sum(map(len, found.values())), "photos_with_faces": sum(map(bool, found.values())),
        "quarantined": len(refused), "photos": found,
    })  # fmt: skip
    tables.write(quarantine, pd.DataFrame(refused, columns=["id", "reason"]))
    figures.before_and_after(
        figure, world.portraits(**world.describe(example)), partial(faces.detect, confidence=confidence), obscure
    )


def _pass(
    photo: str, images: Path, folder: Path, confidence: float, obscure: faces.Obscure, quality: int
) -> list[faces.Face]:
    picture = photos.read(images / f"{photo}.jpg")
    found = faces.detect(picture, confidence)
    photos.write(folder / f"{photo}.jpg", obscure(picture, found), quality)
    return found


if __name__ == "__main__":
    stage.run(main)
