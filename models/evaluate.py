"""A net over a labelled split: its predictions, confusion matrices and scores.

    evaluation = Evaluation("voc-fcn8s/val.prototxt", "fcn8s.caffemodel")
    for example in evaluation: ...                   # every image of the split once, in the list's order
    evaluation.scores()["score"].mean_iu

A net may have several heads (SIFT Flow has two): each loss names the scores and the labels of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demitasse.models.class_names import names_of
from demitasse.netdef.net import Net
from demitasse.netdef.phase import filter_net
from demitasse.netdef.wording import count_text
from demitasse.proto.errors import DataFault, GraphFault
from demitasse.proto.text import read_net
from demitasse.solver import score
from demitasse.solver.heads import Head, find_heads, judge
from demitasse.solver.pictures import picture_of


@dataclass
class Example:
    """One image of the split; labels are (H, W), 255 where there is no class."""

    name: str
    data: np.ndarray  # (C, H, W) as the net sees it
    mean: tuple[float, ...]  # that was subtracted
    truth: dict[str, np.ndarray] = field(default_factory=dict)  # by head (its score blob)
    predicted: dict[str, np.ndarray] = field(default_factory=dict)
    matrices: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the image again from what the net has seen."""
        return picture_of(self.data, self.mean)


class Evaluation:
    """Iterating runs the net over its split; the matrices and the loss are of what has been seen so far.

    weights: a file, or several joined by commas.  batches: how many; data layers of this project tell how many images
    they have and give them one by one.  heads: None: those of the net's losses.
    """

    def __init__(
        self,
        net: str | Path,
        weights: str | Path,
        *,
        backend=None,
        heads: list[Head] | None = None,
        batches: int | None = None,
        auto_crop: bool = False,
    ):
        message, wheres = read_net(net)
        message, _ = filter_net(message, wheres, "TEST")
        self.heads = heads or _require_heads(message, net)
        data = [layer for layer in message.layer if not layer.bottom and layer.type != "Input" and layer.top]
        if not data:
            raise GraphFault(
                f"{net}: has no data layer, so there is nothing to score it on: give a train, val or "
                "test prototxt, or use `python -m models segment`"
            )
        self.path, self.image = net, data[0].top[0]
        kept = {self.image} | {name for head in self.heads for name in (head.score, head.label)}
        self.net = Net(net, "TEST", backend=backend, weights=str(weights), keep=kept, auto_crop=auto_crop)
        self.source = getattr(self.net.plan.by_name[data[0].name].layer, "user", None)
        if not hasattr(self.source, "in_order"):
            self.source = None
        if self.source:
            self.source.in_order()
        elif not batches:
            raise DataFault(
                f"layer '{data[0].name}' ({data[0].type}) does not tell how many images it has: give --batches N"
            )
        self.batches = batches or len(self.source.indices)
        self.classes = {head.score: self.net.shapes[head.score][1] for head in self.heads}
        self.matrices = {name: np.zeros((n, n), np.int64) for name, n in self.classes.items()}
        self.count, self._losses = 0, []

    @property
    def missing(self) -> list[str]:
        """Layers that the weights do not have."""
        return list(self.net.load_report.missing)

    @property
    def loss(self) -> float:
        """The mean of the batches' losses; NaN for a net without one."""
        return float(np.mean(self._losses)) if self._losses else math.nan

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Example]:
        with self.net.backend.frozen_weights():
            for _ in range(self.batches):
                self.net.forward()
                if self.net.plan.losses:
                    self._losses.append(self.net.loss)
                yield from self._batch()

    def _batch(self) -> Iterator[Example]:
        blobs = {
            name: self.net.backend.to_host(self.net.blobs[name])
            for head in self.heads
            for name in (self.image, head.score, head.label)
        }
        for i in range(len(blobs[self.image])):
            name = self.source.delivered[i] if self.source else f"{self.count:06d}"
            example = Example(name, blobs[self.image][i], self.source.mean_of(self.image) if self.source else ())
            for head in self.heads:
                truth, predicted, matrix = judge(head, blobs[head.score][i], blobs[head.label][i])
                example.truth[head.score], example.predicted[head.score] = truth, predicted
                example.matrices[head.score] = matrix
                self.matrices[head.score] += matrix
            self.count += 1
            yield example

    def scores(self, present_only: bool = False) -> dict[str, score.Scores]:
        """{head: its scores} over what has been seen."""
        return {name: score.scores(matrix, present_only=present_only) for name, matrix in self.matrices.items()}

    def names(self, head: Head, file: str | None = None) -> list[str]:
        """Its classes' names: from a file, or as far as the data know them."""
        known = self.source.names_of(head.label) if self.source else ()
        return names_of(file, known, self.classes[head.score], self.path)

    def text(self, present_only: bool = False, names: str | None = None) -> str:
        """The scores as a table for each head."""
        parts = [count_text(self.count, "image") + (f", loss {self.loss:.6g}" if self._losses else "")]
        results = self.scores(present_only)
        for head in self.heads:
            if len(self.heads) > 1:
                parts.append(f"\n{head.label} ({head.score})")
            # One file of names can only be that of the first head.
            known = self.names(head, names if head is self.heads[0] else None)
            parts += [score.table(results[head.score], known), score.doubt(results[head.score], known)]
        return "\n".join(filter(None, parts))

    def close(self) -> None:
        """Release the net's files and threads."""
        self.net.close()


def _require_heads(message, net) -> list[Head]:
    if heads := find_heads(message):
        return heads
    raise GraphFault(
        f"{net}: has no SoftmaxWithLoss, InfogainLoss or Accuracy layer that would say what is to be scored: give a "
        "val or test prototxt, or --score BLOB --label BLOB"
    )
