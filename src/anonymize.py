"""Obscure the faces."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import entries, write_json
from landmarks.dataset import tables
from landmarks.demo import world
from landmarks.privacy import face_detectors, gate, redaction
from landmarks.reporting import plots

SETTINGS = gate.Settings()
SIZES = list(SETTINGS.sizes)


def main(
    images: Annotated[Path, typer.Argument(help="Folder of photos")],
    anonymous: Annotated[Path, typer.Argument(help="Folder to write: those that passed, as JPEG")],
    listing: Annotated[
        Path | None, typer.Argument(help="CSV with the column id: which; else every photo in there")
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Argument(help="JSON to write: settings, models, and the faces of each photo [OUT/faces.json]"),
    ] = None,
    quarantine: Annotated[
        Path | None, typer.Argument(help="CSV to write: photos that did not pass, and why [OUT/quarantine.csv]")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Argument(help="PNG to write: the least certain faces, obscured [OUT/detections.png]")
    ] = None,
    example: Annotated[
        Path | None,
        typer.Argument(help="World .yaml: the before-and-after figure shows its made people, never a real one"),
    ] = None,
    figure: Annotated[Path | None, typer.Argument(help="PNG to write: before and after")] = None,
    detector: Annotated[
        face_detectors.Name, typer.Option(help="Who looks; strict: centerface and yunet, every size, four turns")
    ] = SETTINGS.detector,
    models: Annotated[
        str, typer.Option(help="Folder of the model files of yunet and ssd; else they are fetched once")
    ] = "",
    sizes: Annotated[list[int], typer.Option(min=32, help="Long sides, pixels, at which a photo is examined")] = SIZES,
    turned: Annotated[
        int, typer.Option(min=0, help="The same for a photo lying on its side or head; 0: it is not")
    ] = SETTINGS.turned,
    confidence: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Lowest score taken for a face")
    ] = SETTINGS.confidence,
    recheck: Annotated[
        float,
        typer.Option(min=0.01, max=0.99, help="The same in a photo that has a face, and when it is looked at again"),
    ] = SETTINGS.recheck,
    passes: Annotated[
        int, typer.Option(min=1, max=9, help="Times a photo is obscured before it is given up")
    ] = SETTINGS.passes,
    method: Annotated[redaction.Method, typer.Option(help="What is done to a face; blur is weak")] = SETTINGS.method,
    shape: Annotated[redaction.Shape, typer.Option(help="The whole box, or the ellipse in it")] = SETTINGS.shape,
    margin: Annotated[
        float, typer.Option(min=0, max=2, help="How far beyond the face, in parts of its box")
    ] = SETTINGS.margin,
    cells: Annotated[int, typer.Option(min=1, max=16, help="Squares a side of a mosaic")] = SETTINGS.cells,
    quality: Annotated[int, typer.Option(min=50, max=100, help="JPEG quality of what is written")] = SETTINGS.quality,
    max_quarantined: Annotated[int, typer.Option(min=0, help="More photos than this may not fail to pass")] = 10,
) -> None:
    """Examine every photo, obscure its faces and look again; a photo that cannot be vouched for goes to quarantine.

    Photos are written upright and without metadata. Later stages see these, never the originals. A photo examined before
    under the same settings is not examined again. For photos of your own: python src/anonymize.py FOLDER OUT
    """
    settings = gate.Settings(
        detector, models, tuple(sizes), turned, confidence, recheck, passes, method, shape, margin, cells, quality
    )
    originals = _listed(images, listing) if listing else _all_in(images)
    audit, quarantine = audit or anonymous / "faces.json", quarantine or anonymous / "quarantine.csv"
    sheet, journal = sheet or anonymous / "detections.png", audit.with_name(f".{audit.stem}.journal")
    if not listing:
        _require_own(images, anonymous, (audit, journal))
    anonymous.mkdir(parents=True, exist_ok=True)
    identity = gate.identity(settings)
    passed, refused = {}, []
    known = _earlier(audit, identity)
    try:
        for photo, result in gate.examine_all(originals, anonymous, journal, known, settings, identity):
            if isinstance(result, gate.Passed):
                passed[photo] = dataclasses.asdict(result)
            else:
                refused.append({"id": photo, "reason": str(result)})
    except OSError as error:  # a full disk is no fault of the photo
        raise InputError(f"{anonymous}: {error}; what is examined is kept: mend that, run the same command") from None
    tables.write(quarantine, pd.DataFrame(refused, columns=["id", "reason"]))
    if len(refused) > max_quarantined or not passed:
        raise InputError(
            f"{quarantine}: {len(refused)} of {len(originals)} photos did not pass, the first {refused[0]['id']}: "
            f"{refused[0]['reason']}; look at them, remove them, or raise anonymize.max_quarantined in params.yaml"
        )
    for file in anonymous.glob("*.jpg") if listing else ():
        if file.stem not in passed:
            file.unlink()
    counts = {
        "faces": sum(len(photo["faces"]) for photo in passed.values()),
        "photos_with_faces": sum(bool(photo["faces"]) for photo in passed.values()),
        "obscured_again": sum(photo["looks"] > 2 for photo in passed.values()),
        "quarantined": len(refused),
    }
    write_json(audit, {**identity, **counts, "photos": passed})
    examined = {entry["id"] for entry in entries(journal) if "id" in entry}.intersection(passed)
    journal.unlink()
    plots.least_certain(sheet, anonymous, passed)
    if example and figure:
        hide = partial(redaction.obscure, method=method, margin=margin, cells=cells, shape=shape)
        plots.before_and_after(figure, world.portraits(**world.describe(example)), settings.first, hide)
    if listing:
        print(f"anonymize: {len(examined) + len(refused)} of {len(originals)} photos examined, the others as before")
    else:
        _tell({"photos": len(originals), "passed": len(passed), **counts}, anonymous)


def _listed(images: Path, listing: Path) -> dict[str, Path]:
    rows = tables.read(listing, ["id"])
    tables.check_ids(listing, rows)
    return {photo: images / f"{photo}.jpg" for photo in rows["id"]}


def _all_in(images: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(images.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            name = str(path.relative_to(images).with_suffix(""))
            if name in found:
                raise InputError(f"{path}: would be written as {name}.jpg, as {found[name]} is; rename one")
            found[name] = path
    if not found:
        raise InputError(f"{images}: no files in there; give a folder of photos")
    return found


def _require_own(images: Path, anonymous: Path, ours: tuple[Path, ...]) -> None:
    """Nothing of a person's own is written over."""
    if anonymous.resolve().is_relative_to(images.resolve()):
        raise InputError(f"{anonymous}: lies in the folder of the originals; name another to write to")
    if anonymous.is_dir() and any(anonymous.iterdir()) and not any(path.exists() for path in ours):
        raise InputError(f"{anonymous}: is there, not empty, and not an earlier result; name another folder")


def _earlier(audit: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The records of an earlier run under the same settings, models and code, if there are any."""
    try:
        found = json.loads(audit.read_text())
        same = {key: found.get(key) for key in identity} == identity
        return dict(found["photos"]) if same else {}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


def _tell(counts: dict[str, int], anonymous: Path) -> None:
    width = max(map(len, counts))
    for name, count in counts.items():
        print(f"{name.replace('_', ' '):{width}}  {count:>6}")
    print(f"written to {anonymous}; look over {anonymous / 'detections.png'}: a face that was not found is still there")


if __name__ == "__main__":
    stage.run(main)
