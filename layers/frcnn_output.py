"""FrcnnOutput (Cascade R-CNN): the boxes that a detector finds in an image.

Bottoms: probabilities (R, classes), the background's first; boxes (R, 4 classes), or with cls_aware: false (R, 8),
relative to the regions and normalised as bbox_reg_param says; the regions (R, 5 or 6), a row (0, x1, y1, x2, y2, ...);
the image's height and width (1, 2).  Top: (K + 1, 7, 1, 1), a row (0, -1, ...) and then one (0, x1, y1, x2, y2, class,
probability) for each of K boxes, by class, the best first, cut at the image's border.  For each class those of
conf_thr or more go through non-maximum suppression; of all that is left the best max_det_num stay (0: all).
save_output_param writes them to files too (data/detections.py).

Source: "Cascade R-CNN: Delving into high quality object detection" (Cai and Vasconcelos, 2018); its prototxts.
"""

import math

from demitasse.layers.boxes import decode, nms
from demitasse.layers.data.detections import make_writer
from demitasse.layers.field_boxes import denormalised, normalisation
from demitasse.layers.layer import Layer
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault

PIXEL = 1.0


class FrcnnOutput(Layer):
    type = "FrcnnOutput"
    fields = ("frcnn_output_param", "bbox_reg_param")
    bottoms = (4, 4)
    never_differentiable = (0, 1, 2, 3)
    shapes_from_data = True

    def setup(self, shapes):
        param = self.param = self.spec.frcnn_output_param
        if param.nms_type != "IOU":
            raise SchemaFault(f'nms_type "{param.nms_type}" is not known here: "IOU" is')
        self.regression, self.writer = normalisation(self.spec.bbox_reg_param), make_writer(param.save_output_param)
        return []

    def infer(self, shapes):
        count, sizes = shapes[0][0] if shapes[0] else 0, [math.prod(shape[1:]) for shape in shapes]
        wide = 4 * sizes[0] if self.spec.bbox_reg_param.cls_aware else 8
        if sizes[1] != wide or sizes[2] not in (5, 6) or any(shape[:1] != shapes[0][:1] for shape in shapes[:3]):
            raise ShapeFault(f"bottoms of shapes {shapes}: R classes' probabilities, boxes (R, {wide}), regions (R, 5)")
        if math.prod(shapes[3]) != 2:
            raise ShapeFault(f"bottom 3 has shape {shapes[3]}: the height and width of one image, (1, 2)")
        most = count * (sizes[0] - 1)
        return [(1 + (min(most, self.param.max_det_num) if self.param.max_det_num else most), 7, 1, 1)]

    def forward(self, xs):
        xp, param = self.xp, self.param
        scores, deltas, regions, size = (x.reshape(len(x), math.prod(x.shape[1:])) for x in xs)
        if len(regions) and bool((regions[:, 0] >= 1).any()):
            raise DataFault("regions are of several images: FrcnnOutput takes one, batch_size: 1")
        deltas = denormalised(xp, deltas.reshape(len(deltas), deltas.shape[1] // 4, 4), self.regression, 2)
        height, width = (float(side) for side in size[0])
        boxes = decode(xp, regions[:, None, 1:5], deltas, PIXEL)
        boxes = xp.stack(
            [
                *(xp.maximum(boxes[..., i], 0) for i in (0, 1)),
                xp.minimum(boxes[..., 2], width),
                xp.minimum(boxes[..., 3], height),
            ],
            axis=-1,
        )
        rows = [
            self._of_class(c, scores[:, c], boxes[:, min(c, boxes.shape[1] - 1)]) for c in range(1, scores.shape[1])
        ]
        rows = xp.concatenate(rows) if rows else self.be.zeros((0, 7))
        if 0 < param.max_det_num < len(rows):
            rows = rows[xp.sort(xp.argsort(-rows[:, 6], kind="stable")[: param.max_det_num])]
        if self.writer:
            shares = rows[:, 1:5] / xp.asarray([width, height] * 2, rows.dtype)
            self.writer.add(self.be.to_host(xp.concatenate([rows[:, :1], rows[:, 5:], shares], axis=1)), 1)
        first = self.be.asarray([[0, *[-1] * 6]])
        return [xp.concatenate([first, rows]).reshape(len(rows) + 1, 7, 1, 1)]

    def backward(self, dys, need):
        return [None] * len(need)

    def _of_class(self, label: int, scores, boxes):
        """The rows of a class."""
        (chosen,) = self.xp.nonzero(scores >= self.param.conf_thr)
        scores, boxes = scores[chosen], boxes[chosen]
        kept = nms(self.be, boxes, scores, self.param.iou_thr, extra=PIXEL)
        rows = self.be.zeros((len(kept), 7))
        rows[:, 1:5], rows[:, 5], rows[:, 6] = boxes[kept], label, scores[kept]
        return rows
