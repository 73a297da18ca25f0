"""Proposal (Faster R-CNN forks): the regions of each image that the net's anchors find most likely to hold something.

Bottoms: probabilities (N, 2 * A, H, W), those that a place's A anchors hold nothing before those that they hold
something; how anchors are to be moved and stretched (N, 4 * A, H, W); im_info (N or 1, 3 or more), each image's height,
width and the factor it was scaled by.  Anchors are squares of base_size, for every `ratio` and `scale`, feat_stride
pixels apart.  Tops: rois (R, 5), a row (image, x1, y1, x2, y2), the best first, at most post_nms_topn an image; and, if
named, their probabilities (R, 1).  Nothing gets a gradient.  How many there are is known in forward only.
Source: "Faster R-CNN" (Ren et al., 2015), 3.1 and 3.3.
"""

import math

from demitasse.layers.anchors import RATIOS, SCALES, anchor_cell, anchor_grid, proposals
from demitasse.layers.layer import Layer
from demitasse.layers.onnx import boxes as onnx
from demitasse.proto.errors import SchemaFault, ShapeFault


class Proposal(Layer):
    type = "Proposal"
    bottoms, tops = (3, 3), (1, 2)
    never_differentiable = (0, 1, 2)
    shapes_from_data = True

    def setup(self, shapes):
        param = self.spec.proposal_param
        if min(param.feat_stride, param.base_size, param.post_nms_topn) < 1:
            raise SchemaFault(
                f"feat_stride {param.feat_stride}, base_size {param.base_size} and post_nms_topn "
                f"{param.post_nms_topn} must be above 0"
            )
        if min([*param.ratio, *param.scale], default=1) <= 0:
            raise SchemaFault(f"ratio {list(param.ratio)} and scale {list(param.scale)} must be above 0")
        self.anchors = anchor_cell(param.base_size, param.ratio or RATIOS, param.scale or SCALES)
        return []

    def infer(self, shapes):
        scores, deltas, info = shapes
        count = len(self.anchors)
        for i, (shape, each) in enumerate([(scores, 2), (deltas, 4)]):
            if len(shape) != 4 or shape[1] != each * count or shape[2:] != scores[2:] or shape[0] != scores[0]:
                raise ShapeFault(
                    f"bottom {i} has shape {shape}: with {count} anchors a place (ratio times scale) it must be "
                    f"{(scores[0], each * count, *scores[2:])}"
                )
        if len(info) < 2 or info[0] not in (1, scores[0]) or math.prod(info[1:]) < 3:
            raise ShapeFault(
                f"bottom 2 has shape {info}: give height, width and scale of each of the {scores[0]} images, "
                f"shape ({scores[0]}, 3)"
            )
        most = scores[0] * min(self.spec.proposal_param.post_nms_topn, count * math.prod(scores[2:]))
        return [(most, 5), (most, 1)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        found = [self._of_image(n, *xs) for n in range(len(xs[0]))]
        rois, scores = ([each[i] for each in found] for i in (0, 1))
        tops = [self.be.zeros((0, 5)), *rois], [self.be.zeros((0, 1)), *scores]
        return [self.be.concatenate(top, 0) for top in tops][: max(1, len(self.spec.top))]

    def to_onnx(self, graph, xs):
        param, (scores, deltas, info) = self.spec.proposal_param, xs
        limits = param.min_size, param.pre_nms_topn, param.post_nms_topn, param.nms_thresh
        tops = onnx.proposals(graph, scores, deltas, info, self.anchors, param.feat_stride, limits)
        return tops[: max(1, len(self.spec.top))]

    def _of_image(self, n, scores, deltas, info):
        """(rois, probabilities) of image n."""
        param, xp = self.spec.proposal_param, self.xp
        (height, width), count = scores.shape[2:], len(self.anchors)
        grid = anchor_grid(xp, xp.asarray(self.anchors, scores.dtype), param.feat_stride, height, width)
        size = info.reshape(len(info), -1)[n if len(info) > 1 else 0]
        corners, best = proposals(
            self.be,
            grid.reshape(-1, 4),
            scores[n, count:].transpose(1, 2, 0).reshape(-1),
            deltas[n].transpose(1, 2, 0).reshape(-1, 4),
            (float(size[0]), float(size[1])),
            param.min_size * float(size[2]),
            param.pre_nms_topn,
            param.post_nms_topn,
            param.nms_thresh,
        )
        image = xp.full((len(corners), 1), n, corners.dtype)
        return xp.concatenate([image, corners], axis=1), best[:, None]
