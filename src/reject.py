"""Open-set rejection: the confidence below which the network should answer that it does not know."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

import stage
from landmarks.common.files import write_json
from landmarks.common.knobs import Knob
from landmarks.dataset import prediction_files, schema, tables
from landmarks.evaluation import open_set


@dataclass(frozen=True)
class RejectConfig:
    """The block ``reject`` of params.yaml."""

    accepted: Annotated[float, Knob("Chance that a new photo of a known landmark is accepted", min=0.01, max=1)]


def main(
    anonymous: Annotated[Path, "Folder of the anonymize stage"],
    split: Annotated[Path, "CSV of the split stage"],
    unknown: Annotated[Path, "CSV of the split stage: photos of other landmarks"],
    model: Annotated[Path, "JSON of the cnn stage, its weights beside it"],
    predictions: Annotated[Path, "Its predictions"],
    threshold: Annotated[Path, "JSON to write: the least confidence of an answer"],
    counts: Annotated[Path, "JSON to write: shares rejected and right, with their intervals"],
    curve: Annotated[Path, "CSV to write: risk by coverage of the test photos"],
    confidences: Annotated[Path, "CSV to write: id, answer (right, wrong or, of other landmarks, unknown), confidence"],
    reject: RejectConfig,
) -> str:
    """Choose a threshold on the validation photos; measure it on the test photos and on photos of other landmarks.

    The same, by itself, on the photos of another source.
    """
    from landmarks.deep import classifier, image_cache  # here: --help need not wait for TensorFlow

    divided = tables.read_split(split)
    parts = divided["split"]
    tables.require_parts(split, parts, ("validation", "test"))
    answers = prediction_files.answers(predictions, divided["landmark_id"])
    right = (answers["actual"] == answers["predicted"]).to_numpy()
    confidence = answers["confidence"].to_numpy(float)
    least = open_set.threshold(confidence[(parts == "validation").to_numpy()], reject.accepted)
    network = classifier.load(model)
    others = list(tables.read(unknown, ["id"])["id"])
    shown = image_cache.preprocessed(anonymous, others, network.preprocessing)
    other = network.probabilities(shown).max(axis=1).astype(float).round(6)
    test, external = ((parts == part).to_numpy() for part in ("test", schema.EXTERNAL))
    elsewhere = np.array([schema.is_external(photo) for photo in others], bool)
    shares = open_set.scores(confidence[test], right[test], other[~elsewhere], least)
    by_source = (
        open_set.scores(confidence[external], right[external], other[elsewhere], least) if any(external) else None
    )
    risks = open_set.risk_coverage(confidence[test], right[test])
    write_json(threshold, {"confidence": least})
    write_json(counts, {**shares, "external": by_source})
    tables.write(curve, pd.DataFrame(risks.round(6), columns=["coverage", "risk"]).drop_duplicates())
    rows = {
        "id": [*parts.index[test], *np.array(others)[~elsewhere]],
        "answer": [*np.where(right[test], "right", "wrong"), *["unknown"] * int((~elsewhere).sum())],
        "confidence": [*confidence[test], *other[~elsewhere]],
    }
    tables.write(confidences, pd.DataFrame(rows))
    unknown_rejected = f"{shares['unknown_rejected']:.3f} of {shares['unknown']}" if shares["unknown"] else "none"
    return f"known from {least:.3f} on: {unknown_rejected} photos of other landmarks rejected"


if __name__ == "__main__":
    stage.run(main)
