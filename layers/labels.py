"""Whether labels, or targets, can belong to scores: their number, and the order of their axes."""

from __future__ import annotations

import math

from demitasse.layers.layer import Shape
from demitasse.proto.errors import ShapeFault


def check_labels(scores: Shape, labels: Shape, axis: int) -> None:
    """ShapeFault unless there is a label for each item or pixel of the scores, whose classes lie along `axis`."""
    expected = math.prod(scores[:axis] + scores[axis + 1 :])
    if math.prod(labels) != expected:
        swapped = [n for n in labels[:axis] + labels[axis + 1 :] if n != 1], [n for n in scores if n != 1]
        exchanged = swapped[0] == swapped[1]
        remedy = (
            "are the bottoms exchanged? The scores come first"
            if exchanged
            else "one label for each item or pixel expected"
        )
        raise ShapeFault(
            f"the scores have shape {scores} and so take {expected} labels, which have shape {labels}: {remedy}"
        )


def check_targets(scores: Shape, targets: Shape) -> None:
    """ShapeFault unless there is a target for each of the scores."""
    if math.prod(scores) != math.prod(targets):
        raise ShapeFault(f"scores of shape {scores} and targets of shape {targets}: give one target per score")


def transposed(scores: Shape, labels: Shape, axis: int | None = None) -> list[str]:
    """A line where labels seem to have height and width exchanged, though there are as many as it takes.

    axis: of the classes, which labels lack; None: each number of the scores has a target of its own.
    """
    left = scores if axis is None else scores[:axis] + scores[axis + 1 :]
    sizes, given = ([n for n in shape if n != 1] for shape in (left, labels))
    if sizes == given or sorted(sizes) != sorted(given):
        return []
    return [
        f"the labels of shape {labels} have their axes in another order than the scores of shape {scores}: height "
        "and width look exchanged, and each pixel is compared with another one's label; transpose the labels"
    ]
