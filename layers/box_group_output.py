"""BoxGroupOutput (Cascade R-CNN): BoxOutput of maps that hold several boxes at each pixel.

Bottoms, in pairs: probabilities (N G, classes, h, w), the background's first, and boxes (N G, 4, h, w) as
field_boxes.py says, where image n's G maps follow each other; for each pair a `box_group_param { field_w field_h
stride }` with G fields.  A box's score is 1 less the background's probability.  What counts, and the tops, are
BoxOutput's; corners name the first and the last pixel.

Source: "Cascade R-CNN: Delving into high quality object detection" (Cai and Vasconcelos, 2018); its prototxts.
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
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault


class BoxGroupOutput(Layer):
    type = "BoxGroupOutput"
    fields = ("box_group_output_param", "bbox_reg_param")
    bottoms, tops = (2, None), (1, 2)
    never_differentiable = tuple(range(64))
    shapes_from_data = True

    def setup(self, shapes):
        param = self.param = self.spec.box_group_output_param
        check_limits(param)
        self.regression = normalisation(self.spec.bbox_reg_param)
        if len(shapes) % 2 or len(shapes) // 2 != len(param.box_group_param):
            raise GraphFault(
                f"{len(shapes)} bottoms and {len(param.box_group_param)} box_group_param: probabilities and boxes come "
                "in pairs, each with a box_group_param"
            )
        for group in param.box_group_param:
            if not group.field_w or len(group.field_w) != len(group.field_h) or group.stride < 1:
                raise SchemaFault("box_group_param: give as many field_w as field_h, one or more, and a stride above 0")
        return []

    def infer(self, shapes):
        images = shapes[0][0] // len(self.param.box_group_param[0].field_w) if shapes[0] else 0
        for i, shape in enumerate(shapes):
            maps = images * len(self.param.box_group_param[i // 2].field_w)
            fits = len(shape) == 4 and shape[0] == maps and (shape[1] == 4 if i % 2 else shape[1] >= 2)
            if not fits or (i % 2 and shape[2:] != shapes[i - 1][2:]):
                raise ShapeFault(
                    f"bottom {i} has shape {shape}: ({maps}, {'4' if i % 2 else 'classes'}, h, w) is needed, maps of "
                    f"{images} images"
                )
        pixels = sum(shape[0] * math.prod(shape[2:]) for shape in shapes[::2])
        return most_rows(self.param, images, pixels // max(1, images), len(self.spec.top))

    def forward(self, xs):
        xp, param = self.xp, self.param
        images = len(xs[0]) // len(param.box_group_param[0].field_w)
        groups = zip(param.box_group_param, xs[::2], xs[1::2], strict=True)
        found = [self._of_group(images, *group) for group in groups]
        corners, scores = (xp.concatenate([each[i] for each in found], axis=1) for i in (0, 1))  # (N, P, 4), (N, P)
        chosen = []
        for boxes, score in zip(corners, scores, strict=True):
            sides = boxes[:, 2:] - boxes[:, :2] + 1
            counts = (score >= param.fg_thr) & (sides >= param.min_size).all(1)
            chosen.append(best(self.be, boxes[counts], score[counts], param, 1.0))
        return as_tops(self.be, chosen, len(self.spec.top))

    def backward(self, dys, need):
        return [None] * len(need)

    def _of_group(self, images, group, probabilities, boxes):
        """(corners (N, P, 4), scores (N, P)) of the boxes of a pair of bottoms."""
        xp, count, (height, width) = self.xp, len(group.field_w), boxes.shape[2:]
        deltas = denormalised(xp, boxes, self.regression, 1).reshape(images, count, 4, height, width)
        limits = self.param.field_xyr, self.param.field_whr
        corners = []
        for k, field in enumerate(zip(group.field_w, group.field_h, strict=True)):
            x, y, wide, high = decode_fields(xp, deltas[:, k], field, group.stride, limits)
            left, top = x - wide / 2, y - high / 2
            each = xp.stack([left, top, left + wide - 1, top + high - 1], axis=-1)
            most = xp.asarray([width * group.stride - 1, height * group.stride - 1] * 2, each.dtype)
            corners.append(xp.clip(each, 0, most))
        corners = xp.stack(corners, axis=1).reshape(images, count * height * width, 4)
        return corners, (1 - probabilities[:, 0]).reshape(corners.shape[:2])
