"""What predict.py and serve.py share: the options that choose a trained model, and how it is loaded."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landmarks.common.errors import InputError

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

Model = Annotated[Path, typer.Option(help="JSON of the cnn stage, its weights beside it")]
Unchecked = Annotated[bool, typer.Option("--unchecked", help="Accept a model that dvc.lock does not record")]
Names = Annotated[
    Path | None,
    typer.Option(help="CSV of id, name, …: what landmarks are called [landmarks.csv beside the model, if it is there]"),
]
Threshold = Annotated[
    float | None, typer.Option(min=0, max=1, help="Lowest confidence of a known landmark [the reject stage's]")
]
MODEL = Path("models/plain.json")
LOCK = Path("dvc.lock")


def load(
    model: Path, unchecked: bool = False, names: Path | None = None, threshold: float | None = None, threads: int = 0
) -> "Predictor":
    """The predictor, as ``predictor.load``; warns if no threshold was chosen. Raises ``InputError``."""
    from landmarks.serving import dvc_lineage, predictor  # here: --help and mistakes need not wait for TensorFlow

    try:
        loaded = predictor.load(model, None if unchecked else LOCK, names, threshold, threads)
    except dvc_lineage.LineageError as error:
        raise InputError(f"{error}, or accept the model as it is: --unchecked") from None
    if loaded.record.threshold is None:
        reason = f"no threshold was chosen for {model}: no photo is called unknown; set --threshold"
        print(f"{Path(sys.argv[0]).stem}: {reason}", file=sys.stderr)
    return loaded
