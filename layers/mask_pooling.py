"""MaskPooling (SSTD, MNC): every channel of the features times a mask.

Bottoms: features (N, C, H, W) and masks (N, 1, H, W); top (N, C, H, W).

Source: "Single Shot Text Detector with Regional Attention" (He et al., 2017); "Instance-aware Semantic Segmentation via
Multi-task Network Cascades" (Dai et al., 2016).
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class MaskPooling(Layer):
    type = "MaskPooling"
    bottoms = (2, 2)

    def infer(self, shapes):
        features, masks = shapes
        if len(features) != 4 or masks != (features[0], 1, *features[2:]):
            raise ShapeFault(
                f"features of shape {features} and masks of shape {masks}: give (N, C, H, W) and (N, 1, H, W)"
            )
        return [features]

    def forward(self, xs):
        if self.keep:
            self.saved = xs
        return [xs[0] * xs[1]]

    def backward(self, dys, need):
        (dy,), (features, masks) = dys, self.saved
        return [dy * masks if need[0] else None, (dy * features).sum(1, keepdims=True) if need[1] else None]

    def to_onnx(self, graph, xs):
        return [xs[0] * xs[1]]
