"""DetectionEvaluate (SSD): which of the boxes found are right; what average precision is computed from.

Bottoms: the boxes found (1, 1, K, 7), rows (image, class, score, x1, y1, x2, y2) as DetectionOutput gives them, and
the true ones (1, 1, G, 8), rows (image, class, instance, x1, y1, x2, y2, difficult).
Top: (1, 1, classes - 1 + D, 5): first a row (-1, class, count of true boxes, -1, -1) for each class but the background,
then a row (image, class, score, right, wrong) for each of the D boxes, by image, then class, best score first.

With a third bottom, the images' heights and widths (N, 2), they are Cascade R-CNN's: boxes found (K, 7), rows (image,
x1, y1, x2, y2, class, score), and true ones (G, 8), rows (image, x1, y1, x2, y2, class, ignored, difficult), in pixels.

A box is right if the true box of its class that it overlaps most with does so by overlap_threshold at least and no
better box has claimed it; a second claim is wrong.  With evaluate_difficult_gt: false difficult true boxes are not
counted, and a box on one of them is neither right nor wrong.  With name_size_file overlaps are those of whole pixels in
the images it lists, which come in its order, over and over.
Source: "The PASCAL Visual Object Classes Challenge" (Everingham et al., 2010), 4.2.
"""

import math
import os

from demitasse.layers.boxes import iou
from demitasse.layers.data.detections import read_sizes
from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.warning import warn


class DetectionEvaluate(Layer):
    type = "DetectionEvaluate"
    bottoms = (2, 3)
    never_differentiable = (0, 1, 2)
    shapes_from_data = True
    judges_boxes = True

    def setup(self, shapes):
        param = self.spec.detection_evaluate_param
        if param.num_classes < 1:
            raise SchemaFault("num_classes is missing: give the number of classes, with the background")
        if param.HasField("resize_param") and param.resize_param.resize_mode != param.resize_param.WARP:
            raise SchemaFault("resize_param of an evaluation: WARP alone is known; leave it out, with name_size_file")
        self.classes = [c for c in range(param.num_classes) if c != param.background_label_id]
        self.sizes = _sizes(param.name_size_file)
        self.extra = 1.0 if self.sizes or len(shapes) > 2 else 0.0  # corners are pixels, or points of the plane
        self.seen = 0  # images, of those that name_size_file lists
        return []

    def infer(self, shapes):
        if len(shapes) > 2:
            sizes = [math.prod(shape[1:]) for shape in shapes]
            if sizes != [7, 8, 2]:
                raise ShapeFault(f"bottoms of shapes {shapes}: boxes found (K, 7), true ones (G, 8), sizes (N, 2)")
            return [(1, 1, len(self.classes) + shapes[0][0], 5)]
        for i, columns in enumerate((7, 8)):
            if len(shapes[i]) != 4 or shapes[i][3] != columns:
                raise ShapeFault(f"bottom {i} has shape {shapes[i]}: (1, 1, any, {columns}) is expected")
        return [(1, 1, len(self.classes) + shapes[0][2], 5)]

    def forward(self, xs):
        found, true = (self.be.to_host(x).reshape(-1, columns).copy() for x, columns in zip(xs, (7, 8), strict=False))
        if len(xs) > 2:
            self._reorder(found, true, self.be.to_host(xs[2]).reshape(-1, 2))
        found[:, :2], true = found[:, :2].astype(int), true[true[:, 0] >= 0]
        found = found[(found[:, 0] >= 0) & (found[:, 1] >= 0)]
        counted = true
        if not self.spec.detection_evaluate_param.evaluate_difficult_gt:
            counted = true[true[:, 7] == 0]
        rows = [[-1, label, (counted[:, 1].astype(int) == label).sum(), -1, -1] for label in self.classes]
        for image in sorted(set(found[:, 0].tolist())):
            own = found[found[:, 0] == image]
            for label in sorted(set(own[:, 1].tolist())):
                boxes = own[own[:, 1] == label]
                chosen = (true[:, 0].astype(int) == image) & (true[:, 1].astype(int) == label)
                rows += self._judged(boxes[(-boxes[:, 2]).argsort(kind="stable")], true[chosen], int(image))
        if self.sizes:
            images = {*found[:, 0].tolist(), *true[:, 0].astype(int).tolist()}
            self.seen = (self.seen + len(images)) % len(self.sizes)
        return [self.be.asarray(rows).reshape(1, 1, -1, 5)]

    def backward(self, dys, need):
        return [None] * len(need)

    def _reorder(self, found, true, sizes):
        """Bring Cascade R-CNN's rows into the order of SSD's, and with name_size_file into shares of the image's sides,
        in place."""
        found[:], true[:] = found[:, [0, 5, 6, 1, 2, 3, 4]], true[:, [0, 5, 6, 1, 2, 3, 4, 7]]
        for rows in (found, true) if self.sizes else ():
            rows[:, 3:7] /= sizes[rows[:, 0].astype(int).clip(0)][:, [1, 0, 1, 0]]

    def _judged(self, boxes, true, image):
        """The rows of one image's boxes (K, 7) of one class, best first, with the true ones (G, 8) of that class."""
        param, scale, claimed, rows = self.spec.detection_evaluate_param, 1, set(), []
        if self.sizes:
            size = self.sizes[(self.seen + image) % len(self.sizes)]
            scale = [size.width, size.height] * 2
        places = self.be.asarray(boxes[:, 3:] * scale), self.be.asarray(true[:, 3:7] * scale)
        overlaps = self.be.to_host(iou(self.xp, *places, extra=self.extra))
        for row, overlap in zip(boxes[:, :3].tolist(), overlaps, strict=True):
            best = int(overlap.argmax()) if len(true) else -1
            if best < 0 or overlap[best] < param.overlap_threshold:
                rows.append([*row, 0, 1])
            elif true[best, 7] and not param.evaluate_difficult_gt:
                rows.append([*row, 0, 0])
            else:
                rows.append([*row, int(best not in claimed), int(best in claimed)])
                claimed.add(best)
        return rows


def _sizes(path):
    """What the name_size_file lists; nothing where none is named, or, with a warning, where it is not there."""
    if path and not os.path.exists(path):
        warn(f"name_size_file '{path}' does not exist: overlaps are measured in shares of the image, not in its pixels")
    return read_sizes(path) if os.path.exists(path) else []
