"""SSH.layers.proposal_layer: the detections of one of SSH's modules; they are suppressed when all modules' are there.

Bottoms and tops as rpn.proposal_layer: boxes (R, 5) and their probabilities (R, 1), the best first.
Source: "SSH: Single Stage Headless Face Detector" (Najibi et al., 2017), 3.
"""

from __future__ import annotations

from demitasse.models.data.rpn.proposal_layer import ProposalLayer as RPNProposalLayer


class ProposalLayer(RPNProposalLayer):
    """Options as there; all the best pre_nms_topn detections come out."""

    defaults = {"min_size": (0, 0), "pre_nms_topn": (1000, 1000), "post_nms_topn": (1000, 1000)}

    def suppression(self):
        return self.limits["pre_nms_topn"], None, 1.0
