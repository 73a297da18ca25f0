"""ColinearConvolution (exp_caffe): a convolution with the products of any two pixels of the window as well.

With the P values v of a window (channels, rows, columns), y = v' Q v + w v + b.  Params: b (1, 1, 1, num_output),
w (num_output, C / group, k, k), Q (1, num_output, P, P); each counts with bias_term, linear_term, quadratic_term only,
and is (1, 1, 1, num_output) without effect otherwise.  `symmetric`: only Q's upper half counts, and stands for both.

Source: the fork's behaviour, written down as a quadratic form.
"""

from __future__ import annotations

from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import SchemaFault, ShapeFault


class ColinearConvolution(Layer):
    type = "ColinearConvolution"

    def setup(self, shapes):
        (shape,), param = shapes, self.spec.colinear_convolution_param
        if len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: 4 axes (N, C, height, width) expected")
        if not param.num_output or not param.kernel_size or not param.stride:
            raise SchemaFault("num_output and kernel_size are needed, and a stride of at least 1")
        if not param.group or shape[1] % param.group or param.num_output % param.group:
            raise ShapeFault(f"{shape[1]} channels and num_output {param.num_output} are no multiples of {param.group}")
        self.channels = shape[1]
        k, self.linear = param.kernel_size, param.linear_term
        self.geometry = ConvGeometry((k, k), (param.stride,) * 2, (param.pad,) * 2, (1, 1), param.group)
        none, values = (1, 1, 1, param.num_output), shape[1] * k * k
        bias = Param(none, param.bias_filler if param.bias_term else None)
        linear = (param.num_output, shape[1] // param.group, k, k)
        quadratic = (1, param.num_output, values, values)
        return [
            bias,
            Param(linear, param.linear_weight_filler) if self.linear else Param(none),
            Param(quadratic, param.quadratic_weight_filler) if param.quadratic_term else Param(none),
        ]

    def infer(self, shapes):
        (shape,) = shapes
        if len(shape) != 4 or shape[1] != self.channels:
            raise ShapeFault(f"the bottom has shape {shape}: (N, {self.channels}, height, width) expected")
        out = self.geometry.out_size(shape[2:])
        if min(out) < 1:
            raise ShapeFault(f"a kernel of {self.geometry.kernel} does not fit into the bottom's {shape[2:]} with pad")
        return [(shape[0], self.spec.colinear_convolution_param.num_output, *out)]

    def forward(self, xs):
        be, (x,), param = self.be, xs, self.spec.colinear_convolution_param
        bias, weight, _ = self.params
        y = be.zeros(self.infer([x.shape])[0])
        if self.linear:
            y = y + be.conv_forward(x, weight.data, None, self.geometry)
        windows = None
        if param.quadratic_term:
            windows, squares = self._windows(x), self._matrices()
            for m, square in enumerate(squares):
                y[:, m] += (windows * be.matmul(windows, square)).sum(1).reshape(len(x), *y.shape[2:])
        if param.bias_term:
            y += bias.data.reshape(1, -1, 1, 1)
        if self.keep:
            self.saved = x, windows
        return [y]

    def backward(self, dys, need):
        be, param, (x, windows), dy = self.be, self.spec.colinear_convolution_param, self.saved, dys[0]
        bias, weight, quadratic = self.params
        if param.bias_term and bias.grad is not None:
            be.bias_backward(dy, bias.grad.reshape(-1))
        dx = be.zeros(x.shape) if need[0] else None
        if self.linear:
            part = be.conv_backward(x, dy, weight.data, self.geometry, weight.grad, need[0])
            dx = dx + part if need[0] else None
        if param.quadratic_term:
            dwindows = be.zeros(windows.shape)
            for m, square in enumerate(self._matrices()):
                weighted = windows * dy[:, m].reshape(-1, 1)
                if quadratic.grad is not None:
                    dsquare = be.matmul(windows, weighted, ta=True)
                    quadratic.grad[0, m] += self._folded(dsquare) if param.symmetric else dsquare
                if need[0]:
                    dwindows += be.matmul(weighted, square) + be.matmul(weighted, square, tb=True)
            if need[0]:
                pixels, values = dy.shape[2] * dy.shape[3], windows.shape[1]
                columns = dwindows.reshape(len(x), pixels, values).swapaxes(1, 2)
                columns = self.xp.ascontiguousarray(columns).reshape(len(x), values, *dy.shape[2:])
                dx += be.col2im(columns, self.geometry._replace(group=1), self.channels, x.shape[2:])
        return [dx]

    def macs(self, bottom_shapes, top_shapes):
        n, _, *out = top_shapes[0]
        return n * out[0] * out[1] * sum(param.count for param in self.params[1:])

    def _windows(self, x):
        """A row of P values for each pixel of the top."""
        columns = self.be.im2col(x, self.geometry._replace(group=1))
        n, values, height, width = columns.shape
        columns = columns.reshape(n, values, height * width).swapaxes(1, 2)
        return self.xp.ascontiguousarray(columns).reshape(n * height * width, values)

    def _matrices(self):
        """Q of each output (P, P)."""
        squares, xp = self.params[2].data[0], self.xp
        if not self.spec.colinear_convolution_param.symmetric:
            return squares
        return xp.triu(squares) + xp.triu(squares, 1).swapaxes(1, 2)

    def _folded(self, square):
        """The gradient of the upper half, which stands for both."""
        return self.xp.triu(square) + self.xp.triu(square.T, 1)
