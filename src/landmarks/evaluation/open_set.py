"""Open-set rejection: below which confidence a photo is taken for one of no known landmark."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

Confidence = NDArray[np.floating[Any]]
DIGITS = 4


def threshold(confidence: Confidence, accepted: float) -> float:
    """The confidence, 4 digits, that a new photo of a known landmark reaches with a chance of at least ``accepted``.

    Split conformal prediction (Papadopoulos et al., 2002): of n validation photos (n,), exchangeable with the new one, the
    k-th lowest, k = floor((n + 1) (1 - accepted)); 0 where n is too small to reject any. Photos of unknown landmarks are
    not used: those to come are not known either.
    """
    rejected = int(
        np.floor(round((len(confidence) + 1) * (1 - accepted), 9))
    )  # rounded: (9 + 1) * (1 - 0.9) is 0.9999...
    if not rejected:
        return 0.0
    return float(np.floor(np.sort(confidence)[rejected - 1] * 10**DIGITS) / 10**DIGITS)


def risk_coverage(confidence: Confidence, right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Coverage and risk, (n, 2): the share of photos answered, the surest first, and how many answers of these are wrong.

    El-Yaniv and Wiener (2010). Photos of the same confidence share the last one's row.
    """
    order = np.argsort(-confidence, kind="stable")
    count = np.arange(1, len(order) + 1)
    curve = np.column_stack([count / len(order), (~right[order]).cumsum() / count])
    sure = confidence[order]
    return curve[np.searchsorted(-sure, -sure, side="right") - 1]


def scores(known: Confidence, right: NDArray[np.bool_], unknown: Confidence, least: float) -> dict[str, float | None]:
    """What the threshold ``least`` does to test photos of known places, (n,), and of ``unknown`` ones, (m,); m may be 0.

    Returns shares from 0 to 1, each with its 95 % Wilson interval; ``auroc``, the chance that a photo of a known place has
    the higher confidence of two (Hendrycks and Gimpel, 2017), and ``aurc``, the mean risk over all coverages. None where
    there are no photos to tell.
    """
    sure = known >= least
    groups = np.concatenate([np.ones(len(known)), np.zeros(len(unknown))])
    auroc = roc_auc_score(groups, np.concatenate([known, unknown])) if len(unknown) else None
    return {
        "threshold": least,
        "unknown": len(unknown),
        **_share("unknown_rejected", unknown < least),
        **_share("known_rejected", ~sure),
        **_share("right_of_all", right),
        **_share("right_of_accepted", right[sure]),
        **_share("right_with_unknown", np.concatenate([right & sure, unknown < least])),
        "auroc": None if auroc is None else round(float(auroc), DIGITS),
        "aurc": round(float(risk_coverage(known, right)[:, 1].mean()), DIGITS),
    }


def _share(name: str, holds: NDArray[np.bool_]) -> dict[str, float | None]:
    if not len(holds):
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    interval = binomtest(int(holds.sum()), len(holds)).proportion_ci(0.95, method="wilson")
    values = {name: holds.mean(), f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {key: round(float(value), DIGITS) for key, value in values.items()}
