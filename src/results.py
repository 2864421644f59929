"""The models side by side, as a table on the terminal."""

from pathlib import Path
from typing import Annotated

import stage
from landmarks.evaluation import results


def main(evaluation: Annotated[Path, "JSON of the evaluate stage"] = Path("metrics/evaluation.json")) -> None:
    """Print each model's accuracy on the test photos with its 95 % interval, and on those for validation."""
    models = results.read(evaluation).models
    width = max(map(len, models))
    print(f"\n{'model':{width}}   test  95 % interval  validation")
    for name, model in models.items():
        test = model.test
        print(
            f"{name:{width}}  {test.top1:.3f}  {test.top1_low:.3f} - {test.top1_high:.3f}       {model.validation.top1:.3f}"
        )


if __name__ == "__main__":
    stage.run(main)
