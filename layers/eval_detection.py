"""EvalDetection (caffe-yolo): which of the boxes that YOLO finds are right; a metric.

Bottoms: with `biases` YOLOv2's map (N, B (5 + C), S, S) and rows of objects, as RegionLoss takes them; without them
predictions and labels as YoloLoss takes them; and maybe the images, which are not read.  Top (N, C + 4 B S S): how many
objects there are of each class, then a row (class, score, right, wrong) for each box found, by class and score, then
zeros.
A box is right if it overlaps by `threshold` or more with an object of its class that no better box has found.
Scores: whether there is an object (OBJ), the class's probability (PROB) or their product (MULTIPLY).  With nms of 0 or
more, boxes that overlap by more with a better one, whatever its class, go; and with biases those below 0.005.
Here a box that overlaps with nothing is wrong; a fork counts it as neither where an image has objects of its class.

Source: "You Only Look Once" (Redmon et al., 2016); the fields of caffe-yolo's nets.
"""

import math

from demitasse.layers.boxes import iou, nms
from demitasse.layers.first_grids import check_grids, first_boxes, first_labels, parts
from demitasse.layers.grids import anchors_of, check_map, check_objects, corners, objects_of, sigmoid, split
from demitasse.layers.layer import Layer

LEAST = 0.005  # the score that YOLOv2's boxes have to have


class EvalDetection(Layer):
    type = "EvalDetection"
    bottoms = (2, 3)
    never_differentiable = (0, 1, 2)

    def infer(self, shapes):
        param = self.spec.eval_detection_param
        if param.biases:
            anchors_of(param.biases, range(param.num_object))
            check_map(shapes[0], param.num_object, param.num_class)
            check_objects(shapes)
            cells = shapes[0][2] * shapes[0][3]
        else:
            check_grids(shapes, param.side, param.num_class, param.num_object)
            cells = param.side * param.side
        return [(shapes[0][0], param.num_class + 4 * param.num_object * cells)]

    def forward(self, xs):
        be, param, shape = self.be, self.spec.eval_detection_param, self.infer([x.shape for x in xs])[0]
        labels, scores, boxes = self._found(xs[0])
        rows = []
        for n, objects in enumerate(self._objects(xs)):
            row = [float(sum(label == c for label, _ in objects)) for c in range(param.num_class)]
            for c, score, right in self._judged(labels[n], scores[n], boxes[n], objects):
                row += [float(c), score, float(right), float(not right)]
            rows.append(row + [0.0] * (shape[1] - len(row)))
        return [be.asarray(rows, xs[0].dtype).reshape(shape) if rows else be.empty(shape)]

    def backward(self, dys, need):
        return [None] * len(self.spec.bottom)

    def _found(self, x):
        """(classes (N, M), scores (N, M), corners (N, M, 4)) of all boxes."""
        xp, param, n = self.xp, self.spec.eval_detection_param, len(x)
        if param.biases:
            cells = split(x, param.num_object)
            height, width = x.shape[2:]
            sizes = [(w / width, h / height) for w, h in anchors_of(param.biases, range(param.num_object))]
            boxes, objects = corners(xp, cells, sizes), sigmoid(xp, cells[:, :, 4])
            chances = self.be.softmax_forward(cells[:, :, 5:], 2)
            labels, chances = chances.argmax(2), chances.max(2)
        else:
            classes, objects, places = parts(x, param)
            places = first_boxes(xp, places, param)
            boxes = xp.concatenate(
                [places[:, :, :2] - places[:, :, 2:] / 2, places[:, :, :2] + places[:, :, 2:] / 2], 2
            )
            boxes = boxes.transpose(0, 1, 3, 2)
            labels, chances = (
                classes.argmax(1)[:, None] + 0 * objects.astype(int),
                classes.max(1)[:, None] + 0 * objects,
            )
        scores = {param.OBJ: objects, param.PROB: chances, param.MULTIPLY: objects * chances}[param.score_type]
        count = math.prod(scores.shape[1:])
        return labels.reshape(n, count), scores.reshape(n, count), boxes.reshape(n, count, 4)

    def _objects(self, xs):
        """The objects of each image: (class, corners)."""
        param = self.spec.eval_detection_param
        if param.biases:
            found = objects_of(self.be.to_host(xs[1]), len(xs[1]), param.num_class)
        else:
            has, label, true = (self.be.to_host(each) for each in first_labels(self.be, xs[1], param))
            found = [
                [(int(label[n, i]), *true[n, :, i].tolist()) for i in has[n].nonzero()[0]] for n in range(len(has))
            ]
        return [[(c, [x - w / 2, y - h / 2, x + w / 2, y + h / 2]) for c, x, y, w, h in own] for own in found]

    def _judged(self, labels, scores, boxes, objects):
        """(class, score, whether it is right) of the boxes found in an image, by class and falling score."""
        be, xp, param = self.be, self.xp, self.spec.eval_detection_param
        kept = nms(be, boxes, scores, param.nms) if param.nms >= 0 else xp.argsort(-scores, kind="stable")
        if param.biases and param.nms >= 0:
            kept = kept[scores[kept] >= LEAST]
        kept = kept[xp.argsort(labels[kept], kind="stable")]
        taken, judged = set(), []
        overlaps = be.to_host(iou(xp, boxes[kept], be.asarray([box for _, box in objects]))) if objects else None
        for i, (c, score) in enumerate(zip(labels[kept].tolist(), scores[kept].tolist(), strict=True)):
            own = [k for k, (label, _) in enumerate(objects) if label == c]
            best = max(own, key=lambda k: overlaps[i, k], default=None)
            right = best is not None and overlaps[i, best] >= param.threshold and best not in taken
            taken |= {best} if right else set()
            judged.append((c, score, right))
        return judged
