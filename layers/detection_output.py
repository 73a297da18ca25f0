"""DetectionOutput (SSD, RefineDet): the boxes found in an image, from what a net predicts for each of its prior boxes.

Bottoms: locations (N, P L 4) relative to P priors, one box each (L = 1) or with share_location: false one per class;
scores (N, P classes); priors (1, 2, 4 P).  A fourth bottom, the images to draw on, is not read.
A fourth and a fifth are RefineDet's first stage, the scores (N, 2 P) and locations (N, 4 P) that its priors are refined
by: a prior whose object score there is below objectness_score finds nothing.
Top: (1, 1, K, 7): a row (image, class, score, x1, y1, x2, y2) for each of the K boxes, corners as shares of the image;
by image, then class, best score first.  Nothing found: a row for each image, -1 but for its number.
With use_polygon (TextBoxes++) locations are 12 numbers for each prior, four of a box and where the corners of a polygon
lie relative to those of the prior, in units of its size, and rows go on with these corners, x and y each: K x 15.

For each class but background_label_id, the boxes that score above confidence_threshold (the best top_k of them) go
through non-maximum suppression, and of all that is left in an image the best keep_top_k stay.
save_output_param writes them to files too (data/detections.py).
Source: "SSD: Single Shot MultiBox Detector" (Liu et al., 2016), 2.2 and 3; RefineDet (Zhang et al., 2018), 3;
"TextBoxes++" (Liao et al., 2018), 3.2.
"""

import math

from demitasse.layers.boxes import nms
from demitasse.layers.data.detections import make_writer
from demitasse.layers.layer import Layer
from demitasse.layers.onnx import boxes as onnx
from demitasse.layers.priors import check_predictions, decode, onnx_decode, split
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault


