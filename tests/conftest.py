"""Fixtures of all tests: stage scripts, photos of the synthetic landmarks, networks, a web host.

Helpers that are no fixtures lie in the package ``support``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

pytest.register_assert_rewrite("support")

from support import USUAL, Host, Script, recipe, record, run_here, run_process, serving  # noqa: E402

from landmarks.demo import renderer  # noqa: E402
from landmarks.images import jpeg  # noqa: E402

if TYPE_CHECKING:
    from landmarks.serving.predictor import Predictor

# a busy machine is no failure, so examples have no deadline; tests count their examples with support.examples
settings.register_profile("usual", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=10 * USUAL, derandomize=False, print_blob=True)
settings.load_profile("usual")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what waits for the small pipeline first: the other workers of xdist do the rest meanwhile."""
    items.sort(key=lambda item: "first_run" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def script() -> Script:
    """Run ``src/<name>.py`` in this process: ``script("split", *arguments, **environment)``."""
    return run_here


@pytest.fixture(scope="session")
def process() -> Script:
    """The same in a process of its own: for signals, limits, and one run of each script as people start it."""
    return run_process


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos of each of three landmarks, as the download stage leaves them: ``images/`` and ``photos.csv``."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "images").mkdir()
    rows = []
    for landmark in (1, 2, 3):
        for view in range(12):
            (folder / "images" / f"p{landmark}_{view:02}.jpg").write_bytes(renderer.photo(7, landmark, view))
            rows.append({"id": f"p{landmark}_{view:02}", "landmark_id": landmark, "status": "ok"})
    pd.DataFrame(rows).to_csv(folder / "photos.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def split(photos: Path) -> Path:
    """Their split.csv: views 0 to 6 train, 7 and 8 validation, 9 to 11 test."""
    rows = pd.read_csv(photos / "photos.csv", dtype=str)
    view = rows["id"].str[-2:].astype(int)
    rows["split"] = np.select([view < 7, view < 9], ["train", "validation"], "test")
    rows["group"] = range(len(rows))
    rows[["id", "landmark_id", "split", "group"]].to_csv(photos / "split.csv", index=False)
    return photos / "split.csv"


@pytest.fixture(scope="session")
def strangers(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos, and four of each of three landmarks that are in no split: ``images/`` and ``unknown.csv``."""
    folder = tmp_path_factory.mktemp("strangers")
    shutil.copytree(photos / "images", folder / "images")
    ids = [f"u{landmark}_{view}" for landmark in (100, 101, 102) for view in range(4)]
    for photo in ids:
        landmark, view = photo[1:].split("_")
        (folder / "images" / f"{photo}.jpg").write_bytes(renderer.photo(7, int(landmark), int(view)))
    pd.DataFrame({"id": ids}).to_csv(folder / "unknown.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def trained(script: Script, photos: Path, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of a network that knows its landmarks by three views of a photo; its predictions.parquet beside it."""
    folder = tmp_path_factory.mktemp("trained")
    out = [folder / name for name in ("model.json", "history.csv", "predictions.parquet")]
    views = ("--views", "middle", "--views", "squashed", "--views", "mirror")
    done = script("cnn", photos / "images", split, *out, "--no-augment", *views)
    assert done.returncode == 0, done.stderr
    return folder / "model.json"


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of a network of three landmarks that has learnt nothing; DVC recorded it, and a threshold chosen on it."""
    import tensorflow as tf

    from landmarks.deep import classifier

    folder = tmp_path_factory.mktemp("untrained")
    tf.keras.utils.set_random_seed(0)
    made_by = recipe()
    model = classifier.build(made_by, classifier.load_backbone(made_by), 3)
    network = classifier.Classifier(model=model, recipe=made_by, labels=["1", "2", "10"], temperature=1.5)
    classifier.save(folder / "plain.json", network)
    (folder / "threshold.json").write_text('{"confidence": 0.5}')
    bridge = "1,Old Bridge,Crosses the river,Spain,37.5,-4.25,https://example.org/bridge"
    (folder / "landmarks.csv").write_text(
        f"id,name,description,country,latitude,longitude,url\n{bridge}\n10,Torre Añil,,,,,\n999,Elsewhere,,,,,\n"
    )
    record(folder)
    return folder / "plain.json"


@pytest.fixture(scope="session")
def answering(untrained: Path) -> Predictor:
    from landmarks.serving import predictor

    return predictor.load(untrained, untrained.with_name("dvc.lock"), untrained.with_name("landmarks.csv"))


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A JPEG that lies upright and carries nothing else, as the download stage keeps them."""
    return jpeg.keep(renderer.photo(7, 1, 0)).content


@pytest.fixture
def host() -> Iterator[Host]:
    with serving() as server:
        yield server
