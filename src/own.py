"""The experiment on photos of yours: `make own PHOTOS=folder` (one subfolder a landmark) or `PHOTOS=table.csv`.

No stage: it writes what differs from params.yaml to profiles/own.yaml and applies that, as `make profile` does.
"""

import copy
import functools
import os
import shutil
import statistics
from pathlib import Path
from typing import Annotated, Any

import yaml

import apply_profile
import preflight
import stage
from landmarks.common.errors import InputError
from landmarks.common.files import whole

ROOT = stage.PARAMS.parent
TABLES = Path("data/own")  # where git and DVC see tables of yours
REAL = ROOT / "profiles" / "real.yaml"  # whose networks suit photographs
ABOUT = """\
# Photos of yours: make profile NAME=own. Only what differs from params.yaml; written by make own from what is there.
# {photos}
"""


def main(
    photos: Annotated[
        str, "Folder of photos, one subfolder a landmark; or a table with the columns id, url, landmark_id"
    ],
    profile: Annotated[Path, "YAML to write: what differs from params.yaml"] = Path("profiles/own.yaml"),
) -> None:
    """Set numbers of landmarks and photos from what is there, allow its schemes, take the networks of profiles/real.yaml, and
    apply that to params.yaml.
    """
    if not photos:
        raise InputError("which photos? make own PHOTOS=folder (one subfolder a landmark), or PHOTOS=table.csv")
    source = _source(photos)
    landmarks, values = _values(source)
    with whole(profile) as partial:
        partial.write_text(ABOUT.format(photos=landmarks) + yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    apply_profile.main(profile, stage.PARAMS)


def _source(photos: str) -> str:
    """``catalogue.source``: relative in the repository; a table from elsewhere is copied to where git sees it."""
    if "://" in photos:
        return photos
    path = Path(os.path.normpath(Path(photos).absolute()))
    if path.is_file() and not path.is_relative_to(ROOT):
        (ROOT / TABLES).mkdir(exist_ok=True)
        path = Path(shutil.copy(path, ROOT / TABLES))
        kept = TABLES / path.name
        print(
            f"{photos} was copied to {kept}. Keep it for others and the queue: git add {kept}; a large one: dvc add {kept}"
        )
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _values(source: str) -> tuple[str, dict[str, Any]]:
    """What is there, in words, and the parameters that fit it: of a folder all landmarks and photos, of a table as many as
    params.yaml asks for; numbers of components and folds as so many photos give them.
    """
    params = stage.params()
    title = f"photos of {Path(source).name}"
    real = yaml.safe_load(REAL.read_text(encoding="utf-8"))
    shared = {name: real[name] for name in ("external", "cnn")}
    values: dict[str, Any] = {"catalogue": {"source": source, "names": ""}, **shared, "report": {"title": title}}
    if "://" in source:
        return "A table at a URL: the numbers of landmarks and photos stay as they were", values
    there = preflight.photos_of_each(preflight.landmarks_of(source))
    fewest, everything = preflight.least(params), (ROOT / source).is_dir()
    if everything:  # one landmark of a few photos would leave as few of each of the others
        usable = [photos for photos in there if photos >= fewest]
        fewest = max(fewest, round(statistics.median(usable or [0]) / 2))
    enough = [photos for photos in there if photos >= fewest]
    if len(enough) < 2:
        raise InputError(f"{source}: {len(enough)} landmarks have {fewest} photos or more; 2 are needed")
    sample = params["sample"]
    classes = len(enough) if everything else min(sample["classes"], len(enough))
    per_class = enough[classes - 1] if everything else min(sample["per_class"], enough[classes - 1])
    unknown = min(sample["unknown"], sum(there[classes:]))
    values["sample"] = {"classes": classes, "per_class": per_class, "unknown": unknown}
    planned = copy.deepcopy(params)
    list(apply_profile.merge(planned, values, ""))
    for finding in preflight.plan(planned):
        if finding.possible is not None:
            *blocks, knob = finding.parameter.split(".")
            functools.reduce(lambda block, name: block.setdefault(name, {}), blocks, values)[knob] = finding.possible
    chosen = f"{classes} landmarks of {per_class} photos each are in, and {unknown} photos of others"
    small = f"; landmarks of fewer than {fewest} photos are not" if len(enough) < len(there) else ""
    return f"Of {sum(there)} photos of {len(there)} landmarks, {chosen}{small}.", values


if __name__ == "__main__":
    stage.run(main)
