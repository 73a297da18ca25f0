"""YoloDetectionOutput (YOLO): the boxes that YOLOv2's maps tell of.

Bottoms: one or two maps (N, num_box (5 + num_classes), H, W), see grids.py; biases, a width and a height for each box
of a cell, are in cells of the map.  A box counts with its most likely class (softmax), and scores that class's
probability times the object's, if that is confidence_threshold or more.
Top: (1, 1, K, 7), rows (image, class, score, x1, y1, x2, y2), best first; classes count from 1, as where 0 is the
background, and of boxes that overlap by more than nms_threshold one stays, whatever their classes.
Source: "YOLO9000: Better, Faster, Stronger" (Redmon and Farhadi, 2017), 2.
"""

from demitasse.layers.grids import anchors_of, check_map, corners, found_rows, sigmoid, split
from demitasse.layers.layer import Layer
from demitasse.layers.onnx.grids import Cells, below, suppressed_rows
from demitasse.proto.errors import SchemaFault


class YoloDetectionOutput(Layer):
    type = "YoloDetectionOutput"
    bottoms = (1, 2)
    never_differentiable = (0, 1)
    shapes_from_data = True
    finds_boxes = True
    varying_axis = 2

    def setup(self, shapes):
        param = self.spec.yolo_detection_output_param
        self.anchors = anchors_of(param.biases, range(param.num_box))
        if param.coords != 4:
            raise SchemaFault(f"coords is {param.coords}: a box has 4 coordinates")
        return []

    def infer(self, shapes):
        param = self.spec.yolo_detection_output_param
        for i, shape in enumerate(shapes):
            check_map(shape, param.num_box, param.num_classes, i)
        return [(1, 1, sum(n * param.num_box * h * w for n, _, h, w in shapes), 7)]

    def forward(self, xs):
        threshold = self.spec.yolo_detection_output_param.nms_threshold
        return [found_rows(self.be, len(xs[0]), [self._found(x) for x in xs], threshold)]

    def backward(self, dys, need):
        return [None] * len(need)

    def to_onnx(self, graph, xs):
        param, images, found = self.spec.yolo_detection_output_param, graph.size(xs[0], 0), []
        for x in xs:
            cells = Cells(graph, x, param.num_box)
            likely = cells.entries(5, cells.each, "Softmax", axis=2)
            score = cells.entries(4, 5, "Sigmoid") * graph.maximum(likely, [2])
            label = graph.cast(graph.node("ArgMax", likely, axis=2, keepdims=1, dtype="int64"), "float32")
            boxes = graph.reshape(cells.corners(self.anchors), [images, -1, 4])
            found.append((*cells.rows(label, score), boxes))
        return [suppressed_rows(graph, images, found, param.nms_threshold, below(param.confidence_threshold))]

    def _found(self, x):
        """(image, class, score, corners) of a map's boxes that score enough."""
        xp, param = self.xp, self.spec.yolo_detection_output_param
        cells = split(x, param.num_box)
        boxes = corners(xp, cells, [(w / x.shape[3], h / x.shape[2]) for w, h in self.anchors])
        scores = xp.exp(cells[:, :, 5:] - cells[:, :, 5:].max(axis=2, keepdims=True))
        score = sigmoid(xp, cells[:, :, 4]) * scores.max(axis=2) / scores.sum(axis=2)
        at = xp.nonzero(score >= param.confidence_threshold)
        return at[0], scores.argmax(axis=2)[at], score[at], boxes[at]
