"""Yolov3DetectionOutput (YOLO): the boxes that YOLOv3's maps, coarse to fine, tell of.

Bottoms: mask_group_num maps (N, num_box (5 + num_classes), H, W), see grids.py.  biases are widths and heights in
pixels of the image, which has anchors_scale pixels per cell of each map; mask says which of them are each map's.
Each class of a box scores its sigmoid times the object's, and counts if that is above confidence_threshold.
Top: (1, 1, K, 7), rows (image, class, score, x1, y1, x2, y2), best first; classes count from 1, as where 0 is the
background, and of boxes that overlap by more than nms_threshold one stays, whatever their classes.
Source: "YOLOv3: An Incremental Improvement" (Redmon and Farhadi, 2018), 2.
"""

from demitasse.layers.grids import anchors_of, check_map, corners, found_rows, sigmoid, split
from demitasse.layers.layer import Layer
from demitasse.layers.onnx.grids import Cells, suppressed_rows
from demitasse.proto.errors import GraphFault, SchemaFault


class Yolov3DetectionOutput(Layer):
    type = "Yolov3DetectionOutput"
    bottoms = (1, None)
    shapes_from_data = True
    finds_boxes = True
    varying_axis = 2

    def setup(self, shapes):
        param, maps = self.spec.yolov3_detection_output_param, len(shapes)
        self.never_differentiable = tuple(range(maps))
        if maps != param.mask_group_num:
            raise GraphFault(f"mask_group_num is {param.mask_group_num}, but there are {maps} maps (bottoms)")
        if len(param.anchors_scale) < maps:
            raise SchemaFault(f"anchors_scale is given {len(param.anchors_scale)} times for {maps} maps")
        mask = list(param.mask) or list(range(maps * param.num_box))
        if len(mask) != maps * param.num_box:
            raise SchemaFault(f"mask holds {len(mask)} numbers: num_box, {param.num_box}, for each of {maps} maps")
        groups = [mask[i : i + param.num_box] for i in range(0, len(mask), param.num_box)]
        self.anchors = [anchors_of(param.biases, group) for group in groups]
        return []

    def infer(self, shapes):
        param = self.spec.yolov3_detection_output_param
        for i, shape in enumerate(shapes):
            check_map(shape, param.num_box, param.num_classes, i)
        return [(1, 1, sum(n * param.num_box * h * w for n, _, h, w in shapes) * param.num_classes, 7)]

    def forward(self, xs):
        param = self.spec.yolov3_detection_output_param
        found = [self._found(*each) for each in zip(xs, self.anchors, param.anchors_scale, strict=False)]
        return [found_rows(self.be, len(xs[0]), found, param.nms_threshold)]

    def backward(self, dys, need):
        return [None] * len(need)

    def to_onnx(self, graph, xs):
        param, images, found = self.spec.yolov3_detection_output_param, graph.size(xs[0], 0), []
        numbers = graph.constant([[[i]] for i in range(param.num_classes)])
        for x, anchors, pixels in zip(xs, self.anchors, param.anchors_scale, strict=False):
            cells = Cells(graph, x, param.num_box)
            score = cells.entries(5, cells.each, "Sigmoid") * cells.entries(4, 5, "Sigmoid")
            label = score * 0.0 + numbers
            boxes = cells.corners(anchors, pixels) + graph.node("Unsqueeze", score * 0.0, graph.constant([-1], "int64"))
            found.append((*cells.rows(label, score), graph.reshape(boxes, [images, -1, 4])))
        return [suppressed_rows(graph, images, found, param.nms_threshold, param.confidence_threshold)]

    def _found(self, x, anchors, pixels):
        """(image, class, score, corners) of a map's boxes and classes that score enough."""
        xp, param = self.xp, self.spec.yolov3_detection_output_param
        cells = split(x, param.num_box)
        boxes = corners(xp, cells, [(w / x.shape[3] / pixels, h / x.shape[2] / pixels) for w, h in anchors])
        scores = sigmoid(xp, cells[:, :, 5:]) * sigmoid(xp, cells[:, :, 4:5])
        at = xp.nonzero(scores > param.confidence_threshold)
        image, box, label, row, column = at
        return image, label, scores[at], boxes[image, box, row, column]
