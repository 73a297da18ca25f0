"""SSH.layers.anchor_target_layer: what one of SSH's modules is to learn from an image.

Bottoms and tops as rpn.anchor_target_layer; a fifth bottom, probabilities of all anchors (1, 2A, H, W), chooses the
hardest ones in the place of any: the objects of lowest and the background of highest probability.
Source: "SSH: Single Stage Headless Face Detector" (Najibi et al., 2017), 3.4 and 3.5.
"""

from __future__ import annotations

import numpy as np

from demitasse.models.data.rcnn_layer import number
from demitasse.models.data.rpn.anchor_target_layer import AnchorTargetLayer as RPNAnchorTargetLayer


class AnchorTargetLayer(RPNAnchorTargetLayer):
    """Options as there."""

    options = {
        **RPNAnchorTargetLayer.options,
        "positive_overlap": number(0.5, 0, 1),
        "fg_fraction": number(0.25, 0, 1),
    }
    scores = None  # of all anchors, of the image at hand

    def forward(self, bottom, top):
        """Take the probabilities to choose by, if they are there; then as rpn.anchor_target_layer."""
        if len(bottom) > 4:
            self.scores = bottom[4].data[0, len(self.cell) :].transpose(1, 2, 0).reshape(-1)
        super().forward(bottom, top)

    def subsample(self, labels) -> None:
        if self.scores is None:
            super().subsample(labels)
            return
        most = self.given["batch_size"]
        for kind in (1, 0):
            limit = int(most * self.given["fg_fraction"]) if kind else most - int((labels == 1).sum())
            (of_kind,) = np.nonzero(labels == kind)
            easiest = np.argsort(-self.scores[of_kind] if kind else self.scores[of_kind], kind="stable")
            labels[of_kind[easiest[: max(0, len(of_kind) - limit)]]] = -1
