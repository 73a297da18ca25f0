"""layers.text_proposal_layer: CTPN's narrow pieces of lines of text, each with its probability.

Bottoms: probabilities (1, 20, H, W), how anchors are to be changed (1, 20, H, W), im_info (height, width, ...).  Tops:
corners (10HW, 4) in pixels of the net's input, and probabilities (10HW, 1).  At every pixel of the map there are ten
anchors of 16 pixels' width, each 0.7 times as high as the next; only where they stand and how high they are is
predicted.  Neither are weak pieces dropped nor lines drawn: that is done with what comes out.
Source: "Detecting Text in Natural Image with Connectionist Text Proposal Network" (Tian et al., 2016), 3.1.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.onnx.boxes import column, corners
from demitasse.layers.onnx.graph import FLOAT, INT
from demitasse.models.data.rcnn_layer import RCNNLayer, fill, number, one_image, require_bottoms
from demitasse.proto.errors import ShapeFault

HEIGHTS = (11, 16, 23, 33, 48, 68, 97, 139, 198, 283)
WIDTH = 16
MIDDLE, REACH = (WIDTH - 1) / 2, np.array(HEIGHTS) // 2
# Corners are cut off to whole pixels, as those that the published net was trained with.
FIRST, LAST = np.trunc(MIDDLE - REACH), np.trunc(MIDDLE + REACH)


class ProposalLayer(RCNNLayer):
    """Options: feat_stride."""

    options = {"feat_stride": number(16, 1)}

    def setup(self, bottom, top):
        super().setup(bottom, top)
        require_bottoms(bottom, ("probabilities", "box changes", "im_info"), top, (2, 2))
        self.check(bottom)

    def check(self, bottom) -> None:
        """ShapeFault where the channels are not those of the anchors."""
        one_image(bottom[0])
        for blob, name in ((bottom[0], "probabilities"), (bottom[1], "box changes")):
            if len(blob.shape) != 4 or blob.shape[1] != 2 * len(HEIGHTS):
                raise ShapeFault(f"the {name} have shape {blob.shape}: {len(HEIGHTS)} anchors make {2 * len(HEIGHTS)}")

    def reshape(self, bottom, top):
        """A row for each anchor."""
        self.check(bottom)
        count = len(HEIGHTS) * bottom[0].shape[2] * bottom[0].shape[3]
        top[0].reshape(count, 4)
        top[1].reshape(count, 1)

    def forward(self, bottom, top):
        """All pieces of the image, row by row."""
        scores, deltas, info = bottom[0].data[0], bottom[1].data[0], bottom[2].data.reshape(-1)
        height, width = scores.shape[1:]
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        shift_y, left = (each[..., None] * self.given["feat_stride"] for each in (y, x))
        size = LAST - FIRST + 1
        move, grow = deltas.transpose(1, 2, 0).reshape(height, width, len(HEIGHTS), 2).transpose(3, 0, 1, 2)
        tall = np.exp(grow) * size
        upper = move * size + (FIRST + LAST) / 2 + shift_y - tall / 2
        left = np.broadcast_to(left, upper.shape)
        corners = np.stack([left, upper, left + WIDTH - 1, upper + tall], axis=-1).reshape(-1, 4)
        fill(top[0], np.clip(corners, 0, np.array([info[1], info[0]] * 2) - 1))
        fill(top[1], scores[len(HEIGHTS) :].transpose(1, 2, 0).reshape(-1, 1))

    def to_onnx(self, graph, xs):
        """The same in a graph."""
        scores, deltas, info = xs
        _, _, height, width = graph.sizes(scores)
        count, stride = len(HEIGHTS), float(self.given["feat_stride"])
        pairs = graph.reshape(graph.transpose(deltas, [0, 2, 3, 1]), [height, width, count, 2])
        move, grow = column(graph, pairs, 0), column(graph, pairs, 1)
        tall = graph.node("Exp", grow) * graph.constant(LAST - FIRST + 1)
        y, x = (graph.cast(graph.arange(n), FLOAT) * stride for n in (height, width))
        middle = graph.reshape(y, [-1, 1, 1]) + graph.constant((FIRST + LAST) / 2)
        upper = move * graph.constant(LAST - FIRST + 1) + middle - tall * 0.5
        left = graph.reshape(x, [1, -1, 1]) + upper * 0.0
        boxes = corners(graph, left, upper, left + float(WIDTH - 1), upper + tall)
        most = graph.gather(graph.reshape(info, [-1]), graph.constant([1, 0, 1, 0], INT), 0) - 1.0
        boxes = graph.node("Min", graph.clip(graph.reshape(boxes, [-1, 4]), 0.0), most)
        own = graph.slice(scores, [count], [2 * count], [1])
        return [boxes, graph.reshape(graph.transpose(own, [0, 2, 3, 1]), [-1, 1])]
