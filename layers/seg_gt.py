"""SegGt (DES): a map of classes that boxes of objects make up, for a net to learn segmentation from boxes.

Bottoms: SSD's label (1, 1, M, 8), rows of (image, class, instance, x1, y1, x2, y2, difficult) in shares of the sides,
of image -1 where there is none, and (N, C, H, W), whose size the map takes.  Top: (N, 1, H, W), 0 outside boxes and the
class of the smallest box (of equal ones, the first) inside; with non_exclusive (N, num_class, H, W), 1 for each class
that has a box there and 1 for class 0 outside all.  Pixels of a box: from floor(x1 W) to floor(x2 W), without the last.

Source: "Single-Shot Object Detection with Enriched Semantics" (Zhang et al., 2018), 3.2; the fields of its nets.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault


class SegGt(Layer):
    type = "SegGt"
    fields = ("seggt_param",)
    bottoms = (2, 2)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.spec.seggt_param
        if param.non_exclusive and not param.num_class:
            raise SchemaFault("seggt_param: non_exclusive needs num_class, the background among them")
        self.planes = param.num_class if param.non_exclusive else 1
        return []

    def infer(self, shapes):
        labels, image = shapes
        if len(image) != 4 or not labels or labels[-1] != 8:
            raise ShapeFault(
                f"the bottoms have shapes {labels} and {image}: (1, 1, M, 8) and (N, C, H, W) are expected"
            )
        return [(image[0], self.planes, *image[2:])]

    def forward(self, xs):
        param, shape = self.spec.seggt_param, (len(xs[1]), self.planes, *xs[1].shape[2:])
        y = self.be.zeros(shape)
        if param.non_exclusive:
            y[:, 0] = 1
        for image, label, *box in self._objects(self.be.to_host(xs[0]), len(y)):
            x1, y1, x2, y2 = (int(share * side) for share, side in zip(box, (*shape[:1:-1],) * 2, strict=True))
            part = y[image, :, max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]
            if param.non_exclusive:
                part[0], part[label] = 0, 1
            else:
                part[:] = label
        return [y]

    def backward(self, dys, need):
        return [None, None]

    def _objects(self, rows, images):
        """(image, class, x1, y1, x2, y2) of what counts, the largest first, of equal ones the last first."""
        param, found = self.spec.seggt_param, []
        for image, label, _, *box, difficult in rows.reshape(-1, 8).tolist():
            if image < 0 or (difficult and not param.use_difficult_gt):
                continue
            if int(image) >= images or not 0 <= label or (param.non_exclusive and label >= param.num_class):
                classes = f"0 to {param.num_class - 1}" if param.non_exclusive else "0 and on"
                raise LabelFault(
                    f"an object of class {label:g} in image {image:g}: classes are {classes}, images 0 to {images - 1}"
                )
            if int(label) != param.background_label_id:
                found.append((int(image), int(label), *box))
        return sorted(found[::-1], key=lambda each: -(each[4] - each[2]) * (each[5] - each[3]))
