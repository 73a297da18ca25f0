"""Boxes relative to SSD's prior boxes: how a prediction becomes a box, and a true box what is to be predicted.

A prior is (x1, y1, x2, y2) with a variance for each number, by which the code's numbers are divided:
CORNER: how far each corner is from the prior's; CORNER_SIZE: the same in units of the prior's size; CENTER_SIZE: the
way between the centres in units of the prior's size, and the logarithms of the ratios of the sizes (boxes.encode).
Source: "SSD: Single Shot MultiBox Detector" (Liu et al., 2016), 2.2.
"""

from __future__ import annotations

from demitasse.layers.boxes import decode as decode_centre
from demitasse.layers.boxes import encode as encode_centre
from demitasse.layers.onnx import boxes
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import PriorBoxParameter


def _size(xp, priors):
    """Widths and heights (..., 4), as often as there are corners."""
    size = priors[..., 2:] - priors[..., :2]
    return xp.concatenate([size, size], axis=-1)


def encode(xp, code: int, priors, variances, targets):
    """Targets (..., 4) relative to priors (..., 4).  variances: (..., 4), or 1 to leave them out."""
    if code == PriorBoxParameter.CENTER_SIZE:
        return encode_centre(xp, priors, targets) / variances
    size = _size(xp, priors) if code == PriorBoxParameter.CORNER_SIZE else 1
    return (targets - priors) / size / variances


def decode(xp, code: int, priors, variances, deltas):
    """The boxes (..., 4) that deltas, as `encode` makes them, describe: its inverse."""
    deltas = deltas * variances
    if code == PriorBoxParameter.CENTER_SIZE:
        return decode_centre(xp, priors, deltas)
    return priors + deltas * (_size(xp, priors) if code == PriorBoxParameter.CORNER_SIZE else 1)


def onnx_decode(graph, code: int, priors, variances, deltas):
    """`decode` in a graph; variances None leaves them out."""
    deltas = deltas if variances is None else deltas * variances
    if code == PriorBoxParameter.CENTER_SIZE:
        return boxes.decode(graph, priors, deltas)
    if code == PriorBoxParameter.CORNER_SIZE:
        size = boxes.columns(graph, priors, 2, 4) - boxes.columns(graph, priors, 0, 2)
        deltas = deltas * graph.concat([size, size], -1)
    return priors + deltas


def split(xp, priors):
    """The boxes (P, 4) and variances (P, 4) of a PriorBox's top (1, 2, 4 P)."""
    both = priors.reshape(2, -1, 4)
    return both[0], both[1]


def check_predictions(shapes, param, kind: str) -> tuple[int, int]:
    """(P, L): how many priors there are, and how many boxes each has, one or one per class.

    shapes: of the locations (N, P L 4), the scores (N, P classes) and the priors (1, 2, 4 P).
    Raises SchemaFault without num_classes, ShapeFault where they do not fit together.
    """
    locations, scores, priors = shapes[:3]
    if param.num_classes < 1:
        raise SchemaFault(f"{kind}: num_classes is missing: give the number of classes, with the background")
    if len(priors) < 3 or priors[1] != 2 or priors[2] % 4:
        raise ShapeFault(f"bottom 2 has shape {priors}: prior boxes and their variances, (1, 2, 4 P), are expected")
    count, per_prior = priors[2] // 4, 1 if param.share_location else param.num_classes
    wanted = {0: ("4" if per_prior == 1 else f"4 x {per_prior}", 4 * per_prior), 1: (None, param.num_classes)}
    for i, (text, each) in wanted.items():
        if not shapes[i] or _rest(shapes[i]) != count * each:
            what = "locations" if i == 0 else "scores"
            raise ShapeFault(
                f"bottom {i} has shape {shapes[i]}: {count} priors (bottom 2) x {text or each} {what} = "
                f"{count * each} per image are expected; do num_classes, share_location and the PriorBox layers' "
                "fields agree with the convolutions' num_output?"
            )
    if locations[0] != scores[0]:
        raise ShapeFault(f"{locations[0]} images of locations (bottom 0), but {scores[0]} of scores (bottom 1)")
    return count, per_prior


def _rest(shape) -> int:
    count = 1
    for size in shape[1:]:
        count *= size
    return count
