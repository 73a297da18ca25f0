"""rpn.proposal_layer: where an image may show something, for the nets of Faster R-CNN and R-FCN.

It is the type Proposal (layers/proposal.py) in the form of these nets.  Bottoms: probabilities (1, 2A, H, W), how
anchors are to be changed (1, 4A, H, W), im_info (1, 3: height, width, scale).  Tops: rois (R, 5) and, if named, their
probabilities (R, 1).
Source: "Faster R-CNN" (Ren et al., 2015), 3.1 and 3.3, with its numbers of proposals in training and in test.
"""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.anchors import RATIOS, SCALES, anchor_cell, anchor_grid, proposals
from demitasse.layers.backend import make_backend
from demitasse.layers.onnx import boxes as onnx
from demitasse.models.data import options
from demitasse.models.data.rcnn_layer import RCNNLayer, fill, number, numbers, one_image, require_bottoms
from demitasse.proto.errors import ShapeFault

ANCHORS = {
    "feat_stride": number(16, 1),
    "base_size": number(16, 1),
    "scales": numbers(SCALES),
    "ratios": numbers(RATIOS),
}


class ProposalLayer(RCNNLayer):
    """Options: feat_stride, base_size, scales, ratios; min_size, pre_nms_topn, post_nms_topn, nms_thresh (their
    defaults are the paper's, others in training than in test)."""

    shapes_from_data = True
    options = {
        **ANCHORS,
        "min_size": number(None, 0),
        "pre_nms_topn": options.whole(None, 0, 1 << 24),
        "post_nms_topn": options.whole(None, 1, 1 << 24),
        "nms_thresh": number(0.7, 0, 1),
    }
    defaults = {"min_size": (16, 16), "pre_nms_topn": (12000, 6000), "post_nms_topn": (2000, 300)}

    def setup(self, bottom, top):
        super().setup(bottom, top)
        require_bottoms(bottom, ("probabilities", "box changes", "im_info"), top, (1, 2))
        self.cell = np.array(anchor_cell(self.given["base_size"], self.given["ratios"], self.given["scales"]))
        self.host = make_backend("cpu")
        self.limits = {name: self.setting(name, *both) for name, both in self.defaults.items()}
        self.check(bottom)
        most = min(self.limits["post_nms_topn"], len(self.cell) * math.prod(bottom[0].shape[2:]))
        for blob, width in zip(top, (5, 1), strict=False):
            blob.reshape(most, width)

    def check(self, bottom) -> None:
        """ShapeFault where the channels are not those of the anchors."""
        one_image(bottom[0])
        count = len(self.cell)
        for blob, each, name in ((bottom[0], 2, "probabilities"), (bottom[1], 4, "box changes")):
            if len(blob.shape) != 4 or blob.shape[1] != each * count:
                raise ShapeFault(
                    f"the {name} have shape {blob.shape}: {count} anchors a place ({len(self.given['ratios'])} ratios "
                    f"times {len(self.given['scales'])} scales) make {each * count} channels"
                )

    def reshape(self, bottom, top):
        self.check(bottom)

    def forward(self, bottom, top):
        """The proposals of the image, as many as there are."""
        scores, deltas, info = bottom[0].data, bottom[1].data, bottom[2].data.reshape(-1)
        grid = anchor_grid(np, self.cell, self.given["feat_stride"], *scores.shape[2:])
        corners, best = proposals(
            self.host,
            grid.reshape(-1, 4),
            scores[0, len(self.cell) :].transpose(1, 2, 0).reshape(-1),
            deltas[0].transpose(1, 2, 0).reshape(-1, 4),
            (info[0], info[1]),
            self.limits["min_size"] * info[2],
            *self.suppression(),
        )
        fill(top[0], np.concatenate([np.zeros((len(corners), 1)), corners], axis=1))
        if len(top) > 1:
            fill(top[1], best[:, None])

    def suppression(self) -> tuple:
        """(how many go through non-maximum suppression, how many come out (None: all), its threshold)."""
        return self.limits["pre_nms_topn"], self.limits["post_nms_topn"], self.given["nms_thresh"]

    def to_onnx(self, graph, xs):
        """The same in a graph."""
        limits = self.limits["min_size"], *self.suppression()
        return onnx.proposals(graph, *xs, self.cell, self.given["feat_stride"], limits)
