"""The trained network as a server: an API for programs, metrics for Prometheus, a page for people."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import stage
import trained_model
from landmarks.common.errors import InputError
from landmarks.serving.limits import RequestLimits

if TYPE_CHECKING:
    from landmarks.serving.feedback import FeedbackFolder
    from landmarks.serving.photo_index import PhotoIndex
    from landmarks.serving.predictor import Predictor
    from landmarks.serving.samples import Sample

ANONYMOUS, SPLIT, CREDITS = Path("data/anonymous"), Path("data/split.csv"), Path("data/attribution.csv")
TESTED = Path("plots/confusion")
EXAMPLES = Path("data/examples/photos.csv")
KEY = "LANDMARKS_API_KEY"


def main(
    *,
    model: trained_model.Model = trained_model.MODEL,
    unchecked: trained_model.Unchecked = False,
    names: trained_model.Names = None,
    threshold: trained_model.Threshold = None,
    similar: Annotated[
        bool | None,
        typer.Option(
            "--similar/--no-similar", help="Show training photos similar to a photo [if only this machine is served]"
        ),
    ] = None,
    anonymous: Annotated[
        Path, typer.Option(help="… from this folder of the anonymize stage, if it exists")
    ] = ANONYMOUS,
    split: Annotated[Path, typer.Option(help="… those for training by this CSV of the split stage")] = SPLIT,
    attribution: Annotated[
        Path, typer.Option(help="… with author and licence by this CSV of the cards stage")
    ] = CREDITS,
    examples: Annotated[
        Path, typer.Option(help="CSV of photos to try which anybody may see, their files beside it, if it exists")
    ] = EXAMPLES,
    feedback: Annotated[
        Path | None,
        typer.Option(help="Folder to keep photos in, faces obscured, whose sender says what they show [none is kept]"),
    ] = None,
    feedback_photos: Annotated[int, typer.Option(min=1, help="… so many at most")] = 1000,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: for other machines, too")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="… and port; 0: a free one")] = 8080,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Name to be asked under, as in Host; repeat it for several [on loopback: localhost]"),
    ] = None,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy passes requests on")] = "",
    keep_alive: Annotated[int, typer.Option(min=1, help="Seconds after which an idle connection is closed")] = 5,
    graceful: Annotated[int, typer.Option(min=0, help="Seconds that requests in progress have at SIGTERM")] = 2,
    certificate: Annotated[Path | None, typer.Option(help="PEM file of the certificate, for https")] = None,
    private_key: Annotated[Path | None, typer.Option(help="… and of its key")] = None,
    limits: RequestLimits,
) -> None:
    """Answer over HTTP which landmark a photo shows. Requests must carry the key in the environment variable LANDMARKS_API_KEY, if it is set.

    No photo is stored or logged, unless --feedback. SIGTERM and Ctrl-C end the server after the requests in progress are answered.
    """
    import uvicorn  # here: --help need not wait

    from landmarks.serving import app, protocol

    key, loopback = os.environ.get(KEY, ""), host in app.LOOPBACK
    if not loopback and not key:
        print(f"serve: other machines can reach {host}, and no API key is required: set {KEY}", file=sys.stderr)
    kept = _feedback(feedback, feedback_photos) if feedback else None
    loaded = trained_model.load(model, unchecked=unchecked, names=names, threshold=threshold, threads=1)
    lock = None if unchecked else trained_model.LOCK
    build_index = partial(_build_index, loaded, anonymous, split, attribution, lock)
    shown = loopback if similar is None else similar
    hosts = [*app.LOOPBACK, *(allowed_host or [])] if loopback or allowed_host else ["*"]
    uvicorn.run(
        app.create_app(
            loaded, limits, key=key, hosts=hosts,
            build_index=build_index if shown else lambda _: None,
            feedback=kept,
            tested=_tested(TESTED / f"{model.stem}.csv", anonymous),
            samples=_samples(loaded, anonymous if shown else None, split, examples),
        ),
        host=host,
        port=port,
        http=protocol.http_protocol(limits.seconds),
        ws="none",
        root_path=root_path,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=graceful,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
        access_log=False,
        server_header=False,
    )  # fmt: skip


def _build_index(
    loaded: "Predictor", anonymous: Path, split: Path, attribution: Path, lock: Path | None, ending: Callable[[], bool]
) -> "PhotoIndex | None":
    """The index of training photos; None if they are missing, or are not those that were anonymized."""
    from landmarks.serving import dvc_lineage, photo_index

    if not anonymous.is_dir() or not split.is_file():
        return None
    credits = attribution if attribution.is_file() else None
    try:
        if lock:
            dvc_lineage.read(lock).check([path for path in (anonymous, split, credits) if path])
        return photo_index.build(loaded, anonymous, split, credits, ending)
    except (InputError, OSError) as error:
        print(f"serve: no similar photos are shown: {error}", file=sys.stderr)
        return None


def _feedback(folder: Path, most: int) -> "FeedbackFolder":
    """Where photos are kept once they passed the privacy gate of the pipeline, under its settings."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise InputError("--feedback needs the pipeline's packages, which look for faces; run: make setup")
    from landmarks.privacy.gate import GateSettings
    from landmarks.serving.feedback import FeedbackFolder

    return FeedbackFolder(folder, stage.block("anonymize", GateSettings), most)


def _tested(table: Path, anonymous: Path) -> Iterator[tuple[float, float]]:
    """Confidence and megapixels of each test photo by the evaluate stage, where they are there."""
    from PIL import Image

    from landmarks.dataset import csv_rows
    from landmarks.images.photo_store import PhotoStore

    store = PhotoStore(anonymous)
    for row in csv_rows.read(table, ("id", "confidence")) if table.is_file() else ():
        if row["id"] in store:
            # Of a single file the header alone is read
            with store[row["id"]].open("rb") as file, Image.open(file) as opened:
                yield float(row["confidence"]), opened.width * opened.height / 1e6


def _samples(loaded: "Predictor", anonymous: Path | None, split: Path, examples: Path) -> "list[Sample]":
    """Photos to try: of the landmarks, test photos where those may be shown, and the examples."""
    from landmarks.serving import samples

    found = {sample.id: sample for sample in samples.of_places(loaded.places)}
    try:
        if anonymous and split.is_file():
            found = {sample.id: sample for sample in samples.of_test_photos(loaded.places, anonymous, split)} | found
        listed = list(samples.of_examples(examples)) if examples.is_file() else []
    except (InputError, OSError) as error:
        print(f"serve: some photos to try are missing: {error}", file=sys.stderr)
        listed = []
    order = {label: place for place, label in enumerate(loaded.record.labels)}
    known = sorted((sample for sample in found.values() if sample.label in order), key=lambda one: order[one.label])
    return [*known, *listed]


if __name__ == "__main__":
    stage.run(main)
