"""rpn.proposal_target_layer: which proposals the detector learns from, and what.

Bottoms: rois (R, 5), gt_boxes (G, 5 or more: x1, y1, x2, y2, class, attributes).  Tops: rois (S, 5), labels (S,), box
targets, inside weights and outside weights (S, 4 * num_classes); and, if named, the attributes' labels (see
`attributes`).  With num_classes 2 all kinds of objects share their box targets (R-FCN).
Source: "Fast R-CNN" (Girshick, 2015), 2.3; "R-FCN" (Dai et al., 2016), 2.2.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.anchors import PIXEL
from demitasse.layers.boxes import encode, iou
from demitasse.models.data import options
from demitasse.models.data.rcnn_layer import RCNNLayer, fill, number, require_bottoms, rows
from demitasse.proto.errors import DataFault

STDS = np.array([0.1, 0.1, 0.2, 0.2])  # targets are divided by these; test code multiplies box changes by them


class ProposalTargetLayer(RCNNLayer):
    """Options: num_classes (with the background), batch_size (regions that count; -1: all), fg_fraction (the most of
    them that are objects), fg_thresh (from which overlap on a region is an object), bg_thresh_hi and bg_thresh_lo (from
    and to which it is background), normalize (whether targets are divided by STDS); num_attr_classes, ignore_label."""

    options = {
        "num_classes": options.whole(21, 2, 1 << 16),
        "batch_size": options.Option(128, "a whole number, or -1 for all", lambda n: isinstance(n, int) and n >= -1),
        "fg_fraction": number(0.25, 0, 1),
        "fg_thresh": number(0.5, 0, 1),
        "bg_thresh_hi": number(0.5, 0, 1),
        "bg_thresh_lo": number(0.0, 0, 1),
        "normalize": options.flag(True),
        "num_attr_classes": options.whole(0, 0, 1 << 16),
        "num_rel_classes": options.whole(None, 0, 1 << 16),
        "use_attr_labels": options.flag(False),
        "ignore_label": number(-1),
    }

    def setup(self, bottom, top):
        super().setup(bottom, top)
        require_bottoms(bottom, ("rois", "gt_boxes"), top, (5, 6))
        self.batch = self.given["batch_size"] if self.given["batch_size"] > 0 else max(1, bottom[0].shape[0])
        width = 4 * self.given["num_classes"]
        shapes = [(5,), (), *[(width,)] * 3]
        for blob, shape in zip(top, shapes, strict=False):
            blob.reshape(self.batch, *shape)
        if len(top) > 5:
            fill(top[5], self.attributes(np.zeros((self.batch, 0)), self.batch))

    def forward(self, bottom, top):
        """Draw the regions, and give each its class and the way to its box."""
        truth = rows(bottom[1])
        self.check_classes(truth[:, 4])
        own = np.concatenate([np.zeros((len(truth), 1)), truth[:, :4]], axis=1)  # what is right is proposed too
        rois = np.concatenate([bottom[0].data.reshape(-1, 5), own])
        chosen, objects, match = self.sample(rois, truth)
        rois = rois[chosen]
        labels = np.where(np.arange(len(rois)) < objects, truth[match, 4] if len(truth) else 0, 0)
        for blob, values in zip(top, (rois, labels), strict=False):
            fill(blob, values)
        for blob, values in zip(top[2:5], self.targets(rois, labels, truth, match), strict=True):
            fill(blob, values)
        if len(top) > 5:
            fill(top[5], self.attributes(truth[match, 5:], objects))

    def check_classes(self, classes) -> None:
        """DataFault where a box is of a class that the net does not have."""
        most = self.given["num_classes"]
        if most > 2 and len(classes) and not (0 < classes.min() and classes.max() < most):
            raise DataFault(f"gt_boxes have classes {classes.min():g} to {classes.max():g}, num_classes is {most}")

    def sample(self, rois, truth):
        """(indices of the regions that count, objects first; how many are objects; the best box of each)."""
        given = self.given
        if len(truth):
            overlaps = iou(np, rois[:, 1:], truth[:, :4], PIXEL)
            best, match = overlaps.max(axis=1), overlaps.argmax(axis=1)
        else:
            best, match = np.zeros(len(rois)), np.zeros(len(rois), int)
        (objects,) = np.nonzero(best >= given["fg_thresh"])
        (others,) = np.nonzero((best < given["bg_thresh_hi"]) & (best >= given["bg_thresh_lo"]))
        if given["batch_size"] > 0:
            most = round(given["fg_fraction"] * given["batch_size"])
            objects = self.rng.choice(objects, min(most, len(objects)), replace=False)
            others = self.rng.choice(others, min(given["batch_size"] - len(objects), len(others)), replace=False)
        chosen = np.concatenate([objects, others]).astype(int)
        return chosen, len(objects), match[chosen]

    def targets(self, rois, labels, truth, match):
        """Box targets in the columns of each region's class, and both weights: (S, 4 * num_classes) each."""
        classes = self.given["num_classes"]
        targets, weights = np.zeros((len(rois), classes, 4)), np.zeros((len(rois), classes, 4))
        (objects,) = np.nonzero(labels > 0)
        column = np.minimum(labels[objects].astype(int), classes - 1)
        if len(objects):
            changes = encode(np, rois[objects, 1:], truth[match[objects], :4], PIXEL)
            targets[objects, column] = changes / STDS if self.given["normalize"] else changes
            weights[objects, column] = 1
        targets, weights = targets.reshape(len(rois), -1), weights.reshape(len(rois), -1)
        return targets, weights, weights

    def attributes(self, attributes, objects: int):
        """Labels of the attributes of each region, from columns that hold their numbers, 0 for none.

        With `use_attr_labels` or `num_rel_classes` one of each region's is drawn, (S, 1); with the latter for the
        regions that may be objects alone.  Else there is a column for each attribute, 1 or 0: (S, num_attr_classes).
        Regions without attributes have ignore_label.
        """
        given, count = self.given, len(attributes)
        one = given["use_attr_labels"] or given["num_rel_classes"] is not None
        labels = np.full((count, 1 if one else given["num_attr_classes"]), given["ignore_label"], float)
        for i in range(min(objects, count)):
            numbers = attributes[i][attributes[i] > 0].astype(int)
            if len(numbers) and one:
                labels[i] = self.rng.choice(numbers)
            elif len(numbers):
                labels[i] = 0
                labels[i, numbers[numbers < labels.shape[1]]] = 1
        return labels[: round(given["fg_fraction"] * self.batch)] if given["num_rel_classes"] is not None else labels
