"""Deconvolution: a transposed convolution, the backward pass of one run forward, mostly to upsample.

    out = stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad

Weights are (channels, num_output / group, kernel...): the bottom's channels come first.
FCN's upsampling weights are zero but for w[i, i]; then each channel is computed alone.  Whether they are is looked
up at every run, because a user may write into the weights at any time.
"""

from __future__ import annotations

import math

from demitasse.layers.convolution import Convolution, by


class Deconvolution(Convolution):
    type = "Deconvolution"
    launches_only = True
    upsamples, drawn_as = True, "upsampling"
    fuses_residual = False
    fields = ("convolution_param",)
    onnx_operator = "ConvTranspose"

    def coords(self):
        shifts = [d * (k - 1) / 2 - p for k, _, p, d in self._per_axis()]
        return self.axis + 1, tuple(float(s) for s in self.geometry.stride), tuple(shifts)

    def window(self):
        return tuple(math.ceil((d * (k - 1) + 1) / s) for k, s, _, d in self._per_axis())

    def macs(self, bottom_shapes, top_shapes):
        return sum(self.params[0].count * self._pixels(shape) for shape in bottom_shapes)

    def _kernel_shape(self):
        return self.channels, self.outputs // self.geometry.group

    def _out_size(self, spatial):
        return self.geometry.in_size(spatial)

    def _forward_one(self, x, weight, scale, bias, relu, out):
        top_shape = self._top_shape(x.shape)
        y = self.be.conv_backward_data(
            self._images(x),
            weight,
            self.geometry,
            top_shape[self.axis + 1 :],
            bias,
            relu,
            self._is_diagonal(),
            out,
            scale,
        )
        return y.reshape(top_shape)

    def _backward_one(self, x, dy, need):
        images = self._images(x)
        if self.params[0].grad is not None:
            self.be.conv_backward_weights(dy, images, self.geometry, self.params[0].grad)
        if not need:
            return None
        weight = self.params[0].data
        if self._is_diagonal():
            return self.be.upsample_backward(dy, weight, self.geometry).reshape(x.shape)
        return self.be.conv_forward(dy, weight, None, self.geometry).reshape(x.shape)

    def _is_diagonal(self):
        can_be = self.channels == self.outputs and self.outputs > 1 and self.geometry.group == 1
        return can_be and self.be.is_diagonal(self.params[0].data)

    def _too_small(self, spatial, out):
        return (
            f"a bottom of {by(spatial)} pixels gives a top of {by(out)}: "
            "use a larger bottom or kernel_size, or less pad"
        )
