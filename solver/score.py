"""How good a segmentation is: the confusion matrix and the four metrics of the FCN paper (section 5).

With n[i, j] the number of pixels of class i called j, t[i] = sum_j n[i, j] and k classes:

    pixel accuracy          sum_i n[i, i] / sum_i t[i]
    mean accuracy           (1/k) sum_i n[i, i] / t[i]
    mean IU                 (1/k) sum_i n[i, i] / (t[i] + sum_j n[j, i] - n[i, i])
    frequency weighted IU   sum_i t[i] IU[i] / sum_i t[i]

Pixels whose true label is no class (255) count nowhere.  The matrix is summed over all images first: the mean of
the images' own IUs is another number.  SIFT Flow's geometric accuracy is the pixel accuracy of its second head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from demitasse.proto.errors import LabelFault, ShapeFault

METRICS = ("pixel_accuracy", "mean_accuracy", "mean_iu", "weighted_iu")


def label_map(label: ArrayLike) -> np.ndarray:
    """(H, W) integers from a label blob (1, 1, H, W), (1, H, W) or (H, W), of any dtype.

    ShapeFault for any other shape.
    """
    label = np.asarray(label)
    if label.ndim < 2 or any(n != 1 for n in label.shape[:-2]):
        raise ShapeFault(f"a label map is (H, W), perhaps with leading 1s, not {label.shape}")
    return label.reshape(label.shape[-2:]).astype(np.int64)


def best_class(score: np.ndarray) -> np.ndarray:
    """(H, W) the class of the largest score, from (1, C, H, W) or (C, H, W); the first of equals.

    ShapeFault for any other shape.
    """
    score = np.asarray(score)
    if score.ndim == 4 and score.shape[0] == 1:
        score = score[0]
    if score.ndim != 3:
        raise ShapeFault(f"scores are (C, H, W), perhaps with one leading 1, not {score.shape}")
    return score.argmax(axis=0)


def confusion(truth: ArrayLike, prediction: ArrayLike, classes: int) -> np.ndarray:
    """(classes, classes) int64 counts, rows the true class; raises LabelFault where the prediction is no class."""
    truth, prediction = np.asarray(truth).ravel(), np.asarray(prediction).ravel()
    if truth.size != prediction.size:
        raise ShapeFault(f"{truth.size} true labels but {prediction.size} predictions: the sizes must be equal")
    counted = (truth >= 0) & (truth < classes)
    truth, prediction = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
    if prediction.size and not 0 <= prediction.min() <= prediction.max() < classes:
        raise LabelFault(
            f"predicted classes reach from {prediction.min()} to {prediction.max()}, "
            f"but there are {classes} classes (0 to {classes - 1})"
        )
    return np.bincount(classes * truth + prediction, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """The metrics of a confusion matrix, as fractions; classes that do not occur are NaN in the two arrays."""

    matrix: np.ndarray
    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    weighted_iu: float
    class_accuracy: np.ndarray
    class_iu: np.ndarray

    def __str__(self) -> str:
        return (
            f"pixel accuracy {self.pixel_accuracy:.4f}, mean accuracy {self.mean_accuracy:.4f}, "
            f"mean IU {self.mean_iu:.4f}, frequency weighted IU {self.weighted_iu:.4f}"
        )


def scores(matrix: np.ndarray, *, present_only: bool = False) -> Scores:
    """The metrics of a (classes, classes) matrix.

    A class that is neither in the truth nor predicted counts in no mean.  One that is not in the truth but is
    predicted somewhere has IU 0, as the released scoring code has it; with `present_only` it counts in no mean
    either, as the paper does for SIFT Flow, whose test set lacks three classes.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    right, truth, called = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    union = truth + called - right
    if present_only:
        union = np.where(truth > 0, union, 0)
    accuracy, iu = _ratio(right, truth), _ratio(right, union)
    total = truth.sum()
    return Scores(
        matrix=matrix.astype(np.int64),
        pixel_accuracy=float(right.sum() / total) if total else np.nan,
        mean_accuracy=_mean(accuracy),
        mean_iu=_mean(iu),
        weighted_iu=float((truth * np.nan_to_num(iu)).sum() / total) if total else np.nan,
        class_accuracy=accuracy,
        class_iu=iu,
    )


def table(result: Scores, names: Sequence[str] = ()) -> str:
    """One line a class: its name, share of the true pixels, accuracy and IU; then the four metrics."""
    truth = result.matrix.sum(axis=1)
    names = [names[i] if i < len(names) else str(i) for i in range(len(truth))]
    width = max(map(len, names))
    lines = [f"{'class':{width}}   share  accuracy     IU"]
    for name, n, accuracy, iu in zip(names, truth, result.class_accuracy, result.class_iu, strict=True):
        lines.append(f"{name:{width}}  {n / max(1, truth.sum()):6.3f}  {_number(accuracy):>8}  {_number(iu):>5}")
    return "\n".join([*lines, str(result)])


def class_line(result: Scores, names: Sequence[str]) -> str:
    """ "sky 0.912, road 0.875, tree -": the IU of every class, - where it does not occur."""
    return ", ".join(f"{name} {_number(iu)}" for name, iu in zip(names, result.class_iu, strict=True))


def as_json(result: Scores, names: Sequence[str]) -> dict:
    """The four metrics to the digit, and {class: IU}."""
    metrics = {name: getattr(result, name) for name in METRICS}
    return {**metrics, "class_iu": dict(zip(names, result.class_iu.tolist(), strict=True))}


def doubt(result: Scores, names: Sequence[str] = ()) -> str:
    """Why the scores of a truth with fewer than two classes mean nothing; "" for any other."""
    there = np.flatnonzero(result.matrix.sum(axis=1))
    if len(there) > 1:
        return ""
    if not len(there):
        return "no pixel of the truth has a class, so nothing is scored; `python -m models check` looks at the labels"
    name = f"{there[0]}" + (f" ({names[there[0]]})" if there[0] < len(names) else "")
    return (
        f"every labelled pixel of the truth is class {name}: calling everything so would score 1, and these numbers "
        "mean nothing; `python -m models check` looks at the labels"
    )


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0)


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else np.nan


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
