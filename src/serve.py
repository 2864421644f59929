"""The trained network as a server: for programs, for Prometheus, and as a page for people."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import stage
from landmarks.common.errors import InputError
from landmarks.serving import middleware

if TYPE_CHECKING:
    from landmarks.serving import similar
    from landmarks.serving.predictor import Predictor

LIMITS = middleware.Limits()
KEY = "LANDMARKS_API_KEY"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(
    model: stage.Model = stage.MODEL,
    unchecked: stage.Unchecked = False,
    names: stage.Names = None,
    threshold: stage.Threshold = None,
    anonymous: Annotated[
        Path, typer.Option(help="Folder of the anonymize stage: similar photos are shown from it, if it is there")
    ] = Path("data/anonymous"),
    split: Annotated[Path, typer.Option(help="CSV of the split stage: which of them are training photos")] = Path(
        "data/split.csv"
    ),
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: whoever can reach this machine")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="… and port; 0: a free one")] = 8080,
    megabytes: Annotated[float, typer.Option(min=0.1, help="Largest body of a request")] = LIMITS.megabytes,
    megapixels: Annotated[float, typer.Option(min=0.01, max=80, help="Largest photo")] = LIMITS.megapixels,
    instances: Annotated[int, typer.Option(min=1, help="Most photos a request")] = LIMITS.instances,
    seconds: Annotated[float, typer.Option(min=0.1, help="Longest that a request may take to arrive")] = LIMITS.seconds,
    requests: Annotated[int, typer.Option(min=1, help="Most requests at once")] = LIMITS.requests,
) -> None:
    """Answer which place a photo shows. The environment variable LANDMARKS_API_KEY is the key that requests must show.

    Nothing of a photo is kept or logged. SIGTERM and Ctrl-C answer what is under way, then end.
    """
    import uvicorn  # here: --help need not wait

    from landmarks.serving import app, predictor

    key = os.environ.get(KEY, "")
    if host not in LOOPBACK and not key:
        print(f"serve: {host} can be reached by others, and no key is asked for: set {KEY}", file=sys.stderr)
    lock = None if unchecked else Path("dvc.lock")
    loaded = predictor.load(model, lock, names, threshold, threads=1)
    if loaded.provenance.threshold is None:
        print(f"serve: no threshold was chosen for {model}: it never says unknown; set --threshold", file=sys.stderr)
    limits = middleware.Limits(megabytes, megapixels, instances, seconds, requests)
    uvicorn.run(
        app.application(loaded, limits, key, partial(_learn, loaded, anonymous, split, lock)),
        host=host,
        port=port,
        http=middleware.protocol(seconds),
        ws="none",
        access_log=False,
        server_header=False,
    )


def _learn(loaded: "Predictor", anonymous: Path, split: Path, lock: Path | None) -> "similar.Training | None":
    """The training photos; None where they are not there, or not those that were anonymized."""
    from landmarks.serving import dvc_lineage, similar

    if not anonymous.is_dir() or not split.is_file():
        return None
    try:
        if lock:
            dvc_lineage.read(lock).check([anonymous, split], "")
        return similar.learn(loaded, anonymous, split)
    except (InputError, OSError) as error:
        print(f"serve: no similar photos are shown: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    stage.run(main)
