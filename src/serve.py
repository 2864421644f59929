"""The trained network as a server: an API for programs, metrics for Prometheus, a page for people."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import stage
import trained_model
from landmarks.common.errors import InputError
from landmarks.serving.limits import RequestLimits

if TYPE_CHECKING:
    from landmarks.serving.photo_index import PhotoIndex
    from landmarks.serving.predictor import Predictor

SPLIT = Path("data/split.csv")
LIMITS = RequestLimits()
KEY = "LANDMARKS_API_KEY"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(
    model: trained_model.Model = trained_model.MODEL,
    unchecked: trained_model.Unchecked = False,
    names: trained_model.Names = None,
    threshold: trained_model.Threshold = None,
    anonymous: Annotated[
        Path, typer.Option(help="Folder of the anonymize stage; if it exists, similar photos are shown from it")
    ] = Path("data/anonymous"),
    split: Annotated[Path, typer.Option(help="CSV of the split stage: which are training photos")] = SPLIT,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: for other machines, too")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="… and port; 0: a free one")] = 8080,
    megabytes: Annotated[float, typer.Option(min=0.1, help="Largest body of a request")] = LIMITS.megabytes,
    megapixels: Annotated[float, typer.Option(min=0.01, max=80, help="Largest photo")] = LIMITS.megapixels,
    instances: Annotated[int, typer.Option(min=1, help="Most photos in a request")] = LIMITS.instances,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time in which a request has to arrive")] = LIMITS.seconds,
    requests: Annotated[int, typer.Option(min=1, help="Most requests at once")] = LIMITS.requests,
) -> None:
    """Answer over HTTP which landmark a photo shows. Requests must carry the key in the environment variable LANDMARKS_API_KEY, if it is set.

    No photo is stored or logged. SIGTERM and Ctrl-C end the server after the requests in progress are answered.
    """
    import uvicorn  # here: --help need not wait

    from landmarks.serving import app, middleware

    key = os.environ.get(KEY, "")
    if host not in LOOPBACK and not key:
        print(f"serve: other machines can reach {host}, and no API key is required: set {KEY}", file=sys.stderr)
    loaded = trained_model.load(model, unchecked=unchecked, names=names, threshold=threshold, threads=1)
    limits = RequestLimits(
        megabytes=megabytes, megapixels=megapixels, instances=instances, seconds=seconds, requests=requests
    )
    lock = None if unchecked else trained_model.LOCK
    uvicorn.run(
        app.create_app(loaded, limits, key=key, build_index=partial(_build_index, loaded, anonymous, split, lock)),
        host=host,
        port=port,
        http=middleware.http_protocol(seconds),
        ws="none",
        access_log=False,
        server_header=False,
    )


def _build_index(loaded: "Predictor", anonymous: Path, split: Path, lock: Path | None) -> "PhotoIndex | None":
    """The index of training photos; None if they are missing, or are not those that were anonymized."""
    from landmarks.serving import dvc_lineage, photo_index

    if not anonymous.is_dir() or not split.is_file():
        return None
    try:
        if lock:
            dvc_lineage.read(lock).check([anonymous, split])
        return photo_index.build(loaded, anonymous, split)
    except (InputError, OSError) as error:
        print(f"serve: no similar photos are shown: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    stage.run(main)
