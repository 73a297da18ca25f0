"""Convolution: cross-correlation with learned kernels over one, two, three or more spatial axes.

    out = floor((in + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1

Weights are (num_output, channels / group, kernel...), the bias (num_output,).  Several bottoms share them.
"""

from __future__ import annotations

import math

from demitasse.layers.affine import Affine, composed
from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.layers.layer import Layer, Param, Shape, axis_index
from demitasse.layers.onnx.windows import conv_attrs, on_images
from demitasse.proto.errors import SchemaFault, ShapeFault


class Convolution(Layer):
    type = "Convolution"
    launches_only = True
    bottoms = tops = (1, None)
    same_count = True
    onnx_operator = "Conv"
    fuses_relu = writes_into = takes_nhwc = multiplies = True
    drawn_as = "filter"

    @property
    def fuses_affine(self):
        return self.axis == 1

    @property
    def fuses_residual(self):
        return self.axis == 1

    @property
    def takes_repeated(self):
        """Also: forward takes `repeats`, whether its only top may be such an image."""
        return self.type == "Convolution" and self.axis == 1 and len(self.geometry.kernel) == 2

    def setup(self, shapes):
        param = self.spec.convolution_param
        self.axis = axis_index(param.axis, shapes[0])
        self.channels = shapes[0][self.axis]
        self.outputs = param.num_output
        self.geometry = read_geometry(param, len(shapes[0]) - self.axis - 1)
        self._check_counts(param)
        params = [Param((*self._kernel_shape(), *self.geometry.kernel), param.weight_filler)]
        if param.bias_term:
            params.append(Param((self.outputs,), param.bias_filler))
        return params

    def infer(self, shapes):
        return [self._top_shape(shape) for shape in shapes]

    def forward(self, xs, relu=None, out=None, affine=None, residual=None, repeats=False):
        weight, scale, bias = self._weight_and_outputs(affine)
        if residual is not None or repeats:
            ys = [self.be.conv_forward(xs[0], weight, bias, self.geometry, relu, out, scale, residual, repeats)]
        else:
            ys = [self._forward_one(x, weight, scale, bias, relu, out) for x in xs]
        if self.keep:
            self.saved = xs, ys if relu is not None else None
        return ys

    def backward(self, dys, need, relu=None):
        xs, ys = self.saved
        dxs = [None] * len(xs)
        for i, (x, dy) in enumerate(zip(xs, dys, strict=True)):
            if dy is not None:
                dy = self._outputs_backward(dy, None if relu is None else ys[i], relu)
                dxs[i] = self._backward_one(x, dy, need[i])
        return dxs

    def to_onnx(self, graph, xs):
        params = self.onnx_params(graph)

        def convolved(x):
            attrs, pad = conv_attrs(self.geometry), self.geometry.pad
            if any(pad) and set(self.geometry.kernel) == {1} and self.onnx_operator == "Conv":
                x = graph.pad(
                    x, [0, 0, *pad], [0, 0, *pad]
                )  # a Pad of its own: OpenCV 5 passes that of a Conv 1x1 over
                attrs["pads"] = [0] * len(attrs["pads"])
            return graph.node(self.onnx_operator, x, *params, **attrs)

        return [on_images(graph, x, self.axis, convolved) for x in xs]

    def onnx_params(self, graph) -> list:
        """The weights and, where there is one, the bias that the operator takes."""
        return [graph.param(i) for i in range(len(self.params))]

    def coords(self):
        shifts = [(p - d * (k - 1) / 2) / s for k, s, p, d in self._per_axis()]
        return self.axis + 1, tuple(1 / s for s in self.geometry.stride), tuple(shifts)

    def window(self):
        return tuple(d * (k - 1) + 1 for k, _, _, d in self._per_axis())

    def macs(self, bottom_shapes, top_shapes):
        return sum(self.params[0].count * self._pixels(shape) for shape in top_shapes)

    # What Deconvolution turns round: which sizes the channels and the pixels have, and which way they go.

    def _kernel_shape(self):
        return self.outputs, self.channels // self.geometry.group

    def _out_size(self, spatial):
        return self.geometry.out_size(spatial)

    def _forward_one(self, x, weight, scale, bias, relu, out):
        y = self.be.conv_forward(self._images(x), weight, bias, self.geometry, relu, out, scale)
        return y if self.axis == 1 else y.reshape(*x.shape[: self.axis], *y.shape[1:])

    def _backward_one(self, x, dy, need):
        """dx if needed; adds to the weights' gradient."""
        weight = self.params[0]
        dx = self.be.conv_backward(self._images(x), dy, weight.data, self.geometry, weight.grad, need)
        return dx if dx is None or self.axis == 1 else dx.reshape(x.shape)

    # Helpers of both.

    def _weight_and_outputs(self, affine):
        """(weight, scale or None, bias or None): what each output is multiplied with and what is added to it."""
        weight, bias = self.params[0].data, self.params[1].data if len(self.params) > 1 else None
        if bias is None or affine is None:
            return weight, *(affine or (None, bias))
        return weight, *composed(self.be, Affine(None, bias), affine)

    def _outputs_backward(self, dy, y, relu):
        """The gradient (N, outputs, spatial...) before bias and ReLU; adds to the bias's gradient."""
        dy, dbias = self._images(dy), self.params[1].grad if len(self.params) > 1 else None
        if relu is not None:
            return self.be.affine_backward(dy, None, None, None, dbias, self._images(y), relu)
        if dbias is not None:
            self.be.bias_backward(dy, dbias)
        return dy

    def _images(self, x):
        """(N, channels, spatial...): all axes before the channels are one batch."""
        return x if self.axis == 1 else x.reshape(math.prod(x.shape[: self.axis]), *x.shape[self.axis :])

    def _pixels(self, shape):
        return math.prod(shape[: self.axis]) * math.prod(shape[self.axis + 1 :])

    def _per_axis(self):
        g = self.geometry
        return list(zip(g.kernel, g.stride, g.pad, g.dilation, strict=True))

    def _check_counts(self, param):
        group = param.group
        if self.outputs == 0:
            raise SchemaFault("num_output is missing or 0: write convolution_param { num_output: <channels> }")
        if group == 0:
            raise SchemaFault("group must be at least 1")
        for what, count in (("number of the bottom's channels", self.channels), ("num_output", self.outputs)):
            if count % group:
                raise ShapeFault(f"the {what}, {count}, cannot be divided by group, {group}: make it a multiple")

    def _top_shape(self, shape: Shape) -> Shape:
        if len(shape) != self.axis + 1 + len(self.geometry.kernel):
            expected = f"{self.axis + 1 + len(self.geometry.kernel)} axes expected"
            raise ShapeFault(f"the bottom has shape {shape}: {expected}{self._rearranged(shape)}")
        if shape[self.axis] != self.channels:
            raise ShapeFault(
                f"the bottom has {shape[self.axis]} channels, but the weights are for {self.channels}: "
                f"channels cannot change, only the other sizes{self._rearranged(shape)}"
            )
        out = self._out_size(shape[self.axis + 1 :])
        if min(out) < 1:
            raise ShapeFault(self._too_small(shape[self.axis + 1 :], out))
        return (*shape[: self.axis], self.outputs, *out)

    def _rearranged(self, shape: Shape) -> str:
        """What makes a batch of an image that is alone or has its channels last; may be empty."""
        last = self.axis == 1 and shape[-1] == self.channels
        if len(shape) == 4 and last:
            return "; channels come before height and width: array.transpose(0, 3, 1, 2)"
        if len(shape) == 3 and last:
            return "; a batch of this image is array.transpose(2, 0, 1)[None]"
        if len(shape) == 3 and self.axis == 1 and shape[0] == self.channels:
            return "; a batch of this image is array[None]"
        return ""

    def _too_small(self, spatial, out):
        extent = [d * (k - 1) + 1 for k, _, _, d in self._per_axis()]
        padded = [n + 2 * p for n, (_, _, p, _) in zip(spatial, self._per_axis(), strict=True)]
        return (
            f"a kernel that reaches over {by(extent)} pixels does not fit into the bottom's {by(spatial)} "
            f"({by(padded)} with pad): use a larger bottom, a smaller kernel_size or more pad"
        )


