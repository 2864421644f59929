"""Which score tells photos of known landmarks from others? A frozen network on half of the landmarks; the other half is unknown to it.

python bench/open_set.py PHOTOS -m M -m N   rotations: each takes the next half of the landmarks for the known ones

PHOTOS and M: as in bench/deep.py.
"""

import os
import warnings
from collections import defaultdict
from dataclasses import replace
from typing import Annotated, Any

import deep
import material
import numpy as np
import typer
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score

from landmarks.deep import classifier, solved_head, training
from landmarks.evaluation import calibration

ACCEPTED = 0.95  # as reject.accepted in params.yaml
NEAREST = 3  # training photos whose likeness counts, of score "nearest photos"


def scores(logits: NDArray[Any], vectors: NDArray[Any], learnt: NDArray[Any], own: bool) -> dict[str, NDArray[Any]]:
    """Each score of photos, given calibrated ``logits`` (n, classes) and ``vectors`` (n, d) of length 1; ``learnt`` are those of the
    training photos. ``own``: the photos are these; none is compared with itself.
    """
    alike = vectors @ learnt.T
    if own:
        np.fill_diagonal(alike, -1)
    nearest = np.sort(alike, axis=1)[:, -NEAREST:].mean(axis=1)
    return {
        "largest probability": softmax(logits, axis=1).max(axis=1),
        "largest logit": logits.max(axis=1),
        "energy": logsumexp(logits, axis=1),
        "nearest photos": nearest,
        "probability x nearest photos": softmax(logits, axis=1).max(axis=1) * nearest,
    }


def main(
    source: deep.Source = None,
    per_class: deep.PerClass = 80,
    module: deep.Modules = None,
    rotations: Annotated[int, typer.Option(min=2)] = 5,
) -> None:
    """AUROC, and the share of unknown photos that is rejected where 95 of 100 known ones are to be accepted, by score."""
    with deep.laid_out(source, per_class) as (paths, landmarks, photos):
        asked = deep.recipe(tuple(module or ["data/demo/backbone"]), 0, views=deep.FIVE)
        backbone = classifier.load_backbone(asked)
        none = np.zeros(len(paths), bool)
        seen = training.vectors(backbone, photos, asked.at(backbone.size), none, none)
    classifier.unit(seen, out=seen)
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    half = len(photos.labels) // 2
    for seed, parts in enumerate(
        material.dealt(paths, landmarks, photos.groups, rotations, deep.TEST, deep.VALIDATION)
    ):
        chosen = [(2 * seed + step) % len(photos.labels) for step in range(half)]
        known = np.isin(photos.class_ids, chosen)
        learnt = known & (parts != "test")
        place = np.searchsorted(sorted(chosen), photos.class_ids)
        some = replace(
            photos, class_ids=np.where(known, place, 0), labels=[photos.labels[one] for one in sorted(chosen)]
        )
        head = solved_head.solve(training.examples(seen, len(deep.FIVE), some, learnt), half, 0)
        temperature = calibration.temperature(head.held_out[head.judged], some.class_ids[learnt][head.judged])
        mean = classifier.unit(seen.mean(axis=1))
        test, others = known & (parts == "test"), ~known
        logits = solved_head.logits(seen, head.kernel, head.bias)
        given = scores(logits / temperature, mean, mean[learnt], own=False)
        held_out = scores(head.held_out / temperature, mean[learnt], mean[learnt], own=True)
        right = logits[test].argmax(axis=1) == some.class_ids[test]
        for name, of in given.items():
            kinds = np.r_[np.ones(test.sum()), np.zeros(others.sum())]
            auroc = roc_auc_score(kinds, np.r_[of[test], of[others]])
            errors = roc_auc_score(right, of[test]) if not right.all() else np.nan
            own = np.sort(held_out[name])
            least = own[max(int((len(own) + 1) * (1 - ACCEPTED)) - 1, 0)]
            found[name].append((auroc, float((of[others] < least).mean()), float((of[test] >= least).mean()), errors))
        print(f"rotation {seed}: {test.sum()} known, {right.mean():.3f} right; {others.sum()} unknown", flush=True)
    print(
        "| score | AUROC | unknown rejected | known accepted | AUROC of right against wrong answers |\n|---|---|---|---|---|"
    )
    for name, by_rotation in found.items():
        columns = zip(np.nanmean(by_rotation, axis=0), np.nanstd(by_rotation, axis=0, ddof=1), strict=True)
        print(f"| {name} | {' | '.join(f'{mean:.3f} ± {sd:.3f}' for mean, sd in columns)} |")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    typer.run(main)
