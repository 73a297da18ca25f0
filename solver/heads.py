"""What a net predicts for every place of a map, and how well: the heads that its losses name, scored as it runs.

heads = HeadScores(net)        # of a net that segments; of any other it has nothing to say
with heads: ... net.forward() ...
heads.scores()["score"].mean_iu
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demitasse.layers.layer import layer_class, layer_types
from demitasse.proto.messages import NetParameter
from demitasse.solver import score


@dataclass(frozen=True)
class Head:
    """One thing that is predicted: the blobs of its scores and of its labels, and the label that is none."""

    score: str
    label: str
    ignore: int = 255


def find_heads(message: NetParameter) -> list[Head]:
    """The heads that a net's losses of classes (without one, its metrics of classes) name."""
    known = set(layer_types())  # of any other type the net itself tells, with its place
    compare = [(layer, layer_class(layer.type)) for layer in message.layer if layer.type in known]
    for of_loss in (True, False):
        heads = [_head(layer, cls) for layer, cls in compare if cls.ignores and cls.is_loss == of_loss]
        if heads:
            return list({head.score: head for head in heads}.values())
    return []


def _head(layer, cls) -> Head:
    param = getattr(layer, cls.ignores)
    return Head(layer.bottom[0], layer.bottom[1], param.ignore_label if param.HasField("ignore_label") else 255)


def judge(head: Head, scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(truth (H, W), predicted (H, W), confusion matrix (C, C)) of one image's scores (C, H, W) and labels (1, H, W);
    in the truth 255 stands where there is no class."""
    truth = score.label_map(labels)
    if head.ignore != 255:
        truth = np.where(truth == head.ignore, 255, truth)
    predicted = score.best_class(scores)
    return truth, predicted, score.confusion(truth, predicted, len(scores))


def _are_maps(scores, labels) -> bool:
    shape = scores.shape
    return len(shape) == 4 and max(shape[2:]) > 1 and math.prod(labels.shape) * shape[1] == math.prod(shape)


class HeadScores:
    """While it is entered, the confusion matrices of a net's heads are summed over what the net computes.

    Counted are heads whose scores are maps (N, C, H, W) with a label for each place; a net that gives one label to
    an image has none.  Blobs are read when the layer that compares them is about to run, so none is kept for it.
    """

    def __init__(self, net):
        self.net = net
        heads = {(head.score, head.label): head for head in find_heads(net.plan.message)}
        self.at: dict[int, Head] = {}  # by the step that compares
        for step in net.plan.steps:
            pair = tuple(value.name for value in step.bottoms[:2])
            if step.cls.ignores and pair in heads and _are_maps(*step.bottoms[:2]):
                self.at[step.index] = heads.pop(pair)
        self.matrices: dict[Head, np.ndarray] = {}

    def __enter__(self) -> HeadScores:
        if self.at:
            self.net.before_forward.append(self._look)
        return self

    def __exit__(self, *error) -> None:
        if self.at:
            self.net.before_forward.remove(self._look)

    def _look(self, index: int) -> None:
        head = self.at.get(index)
        if head is None:
            return
        bottoms = self.net.plan.steps[index].bottoms
        scores, labels = (self.net.blobs[value.name] for value in bottoms[:2])
        scores, labels = self.net.backend.to_host(scores), self.net.backend.to_host(labels)
        labels = labels.reshape(len(scores), 1, *scores.shape[2:])
        for one, truth in zip(scores, labels, strict=True):
            self.matrices[head] = self.matrices.get(head, 0) + judge(head, one, truth)[2]

    def scores(self) -> dict[str, score.Scores]:
        """{the head's score blob: its scores} over what has been seen."""
        return {head.score: score.scores(matrix) for head, matrix in self.matrices.items()}

    def names(self, head_score: str) -> Sequence[str]:
        """The names of a head's classes as far as the data layer of its labels knows them, else numbers."""
        head, matrix = next((head, matrix) for head, matrix in self.matrices.items() if head.score == head_score)
        makers = [step for step in self.net.plan.steps if head.label in [value.name for value in step.tops]]
        user = getattr(makers[0].layer, "user", None) if makers else None
        names_of = getattr(user, "names_of", None)
        known = list(names_of(head.label)) if names_of else []
        return [known[c] if c < len(known) else str(c) for c in range(len(matrix))]
