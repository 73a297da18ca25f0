"""What the losses and metrics of maps of boxes (MS-CNN, Cascade R-CNN) share.

Predictions are scores (M, classes, h, w), the background first, and normalised boxes (M, 4, h, w) as field_boxes.py
says; the maps (M, 6, h, w) that DetectionData makes hold what each position should say: class, centre x, centre y,
width, height, overlap.  A position of class 0 that overlaps by bg_threshold or more with something is neither.

Source: "A unified multi-scale deep convolutional neural network for fast object detection" (Cai et al., 2016), 3.
"""

from __future__ import annotations

from typing import NamedTuple

from demitasse.layers.boxes import iou
from demitasse.layers.field_boxes import check_limits, decode_fields, denormalised, encode_fields, limited
from demitasse.layers.layer import Array, LossLayer
from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault

LOG_MIN = -87.33654  # of the smallest probability that a loss is told of


class Truth(NamedTuple):
    """What maps (M, 6, h, w) say: labels (M, h, w), the class that is learned of each; objects (M, h, w), whether there
    is one; background (M, h, w), whether it may be learned that there is none."""

    labels: Array
    objects: Array
    background: Array


def truth_of(xp, maps, param, classes: int) -> Truth:
    """The Truth of maps.  LabelFault for a class that the scores do not have."""
    labels = maps[:, 0].astype("int32")
    if param.objectness:
        labels = xp.minimum(labels, 1)
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise LabelFault(f"a class of {int(labels.min())} to {int(labels.max())}: the scores are of 0 to {classes - 1}")
    return Truth(labels, labels > 0, (labels == 0) & (maps[:, 5] < param.bg_threshold))


def check_maps(shapes, classes: int, objectness: bool) -> None:
    """ShapeFault unless scores, boxes and maps have these shapes, (M, classes, h, w), (M, 4, h, w) and (M, 6, h, w)."""
    for i, (shape, channels) in enumerate(zip(shapes, (classes, 4, 6), strict=True)):
        if len(shape) != 4 or shape[1] != channels or (shape[0], *shape[2:]) != (shapes[0][0], *shapes[0][2:]):
            names = "scores", "boxes", "maps of what is true"
            raise ShapeFault(
                f"{names[i]} of shape {shape} beside scores of {shapes[0]}: (M, {channels}, h, w) is needed"
            )
    if objectness and classes != 2:
        raise SchemaFault(f"objectness: true is of two classes, cls_num is {classes}")


def check_field(param) -> None:
    """SchemaFault unless a message names one field, its stride and its classes."""
    check_limits(param)
    if min(param.field_w, param.field_h, param.downsample_rate) < 1 or param.cls_num < 2 or param.coord_num != 4:
        raise SchemaFault("give cls_num of 2 or more, coord_num 4, and field_w, field_h and downsample_rate above 0")


def check_joined_maps(shapes, param) -> None:
    """ShapeFault unless scores and boxes are one bottom, (N, cls_num + 4, h, w), and maps (N, 6, h, w) the other."""
    (x, maps), classes = shapes, param.cls_num
    if len(x) != 4 or x[1] != classes + 4:
        raise ShapeFault(
            f"predictions of shape {x}: (N, {classes + 4}, h, w), cls_num scores and 4 numbers, are needed"
        )
    check_maps([(x[0], classes, *x[2:]), (x[0], 4, *x[2:]), maps], classes, param.objectness)


def check_fields(param) -> None:
    """SchemaFault unless a message names a group of fields, their stride and their classes."""
    check_limits(param)
    sizes = [*param.field_w, *param.field_h, param.stride]
    if not param.field_w or len(param.field_w) != len(param.field_h) or min(sizes) < 1 or param.cls_num < 2:
        raise SchemaFault("give cls_num of 2 or more, as many field_w as field_h, one or more, and a stride above 0")


