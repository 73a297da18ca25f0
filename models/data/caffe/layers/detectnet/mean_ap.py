"""caffe.layers.detectnet.mean_ap: how good DetectNet's boxes are.

    ScoreDetections  bottoms: true boxes and boxes found, (N, 50, 5) each, as the clustering gives them; top (N, 50, 5):
                     the boxes again, their last number 1 (found and right), 2 (found and wrong) or 3 (missed)
    mAP              bottom: those; tops: precision times recall, precision, recall, in per cent, of the batch

A box is right where its intersection over union with a true one is at least 0.7; a true box is found once.
Source: NVIDIA's DetectNet ("DetectNet: Deep Neural Network for Object Detection in DIGITS", 2016), whose word for the
product of precision and recall is mAP.
"""

from __future__ import annotations

import numpy as np

import caffe
from demitasse.layers.boxes import iou
from demitasse.models.data.rcnn_layer import require_bottoms

ALIKE = 0.7
RIGHT, WRONG, MISSED = 1, 2, 3


class ScoreDetections(caffe.Layer):
    """Marks boxes as right, wrong or missed."""

    def setup(self, bottom, top):
        """ShapeFault unless there are two bottoms and one top."""
        require_bottoms(bottom, ("true boxes", "boxes found"), top, (1, 1))

    def reshape(self, bottom, top):
        """As much room as all boxes may take."""
        top[0].reshape(bottom[0].shape[0], bottom[0].shape[1], 5)

    def forward(self, bottom, top):
        """Each true box takes the first box that is alike to it and not yet taken."""
        top[0].data[...] = 0
        for item, (true, found) in enumerate(zip(bottom[0].data, bottom[1].data, strict=True)):
            true, found = (rows[rows[:, :4].any(axis=1), :4] for rows in (true, found))
            alike, taken = iou(np, true, found) >= ALIKE, np.zeros(len(found), bool)
            missed = np.ones(len(true), bool)
            for i in range(len(true)):
                (free,) = np.nonzero(alike[i] & ~taken)
                missed[i] = not len(free)
                taken[free[:1]] = True
            marked = [(found[taken], RIGHT), (found[~taken], WRONG), (true[missed], MISSED)]
            rows = np.concatenate([np.pad(boxes, ((0, 0), (0, 1)), constant_values=mark) for boxes, mark in marked])
            rows = rows[: top[0].data.shape[1]]
            top[0].data[item, : len(rows)] = rows

    def backward(self, top, propagate_down, bottom):
        """Nothing: no gradient passes."""


class mAP(caffe.Layer):  # noqa: N801 (the name that nets give)
    """Precision and recall of marked boxes."""

    def setup(self, bottom, top):
        """ShapeFault unless there are a bottom and three tops."""
        require_bottoms(bottom, ("marked boxes",), top, (3, 3))

    def reshape(self, bottom, top):
        """Three numbers."""
        for blob in top:
            blob.reshape(1)

    def forward(self, bottom, top):
        """In per cent."""
        right, wrong, missed = ((bottom[0].data[..., 4] == mark).sum() for mark in (RIGHT, WRONG, MISSED))
        precision, recall = (100 * right / max(right + rest, 1) for rest in (wrong, missed))
        for blob, value in zip(top, (precision * recall / 100, precision, recall), strict=True):
            blob.data[...] = value

    def backward(self, top, propagate_down, bottom):
        """Nothing: no gradient passes."""
