"""The graph that is kept beside a model, so that a server need not build it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from landmarks.deep import classifier, frozen_graph

Array = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def built(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, frozen_graph.FrozenNetwork]:
    """A model whose graph was built and kept just now, and what was built."""
    folder = tmp_path_factory.mktemp("built")
    for file in (untrained, untrained.with_suffix(".weights.h5")):
        shutil.copy(file, folder)
    return folder / "plain.json", frozen_graph.load(folder / "plain.json")


def pictures(network: frozen_graph.FrozenNetwork) -> Array:
    return np.random.default_rng(0).integers(0, 256, (2, *network.preprocessing.shape), np.uint8)


def test_a_kept_graph_gives_the_bits_of_the_one_that_was_built(
    built: tuple[Path, frozen_graph.FrozenNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, network = built
    monkeypatch.delattr(classifier, "load")  # what is kept is read without it
    read = frozen_graph.load(model)
    for one, other in zip(network.run(pictures(network)), read.run(pictures(network)), strict=True):
        assert one.tobytes() == other.tobytes()
    assert (read.labels, read.recipe, read.temperature) == (network.labels, network.recipe, network.temperature)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["another model's", "damaged", "a folder"])
def test_a_graph_that_is_not_that_of_the_model_is_not_run(
    harm: str, built: tuple[Path, frozen_graph.FrozenNetwork], tmp_path: Path
) -> None:
    folder, (source, network) = tmp_path / "copy", built
    shutil.copytree(source.parent, folder)
    model, kept = folder / "plain.json", folder / ".cache" / "plain.graph"
    if harm == "another model's":
        model.write_text(model.read_text().replace('"temperature": 1.5', '"temperature": 3.0'))
    elif harm == "damaged":
        graph = kept.read_bytes()
        kept.write_bytes(graph[:-1] + bytes([graph[-1] ^ 1]))
    else:
        kept.unlink()
        kept.mkdir()
    vectors, probabilities = network.run(pictures(network))
    own_vectors, own = frozen_graph.load(model).run(pictures(network))
    assert (own_vectors == vectors).all()
    assert (own == probabilities).all() == (harm != "another model's")
