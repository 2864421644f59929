"""The classical side: encodings as the papers define them, models fitted and chosen on train alone, saved without code."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import skops.io
from conftest import ROOT, Script, fails_in_one_line
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.naive_bayes import GaussianNB

from landmarks.classical import classifiers, encodings, features_file, saved_models
from landmarks.classical.local_features import Settings
from landmarks.common.errors import InputError
from landmarks.evaluation import calibration

KAZE = Settings("kaze", 40, 320, "joint")
SMALL = ("--words", 4, "--components", 6, "--sample", 400)
KINDS, ENCODINGS = get_args(classifiers.Kind), get_args(encodings.Encoding)


def write(path: Path, read: features_file.Features, values: encodings.Photos) -> None:
    rows = zip(read.ids, read.landmarks, read.found.tolist(), read.points, values, strict=True)
    features_file.write(path, read.settings, (features_file.Row(*row) for row in rows))


@pytest.fixture(scope="module")
def described(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KAZE descriptors in which the landmark shows; one photo has none."""
    rng = np.random.default_rng(0)
    rows = []
    for _, (photo, landmark) in pd.read_csv(split, dtype=str)[["id", "landmark_id"]].iterrows():
        kept = 0 if photo == "p2_03" else int(rng.integers(5, 40))
        values = rng.normal(0, 1, (kept, 64)) + np.eye(64)[int(landmark)] * 3
        rows.append(
            features_file.Row(photo, landmark, kept, rng.random((kept, 4), np.float32), values.astype(np.float32))
        )
    path = tmp_path_factory.mktemp("features") / "kaze.arrow"
    features_file.write(path, KAZE, iter(rows))
    return path


@pytest.fixture
def photos_() -> encodings.Photos:
    rng = np.random.default_rng(3)
    return features_file.objects(rng.normal(0, 1, (k, 64)).astype(np.float32) for k in (30, 50, 1, 0, 40, 80))


def test_flat_lays_the_strongest_descriptors_end_to_end_as_in_the_thesis(photos_: encodings.Photos) -> None:
    rows = encodings.Flat("kaze", 32).fit_transform(photos_)
    assert rows.shape == (6, 2048)
    np.testing.assert_array_equal(rows[1], photos_[1][:32].ravel())
    np.testing.assert_array_equal(rows[2], np.pad(photos_[2].ravel(), (0, 31 * 64)))
    assert not rows[3].any()


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name != "flat"])
def test_an_encoding_has_length_1_whatever_the_order_of_the_keypoints(
    photos_: encodings.Photos, encoding: encodings.Encoding
) -> None:
    made = encodings.ENCODERS[encoding]("kaze", words=4, components=6, sample=150).fit(photos_)
    rows = made.transform(photos_)
    assert rows.shape == (6, {"words": 4, "vlad": 24, "fisher": 48}[encoding])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0, 1, 1], atol=1e-5)
    np.testing.assert_allclose(
        made.transform(features_file.objects(values[::-1] for values in photos_)), rows, atol=1e-5
    )


