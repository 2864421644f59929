"""What the evaluate stage found, as one object: every model on every part, and what the other stages counted."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from landmarks.common.errors import InputError
from landmarks.common.files import read_json, write_json

DIGITS = 4
Scores = TypeVar("Scores")


@dataclass(frozen=True)
class Score:
    """A model on one part, all from 0 to 1: top-1 accuracy, its 95 % Wilson interval, macro averages, calibration error."""

    top1: float
    top1_low: float
    top1_high: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    calibration_error: float


@dataclass(frozen=True)
class ClassScore:
    """A model on the test photos of one landmark, from 0 to 1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ProbabilityScores:
    """What the probabilities of all landmarks are worth: top-3 accuracy, log-loss (nats, from 0) and Brier score (0 to 2)."""

    top3: float
    log_loss: float
    brier: float


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of the top-1 accuracy."""

    low: float
    high: float


@dataclass(frozen=True)
class SetScores:
    """Conformal prediction sets: how many landmarks one has, and how often the right one is in it, with its Wilson interval."""

    size: float
    coverage: float
    coverage_low: float
    coverage_high: float


@dataclass(frozen=True)
class ModelScores:
    """A model on each part; by landmark, and p of McNemar's test against each other model, on the test part.

    The p values are corrected for the number of pairs (Holm, 1979). ``probabilities``, ``by_group`` (of ``bootstrap``) and
    ``sets`` are by part, the last two of the photos that nothing was chosen by: test and external. ``external`` is None
    where there are no photos of another source.
    """

    train: Score
    validation: Score
    test: Score
    per_class: dict[str, ClassScore]
    mcnemar: dict[str, float]
    probabilities: dict[str, ProbabilityScores]
    external: Score | None = None
    by_group: dict[str, Interval] = field(default_factory=dict)
    sets: dict[str, SetScores] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All models, by name, in the order of params.yaml; and ``data``, by stage, what it counted."""

    models: dict[str, ModelScores]
    data: dict[str, Any]

    def metrics(self) -> dict[str, dict[str, float]]:
        """What one compares, by measure and model: DVC sorts by name, so the top-1 accuracy on test comes first.

        Nothing of the external test: nobody is to choose by it.
        """
        models = self.models.items()
        return {
            "accuracy": {name: model.test.top1 for name, model in models},
            "calibration_error": {name: model.test.calibration_error for name, model in models},
            "gap_to_train": {name: round(model.train.top1 - model.test.top1, DIGITS) for name, model in models},
            "macro_f1": {name: model.test.macro_f1 for name, model in models},
            "validation_accuracy": {name: model.validation.top1 for name, model in models},
        }

    def write(self, path: Path) -> None:
        """Write all of it as JSON, atomically."""
        write_json(path, asdict(self))


def read(path: Path) -> Evaluation:
    """Return what ``Evaluation.write`` wrote. Raises ``InputError`` if the file is missing, has no model, or lacks a value."""
    stored = read_json(path, "evaluate")
    try:
        found = Evaluation(
            models={name: _model(model) for name, model in stored["models"].items()}, data=dict(stored["data"])
        )
    except KeyError as error:
        raise InputError(f"{path}: no {error.args[0]} in it; run: dvc repro --force evaluate") from None
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{path}: not as the evaluate stage writes it; run: dvc repro --force evaluate") from None
    if not found.models:
        raise InputError(f"{path}: no models in it; declare some in params.yaml")
    return found


def _model(stored: Mapping[str, Any]) -> ModelScores:
    return ModelScores(
        train=_scores(Score, stored["train"]),
        validation=_scores(Score, stored["validation"]),
        test=_scores(Score, stored["test"]),
        per_class={name: _scores(ClassScore, row) for name, row in stored["per_class"].items()},
        mcnemar=dict(stored["mcnemar"]),
        probabilities={part: _scores(ProbabilityScores, row) for part, row in stored["probabilities"].items()},
        external=_scores(Score, stored["external"]) if stored.get("external") else None,
        by_group={part: _scores(Interval, row) for part, row in stored.get("by_group", {}).items()},
        sets={part: _scores(SetScores, row) for part, row in stored.get("sets", {}).items()},
    )


def _scores(kind: type[Scores], stored: Mapping[str, Any]) -> Scores:
    return kind(**{one.name: float(stored[one.name]) for one in fields(kind)})  # type: ignore[arg-type]
