"""How the tests run the cnn stage."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support import Done, Script

PLAIN = ("--no-augment", "--augmentations", 1)  # the rest is as params.yaml has it
MADE = ("model.json", "model.weights.h5", "history.csv", "predictions.parquet")
Train = Callable[..., Done]


def outputs(folder: Path) -> list[Path]:
    return [folder / name for name in ("model.json", "history.csv", "predictions.parquet")]


@pytest.fixture
def cnn(script: Script, photos: Path, split: Path) -> Train:
    """Run the stage into a folder, which is made: ``cnn(folder, *knobs, images=..., table=..., **environment)``."""

    def run(
        folder: Path, *knobs: object, images: Path = photos / "images", table: Path = split, start: Script = script,
        **environment: str,
    ) -> Done:  # fmt: skip
        folder.mkdir(exist_ok=True)
        return start("cnn", images, table, *outputs(folder), *PLAIN, *knobs, **environment)

    return run


@pytest.fixture
def train(cnn: Train) -> Train:
    """The same; it has to succeed."""

    def run(folder: Path, *knobs: object, **changed: object) -> Done:
        done = cnn(folder, *knobs, **changed)
        assert done.returncode == 0, done.stderr
        return done

    return run
