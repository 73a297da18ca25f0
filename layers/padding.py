"""Padding (DeepLab): rows and columns of zeros, pad_beg before and pad_end after the image; negative: left out there.

The bottom is (N, C, height, width), the top (N, C, height + pad_beg + pad_end, width + pad_beg + pad_end).

Source: the prototxts of DeepLab (Chen et al., 2014).
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class Padding(Layer):
    type = "Padding"
    launches_only = True

    def infer(self, shapes):
        (shape,) = shapes
        if len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: Padding takes 4 axes (N, C, height, width)")
        param = self.spec.padding_param
        sizes = [n + param.pad_beg + param.pad_end for n in shape[2:]]
        if min(sizes) < 1 or any(n + min(param.pad_beg, 0) + min(param.pad_end, 0) < 1 for n in shape[2:]):
            raise ShapeFault(f"pad_beg {param.pad_beg} and pad_end {param.pad_end} leave nothing of a bottom {shape}")
        return [(*shape[:2], *sizes)]

    def forward(self, xs):
        (x,) = xs
        if self.keep:
            self.saved = x.shape
        return [self._moved(x, self.infer([x.shape])[0], 1)]

    def backward(self, dys, need):
        return [self._moved(dys[0], self.saved, -1) if need[0] else None]

    def to_onnx(self, graph, xs):
        param = self.spec.padding_param
        return [graph.pad(xs[0], [0, 0, param.pad_beg, param.pad_beg], [0, 0, param.pad_end, param.pad_end])]

    def _moved(self, x, shape, sign):
        """x padded (sign 1), or a gradient of that unpadded (-1), to `shape`."""
        before = sign * self.spec.padding_param.pad_beg
        y = self.be.zeros(shape)
        ours, theirs = [], []
        for n, size in zip(x.shape[2:], shape[2:], strict=True):
            first, last = max(0, -before), min(n, size - before)
            ours.append(slice(first, last))
            theirs.append(slice(first + before, last + before))
        y[:, :, theirs[0], theirs[1]] = x[:, :, ours[0], ours[1]]
        return y

    def coords(self):
        return 2, (1.0,), (float(self.spec.padding_param.pad_beg),)
