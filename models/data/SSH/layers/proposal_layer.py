"""SSH.layers.proposal_layer: the detections of one of SSH's modules; they are suppressed when all modules' are there.

Bottoms and tops as rpn.proposal_layer: boxes (R, 5) and their probabilities (R, 1), the best first.
Source: "SSH: Single Stage Headless Face Detector" (Najibi et al., 2017), 3.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.anchors import proposals
from demitasse.models.data.rpn.proposal_layer import ProposalLayer as RPNProposalLayer


class ProposalLayer(RPNProposalLayer):
    """Options as there; all the best pre_nms_topn detections come out."""

    defaults = {"min_size": (0, 0), "pre_nms_topn": (1000, 1000), "post_nms_topn": (1000, 1000)}

    def chosen(self, anchors, scores, deltas, info):
        most = self.limits["pre_nms_topn"]
        return proposals(np, anchors, scores, deltas, info[:2], self.limits["min_size"] * info[2], most, None, 1.0)
