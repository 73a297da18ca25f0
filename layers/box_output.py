"""BoxOutput (MS-CNN): the boxes that several maps hold most likely to hold something.

Bottoms: maps (N, classes + 4, h, w), at each pixel scores, those of the background first, and a box as field_boxes.py
says; for each map a field_w, field_h and downsample_rate.  A box's score is that of its best class less that of the
background; those of fg_thr or more and with sides of min_size or more pixels are cut at the image's border, and go
through non-maximum suppression, the max_nms_num best of them.  Tops: rois (R, 5, 1, 1), a row (image, x1, y1, x2, y2);
and, if named, with their scores (R, 6, 1, 1).  Nothing gets a gradient.  How many there are is known in forward only.

Source: "A unified multi-scale deep convolutional neural network for fast object detection" (Cai et al., 2016), 3.
"""

import math

from demitasse.layers.field_boxes import (
    as_tops,
    best,
    check_limits,
    decode_fields,
    denormalised,
    most_rows,
    normalisation,
)
from demitasse.layers.layer import Layer
from demitasse.layers.onnx.boxes import at, column, columns, corners, nms
from demitasse.layers.onnx.boxes import best as first
from demitasse.layers.onnx.graph import FLOAT, INT
from demitasse.layers.onnx.windows import LOWEST
from demitasse.proto.errors import SchemaFault, ShapeFault


class BoxOutput(Layer):
    type = "BoxOutput"
    fields = ("box_output_param", "bbox_reg_param")
    bottoms, tops = (1, None), (1, 2)
    never_differentiable = tuple(range(64))
    shapes_from_data = True

    def setup(self, shapes):
        param = self.param = self.spec.box_output_param
        check_limits(param)
        self.regression = normalisation(self.spec.bbox_reg_param)
        given = [len(param.field_w), len(param.field_h), len(param.downsample_rate)]
        if given != [len(shapes)] * 3 or min([*param.field_w, *param.field_h, *param.downsample_rate]) < 1:
            raise SchemaFault(f"{len(shapes)} bottoms: give as many field_w, field_h and downsample_rate, above 0")
        return []

    def infer(self, shapes):
        for i, shape in enumerate(shapes):
            if len(shape) != 4 or shape[1] < 6 or shape[:2] != shapes[0][:2]:
                raise ShapeFault(
                    f"bottom {i} has shape {shape}, bottom 0 {shapes[0]}: (N, classes + 4, h, w) is needed, with two "
                    "classes or more, the background among them"
                )
        pixels = sum(math.prod(shape[2:]) for shape in shapes)
        return most_rows(self.param, shapes[0][0], pixels, len(self.spec.top))

    def forward(self, xs):
        xp, param = self.xp, self.param
        found = [self._of_map(x, i) for i, x in enumerate(xs)]
        corners, scores = (xp.concatenate([each[i] for each in found], axis=1) for i in (0, 1))  # (N, P, 4), (N, P)
        images = []
        for boxes, score in zip(corners, scores, strict=True):
            sides = boxes[:, 2:] - boxes[:, :2]
            counts = (score >= param.fg_thr) & (sides >= param.min_size).all(1)
            images.append(best(self.be, boxes[counts], score[counts], param, 0.0))
        return as_tops(self.be, images, len(self.spec.top))

    def backward(self, dys, need):
        return [None] * len(need)

    def to_onnx(self, graph, xs):
        param, images = self.param, graph.size(xs[0], 0)
        found = [self._of_map_in(graph, x, i) for i, x in enumerate(xs)]
        boxes, score = (graph.concat([each[i] for each in found], 1) for i in (0, 1))
        sides = columns(graph, boxes, 2, 4) - columns(graph, boxes, 0, 2)
        large = graph.node("ReduceMin", sides, axes=[-1], keepdims=0) >= float(param.min_size)
        score = graph.where(large & (score >= param.fg_thr), score, LOWEST)
        if param.max_nms_num:
            score, order = first(graph, score, graph.smaller(graph.size(score, 1), param.max_nms_num), axis=1)
            order = graph.node("Unsqueeze", order, graph.constant([-1], INT))
            boxes = graph.node("GatherND", boxes, order, batch_dims=1)
        index = nms(graph, boxes, graph.reshape(score, [images, 1, -1]), param.iou_thr, param.max_post_nms_num or None)
        position = column(graph, index, 0), column(graph, index, 2)
        number = graph.reshape(graph.cast(position[0], FLOAT), [-1, 1])
        best_scores = graph.reshape(at(graph, score, *position), [-1, 1])
        rows = graph.concat([number, at(graph, boxes, *position), best_scores], 1)
        none = graph.where(graph.size(rows, 0).equals(0), graph.constant([1], INT), graph.constant([0], INT))
        tops = []
        for width, instead in ((5, [[0, 1, 1, 10, 10]]), (6, [[0.0] * 6])):
            spare = graph.slice(graph.constant(instead), [0], [none], [0])
            top = graph.concat([columns(graph, rows, 0, width), spare], 0)
            tops.append(graph.reshape(top, [-1, width, 1, 1]))
        return tops[: len(self.spec.top)]

    def _of_map_in(self, graph, x, i):
        """`_of_map` in a graph."""
        param, classes = self.param, x.shape[1] - 4
        images, _, *size = graph.sizes(x)
        scores = graph.slice(x, [1], [classes], [1])
        scores = graph.maximum(scores, [1], keep=False) - graph.gather(x, graph.constant(0, INT), 1)
        mean, deviation = self.regression
        begins, ends = [], []
        for axis, (field, n) in enumerate(((param.field_w[i], size[1]), (param.field_h[i], size[0]))):
            move, grow = (
                graph.gather(x, graph.constant(classes + j, INT), 1) * deviation[j] + mean[j] for j in (axis, axis + 2)
            )
            near, ratio, stride = 1 / param.field_xyr, math.log(param.field_whr), float(param.downsample_rate[i])
            position = graph.reshape(graph.cast(graph.arange(n), FLOAT), [1, -1] if axis == 0 else [-1, 1])
            middle = graph.clip(move, -near, near) * float(field) + (position + 0.5) * stride
            length = graph.node("Exp", graph.clip(grow, -ratio, ratio)) * float(field)
            begin = graph.clip(middle - length * 0.5, 0.0)
            begins.append(begin)
            ends.append(graph.node("Min", begin + length, graph.scalar(graph.as_float(n) * stride)))
        boxes = corners(graph, *begins, *ends)
        return graph.reshape(boxes, [images, -1, 4]), graph.reshape(scores, [images, -1])

    def _of_map(self, x, i):
        """(corners (N, P, 4), scores (N, P)) of the boxes of map i."""
        xp, param, classes = self.xp, self.param, x.shape[1] - 4
        field, stride = (param.field_w[i], param.field_h[i]), param.downsample_rate[i]
        deltas = denormalised(xp, x[:, classes:], self.regression, 1)
        across, down, width, height = decode_fields(xp, deltas, field, stride, (param.field_xyr, param.field_whr))
        left, top = xp.maximum(across - width / 2, 0), xp.maximum(down - height / 2, 0)
        right = xp.minimum(left + width, x.shape[3] * stride)
        bottom = xp.minimum(top + height, x.shape[2] * stride)
        corners = xp.stack([left, top, right, bottom], axis=-1).reshape(len(x), -1 if x.size else 0, 4)
        scores = x[:, 1:classes].max(1) - x[:, 0]
        return corners, scores.reshape(corners.shape[:2])
