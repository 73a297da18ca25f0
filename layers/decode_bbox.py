"""DecodeBBox (Cascade R-CNN): the boxes that a stage's predictions make of its proposals, for the next stage.

Bottoms: predictions (R, 8), four numbers for the background and four for the rest, normalised as bbox_reg_param says;
rois (R, 5), a row (image, x1, y1, x2, y2); in TRAIN, if given, the true box that each roi was matched with, of which
the last number counts, their overlap.  Top: rois (R', 5) moved and stretched by the last four.  TRAIN leaves out those
that come out upside down, and those whose overlap is gt_iou_thr or more (true boxes among the rois).
Nothing gets a gradient.

Source: "Cascade R-CNN: Delving into high quality object detection" (Cai and Vasconcelos, 2018), 4.1.
"""

import math

from demitasse.layers.field_boxes import denormalised, normalisation
from demitasse.layers.layer import Layer
from demitasse.layers.onnx.boxes import columns
from demitasse.proto.errors import DataFault, ShapeFault


class DecodeBBox(Layer):
    type = "DecodeBBox"
    fields = ("decode_bbox_param", "bbox_reg_param")
    bottoms = (2, 3)
    never_differentiable = (0, 1, 2)
    shapes_from_data = True

    def setup(self, shapes):
        self.regression = normalisation(self.spec.bbox_reg_param)
        return []

    def infer(self, shapes):
        sizes = [math.prod(shape[1:]) for shape in shapes]
        if sizes[:2] != [8, 5] or any(shape[:1] != shapes[0][:1] for shape in shapes):
            raise ShapeFault(f"bottoms of shapes {shapes}: predictions (R, 8) and rois (R, 5) are needed")
        return [shapes[1]]

    def forward(self, xs):
        xp, rois = self.xp, xs[1].reshape(len(xs[1]), 5)
        deltas = denormalised(xp, xs[0].reshape(len(xs[0]), 8)[:, 4:], self.regression, 1)
        centre, size = (rois[:, 1:3] + rois[:, 3:]) / 2, rois[:, 3:] - rois[:, 1:3] + 1
        centre, size = centre + deltas[:, :2] * size, size * xp.exp(deltas[:, 2:])
        first = centre - (size - 1) / 2
        moved = xp.concatenate([rois[:, :1], first, first + size - 1], axis=1)
        if self.train:
            good = (moved[:, 1:3] <= moved[:, 3:]).all(1)
            if len(xs) > 2:
                overlaps = xs[2].reshape(len(xs[2]), math.prod(xs[2].shape[1:]))[:, -1]
                good &= overlaps < self.spec.decode_bbox_param.gt_iou_thr
            if len(good) and not good.any():
                raise DataFault("no proposal is left for the next stage: all came out upside down, or are true boxes")
            moved = moved[good]
        return [moved.reshape(len(moved), *xs[1].shape[1:])]

    def to_onnx(self, graph, xs):
        """As in TEST, where every roi stays."""
        rows = graph.size(xs[1], 0)
        deltas, rois = (graph.reshape(x, [rows, -1]) for x in xs[:2])
        mean, deviation = (graph.constant(numbers) for numbers in self.regression)
        deltas = columns(graph, deltas, 4, 8) * deviation + mean
        first, last = columns(graph, rois, 1, 3), columns(graph, rois, 3, 5)
        centre, size = (first + last) * 0.5, last - first + 1.0
        centre = centre + columns(graph, deltas, 0, 2) * size
        size = size * graph.node("Exp", columns(graph, deltas, 2, 4))
        first = centre - (size - 1.0) * 0.5
        moved = graph.concat([columns(graph, rois, 0, 1), first, first + size - 1.0], 1)
        return [graph.reshape(moved, [rows, 5, *[1] * (len(xs[1].shape) - 2)])]

    def backward(self, dys, need):
        return [None] * len(need)
