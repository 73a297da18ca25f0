"""Yolov3 (YOLO): YOLOv3's loss of one map.

Bottoms: the map (N, num (5 + num_class), H, W), see grids.py, and the objects, N items of rows (class, centre x, y,
width, height) in shares of the image, of which the first without a width ends an item; classes count from 0.
biases are widths and heights in pixels of the image, which has anchors_scale pixels per cell; mask says which are this
map's.  The object whose shape overlaps most with an anchor of this map is learned by that box of the cell its centre
lies in: its place and size, weighted coord_scale (2 - area), that it is an object, and its class.  All other boxes
learn that nothing is there, but for those that overlap with an object by more than thresh.
Top: the cross entropies of sigmoids and half the squared errors of sizes, over N; with use_logic_gradient half the
squared errors of all (the fork shows the sum of the squared gradients instead; its gradients are these).
Source: "YOLOv3: An Incremental Improvement" (Redmon and Farhadi, 2018), 2.
"""

from demitasse.layers.grids import (
    anchors_of,
    best_anchor,
    cell_of,
    check_map,
    check_objects,
    corners,
    far_from,
    objects_of,
    sigmoid,
    split,
)
from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import SchemaFault


class Yolov3(LossLayer):
    type = "Yolov3"

    def setup(self, shapes):
        param = self.spec.yolov3_param
        self.mask = list(param.mask) or list(range(param.num))
        if len(self.mask) != param.num:
            raise SchemaFault(f"mask holds {len(self.mask)} numbers: num, {param.num}, are needed")
        anchors_of(param.biases, self.mask)
        self.sizes = anchors_of(param.biases, range(len(param.biases) // 2))
        return []

    def infer(self, shapes):
        check_map(shapes[0], self.spec.yolov3_param.num, self.spec.yolov3_param.num_class)
        check_objects(shapes)
        return [()]

    def forward(self, xs):
        xp, param = self.xp, self.spec.yolov3_param
        cells = split(xs[0], param.num)
        weights, targets = self._targets(cells, xs[1])
        errors = sigmoid(xp, cells)
        slopes = errors * (1 - errors)
        errors[:, :, 2:4] = cells[:, :, 2:4]
        errors -= targets
        if param.use_logic_gradient:
            losses, grads = errors * errors / 2, errors * slopes
        else:
            losses, grads = xp.maximum(cells, 0) - targets * cells + xp.log1p(xp.exp(-xp.abs(cells))), errors.copy()
        losses[:, :, 2:4], grads[:, :, 2:4] = errors[:, :, 2:4] ** 2 / 2, errors[:, :, 2:4]
        if self.keep:
            self.saved = xs[0].shape, weights * grads / max(1, len(cells))
        return [self.be.asarray((weights * losses).sum() / max(1, len(cells)))]

    def backward(self, dys, need):
        shape, grads = self.saved
        return [(dys[0] * grads).reshape(shape) if need[0] else None, None]

    def _targets(self, cells, rows):
        """(weights, targets), each of the cells' shape: what each number should be, and how much that counts."""
        xp, param, (height, width) = self.xp, self.spec.yolov3_param, cells.shape[3:]
        image = width * param.anchors_scale, height * param.anchors_scale
        sizes = [(w / image[0], h / image[1]) for w, h in self.sizes]
        boxes = corners(xp, cells, [sizes[k] for k in self.mask])
        weights, targets = self.be.zeros(cells.shape), self.be.zeros(cells.shape)
        weights[:, :, 4] = param.noobject_scale if param.HasField("noobject_scale") else 1
        for n, objects in enumerate(objects_of(self.be.to_host(rows), len(cells), param.num_class)):
            weights[n, :, 4] *= far_from(self.be, boxes[n], objects, param.thresh)
            for label, x, y, w, h in objects:
                anchor = best_anchor(xp, (w, h), sizes)
                if anchor not in self.mask:
                    continue
                i, j = cell_of(x, y, height, width)
                at = n, self.mask.index(anchor), slice(None), i, j
                weight, target = weights[at], targets[at]
                weight[:4], weight[5:] = param.coord_scale * (2 - w * h), param.class_scale
                weight[4] = param.object_scale if param.use_logic_gradient else 1
                size = xp.log(xp.asarray([w / sizes[anchor][0], h / sizes[anchor][1]]))
                target[0], target[1], target[2:4] = x * width - j, y * height - i, size
                target[4], target[5 + label] = 1, 1
        return weights, targets
