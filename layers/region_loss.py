"""RegionLoss (YOLO): YOLOv2's loss.

Bottoms: the map (N, num (5 + num_class), H, W), see grids.py, and the objects, N items of rows (class, centre x, y,
width, height) in shares of the image, of which the first without a width ends an item; classes count from 0.
biases are the widths and heights of a cell's boxes, in cells.  An object is learned by one box of the cell its centre
lies in: that whose anchor (bias_match: 1) or prediction (0) has the shape that overlaps most.  It learns its place and
size, weighted coord_scale, its overlap with the object (rescore: 1; else 1, and coord_scale counts 2 - area times), and
its class.  All other boxes learn that nothing is there, but for those that overlap with an object by more than thresh;
for the first 12800 images of a training they learn their anchors too, weighted 0.01.
Top: half the squared errors of sigmoids and sizes and the cross entropy of classes, over N (the fork shows the sum of
the squared gradients instead; its gradients are these).
Source: "YOLO9000: Better, Faster, Stronger" (Redmon and Farhadi, 2017), 2.
"""

from demitasse.layers.boxes import iou
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

WARM_UP = 12800  # images


class RegionLoss(LossLayer):
    type = "RegionLoss"

    def setup(self, shapes):
        param = self.spec.region_loss_param
        self.anchors = anchors_of(param.biases, range(param.num))
        self.seen = 0
        if param.coords != 4:
            raise SchemaFault(f"coords is {param.coords}: a box has 4 coordinates")
        for field in ("softmax_tree", "class_map"):
            if getattr(param, field):
                raise SchemaFault(f"{field}: YOLO9000's tree of words is not known; leave it out")
        if not param.softmax:
            raise SchemaFault("softmax: 0 is not known: classes are learned by their cross entropy; leave it out")
        return []

    def infer(self, shapes):
        check_map(shapes[0], self.spec.region_loss_param.num, self.spec.region_loss_param.num_class)
        check_objects(shapes)
        return [()]

    def forward(self, xs):
        xp, param = self.xp, self.spec.region_loss_param
        cells = split(xs[0], param.num)
        weights, targets = self._targets(cells, xs[1])
        if self.train:
            self.seen += len(cells)
        errors = sigmoid(xp, cells)
        slopes = errors * (1 - errors)
        errors[:, :, 2:4], slopes[:, :, 2:4] = cells[:, :, 2:4], 1
        errors -= targets
        losses, grads = errors * errors / 2, errors * slopes
        shifted = cells[:, :, 5:] - cells[:, :, 5:].max(axis=2, keepdims=True)
        total = xp.log(xp.exp(shifted).sum(axis=2, keepdims=True))
        losses[:, :, 5:], grads[:, :, 5:] = (
            (total - shifted) * targets[:, :, 5:],
            xp.exp(shifted - total) - targets[:, :, 5:],
        )
        count = max(1, len(cells))
        if self.keep:
            self.saved = xs[0].shape, weights * grads / count
        return [self.be.asarray((weights * losses).sum() / count)]

    def backward(self, dys, need):
        shape, grads = self.saved
        return [(dys[0] * grads).reshape(shape) if need[0] else None, None]

    def state(self):
        return {"seen": self.seen}

    def load_state(self, state):
        self.seen = state["seen"]

    def _targets(self, cells, rows):
        """(weights, targets), each of the cells' shape: what each number should be, and how much that counts."""
        xp, param, (height, width) = self.xp, self.spec.region_loss_param, cells.shape[3:]
        sizes = [(w / width, h / height) for w, h in self.anchors]
        boxes = corners(xp, cells, sizes)
        weights, targets = self.be.zeros(cells.shape), self.be.zeros(cells.shape)
        weights[:, :, 4] = param.noobject_scale
        if self.seen < WARM_UP:
            weights[:, :, :4], targets[:, :, :2] = 0.01, 0.5
        for n, objects in enumerate(objects_of(self.be.to_host(rows), len(cells), param.num_class)):
            weights[n, :, 4] *= far_from(self.be, boxes[n], objects, param.thresh)
            for label, x, y, w, h in objects:
                i, j = cell_of(x, y, height, width)
                own = boxes[n, :, i, j]
                shapes = sizes if param.bias_match else self.be.to_host(own[:, 2:] - own[:, :2]).tolist()
                box = best_anchor(xp, (w, h), shapes)
                weight, target = weights[n, box, :, i, j], targets[n, box, :, i, j]
                weight[:4] = param.coord_scale * (1 if param.rescore else 2 - w * h)
                weight[4], weight[5:] = param.object_scale, param.class_scale
                size = xp.log(xp.asarray([w / sizes[box][0], h / sizes[box][1]]))
                target[0], target[1], target[2:4] = x * width - j, y * height - i, size
                place = self.be.asarray([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]])
                target[4] = iou(xp, own[box : box + 1], place)[0, 0] if param.rescore else 1
                target[5:] = 0
                target[5 + label] = 1
        return weights, targets
