"""The models side by side, as a table on the terminal."""

from pathlib import Path
from typing import Annotated

import stage
from landmarks.common.errors import InputError
from landmarks.common.files import read_json


def main(results: Annotated[Path, "JSON of the evaluate stage"] = Path("metrics/results.json")) -> None:
    """Print each model's accuracy on the test photos with its 95 % interval, and on those for validation."""
    rows = _rows(results)
    width = max(len(name) for name, *_ in rows)
    print(f"\n{'model':{width}}   test  95 % interval  validation")
    for name, test, low, high, validation in rows:
        print(f"{name:{width}}  {test:.3f}  {low:.3f} - {high:.3f}       {validation:.3f}")


def _rows(results: Path) -> list[tuple[str, float, float, float, float]]:
    """Name, accuracy on the test photos, the ends of its interval, and accuracy on the validation photos, of every model."""
    models = read_json(results, "evaluate")["models"]
    try:
        return [
            (name, *(float(model["test"][key]) for key in ("top1", "top1_low", "top1_high")), float(model["validation"]["top1"]))
            for name, model in models.items()
        ]  # fmt: skip
    except KeyError as error:
        raise InputError(f"{results}: no {error.args[0]} in it; run: dvc repro --force evaluate") from None


if __name__ == "__main__":
    stage.run(main)