def test_words_counts_the_nearest_words(photos_: encodings.Photos) -> None:
    made = encodings.Words("kaze", words=4, components=6).fit(photos_)
    projected, centres = made.pca_.transform(photos_[0]), made.vocabulary_.cluster_centers_
    nearest = ((projected[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.sqrt([(nearest == word).sum() for word in range(4)])
    np.testing.assert_allclose(made.transform(photos_[:1])[0], counts / np.linalg.norm(counts), rtol=1e-5)


def test_vlad_sums_what_descriptors_differ_from_their_word_by(photos_: encodings.Photos) -> None:
    made = encodings.Vlad("kaze", words=4, components=6).fit(photos_)
    projected, centres = made.pca_.transform(photos_[0]), made.vocabulary_.cluster_centers_
    sums = np.zeros((4, 6))
    for value in projected:
        word = ((value - centres) ** 2).sum(axis=1).argmin()
        sums[word] += value - centres[word]
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    expected = (np.sign(sums) * np.sqrt(np.abs(sums))).ravel()
    np.testing.assert_allclose(made.transform(photos_[:1])[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_a_fisher_vector_is_the_gradient_of_the_log_likelihood(photos_: encodings.Photos) -> None:
    """By finite differences, whitened by the Fisher information: sigma / sqrt(w) for the means, sigma / sqrt(2 w) for the spreads."""
    made = encodings.Fisher("kaze", words=3, components=2).fit(photos_)
    mixture, values = made.vocabulary_, made.pca_.transform(photos_[5]).astype(np.float64)
    means, spreads = mixture.means_.copy(), np.sqrt(mixture.covariances_)
    weights, step, expected = mixture.weights_[:, None], 1e-4, np.zeros((2, 3, 2))

    def likelihood(means: Any, spreads: Any) -> float:
        mixture.means_, mixture.covariances_, mixture.precisions_cholesky_ = means, spreads**2, 1 / spreads
        return float(mixture.score_samples(values).mean())

    for place in np.ndindex(3, 2):
        nudge = np.zeros((3, 2))
        nudge[place] = step
        expected[0][place] = (likelihood(means + nudge, spreads) - likelihood(means - nudge, spreads)) / (2 * step)
        expected[1][place] = (likelihood(means, spreads + nudge) - likelihood(means, spreads - nudge)) / (2 * step)
    likelihood(means, spreads)
    gradient = np.stack([expected[0] * spreads / np.sqrt(weights), expected[1] * spreads / np.sqrt(2 * weights)])
    powered = (np.sign(gradient) * np.sqrt(np.abs(gradient))).ravel()
    np.testing.assert_allclose(made.transform(photos_[5:])[0], powered / np.linalg.norm(powered), atol=1e-3)


def test_a_vocabulary_learns_from_a_bounded_sample_that_its_seed_draws() -> None:
    many = features_file.objects(np.random.default_rng(i).normal(0, 1, (90, 64)).astype(np.float32) for i in range(30))
    drawn = encodings.Vlad("kaze", sample=500)._draw(many)
    assert drawn.shape == (500, 64)
    rows = {values.tobytes(): photo for photo, photos in enumerate(many) for values in photos}
    assert len({rows[values.tobytes()] for values in drawn}) == 30  # of every photo, not of the first ones
    assert len(encodings.Vlad("kaze", sample=9999)._draw(many)) == 30 * 90
    np.testing.assert_array_equal(drawn, encodings.Vlad("kaze", sample=500)._draw(many))
    assert (drawn != encodings.Vlad("kaze", sample=500, seed=1)._draw(many)).any()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_model_is_a_pipeline_for_scikit_learns_own_tools(
    described: Path, split: Path, encoding: encodings.Encoding
) -> None:
    read = features_file.read(described)
    groups = pd.read_csv(split)["group"].to_numpy()
    for kind in KINDS:
        recipe = classifiers.Recipe("kaze", encoding, kind, words=4, components=6, sample=400)
        deal = StratifiedGroupKFold(3, shuffle=True, random_state=0)
        model = clone(classifiers.pipeline(recipe))
        scores = cross_val_score(model, read.values, read.landmarks, groups=groups, cv=deal, error_score="raise")
        assert scores.mean() > 0.4, kind  # chance: a third
        assert classifiers.probabilities(model.fit(read.values, read.landmarks), read.values).min() >= 0


def test_the_probabilities_of_an_svm_order_the_landmarks_as_its_distances_do() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 3):
        landmarks = np.repeat(list("abc")[:count], 10)
        values = features_file.objects(
            rng.normal(np.searchsorted(["a", "b", "c"], name), 1, (9, 64)) for name in landmarks
        )
        recipe = classifiers.Recipe("kaze", "vlad", "svm", words=2, components=3)
        model = classifiers.fit(recipe, values, landmarks)
        shares = classifiers.probabilities(model, values)
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        assert list(model.classes_[shares.argmax(axis=1)]) == list(model.predict(values))


def test_an_svm_learns_from_other_photos_how_far_to_trust_itself() -> None:
    rng = np.random.default_rng(0)
    landmarks = np.repeat(list("abc"), 600)
    values = features_file.objects(
        rng.normal(np.searchsorted(["a", "b", "c"], name) / 4, 1, (9, 64)) for name in landmarks
    )
    parts = np.arange(len(landmarks)) % 3
    model = classifiers.fit(
        classifiers.Recipe("kaze", "vlad", "svm", words=2, components=3), values[parts == 0], landmarks[parts == 0]
    )
    before = classifiers.probabilities(model, values[parts == 2])
    classifiers.calibrate(model, values[parts == 1], landmarks[parts == 1])
    after = classifiers.probabilities(model, values[parts == 2])
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert log_loss(landmarks[parts == 2], after) < log_loss(landmarks[parts == 2], before)
    right = model.classes_[after.argmax(axis=1)] == landmarks[parts == 2]
    errors = [calibration.expected_error(shares.max(axis=1), right) for shares in (before, after)]
    assert errors[1] < errors[0] / 2


def test_one_pca_and_one_naive_bayes_give_what_one_each_a_number_gives() -> None:
    rng = np.random.default_rng(1)
    landmarks = np.repeat(["a", "b", "c"], 20)
    values = rng.normal(0, 1, (60, 40)) + (landmarks == "b")[:, None] * 0.7
    train = np.arange(60) % 3 > 0
    numbers = [1, 2, 5, 17, 38]
    quick = classifiers.by_components(values[train], landmarks[train], values[~train], landmarks[~train], numbers)
    for n, accuracies in zip(numbers, quick, strict=True):
        pca = PCA(n, svd_solver="full").fit(values[train])
        model = GaussianNB().fit(pca.transform(values[train]), landmarks[train])
        assert [model.score(pca.transform(values[part]), landmarks[part]) for part in (train, ~train)] == list(
            accuracies
        )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=12, max_size=60), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_fold_is_trained_on_a_near_duplicate_of_what_it_is_asked_or_without_a_landmark(
    rows: list[tuple[str, int]], seed: int
) -> None:
    """Or there are too few groups for that, and the error names the parameter."""
    landmarks = np.array([landmark for landmark, _ in rows])
    groups = np.array(["abc".index(landmark) * 100 + group for landmark, group in rows])
    try:
        dealt = classifiers.deal(landmarks, groups, 3, seed, "grid")
    except InputError as error:
        assert "grid.folds" in str(error) or "sample.classes" in str(error)  # noqa: PT017 - either is right
        return
    assert sorted(np.concatenate([held_out for _, held_out in dealt])) == list(range(len(rows)))
    for train, held_out in dealt:
        assert not set(groups[train]) & set(groups[held_out])
        assert set(landmarks[train]) == set(landmarks)


def test_a_landmark_that_was_not_learnt_is_never_recognised() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (40, 8))
    known, asked = np.repeat(["a", "c"], 10), np.repeat("b", 20)
    scores = classifiers.by_components(values[:20], known, values[20:], asked, [1, 3, 8])
    assert (scores[:, 1] == 0).all()
    assert (scores[:, 0] > 0.4).all()


@pytest.mark.slow
def test_choices_and_models_go_by_train_alone(script: Script, described: Path, split: Path, tmp_path: Path) -> None:
    """Whatever the photos for validation and test hold, model and choice stay the same to the byte."""
    read = features_file.read(described)
    train = (pd.read_csv(split)["split"] == "train").to_numpy()
    upset = features_file.objects(each if known else each * -9 for each, known in zip(read.values, train, strict=True))
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "one" / "kaze.arrow", read, read.values)
    write(tmp_path / "other" / "kaze.arrow", read, upset)
    made = []
    for folder in ("one", "other"):
        path, out = tmp_path / folder / "kaze.arrow", [tmp_path / f"{folder}.{n}" for n in range(7)]
        swept = script("sweep", path, split, *out[:2], "--start", 2, "--stop", 9, "--step", 3, "--folds", 3)
        assert swept.returncode == 0, swept.stderr
        searched = script("grid", split, out[2], tmp_path / f"{folder}.png", out[3], "--features", path, *SMALL)
        assert searched.returncode == 0, searched.stderr
        fitted = script("baseline", path, split, *out[4:6], "--encoding", "fisher", "--kind", "logistic", *SMALL)
        assert fitted.returncode == 0, fitted.stderr
        made.append([file.read_bytes() for file in out[:6]])
    assert made[0][2:5] == made[1][2:5]
    assert made[0][5] != made[1][5]
    swept_tables = [pd.read_csv(tmp_path / f"{folder}.0") for folder in ("one", "other")]
    assert list(swept_tables[0]["components"]) == [2, 5, 8]
    for column in ("train", "validation"):
        assert list(swept_tables[0][column]) == list(swept_tables[1][column])
    assert (swept_tables[0]["test"] != swept_tables[1]["test"]).any()


def test_the_sweep_chooses_by_validation_and_shows_what_choosing_on_the_test_set_gains(
    script: Script, described: Path, split: Path, tmp_path: Path
) -> None:
    done = script("sweep", described, split, tmp_path / "s.csv", tmp_path / "s.json", "--start", 1, "--stop", 9,
                  "--step", 1, "--folds", 3)  # fmt: skip
    assert done.returncode == 0, done.stderr
    table, told = pd.read_csv(tmp_path / "s.csv"), json.loads((tmp_path / "s.json").read_text())
    assert told["validation"] == table["validation"].max()
    assert told["thesis_test"] == table["test"].max()
    assert told["test"] == table.set_index("components").loc[told["components"], "test"]
    assert told["gained_by_looking"] == round(told["thesis_test"] - told["test"], 4) >= 0


def test_the_grid_holds_every_combination_and_names_the_best_by_validation(
    script: Script, described: Path, split: Path, tmp_path: Path
) -> None:
    read = features_file.read(described)
    write(tmp_path / "noise.arrow", read, features_file.objects(values * 0 + 1 for values in read.values))
    files = ("--features", described, "--features", tmp_path / "noise.arrow")
    made = []
    for workers in "12":
        out = [tmp_path / f"{workers}.{kind}" for kind in ("csv", "png", "json")]
        done = script("grid", split, *out, *files, *SMALL, LANDMARKS_WORKERS=workers)
        assert done.returncode == 0, done.stderr
        made.append([file.read_bytes() for file in out])
    assert made[0] == made[1]
    table, best = pd.read_csv(out[0]), json.loads(out[2].read_text())
    assert len(table) == 2 * len(ENCODINGS) * len(KINDS)
    assert best["validation"] == table["validation"].max()
    assert best["features"] == "kaze"


@pytest.mark.parametrize(("encoding", "kind", "n"), [
    ("flat", "bayes", 0), ("flat", "bayes", 6), ("flat", "tree", 6), ("words", "logistic", 0), ("vlad", "svm", 0),
    ("fisher", "neighbours", 5),
])  # fmt: skip
def test_every_photo_gets_a_prediction_and_the_saved_model_gives_the_same(
    script: Script, described: Path, split: Path, tmp_path: Path, encoding: str, kind: str, n: int
) -> None:
    out = [tmp_path / "m.skops", tmp_path / "p.csv"]
    done = script("baseline", described, split, *out, "--encoding", encoding, "--kind", kind, "--n", n, *SMALL)
    assert done.returncode == 0, done.stderr
    rows, read = pd.read_csv(out[1], dtype={"actual": str, "predicted": str}), features_file.read(described)
    assert list(rows.columns) == ["id", "actual", "predicted", "confidence"]
    assert list(rows["id"]) == list(read.ids)
    assert rows["confidence"].between(1 / 3 - 1e-6, 1).all()
    model = saved_models.load(out[0], read.settings)
    assert list(model.predict(read.values)) == list(rows["predicted"])


SAVE = """
import sys
from pathlib import Path
sys.path.insert(0, "src")
from landmarks.classical import classifiers, features_file, saved_models
read = features_file.read(Path(sys.argv[1]))
for kind in ("bayes", "tree", "svm", "logistic", "neighbours"):
    for encoding in ("flat", "words", "vlad", "fisher"):
        recipe = classifiers.Recipe("kaze", encoding, kind, 3, words=4, components=6, sample=400)
        fitted = classifiers.fit(recipe, read.values, read.landmarks)
        saved_models.save(Path(sys.argv[2]) / f"{encoding}_{kind}", fitted, read.settings)
"""


def test_two_processes_write_the_same_models_to_the_byte(described: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", SAVE, str(described), str(tmp_path / name)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    written = sorted((tmp_path / "one").iterdir())
    assert len(written) == 20
    for path in written:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
        assert saved_models.load(path, KAZE)


class Stranger:
    """No model, and nobody's that loads models."""


class Evil:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.mark.touch, ())


def test_a_model_that_holds_anything_but_a_model_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    mark = tmp_path / "was here"
    path.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(InputError, match=r"m\.skops: not a model"):
        saved_models.load(path, KAZE)
    for content in (
        {"model": subprocess.run, "descriptors": {}},
        {"model": Stranger(), "descriptors": {}},
        {"other": 1},
        [1],
    ):
        path.write_bytes(skops.io.dumps(content))
        with pytest.raises(InputError, match=r"m\.skops: not a model.*dvc repro"):
            saved_models.load(path, KAZE)
    for wrong in ({"model": "a string", "descriptors": asdict(KAZE)}, {"model": GaussianNB(), "descriptors": [1]}):
        path.write_bytes(skops.io.dumps(wrong))
        with pytest.raises(InputError, match=r"m\.skops: not a model"):
            saved_models.load(path, KAZE)
    path.write_bytes(skops.io.dumps([1])[:-40])
    with pytest.raises(InputError, match=r"m\.skops: not a model"):
        saved_models.load(path, KAZE)
    with pytest.raises(InputError, match=r"none\.skops: no such file"):
        saved_models.load(tmp_path / "none.skops", KAZE)
    assert not mark.exists()


@pytest.mark.parametrize("child", [2**40, 0, -7])
def test_a_tree_that_leads_out_of_its_memory_is_refused(described: Path, tmp_path: Path, child: int) -> None:
    read = features_file.read(described)
    fitted = classifiers.fit(classifiers.Recipe("kaze", "flat", "tree"), read.values, read.landmarks)
    saved_models.save(tmp_path / "m.skops", fitted, KAZE)
    assert saved_models.load(tmp_path / "m.skops", KAZE)
    with zipfile.ZipFile(tmp_path / "m.skops") as old, zipfile.ZipFile(tmp_path / "evil.skops", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".npy") and b"left_child" in content:
                nodes = np.load(io.BytesIO(content))
                nodes["left_child"][0] = child
                changed = io.BytesIO()
                np.save(changed, nodes)
                content = changed.getvalue()
            new.writestr(name, content)
    with pytest.raises(InputError, match="its tree leads nowhere"):
        saved_models.load(tmp_path / "evil.skops", KAZE)


def test_a_model_trained_on_other_descriptors_is_refused(described: Path, tmp_path: Path) -> None:
    read = features_file.read(described)
    fitted = classifiers.fit(classifiers.Recipe("kaze", "flat", "bayes"), read.values, read.landmarks)
    saved_models.save(tmp_path / "m.skops", fitted, KAZE)
    with pytest.raises(InputError, match=r"protocol 'thesis'.*dvc repro baseline"):
        saved_models.load(tmp_path / "m.skops", replace(KAZE, protocol="thesis"))


def test_more_asked_for_than_the_training_photos_hold_is_an_error_that_names_the_parameter(
    script: Script, described: Path, split: Path, tmp_path: Path
) -> None:
    out = [tmp_path / "m", tmp_path / "p"]
    fails_in_one_line(script("baseline", described, split, *out, "--n", 22), "22 principal", "21 training", "pca.n")
    done = script("baseline", described, split, *out, "--encoding", "vlad", "--words", 3000)
    fails_in_one_line(done, "vocabulary of 3000 words", "encoding.words", "keypoints.count")
    done = script("sweep", described, split, *out, "--stop", 40, "--folds", 3)
    fails_in_one_line(done, "lower pca.n or sweep.stop")
    done = script("sweep", described, split, *out, "--start", 2, "--stop", 4, "--folds", 8)
    fails_in_one_line(done, "7 training photos", "sweep.folds asks for 8")
    done = script("baseline", described, split, *out, "--keypoints", 10**8)
    assert (done.returncode, "4096" in done.stderr) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_split_of_other_photos_is_an_error_that_names_one(
    script: Script, described: Path, split: Path, tmp_path: Path
) -> None:
    pd.read_csv(split).iloc[1:].to_csv(tmp_path / "split.csv", index=False)
    done = script("baseline", described, tmp_path / "split.csv", tmp_path / "m", tmp_path / "p")
    fails_in_one_line(done, "'p1_00'", "dvc repro")


@pytest.mark.parametrize(("column", "value", "said"), [
    ("split", "Train", ["row 3", "'Train'"]), ("group", "x", ["row 3", "'x'"]), ("id", "p1_00", ["row 3", "'p1_00'", "twice"]),
    ("landmark_id", "2", ["'p1_01'", "another landmark"]),
])  # fmt: skip
def test_a_split_that_was_changed_by_hand_is_an_error_that_names_the_row(
    script: Script, described: Path, split: Path, tmp_path: Path, column: str, value: str, said: list[str]
) -> None:
    rows = pd.read_csv(split, dtype=str)
    rows.loc[1, column] = value
    rows.to_csv(tmp_path / "split.csv", index=False)
    done = script("baseline", described, tmp_path / "split.csv", tmp_path / "m", tmp_path / "p")
    fails_in_one_line(done, "split.csv", "dvc repro", *said)


def test_a_single_landmark_and_photos_without_keypoints_are_errors_that_say_so(
    script: Script, described: Path, split: Path, tmp_path: Path
) -> None:
    read = features_file.read(described)
    one = replace(read, landmarks=np.repeat("1", len(read.ids)))
    write(tmp_path / "one.arrow", one, read.values)
    pd.read_csv(split, dtype=str).assign(landmark_id="1").to_csv(tmp_path / "one.csv", index=False)
    out = [tmp_path / "m", tmp_path / "p"]
    fails_in_one_line(script("baseline", tmp_path / "one.arrow", tmp_path / "one.csv", *out), "two are needed")
    write(
        tmp_path / "bare.arrow",
        replace(read, points=features_file.objects(p[:0] for p in read.points)),
        features_file.objects(v[:0] for v in read.values),
    )
    for encoding in ("flat", "fisher"):
        done = script("baseline", tmp_path / "bare.arrow", split, *out, "--encoding", encoding)
        assert done.returncode == 1, encoding
        assert "Traceback" not in done.stderr
        assert "keypoints" in done.stderr


def _retrieved(script: Script, described: Path, split: Path, folder: Path, photos: Path, trusted: int) -> str:
    done = script("retrieve", described, split, folder / "m", photos / "images", folder / "t.png", folder / "t.json",
                  "--nearest", 3, "--trusted", trusted)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (folder / "t.json").read_text()


@pytest.mark.slow
def test_photos_are_found_by_their_encoding_and_their_common_points_counted(
    script: Script, photos: Path, split: Path, tmp_path: Path
) -> None:
    out = [tmp_path / name for name in ("f.arrow", "f.png", "f.json")]
    done = script("keypoints", photos / "photos.csv", photos / "images", *out, "--detector", "sift", "--protocol",
                  "upright", "--long-side", 320)  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = script("baseline", out[0], split, tmp_path / "m", tmp_path / "p", "--encoding", "vlad", "--kind", "svm",
                  "--words", 16, "--components", 32)  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = []
    for workers in "12":
        told, figure = tmp_path / f"{workers}.json", tmp_path / f"{workers}.png"
        done = script("retrieve", out[0], split, tmp_path / "m", photos / "images", figure, told, "--nearest", 3,
                      LANDMARKS_WORKERS=workers)  # fmt: skip
        assert done.returncode == 0, done.stderr
        made.append((told.read_bytes(), figure.read_bytes()))
    assert made[0] == made[1]
    told_ = json.loads(made[0][0])
    assert (told_["queries"], told_["nearest"]) == (6, 3)
    assert told_["precision"] >= 0.6  # chance: a third
    first, far = (json.loads(_retrieved(script, out[0], split, tmp_path, photos, trusted)) for trusted in (1, 10**6))
    assert far["precision_verified"] == far["precision"] == told_["precision"]  # nobody has so many inliers
    assert first["precision_verified"] != first["precision"]
    fails_in_one_line(
        script("retrieve", out[0], split, tmp_path / "none", photos / "images", figure, told), "none", "dvc repro"
    )
