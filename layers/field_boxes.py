"""Boxes as MS-CNN writes them: at each pixel of a map one box, relative to a field of fixed size around it.

(dx, dy, dw, dh): the way from the pixel's middle to the box's in units of the field's size, and the logarithms of the
ratios of the sizes.  `bbox_reg_param` gives what they were normalised by.  Source: "A unified multi-scale deep
convolutional neural network for fast object detection" (Cai et al., 2016), 3.
"""

from __future__ import annotations

import math

from demitasse.proto.errors import SchemaFault


def normalisation(param) -> tuple[list[float], list[float]]:
    """(means, deviations) of the four numbers, as a bbox_reg_param gives them; SchemaFault where it makes no sense."""
    if not param.bbox_mean and not param.bbox_std:
        return [0.0] * 4, [1.0] * 4
    if len(param.bbox_mean) != 4 or len(param.bbox_std) != 4 or min(param.bbox_std) <= 0:
        raise SchemaFault("bbox_reg_param: give bbox_mean four times, and bbox_std four times, above 0; or neither")
    return list(param.bbox_mean), list(param.bbox_std)


def denormalised(xp, deltas, regression, axis: int):
    """Deltas with their four numbers along an axis as they were before they were normalised."""
    shape = [4 if i == axis else 1 for i in range(deltas.ndim)]
    mean, deviation = (xp.asarray(numbers, deltas.dtype).reshape(shape) for numbers in regression)
    return deltas * deviation + mean


def decode_fields(xp, deltas, field, stride: float, limits):
    """(centre x, centre y, width, height), each (N, h, w), of deltas (N, 4, h, w).

    field: (width, height) in pixels; stride: image pixels from one map pixel to the next; limits: (field_xyr,
    field_whr), a box's middle is at most 1 / field_xyr of the field away, its sides at most field_whr times as long or
    short.
    """
    (width, height), (near, ratio) = field, (1 / limits[0], math.log(limits[1]))
    dx, dy = (xp.clip(deltas[:, i], -near, near) for i in (0, 1))
    dw, dh = (xp.clip(deltas[:, i], -ratio, ratio) for i in (2, 3))
    x = dx * width + (xp.arange(deltas.shape[3], dtype=deltas.dtype) + 0.5) * stride
    y = dy * height + (xp.arange(deltas.shape[2], dtype=deltas.dtype)[:, None] + 0.5) * stride
    return x, y, width * xp.exp(dw), height * xp.exp(dh)


def encode_fields(xp, boxes, fields, stride: float, regression):
    """Normalised deltas (M, 4, h, w) of boxes (M, 4, h, w): centre x, centre y, width, height in pixels, the sides 2 or
    more; fields: widths and heights, (M,) each."""
    wide, high = (sides[:, None, None] for sides in fields)
    x = (xp.arange(boxes.shape[3], dtype=boxes.dtype) + 0.5) * stride
    y = (xp.arange(boxes.shape[2], dtype=boxes.dtype)[:, None] + 0.5) * stride
    width, height = (xp.maximum(boxes[:, i], 2) for i in (2, 3))
    deltas = [(boxes[:, 0] - x) / wide, (boxes[:, 1] - y) / high, xp.log(width / wide), xp.log(height / high)]
    mean, deviation = (xp.asarray(numbers, boxes.dtype).reshape(1, 4, 1, 1) for numbers in regression)
    return (xp.stack(deltas, axis=1) - mean) / deviation


def limited(xp, deltas, limits, regression):
    """Normalised deltas (M, 4, h, w) within the limits (field_xyr, field_whr), which are normalised by what the two
    positions, or the two sides, have in common."""
    mean, deviation = regression
    parts = []
    for first, most in ((0, 1 / limits[0]), (2, math.log(limits[1]))):
        middle, unit = (mean[first] + mean[first + 1]) / 2, math.sqrt(deviation[first] * deviation[first + 1])
        parts.append(xp.clip(deltas[:, first : first + 2], (-most - middle) / unit, (most - middle) / unit))
    return xp.concatenate(parts, axis=1)


def check_limits(param) -> None:
    """SchemaFault where a message's limits, or its non-maximum suppression, are none that are known here."""
    if param.field_xyr <= 0 or param.field_whr < 1:
        raise SchemaFault(f"field_xyr {param.field_xyr:g} is above 0, field_whr {param.field_whr:g} at least 1")
    if hasattr(param, "nms_type") and param.nms_type != "IOU":
        raise SchemaFault(f'nms_type "{param.nms_type}" is not known here: "IOU" is')


def best(be, corners, scores, param, extra: float):
    """The rows (R, 5), corners and score, of the boxes (P, 4) of an image that a message asks for, the best first."""
    xp = be.xp
    order = xp.argsort(-scores, kind="stable")
    if param.max_nms_num:
        order = order[: param.max_nms_num]
    kept = order[be.suppress(corners[order], param.iou_thr, param.max_post_nms_num or None, extra, 1.0)]
    return xp.concatenate([corners[kept], scores[kept, None]], axis=1)


def as_tops(be, images, tops: int):
    """Tops of the rows of each image: rois (R, 5, 1, 1), and if wanted with their scores (R, 6, 1, 1).

    Where there is none there is one roi, (0, 1, 1, 10, 10), of score 0: what pools them needs one.
    """
    xp = be.xp
    rows = [xp.concatenate([xp.full((len(of), 1), n, of.dtype), of], axis=1) for n, of in enumerate(images)]
    rows = xp.concatenate(rows) if rows else be.zeros((0, 6))
    none = not len(rows)
    rois = be.asarray([[0, 1, 1, 10, 10]]) if none else rows[:, :5]
    scored = be.zeros((1, 6)) if none else rows
    return [each.reshape(*each.shape, 1, 1) for each in (rois, scored)][: max(1, tops)]


def most_rows(param, images: int, pixels: int, tops: int):
    """The shapes of the tops with as many boxes as there can be."""
    limits = [limit for limit in (param.max_nms_num, param.max_post_nms_num) if limit]
    count = max(1, images * min([pixels, *limits]))
    return [(count, 5, 1, 1), (count, 6, 1, 1)][: max(1, tops)]
