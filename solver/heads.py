"""What a net predicts for every pixel of a map, and how well: the heads that its losses name, scored as it runs.

heads = HeadScores(net)        # of a net that segments; of any other it has nothing to say
with heads: ... net.forward() ...
heads.scores()["score"].mean_iu
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from demitasse.layers.layer import Layer, layer_class
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import NetParameter
from demitasse.solver import score
from demitasse.solver.pictures import picture_of, row_of


@dataclass(frozen=True)
class Head:
    """One thing that is predicted: the blobs of its scores and of its labels, and the label that is none."""

    score: str
    label: str
    ignore: int = 255


def find_heads(message: NetParameter) -> list[Head]:
    """The heads that a net's losses of classes (without one, its metrics of classes) name."""
    compare = [(layer, cls) for layer in message.layer if (cls := _class_of(layer)) is not None]
    for of_loss in (True, False):
        heads = [_head(layer, cls) for layer, cls in compare if cls.ignores and cls.is_loss == of_loss]
        if heads:
            return list({head.score: head for head in heads}.values())
    return []


def _class_of(layer) -> type[Layer] | None:
    """The class of a layer; None for an unknown type, of which the net itself tells, with its location."""
    with suppress(SchemaFault):
        return layer_class(layer.type)
    return None


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

    Counted are heads whose scores are maps (N, C, H, W) with a label for each pixel; a net that gives one label to
    an image has none.  Blobs are read when the layer that compares them is about to run, so none is kept for it.
    pictures: of so many images (and heads) there are pictures, too: `rows`, {head's score blob: [picture]}.
    """

    def __init__(self, net, pictures: int = 0):
        self.net, self.wanted = net, pictures
        self.rows: dict[str, list[np.ndarray]] = {}
        self.images: tuple[str, int] | None = (
            self._find_images() if pictures else None
        )  # blob, by whom it is read first
        self.image: np.ndarray | None = None
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

    def _find_images(self) -> tuple[str, int] | None:
        """The blob of images that a data layer makes, and the step that reads it first."""
        for step in self.net.plan.steps:
            for value in step.bottoms:
                made = value.producer is not None and not value.producer.bottoms
                if made and len(value.shape) == 4 and value.shape[1] in (1, 3) and max(value.shape[2:]) > 1:
                    return value.name, step.index
        return None

    def _show(self, head: Head, truth: np.ndarray, predicted: np.ndarray) -> None:
        rows = self.rows.setdefault(head.score, [])
        if self.image is None or len(rows) >= self.wanted or self.image.shape[1:] != truth.shape:
            return
        name = self.images[0] if self.images else ""
        maker = next(step for step in self.net.plan.steps if name in [value.name for value in step.tops])
        mean_of = getattr(getattr(maker.layer, "user", None), "mean_of", None)
        rows.append(row_of(picture_of(self.image, mean_of(name) if mean_of else ()), truth, predicted))

    def _look(self, index: int) -> None:
        if self.images and index == self.images[1]:
            images = self.net.backend.to_host(self.net.blobs[self.images[0]])
            self.image = np.array(images[0])  # of each batch the first
        head = self.at.get(index)
        if head is None:
            return
        bottoms = self.net.plan.steps[index].bottoms
        scores, labels = (self.net.blobs[value.name] for value in bottoms[:2])
        scores, labels = self.net.backend.to_host(scores), self.net.backend.to_host(labels)
        labels = labels.reshape(len(scores), 1, *scores.shape[2:])
        for number, (one, labelled) in enumerate(zip(scores, labels, strict=True)):
            truth, predicted, matrix = judge(head, one, labelled)
            self.matrices[head] = self.matrices.get(head, 0) + matrix
            if self.images and not number:
                self._show(head, truth, predicted)

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
