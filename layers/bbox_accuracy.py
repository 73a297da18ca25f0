"""BboxAccuracy (MS-CNN, Cascade R-CNN): how far a detector's boxes overlap with the true ones, and its regions did.

Bottoms: predictions (R, 4 classes), or with cls_aware: false (R, 8), normalised as bbox_reg_param says; rois (R, 5), a
row (image, x1, y1, x2, y2); the box that each was matched with, a row (class, x1, y1, x2, y2, overlap), of class 0
where there is none.  Tops: the mean overlap of predicted boxes, and, if named, that of the regions, (1, 1, 1, 1) each;
-1 where nothing is matched.  Regions that are true boxes (overlap above 0.975) do not count.  Nothing gets a gradient.

Source: the prototxts of MS-CNN and Cascade R-CNN.
"""

import math

from demitasse.layers.boxes import decode, iou
from demitasse.layers.field_boxes import denormalised, normalisation
from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault

PIXEL, TRUE = 1.0, 0.975


class BboxAccuracy(Layer):
    type = "BboxAccuracy"
    fields = ("bbox_reg_param",)
    bottoms, tops = (3, 3), (1, 2)
    never_differentiable = (0, 1, 2)

    def setup(self, shapes):
        self.regression = normalisation(self.spec.bbox_reg_param)
        return []

    def infer(self, shapes):
        sizes = [math.prod(shape[1:]) for shape in shapes]
        wide = sizes[0] == 8 or (self.spec.bbox_reg_param.cls_aware and sizes[0] >= 8 and not sizes[0] % 4)
        if not wide or sizes[1:] != [5, 6] or any(not shape or shape[0] != shapes[0][0] for shape in shapes):
            wanted = "(R, 4 classes)" if self.spec.bbox_reg_param.cls_aware else "(R, 8)"
            raise ShapeFault(f"bottoms of shapes {shapes}: predictions {wanted}, rois (R, 5), boxes (R, 6) are needed")
        return [(1, 1, 1, 1)] * max(1, len(self.spec.top))

    def forward(self, xs):
        xp = self.xp
        deltas, rois, boxes = (x.reshape(len(x), math.prod(x.shape[1:])) for x in xs)
        (counted,) = xp.nonzero((boxes[:, 0] > 0) & (boxes[:, 5] <= TRUE))
        label = boxes[counted, 0].astype("int32")
        column = label if self.spec.bbox_reg_param.cls_aware else xp.minimum(label, 1)
        column = xp.minimum(column, deltas.shape[1] // 4 - 1)
        own = denormalised(
            xp, deltas.reshape(len(deltas), -1 if deltas.size else 2, 4)[counted, column], self.regression, 1
        )
        true, regions = boxes[counted, None, 1:5], rois[counted, None, 1:]
        found = decode(xp, regions, own[:, None], PIXEL)
        return [self._mean(iou(xp, each, true, PIXEL)) for each in (found, regions)][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        return [None] * len(need)

    def _mean(self, overlaps):
        return self.be.asarray(overlaps.mean() if overlaps.size else -1.0).reshape(1, 1, 1, 1)
