"""caffe.layers.detectnet.clustering: the boxes that DetectNet's grid of predictions says, gathered from its cells.

Bottoms: coverage (N, classes, H, W), boxes (N, 4, H, W): the corners x1, y1, x2, y2 of a cell's object, relative to the
cell's first pixel.  Tops: for each class (N, 50, 5), rows (x1, y1, x2, y2, confidence), zeros after the last.

    ClusterDetections   param_str "width, height, stride, least coverage, least votes, eps, least height[, classes]"
    ClusterGroundtruth  param_str "width, height, stride[, classes]": of labels, whose cells say equal boxes

The cells whose coverage is high enough vote: boxes that are alike to a share eps of their size are one, their mean, and
its confidence is the logarithm of their number, where that is more than `least votes`.
Source: NVIDIA's DetectNet ("DetectNet: Deep Neural Network for Object Detection in DIGITS", 2016); what likeness is:
OpenCV's documentation of groupRectangles, which it is held against.
"""

from __future__ import annotations

import math

import numpy as np

import caffe
from demitasse.layers.onnx.graph import INT
from demitasse.models.data.caffe.layers.detectnet.grouping import clustered
from demitasse.models.data.rcnn_layer import require_bottoms
from demitasse.proto.errors import SchemaFault, ShapeFault

MAX_BOXES = 50  # boxes of a class in an image


