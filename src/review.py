"""Write the page on which a person looks over faces: what the anonymize stage was least sure of, and its quarantine."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

import stage
from landmarks.common import knobs
from landmarks.common.errors import InputError
from landmarks.common.files import as_text, read_json
from landmarks.dataset import tables
from landmarks.images import folders
from landmarks.images.photo_store import Photo, PhotoStore
from landmarks.privacy import gate, verdicts
from landmarks.reporting import html_page, review

DATA = Path("data")


def main(
    images: Annotated[Path, typer.Argument(help="Folder of the original photos")] = DATA / "images",
    results: Annotated[Path, typer.Argument(help="Folder with faces.json and quarantine.csv of anonymize")] = DATA,
    page: Annotated[Path, typer.Option(help="HTML to write; readable faces are in it")] = Path("review.html"),
    detections: Annotated[int, typer.Option(help="How many of the least certain ones", min=0, max=1000)] = 100,
    unmarked: Annotated[int, typer.Option(help="How many photos in which nothing was found", min=0, max=1000)] = 20,
) -> None:
    """Write review.html for a person to decide: photos in quarantine, the least certain detections, and some without any.

    The page holds readable faces: it is for this machine, and neither for git, DVC nor a mail. What is decided is saved from it
    as verdicts.csv, which the anonymize stage reads; a photo without a verdict is not examined again.
    For the experiment, without arguments; after python src/anonymize.py FOLDER OUT, with FOLDER OUT.
    """
    for folder in (images, results):
        if page.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{page}: shows readable faces and would lie in {folder}; name another place with --page")
    audit, quarantine, saved = (results / name for name in ("faces.json", "quarantine.csv", "verdicts.csv"))
    if not quarantine.is_file():
        raise InputError(f"{quarantine}: no such file; run the anonymize stage first, or name the folder that it wrote")
    audited = read_json(audit, "anonymize") if audit.is_file() else {"photos": {}}  # too many photos did not pass
    experiment, params = results == DATA, stage.params()["anonymize"]
    used = (
        params if experiment else {**params, **audited, "models": params["models"]}
    )  # as the options of that run were
    earlier = verdicts.read(saved) if saved.is_file() else []
    try:
        asked, left_out = review.least_certain(audited["photos"], detections)
        asked += review.unmarked(audited["photos"], unmarked)
    except (KeyError, TypeError) as error:
        raise InputError(f"{audit}: not as this version writes it ({error!r}); run the anonymize stage again") from None
    rows = tables.read(quarantine, ["id", "reason"]).itertuples(index=False, name=None)
    prepared = review.prepare(
        asked, dict(rows), _originals(images), knobs.build(gate.GateSettings, used), verdicts.by_source(earlier), left_out
    )  # fmt: skip
    if prepared.changed and not prepared.questions:
        raise InputError(f"{images}: none of the photos that {results} tells of is in there; name both folders")
    again = (
        "dvc repro"
        if experiment
        else shlex.join(["python", "src/anonymize.py", str(images), str(results), *_options(used, params)])
    )
    review.write(page, prepared, earlier, saved, again)
    print(f"{page}: {len(prepared.questions)} questions, {html_page.size(page.stat().st_size)}; open it in a browser")
    print("It shows readable faces: do not commit, push or send it, and delete it when you are done.")
    print(f"Save the verdicts from it as {saved}, then run: {again}")


def _options(used: dict[str, Any], params: dict[str, Any]) -> list[str]:
    """The options that make ``used`` of ``params``: a run with others would examine every photo again."""
    options = []
    for name in (field.name for field in dataclasses.fields(gate.GateSettings)):
        if used[name] != params[name]:
            values = used[name] if isinstance(used[name], list) else [used[name]]
            options += [text for value in values for text in (f"--{name}", str(value))]
    return options


def _originals(images: Path) -> dict[str, Photo]:
    """The photos by the names of their results, as the anonymize script and its quarantine.csv write them."""
    if (store := PhotoStore(images)).shards:
        return {photo: store[photo] for photo in store}
    paths: dict[str, Photo] = {
        str(path.relative_to(images).with_suffix("")): path for path in folders.list_photos(images).paths
    }
    return {**{as_text(name): path for name, path in paths.items()}, **paths}


if __name__ == "__main__":
    stage.run(main)
