"""DeformableConvolution: a convolution whose window has its pixels where another layer says, each somewhere else.

Bottoms: images (N, C, H, W) and offsets (N, 2 K deformable_group, H', W'), K = kernel_size^2: for each group of
channels (deformable_group of them) and each pixel of the window, row by row, how many rows and columns further it lies.
Top: (N, num_output, H', W'), of the size that Convolution has.  Between pixels is interpolated, outside are zeros.
Params: weights (num_output, C / group, kernel_size, kernel_size) and, with bias_term, a bias (num_output,).

Source: "Deformable convolutional networks" (Dai et al., 2017), 2.1; the fields of its Caffe forks.
"""

import itertools
import math

from demitasse.layers.layer import Layer, Param
from demitasse.layers.onnx.graph import FLOAT, INT
from demitasse.layers.onnx.sampling import sampled as sampled_in
from demitasse.layers.sampling import corners_of, image_gradient, point_gradients, sampled
from demitasse.proto.errors import SchemaFault, ShapeFault


class DeformableConvolution(Layer):
    type = "DeformableConvolution"
    bottoms = (2, 2)
    drawn_as = "filter"

    def setup(self, shapes):
        param = self.param = self.spec.deformable_convolution_param
        for name in ("num_output", "kernel_size", "stride", "dilation", "group", "deformable_group"):
            if getattr(param, name) < 1:
                raise SchemaFault(f"{name} is {getattr(param, name)}: it must be 1 or more")
        channels = shapes[0][1] if len(shapes[0]) == 4 else 0
        if (
            not channels
            or param.num_output % param.group
            or channels % param.group
            or channels % param.deformable_group
        ):
            raise ShapeFault(
                f"bottom 0 has shape {shapes[0]}: (N, C, H, W) is expected, with group {param.group} a divisor of C "
                f"and of num_output {param.num_output}, and deformable_group {param.deformable_group} one of C"
            )
        weights = Param((param.num_output, channels // param.group, *[param.kernel_size] * 2), param.weight_filler)
        return [weights, *([Param((param.num_output,), param.bias_filler)] * param.bias_term)]

    def infer(self, shapes):
        images, offsets = shapes
        param, reach = self.param, self.param.dilation * (self.param.kernel_size - 1) + 1
        size = tuple((n + 2 * param.pad - reach) // param.stride + 1 for n in images[2:])
        expected = (images[0], 2 * param.kernel_size**2 * param.deformable_group, *size)
        if len(images) != 4 or min(size) < 1:
            raise ShapeFault(f"bottom 0 has shape {images}: the window spans {reach} pixels, with pad {param.pad}")
        if tuple(offsets) != expected:
            raise ShapeFault(
                f"the offsets have shape {offsets}, not {expected}: two numbers for each pixel of the window, and for "
                "each deformable_group, at each position of the top (a Convolution with this kernel_size, stride, pad "
                "and dilation gives that size)"
            )
        return [(images[0], param.num_output, *size)]

    def forward(self, xs):
        x, offsets = xs
        groups, points = self._groups(x), self._points(offsets)
        corners = [corners_of(self.xp, *points[i], x.shape[2:]) for i in range(len(groups))]
        parts = [sampled(self.xp, image, own) for image, own in zip(groups, corners, strict=True)]
        columns = self._columns(parts, offsets.shape)
        y = self._by_group(self.params[0].data) @ columns
        if self.keep:
            self.saved = groups, corners, columns, x.shape, offsets.shape
        y = y.reshape(len(x), self.param.num_output, *offsets.shape[2:])
        return [y + self.params[1].data[:, None, None] if self.param.bias_term else y]

    def backward(self, dys, need):
        groups, corners, columns, shape, offsets_shape = self.saved
        per_group, area = self.param.num_output // self.param.group, math.prod(dys[0].shape[2:])
        dy = dys[0].reshape(shape[0], self.param.group, per_group, area)
        weights, *bias = self.params
        if weights.grad is not None:
            weights.grad += (dy @ columns.swapaxes(2, 3)).sum(0).reshape(weights.shape)
        if bias and bias[0].grad is not None:
            bias[0].grad += dys[0].sum((0, 2, 3))
        if not any(need):
            return [None, None]
        dcolumns = self._by_group(weights.data).swapaxes(1, 2) @ dy  # (N, group, C / group * K, P)
        parts = dcolumns.reshape(shape[0], len(groups), groups[0].shape[1], self.param.kernel_size**2 * area)
        dx = doffsets = None
        if need[0]:
            dxs = [
                image_gradient(self.be, parts[:, i], own, image.shape)
                for i, (image, own) in enumerate(zip(groups, corners, strict=True))
            ]
            dx = self.xp.concatenate(dxs, axis=1).reshape(shape)
        if need[1]:
            gradients = [
                self.xp.stack(point_gradients(self.xp, parts[:, i], image, own))  # (2, N, K * P)
                for i, (image, own) in enumerate(zip(groups, corners, strict=True))
            ]
            stacked = self.xp.stack(gradients).reshape(len(groups), 2, shape[0], self.param.kernel_size**2, area)
            doffsets = stacked.transpose(2, 0, 3, 1, 4).astype(dys[0].dtype).reshape(offsets_shape)
        return [dx, doffsets]

    def to_onnx(self, graph, xs):
        (x, offsets), param, window = xs, self.param, self.param.kernel_size**2
        (images, channels, *size), (_, _, *out) = graph.sizes(x), graph.sizes(offsets)
        moved = graph.reshape(offsets, [-1, window, 2, *out])  # of each image and group
        sides = range(-param.pad, param.kernel_size * param.dilation - param.pad, param.dilation)
        pixels = list(itertools.product(sides, sides))
        points = []
        for axis, n in enumerate(out):
            shape = [-1, 1] if axis == 0 else [1, -1]
            position = graph.reshape(graph.cast(graph.arange(n), FLOAT) * float(param.stride), shape)
            position = graph.constant([[[pixel[axis]]] for pixel in pixels]) + position
            points.append(
                graph.reshape(
                    graph.gather(moved, graph.constant(axis, INT), 2) + position, [-1, window * out[0] * out[1]]
                )
            )
        groups = graph.reshape(x, [-1, channels // param.deformable_group, *size])
        columns = sampled_in(graph, groups, *points)
        rows = math.prod(self.params[0].shape[1:])
        columns = graph.reshape(columns, [images, param.group, rows, -1])
        weights = graph.param(0, (param.group, param.num_output // param.group, rows))
        y = graph.reshape(graph.node("MatMul", weights, columns), [images, param.num_output, *out])
        return [y + graph.param(1, (param.num_output, 1, 1)) if param.bias_term else y]

    def macs(self, bottom_shapes, top_shapes):
        return math.prod(top_shapes[0]) * math.prod(self.params[0].shape[1:])

    def _groups(self, x):
        """The flat images of each group of channels that share their offsets."""
        return self.xp.split(x.reshape(*x.shape[:2], math.prod(x.shape[2:])), self.param.deformable_group, axis=1)

    def _points(self, offsets):
        """(groups, 2, N, K * P): the rows and columns that are looked at, pixel of the window by pixel."""
        xp, param, (n, _, *size) = self.xp, self.param, offsets.shape
        steps = xp.arange(param.kernel_size) * param.dilation - param.pad
        positions = [xp.arange(length) * param.stride for length in size]
        rows = (steps[:, None, None, None] + positions[0][:, None]).astype(offsets.dtype)  # (k, 1, H', 1)
        columns = (steps[:, None, None] + positions[1]).astype(offsets.dtype)  # (k, 1, W')
        moved = offsets.reshape(n, param.deformable_group, param.kernel_size, param.kernel_size, 2, *size)
        points = [moved[:, :, :, :, 0] + rows, moved[:, :, :, :, 1] + columns]
        flat = (param.deformable_group, 2, n, param.kernel_size**2 * math.prod(size))
        return xp.stack(points).transpose(2, 0, 1, 3, 4, 5, 6).reshape(flat)

    def _columns(self, parts, offsets_shape):
        """(N, group, C / group * K, P) of the samples of each deformable group, (N, C / groups, K * P)."""
        joined = self.xp.concatenate(parts, axis=1)
        rows = math.prod(self.params[0].shape[1:])
        return joined.reshape(offsets_shape[0], self.param.group, rows, math.prod(offsets_shape[2:]))

    def _by_group(self, weights):
        """The weights as a matrix for each group."""
        return weights.reshape(self.param.group, self.param.num_output // self.param.group, -1)
