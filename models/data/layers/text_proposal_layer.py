"""layers.text_proposal_layer: CTPN's narrow pieces of lines of text, each with its probability.

Bottoms: probabilities (1, 20, H, W), how anchors are to be changed (1, 20, H, W), im_info (height, width, ...).  Tops:
corners (10HW, 4) in pixels of the net's input, and probabilities (10HW, 1).  At every pixel of the map there are ten
anchors of 16 pixels' width, each 0.7 times as high as the next; only where they stand and how high they are is
predicted.  Neither are weak pieces dropped nor lines drawn: that is done with what comes out.
Source: "Detecting Text in Natural Image with Connectionist Text Proposal Network" (Tian et al., 2016), 3.1.
"""

from __future__ import annotations

import numpy as np

from demitasse.models.data.rcnn_layer import RCNNLayer, fill, number, one_image, require_bottoms
from demitasse.proto.errors import ShapeFault

HEIGHTS = (11, 16, 23, 33, 48, 68, 97, 139, 198, 283)
WIDTH = 16


class ProposalLayer(RCNNLayer):
    """Options: feat_stride."""

    options = {"feat_stride": number(16, 1)}

    def setup(self, bottom, top):
        super().setup(bottom, top)
        require_bottoms(bottom, ("probabilities", "box changes", "im_info"), top, (2, 2))
        self.check(bottom)
        count = len(HEIGHTS) * bottom[0].shape[2] * bottom[0].shape[3]
        top[0].reshape(count, 4)
        top[1].reshape(count, 1)

    def check(self, bottom) -> None:
        """ShapeFault where the channels are not those of the anchors."""
        one_image(bottom[0])
        for blob, name in ((bottom[0], "probabilities"), (bottom[1], "box changes")):
            if len(blob.shape) != 4 or blob.shape[1] != 2 * len(HEIGHTS):
                raise ShapeFault(f"the {name} have shape {blob.shape}: {len(HEIGHTS)} anchors make {2 * len(HEIGHTS)}")

    def reshape(self, bottom, top):
        self.check(bottom)

    def forward(self, bottom, top):
        """All pieces of the image, row by row."""
        scores, deltas, info = bottom[0].data[0], bottom[1].data[0], bottom[2].data.reshape(-1)
        height, width = scores.shape[1:]
        middle, reach = (WIDTH - 1) / 2, np.array(HEIGHTS) // 2
        # Corners are cut off to whole pixels, as those that the published net was trained with.
        first, last = np.trunc(middle - reach), np.trunc(middle + reach)
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        shift_y, left = (each[..., None] * self.given["feat_stride"] for each in (y, x))
        size = last - first + 1
        move, grow = deltas.transpose(1, 2, 0).reshape(height, width, len(HEIGHTS), 2).transpose(3, 0, 1, 2)
        tall = np.exp(grow) * size
        upper = move * size + (first + last) / 2 + shift_y - tall / 2
        left = np.broadcast_to(left, upper.shape)
        corners = np.stack([left, upper, left + WIDTH - 1, upper + tall], axis=-1).reshape(-1, 4)
        fill(top[0], np.clip(corners, 0, np.array([info[1], info[0]] * 2) - 1))
        fill(top[1], scores[len(HEIGHTS) :].transpose(1, 2, 0).reshape(-1, 1))