def check_groups_of_maps(shapes, param) -> None:
    """ShapeFault unless check_maps has nothing to say, and each image has a map for every field."""
    check_maps(shapes, param.cls_num, param.objectness)
    groups = len(param.field_w)
    if shapes[0][0] % groups:
        raise ShapeFault(f"{shapes[0][0]} maps are no whole number of images with {groups} each (field_w)")


class FieldLoss(LossLayer):
    """The loss of classes at the positions that are kept, and lambda times that of the boxes where there is an object.

    Top: (1, 1, 1, 2), their sum, and the second alone, which is told and not learned from.  Where a box is beyond its
    limits its gradient is that of the limit.
    """

    regression: tuple[list[float], list[float]]

    def losses(self, predictions, maps, fields, stride: float, kept, weight, limits, smooth: bool):
        """The top.  predictions: scores and boxes; fields: the widths and heights, (M,) each; kept: which positions
        (M, h, w) count; weight: of each position's class loss; limits: field_xyr, field_whr or None."""
        xp, (scores, boxes) = self.xp, predictions
        labels = self.truth.labels
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_p = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
        wanted = labels[:, None] == xp.arange(scores.shape[1])[:, None, None]
        share = xp.where(kept, weight, 0) / max(1, int(kept.sum()))
        of_classes = -(xp.maximum((log_p * wanted).sum(axis=1), LOG_MIN) * share).sum()
        learned = (kept & self.truth.objects)[:, None].astype(boxes.dtype)
        target = encode_fields(xp, maps[:, 1:5], fields, stride, self.regression)
        near = boxes if limits is None else limited(xp, boxes, limits, self.regression)
        off = xp.where(learned > 0, near - target, 0)
        far = smooth & (abs(off) >= 1)
        count = max(1, 4 * int(learned.sum()))
        scale = self.weight_of_boxes / count
        of_boxes = xp.where(far, abs(off) - 0.5, off * off / 2).sum() * scale
        if self.keep:
            self.saved = (xp.exp(log_p) - wanted) * share[:, None], xp.where(far, xp.sign(off), off) * scale
        return xp.stack([of_classes + of_boxes, of_boxes]).astype(scores.dtype).reshape(1, 1, 1, 2)

    def gradients(self, dy):
        """Of scores and boxes."""
        return [part * dy.reshape(-1)[0] for part in self.saved]

    def balance(self, kept, weight, share: float):
        """Weights (M, h, w) such that objects make up `share` of those that are kept."""
        xp, objects = self.xp, self.truth.objects
        count, total = kept.sum(), [(weight * (kept & those)).sum() for those in (objects, ~objects)]
        own, others = (
            xp.where(each > 0, part * count / xp.maximum(each, 1e-30), 1)
            for part, each in zip((share, 1 - share), total, strict=True)
        )
        return weight * xp.where(objects, own, others)


def measures(xp, predictions, maps, truth: Truth, param, fields, stride: float, regression, top_k: int = 1):
    """predictions: scores and boxes; fields: the widths and heights, M of each; param: the limits of boxes.

    (share of positions that are right, share of objects that are, mean overlap of objects' boxes); -1 where there is
    none."""
    scores, boxes = predictions
    order = xp.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    right = (order == truth.labels[:, None]).any(axis=1)
    counted = truth.objects | truth.background
    found = []
    for which in (counted, truth.objects):
        count = int(which.sum())
        found.append(float((right & which).sum()) / count if count else -1.0)
    deltas, overlaps = denormalised(xp, boxes, regression, 1), []
    for k, field in enumerate(zip(*fields, strict=True)):
        x, y, wide, high = decode_fields(xp, deltas[k : k + 1], field, stride, (param.field_xyr, param.field_whr))
        own = _corners(xp, x[0], y[0], wide[0], high[0])
        overlaps.append(iou(xp, own[..., None, :], _corners(xp, *maps[k, 1:5])[..., None, :])[..., 0, 0])
    count = int(truth.objects.sum())
    total = float(xp.where(truth.objects, xp.stack(overlaps), 0).sum()) if overlaps else 0.0
    return *found, total / count if count else -1.0


def _corners(xp, x, y, width, height):
    return xp.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=-1)