class Clustering(caffe.Layer):
    """What both have in common: the numbers of param_str, and the cells that count."""

    names: tuple[str, ...] = ()  # of the numbers that have to be there; `classes` may follow

    def setup(self, bottom, top):
        """SchemaFault where param_str is not those numbers."""
        try:
            given = [float(word) for word in self.param_str.split(",")]
        except ValueError:
            given = []
        if len(given) not in (len(self.names), len(self.names) + 1):
            raise SchemaFault(
                f"param_str is {self.param_str!r}: numbers in this order are needed: {', '.join(self.names)}"
            )
        self.given = dict(zip((*self.names, "classes"), given, strict=False))
        if min(self.given[name] for name in ("width", "height", "stride")) < 1:
            raise SchemaFault(f"param_str is {self.param_str!r}: width, height and stride are at least 1")
        self.classes = int(self.given.get("classes", 1))
        require_bottoms(bottom, ("coverage", "boxes"), top, (self.classes, self.classes))

    def reshape(self, bottom, top):
        """The same room for every image.  ShapeFault where coverage and boxes do not fit."""
        coverage, boxes = bottom[0].shape, bottom[1].shape
        if len(coverage) != 4 or coverage[1] != self.classes or boxes != (coverage[0], 4, *coverage[2:]):
            raise ShapeFault(
                f"coverage of shape {coverage} and boxes of shape {boxes}: (N, {self.classes}, H, W) and (N, 4, H, W) "
                "are needed"
            )
        for blob in top:
            blob.reshape(coverage[0], MAX_BOXES, 5)

    def forward(self, bottom, top):
        """The boxes of each image and class."""
        coverage, boxes = bottom[0].data, bottom[1].data
        for kind, blob in enumerate(top):
            blob.data[...] = 0
            for item in range(len(coverage)):
                found = self.gathered(self.voters(coverage[item, kind], boxes[item]))[:MAX_BOXES]
                blob.data[item, : len(found)] = found

    def backward(self, top, propagate_down, bottom):
        """Nothing: no gradient passes."""

    def voters(self, coverage, boxes) -> np.ndarray:
        """(V, 4): the boxes, in pixels of the image, of the cells that count."""
        width, height, stride = (self.given[name] for name in ("width", "height", "stride"))
        columns, rows = int(width / stride), int(height / stride)
        y, x = np.nonzero(self.counts(coverage[:rows, :columns]))
        first = np.stack([x * (width // columns), y * (height // rows)])
        return (boxes[:, y, x] + np.concatenate([first, first])).T

    def counts(self, coverage) -> np.ndarray:
        """Which cells of a coverage map (rows, columns) count: bool, of its shape."""
        raise NotImplementedError

    def gathered(self, voters) -> np.ndarray:
        """(B, 5): the boxes that cells (V, 4) say."""
        raise NotImplementedError


class ClusterDetections(Clustering):
    """Of predictions."""

    names = ("width", "height", "stride", "least coverage", "least votes", "eps", "least height")

    def counts(self, coverage):
        """Those that are covered enough."""
        return coverage >= self.given["least coverage"]

    def gathered(self, voters):
        """What enough of them agree on."""
        rows, votes = group_rectangles(voters.astype(int), int(self.given["least votes"]), self.given["eps"])
        found = [[*row, math.log(n)] for row, n in zip(rows.tolist(), votes, strict=True)]
        return np.array([row for row in found if row[3] - row[1] >= self.given["least height"]]).reshape(-1, 5)

    def to_onnx(self, graph, xs):
        """The same in ONNX's operators, a top for each class."""
        coverage, boxes = xs
        width, height, stride, least, votes, eps, tall = (self.given[name] for name in self.names)
        columns, rows = int(width / stride), int(height / stride)
        grid = rows, columns, height // rows, width // columns
        boxes = graph.transpose(boxes, [0, 2, 3, 1])
        return [
            clustered(
                graph,
                graph.gather(coverage, graph.constant(kind, INT), 1),
                boxes,
                grid,
                (least, int(votes), eps, tall),
                MAX_BOXES,
            )
            for kind in range(self.classes)
        ]


class ClusterGroundtruth(Clustering):
    """Of labels: each box once, with a confidence of 0."""

    names = ("width", "height", "stride")

    def counts(self, coverage):
        """Those that are covered at all."""
        return coverage > 0

    def gathered(self, voters):
        """Every box once."""
        rows = np.unique(voters, axis=0).reshape(-1, 4)
        return np.concatenate([rows, np.zeros((len(rows), 1))], axis=1)


def group_rectangles(rows, threshold: int, eps: float) -> tuple[np.ndarray, list[int]]:
    """(means (G, 4), sizes) of the groups of rectangles (N, 4: x, y, width, height) that are alike, of more than
    `threshold` each; a group inside of a larger one is left out.  A threshold of 0 groups nothing.

    Two are alike if no edge differs by more than eps * (the smaller width + the smaller height) / 2, and so are those
    that are alike to a third one.
    """
    if threshold <= 0 or not len(rows):
        return rows.reshape(-1, 4), [1] * len(rows)
    edges = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
    smaller = np.minimum(rows[:, None, 2:], rows[None, :, 2:]).sum(axis=2)
    alike = (abs(edges[:, None] - edges[None]) <= (eps * smaller * 0.5)[:, :, None]).all(axis=2)
    label = np.arange(len(rows))
    while True:  # the smallest number of any that it is alike to, until no number changes
        new = np.where(alike | alike.T, label, len(rows)).min(axis=1, initial=len(rows))
        new = np.minimum(new, label)
        if (new == label).all():
            break
        label = new
    groups = [rows[label == each] for each in dict.fromkeys(label.tolist())]
    means = np.array([np.rint(group.mean(axis=0)) for group in groups]).astype(int)
    sizes = [len(group) for group in groups]
    kept = [
        i
        for i, size in enumerate(sizes)
        if size > threshold
        and not any(
            i != j and sizes[j] > threshold and _inside(means[i], means[j], size, sizes[j], eps)
            for j in range(len(sizes))
        )
    ]
    return means[kept].reshape(-1, 4), [sizes[i] for i in kept]


def _inside(own, other, size, other_size, eps) -> bool:
    """Whether a rectangle lies in another, within eps of that one's size, and has fewer votes."""
    room = np.rint(other[2:] * eps)
    within = (own[:2] >= other[:2] - room).all() and (own[:2] + own[2:] <= other[:2] + other[2:] + room).all()
    return bool(within and (other_size > max(3, size) or size < 3))