def read_geometry(param, axes: int) -> ConvGeometry:
    """The geometry that a ConvolutionParameter says for so many spatial axes; SchemaFault where it cannot be."""
    if axes < 1:
        raise ShapeFault("there is no spatial axis after the channels (`axis`): a convolution needs at least one")
    kernel = _sizes(param, "kernel_size", "kernel", axes, least=1)
    stride = _sizes(param, "stride", "stride", axes, least=1, default=1)
    pad = _sizes(param, "pad", "pad", axes, least=0, default=0)
    dilation = _sizes(param, "dilation", None, axes, least=1, default=1)
    return ConvGeometry(kernel, stride, pad, dilation, param.group)


def _sizes(param, field, short, axes, least, default=None):
    """One size per spatial axis: from the repeated field (none, one for all, or one each) or from its _h and _w."""
    values = list(getattr(param, field))
    pair = [f"{short}_h", f"{short}_w"] if short and any(map(param.HasField, (f"{short}_h", f"{short}_w"))) else []
    if pair and values:
        raise SchemaFault(f"{field} and {pair[0]}/{pair[1]} are both given: write one of the two forms")
    if pair and axes != 2:
        raise SchemaFault(
            f"{pair[0]} and {pair[1]} are for 2 spatial axes, here are {axes}: write {field} once for each"
        )
    if pair:
        missing = [name for name in pair if not param.HasField(name)]
        if missing and default != 0:
            raise SchemaFault(f"{missing[0]} is missing beside {(set(pair) - set(missing)).pop()}")
        values = [getattr(param, name) for name in pair]
    if not values and default is None:
        raise SchemaFault(f"{field} is missing: write convolution_param {{ {field}: 3 }}, or {short}_h and {short}_w")
    values = values or [default]
    if len(values) not in (1, axes):
        raise SchemaFault(
            f"{field} is given {len(values)} times for {axes} spatial axes: give one for all, or one each"
        )
    if min(values) < least:
        raise SchemaFault(f"{field} must be at least {least}, not {min(values)}")
    return tuple(int(v) for v in values) * (axes if len(values) == 1 else 1)


def by(sizes) -> str:
    """Sizes as in 3x5."""
    return "x".join(str(n) for n in sizes)
