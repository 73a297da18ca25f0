"""rpn.anchor_target_layer: what the region proposal net is to learn from an image.

Bottoms: scores (1, 2A, H, W; only their size counts), gt_boxes (G, 5 or more: x1, y1, x2, y2, class), im_info (1, 3),
data.  Tops: labels (1, 1, A * H, W; 1 object, 0 background, -1 does not count), box targets, inside weights and outside
weights (1, 4A, H, W).
Source: "Faster R-CNN" (Ren et al., 2015), 3.1.2 and 3.1.3.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.anchors import PIXEL, anchor_cell, anchor_grid
from demitasse.layers.boxes import encode, iou
from demitasse.models.data import options
from demitasse.models.data.rcnn_layer import RCNNLayer, fill, number, one_image, require_bottoms, rows
from demitasse.models.data.rpn.proposal_layer import ANCHORS


class AnchorTargetLayer(RCNNLayer):
    """Options: feat_stride, base_size, scales, ratios; allowed_border (how far anchors may reach beyond the image),
    positive_overlap and negative_overlap (from which overlap on an anchor is an object, below which background),
    batch_size (anchors that count) and fg_fraction (the most of them that are objects)."""

    options = {
        **ANCHORS,
        "allowed_border": number(0),
        "positive_overlap": number(0.7, 0, 1),
        "negative_overlap": number(0.3, 0, 1),
        "batch_size": options.whole(256, 1, 1 << 24),
        "fg_fraction": number(0.5, 0, 1),
    }

    def setup(self, bottom, top):
        super().setup(bottom, top)
        require_bottoms(bottom, ("scores", "gt_boxes", "im_info"), top, (4, 4))
        self.cell = np.array(anchor_cell(self.given["base_size"], self.given["ratios"], self.given["scales"]))
        self.reshape(bottom, top)

    def reshape(self, bottom, top):
        one_image(bottom[0])
        height, width = bottom[0].shape[2:]
        top[0].reshape(1, 1, len(self.cell) * height, width)
        for blob in top[1:]:
            blob.reshape(1, 4 * len(self.cell), height, width)

    def forward(self, bottom, top):
        """Label the anchors, leave out those beyond batch_size, and say how the objects' ones are to be changed."""
        height, width = bottom[0].shape[2:]
        truth, info = rows(bottom[1]), bottom[2].data.reshape(-1)
        anchors = anchor_grid(np, self.cell, self.given["feat_stride"], height, width).reshape(-1, 4)
        labels, match = self.labelled(anchors, truth[:, :4], info[:2])
        self.subsample(labels)
        targets = np.zeros_like(anchors)
        counted, objects = labels >= 0, labels == 1
        if objects.any():
            targets[objects] = encode(np, anchors[objects], truth[match[objects], :4], PIXEL)
        outside = np.where(counted, 1 / max(counted.sum(), 1), 0)
        place = height, width, len(self.cell), -1
        values = targets, np.where(objects, 1, 0), outside
        fill(top[0], labels.reshape(place).transpose(3, 2, 0, 1).reshape(1, 1, -1, width))
        for blob, each in zip(top[1:], values, strict=True):
            each = each if each.ndim == 2 else np.repeat(each[:, None], 4, axis=1)
            fill(blob, each.reshape(height, width, -1).transpose(2, 0, 1)[None])

    def labelled(self, anchors, truth, size):
        """(labels, the index of the best box for each anchor), before any is left out."""
        border = self.given["allowed_border"]
        inside = (anchors[:, :2] >= -border).all(axis=1) & (anchors[:, 2:] < size[::-1] + border).all(axis=1)
        labels, match = np.full(len(anchors), -1), np.zeros(len(anchors), int)
        if not len(truth):
            labels[inside] = 0
            return labels, match
        overlaps = iou(np, anchors[inside], truth, PIXEL)
        if not len(overlaps):
            return labels, match
        best = overlaps.max(axis=1)
        found = np.full(len(best), -1)
        found[best < self.given["negative_overlap"]] = 0
        of_truth = overlaps.max(axis=0)
        found[((overlaps == of_truth) & (of_truth > 0)).any(axis=1)] = 1  # each box has the anchors nearest to it
        found[best >= self.given["positive_overlap"]] = 1
        labels[inside], match[inside] = found, overlaps.argmax(axis=1)
        return labels, match

    def subsample(self, labels) -> None:
        """Leave only so many objects and so much background, drawn at random."""
        most = self.given["batch_size"]
        for kind in (1, 0):
            limit = int(most * self.given["fg_fraction"]) if kind else most - int((labels == 1).sum())
            (of_kind,) = np.nonzero(labels == kind)
            if len(of_kind) > limit:
                labels[self.rng.choice(of_kind, len(of_kind) - limit, replace=False)] = -1
