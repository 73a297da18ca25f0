"""Correlation (FlowNet): how alike the patches of two images' features are, for each displacement between them.

Bottoms (N, C, H, W), both padded by `pad` zeros.  A position of the top is a patch of kernel_size pixels in bottom 0,
every stride_1 pixels, so that all that it is compared with lies in the padded bottom 1.  The top's channels are
displacements, multiples of stride_2 up to max_displacement, row by row, from the left; with `single_direction` those
along the row alone, -1 to the left, 1 to the right.  The value is the mean over patch and channels of the products;
with `correlation_type: SUBTRACT`, or `do_abs`, of the absolute differences.

Source: "FlowNet: Learning optical flow with convolutional networks" (Fischer et al., 2015), 3; the one direction:
"A large dataset to train convolutional networks for disparity" (Mayer et al., 2016).
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import CorrelationParameter


class Correlation(Layer):
    type = "Correlation"
    bottoms = (2, 2)

    def setup(self, shapes):
        param = self.param = self.spec.correlation_param
        if param.kernel_size % 2 == 0 or not param.stride_1 or not param.stride_2:
            raise SchemaFault(
                f"kernel_size: {param.kernel_size}, stride_1: {param.stride_1}, stride_2: {param.stride_2}: an odd "
                "kernel_size and strides of 1 or more are needed"
            )
        if param.single_direction not in (-1, 0, 1):
            raise SchemaFault(f"single_direction: {param.single_direction}: -1, 0 and 1 are known")
        radius = param.max_displacement // param.stride_2
        steps = [step * param.stride_2 for step in range(-radius, radius + 1)]
        along = {0: steps, -1: steps[: radius + 1], 1: steps[radius:]}[param.single_direction]
        self.displacements = [(dy, dx) for dy in ([0] if param.single_direction else steps) for dx in along]
        self.subtract = param.correlation_type == CorrelationParameter.SUBTRACT or param.do_abs
        return []

    def infer(self, shapes):
        param, shape = self.param, shapes[0]
        if len(shape) != 4 or shapes[1] != shape:
            raise ShapeFault(f"bottoms of shapes {shape} and {shapes[1]}: two of the same (N, C, H, W) are needed")
        border = param.kernel_size - 1 + 2 * param.max_displacement
        sizes = [-(-(n + 2 * param.pad - border) // param.stride_1) for n in shape[2:]]
        if min(sizes) < 1:
            raise ShapeFault(
                f"bottoms of {shape[2]}x{shape[3]} with pad {param.pad} have no room for max_displacement "
                f"{param.max_displacement} on each side and kernel_size {param.kernel_size}: raise pad"
            )
        return [(shape[0], len(self.displacements), *sizes)]

    def forward(self, xs):
        xp, ((_, _, height, width),) = self.xp, self.infer([x.shape for x in xs])
        padded = [self._padded(x) for x in xs]
        if self.keep:
            self.saved = padded
        tops = []
        for displacement in self.displacements:
            value = 0
            for first, second in self._pairs(padded, displacement, height, width):
                value = value + (abs(first - second) if self.subtract else first * second).sum(1)
            tops.append(value / self._elements(xs[0]))
        return [xp.stack(tops, axis=1)]

    def backward(self, dys, need):
        xp, padded, (dy,) = self.xp, self.saved, dys
        grads = [xp.zeros_like(each) for each in padded]
        for k, displacement in enumerate(self.displacements):
            each = dy[:, k : k + 1] / self._elements(padded[0])
            pairs = self._pairs(padded, displacement, *dy.shape[2:])
            for (first, second), (to_first, to_second) in zip(
                pairs, self._pairs(grads, displacement, *dy.shape[2:]), strict=True
            ):
                if self.subtract:
                    sign = xp.sign(first - second) * each
                    to_first += sign
                    to_second -= sign
                else:
                    to_first += second * each
                    to_second += first * each
        pad = self.param.pad
        grads = [grad[:, :, pad : grad.shape[2] - pad, pad : grad.shape[3] - pad] for grad in grads]
        return [xp.ascontiguousarray(grad) if wanted else None for grad, wanted in zip(grads, need, strict=True)]

    def to_onnx(self, graph, xs):
        param, reach = self.param, self.param.max_displacement
        pad = [0, 0, param.pad, param.pad]
        first, second = (graph.pad(x, pad, pad) for x in xs)
        height, width = (n + (2 * param.pad - 2 * reach) for n in graph.sizes(xs[0])[2:])

        def part(x, down, right):
            top, left = reach + down, reach + right
            return graph.slice(x, [top, left], [height + top, width + left], [2, 3])

        centre, maps = part(first, 0, 0), []
        for displacement in self.displacements:
            other = part(second, *displacement)
            likeness = graph.node("Abs", centre - other) if self.subtract else centre * other
            maps.append(graph.mean(likeness, [1]))
        y, patch = graph.concat(maps, 1), [param.kernel_size] * 2
        return [graph.node("AveragePool", y, kernel_shape=patch, strides=[param.stride_1] * 2)]

    def _padded(self, x):
        pad = self.param.pad
        return self.xp.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))

    def _elements(self, x):
        return max(1, x.shape[1]) * self.param.kernel_size**2

    def _pairs(self, arrays, displacement, height, width):
        """For each pixel of a patch: where it lies in bottom 0 and, displaced, in bottom 1, as views."""
        size, stride = self.param.kernel_size, self.param.stride_1
        for y in range(size):
            for x in range(size):
                views = []
                for array, (down, right) in zip(arrays, [(0, 0), displacement], strict=True):
                    top, left = (self.param.max_displacement + each for each in (y + down, x + right))
                    rows = slice(top, top + (height - 1) * stride + 1, stride)
                    views.append(array[:, :, rows, left : left + (width - 1) * stride + 1 : stride])
                yield views
