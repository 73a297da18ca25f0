"""YoloLoss (our word for caffe-yolo's DetectionLoss): YOLO's first loss.

With S = side, C = num_class, B = num_object: bottoms are predictions (N, S S (C + 5 B)), C maps of classes, B of
whether there is an object, and B x 4 of boxes, S x S each; and labels (N, 7 S S), a map each of difficult (not read),
of whether an object's centre lies in the cell, of its class from 0, and a box (centre x, y, width, height in shares of
the image) for each cell.  Where there is an object, classes learn 1 for its own, weighted class_scale, and the box that
overlaps most with it (if none does: the nearest) learns that overlap, object_scale, and its place, coord_scale; all
others learn that nothing is there, noobject_scale.  With constriant (so spelt) places are those within the cell, with
sqrt sizes are roots.
Top: half the weighted squared differences, over N.  The fork shows averages of each kind; its gradients are these.

Source: "You Only Look Once: Unified, Real-Time Object Detection" (Redmon et al., 2016), 2.2.
"""

import math

from demitasse.layers.first_grids import check_grids, first_boxes, first_labels, parts
from demitasse.layers.layer import LossLayer


class YoloLoss(LossLayer):
    type = "YoloLoss"

    def infer(self, shapes):
        param = self.spec.yolo_loss_param
        check_grids(shapes, param.side, param.num_class, param.num_object)
        return [()]

    def forward(self, xs):
        xp, param = self.xp, self.spec.yolo_loss_param
        classes, objects, places = parts(xs[0], param)
        has, label, true = first_labels(self.be, xs[1], param)
        boxes = first_boxes(xp, places, param)
        overlaps, apart = self._nearness(boxes, true)
        best = xp.where((overlaps > 0).any(1), overlaps.argmax(1), apart.argmin(1))  # (N, S S)
        chosen = (xp.arange(param.num_object)[:, None] == best[:, None]) & has[:, None]  # (N, B, S S)
        own = xp.arange(param.num_class)[:, None] == label[:, None]
        wanted = self._as_predicted(true)
        errors = [
            (classes - own) * (param.class_scale * has[:, None]),
            xp.where(chosen, (objects - overlaps) * param.object_scale, objects * param.noobject_scale),
            (places - wanted[:, None]) * (param.coord_scale * chosen[:, :, None]),
        ]
        apart = [classes - own, xp.where(chosen, objects - overlaps, objects), places - wanted[:, None]]
        n = max(1, len(xs[0]))
        if self.keep:
            flat = [each.reshape(len(each), math.prod(each.shape[1:])) for each in errors]
            self.saved = xp.concatenate(flat, 1) / n, xs[0].shape
        total = sum((error * by).sum() for error, by in zip(errors, apart, strict=True))
        return [xp.asarray(total / (2 * n), xs[0].dtype)]

    def backward(self, dys, need):
        grads, shape = self.saved
        return [(dys[0] * grads).reshape(shape).astype(dys[0].dtype) if need[0] else None, None]

    def _nearness(self, boxes, true):
        """How much boxes (N, B, 4, S S) overlap with their cell's true one (N, 4, S S), and how far they are apart."""
        xp, true = self.xp, true[:, None]
        low = xp.maximum(boxes[:, :, :2] - boxes[:, :, 2:] / 2, true[:, :, :2] - true[:, :, 2:] / 2)
        high = xp.minimum(boxes[:, :, :2] + boxes[:, :, 2:] / 2, true[:, :, :2] + true[:, :, 2:] / 2)
        both = xp.maximum(high - low, 0).prod(2)
        union = boxes[:, :, 2:].prod(2) + true[:, :, 2:].prod(2) - both
        return both / xp.where(union > 0, union, 1), xp.square(boxes - true).sum(2)

    def _as_predicted(self, true):
        """True boxes (N, 4, S S) as the numbers that a net is to predict for them."""
        xp, param = self.xp, self.spec.yolo_loss_param
        centre, size, side = true[:, :2], true[:, 2:], param.side
        if param.constriant:
            cells = xp.arange(side * side)
            centre = centre * side - xp.stack([cells % side, cells // side])
        return xp.concatenate([centre, xp.sqrt(size) if param.sqrt else size], 1)