class DetectionOutput(Layer):
    type = "DetectionOutput"
    bottoms = (3, 5)
    never_differentiable = (0, 1, 2, 3, 4)
    shapes_from_data = True
    finds_boxes = True
    varying_axis = 2

    def setup(self, shapes):
        param = self.spec.detection_output_param
        self.polygon = 8 if param.use_polygon else 0  # numbers of a prior, and columns, beside those of its box
        if self.polygon and (not param.share_location or param.variance_encoded_in_target or len(shapes) == 5):
            raise SchemaFault("use_polygon goes with share_location: true, variances and without a first stage only")
        self.count, self.per_prior = check_predictions(self._of_boxes(shapes), param, self.type)
        self.top_k = param.nms_param.top_k if param.nms_param.HasField("top_k") else -1
        self.threshold = param.confidence_threshold if param.HasField("confidence_threshold") else float("-inf")
        self.classes = [c for c in range(param.num_classes) if c != param.background_label_id]
        self.writer = make_writer(param.save_output_param)
        if len(shapes) == 5 and not param.share_location:
            raise GraphFault("a first stage (bottoms 3 and 4) refines one box per prior: share_location must be true")
        return []

    def infer(self, shapes):
        param = self.spec.detection_output_param
        count, _ = check_predictions(self._of_boxes(shapes), param, self.type)
        for i, each in ((3, 2), (4, 4)) if len(shapes) == 5 else ():
            if shapes[i][0] != shapes[0][0] or shapes[i][1:2] != (count * each,):
                raise ShapeFault(f"bottom {i} has shape {shapes[i]}: ({shapes[0][0]}, {count * each}) is expected")
        each = min(count, self.top_k) if self.top_k >= 0 else count
        most = each * len(self.classes)
        return [
            (1, 1, shapes[0][0] * (min(most, param.keep_top_k) if param.keep_top_k >= 0 else most), 7 + self.polygon)
        ]

    def _of_boxes(self, shapes):
        """The bottoms' shapes without the polygons' numbers."""
        if not self.polygon:
            return shapes
        images, *rest = shapes[0] or (0,)
        if math.prod(rest) % 12:
            raise ShapeFault(f"bottom 0 has shape {shapes[0]}: use_polygon asks for 12 locations for each prior")
        return [(images, math.prod(rest) // 3), *shapes[1:]]

    def forward(self, xs):
        found = [self._of_image(i, *each) for i, each in enumerate(zip(*self._predictions(xs), strict=True))]
        rows = self.be.concatenate(found, axis=0) if found else self.be.empty((0, 7 + self.polygon))
        if self.writer:
            self.writer.add(self.be.to_host(rows[:, :7]), len(found))
        if not len(rows):
            rows = self.be.zeros((len(found), 7 + self.polygon)) - 1
            rows[:, 0] = self.xp.arange(len(found))
        return [rows[None, None]]

    def backward(self, dys, need):
        return [None] * len(need)

    def to_onnx(self, graph, xs):
        param, sizes = self.spec.detection_output_param, graph.sizes(xs[0])
        if self.polygon:
            raise SchemaFault(
                "use_polygon has no translation to ONNX: leave it out for boxes, with a third of locations"
            )
        if param.nms_param.eta < 1:
            raise SchemaFault(
                f"nms_param.eta is {param.nms_param.eta:g}, which lowers the threshold at each box that is kept: "
                "ONNX's NonMaxSuppression has one threshold, write eta: 1"
            )
        images, count, labels = sizes[0], graph.size(xs[2], 2) // 4, graph.constant(self.classes)
        boxes, scores = self._onnx_predictions(graph, xs, images, count)
        if self.per_prior > 1:  # as many groups of boxes as classes
            boxes = graph.gather(boxes, graph.cast(labels, "int64"), 2)
            boxes = graph.transpose(boxes, [0, 2, 1, 3])
        boxes = graph.reshape(boxes, [-1, count, 4])
        if 0 <= self.top_k and not (isinstance(count, int) and count <= self.top_k):
            values, order = onnx.best(graph, scores, graph.smaller(count, self.top_k), axis=2)
            lowest = graph.filled([images, len(self.classes), count], onnx.LOWEST)
            scores = graph.node("ScatterElements", lowest, order, values, axis=2)
        if self.per_prior > 1:
            scores = graph.reshape(scores, [-1, 1, count])
        index = onnx.nms(graph, boxes, scores, param.nms_param.nms_threshold, above=self.threshold)
        group, inner, place = (onnx.column(graph, index, i) for i in range(3))
        label = group % len(self.classes) if self.per_prior > 1 else inner
        image = group // len(self.classes) if self.per_prior > 1 else group
        found = [image, graph.gather(labels, label, 0), onnx.at(graph, scores, group, inner, place)]
        found.append(onnx.at(graph, boxes, group, place))
        if param.keep_top_k >= 0:
            kept = onnx.best_of_images(graph, images, image, found[2], param.keep_top_k)
            found = [graph.gather(each, kept, 0) for each in found]
        return [onnx.found_rows(graph, images, *found)]

    def _onnx_predictions(self, graph, xs, images, count):
        """Boxes (N, P, L, 4) and the scores (N, classes, P) of all classes but the background."""
        param = self.spec.detection_output_param
        halves = graph.reshape(xs[2], [2, 1, -1, 1, 4])
        prior, variances = (graph.gather(halves, graph.constant(i, "int64"), 0) for i in (0, 1))
        scores = graph.reshape(xs[1], [images, count, param.num_classes])
        if len(xs) == 5:
            objects = graph.gather(graph.reshape(xs[3], [images, count, 2]), graph.constant([1], "int64"), 2)
            scores = graph.where(objects >= param.objectness_score, scores, 0.0)
            deltas = graph.reshape(xs[4], [images, count, 1, 4])
            prior = onnx_decode(graph, param.code_type, prior, variances, deltas)
        deltas = graph.reshape(xs[0], [images, count, self.per_prior, 4])
        variances = None if param.variance_encoded_in_target else variances
        scores = graph.gather(scores, graph.constant(self.classes, "int64"), 2)
        return onnx_decode(graph, param.code_type, prior, variances, deltas), graph.transpose(scores, [0, 2, 1])

    def _predictions(self, xs):
        """Boxes (N, P, L, 4), or with polygons (N, P, 1, 12), and scores (N, P, classes)."""
        xp, param = self.xp, self.spec.detection_output_param
        prior, variances = split(xp, xs[2])
        scores = xs[1].reshape(len(xs[1]), prior.shape[0], param.num_classes)
        if len(xs) == 5:
            objects = xs[3].reshape(*scores.shape[:2], 2)[..., 1:] >= param.objectness_score
            scores = xp.where(objects, scores, 0)
            prior = decode(xp, param.code_type, prior, variances, xs[4].reshape(len(xs[4]), prior.shape[0], 4))[
                :, :, None
            ]
        else:
            prior = prior[:, None]
        variances = 1 if param.variance_encoded_in_target else variances[:, None]
        shape = (len(xs[0]), scores.shape[1], self.per_prior, 4 + self.polygon)
        deltas = xs[0].reshape(shape)
        boxes = decode(xp, param.code_type, prior, variances, deltas[..., :4])
        if not self.polygon:
            return boxes, scores
        corners, sizes = prior[..., [0, 1, 2, 1, 2, 3, 0, 3]], (prior[..., 2:] - prior[..., :2]) * variances[..., :2]
        return xp.concatenate([boxes, corners + deltas[..., 4:] * xp.tile(sizes, 4)], axis=-1), scores

    def _of_image(self, image, boxes, scores):
        """The rows for one image, from its boxes (P, L, 4 or 12) and scores (P, classes)."""
        xp, param, rows = self.xp, self.spec.detection_output_param, []
        above = scores > self.threshold
        some = self.be.to_host(above.any(axis=0))
        for label in self.classes:
            if not some[label]:
                continue
            (chosen,) = xp.nonzero(above[:, label])
            if 0 <= self.top_k < len(chosen):
                chosen = chosen[xp.argsort(-scores[chosen, label], kind="stable")[: self.top_k]]
            score, box = scores[chosen, label], boxes[chosen, label if self.per_prior > 1 else 0]
            kept = nms(self.be, box[:, :4], score, param.nms_param.nms_threshold, eta=param.nms_param.eta)
            row = self.be.empty((len(kept), 7 + self.polygon))
            row[:, 0], row[:, 1], row[:, 2], row[:, 3:] = image, label, score[kept], box[kept]
            rows.append(row)
        if not rows:
            return self.be.empty((0, 7 + self.polygon))
        found = xp.concatenate(rows)
        if 0 <= param.keep_top_k < len(found):
            found = found[xp.sort(xp.argsort(-found[:, 2], kind="stable")[: param.keep_top_k])]
        return found
