"""Convolutions and their gradients on the CPU, each by the algorithm that conv/algorithm.py chooses."""

from __future__ import annotations

import functools
import math

import numpy as np

from demitasse.layers.backend.contract.memory import NotRecordable
from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.allocator import current
from demitasse.layers.backend.cpu.axes import by_channel
from demitasse.layers.backend.cpu.conv import polyphase, polyphase_transposed, repeated_rows
from demitasse.layers.backend.cpu.conv.algorithm import TILES, ConvPlan, conv_plan, group_shape, tile_size
from demitasse.layers.backend.cpu.conv.depthwise_backward import (
    depthwise_backward_data,
    depthwise_backward_weights,
    is_depthwise,
)
from demitasse.layers.backend.cpu.conv.direct_backward import (
    direct_backward_data,
    direct_backward_data_diagonal,
    direct_backward_weights,
)
from demitasse.layers.backend.cpu.conv.direct_forward import run_direct_forward
from demitasse.layers.backend.cpu.conv.dot_backward import are_few, dot_backward_weights
from demitasse.layers.backend.cpu.conv.plan import ConvShape, result
from demitasse.layers.backend.cpu.conv.pointwise_backward import pointwise_backward_data
from demitasse.layers.backend.cpu.conv.repeated_image import RepeatedImage
from demitasse.layers.backend.cpu.conv.residual import add_residual
from demitasse.layers.backend.cpu.conv.winograd_backward_data import winograd_backward_data
from demitasse.layers.backend.cpu.conv.winograd_backward_weights import winograd_backward_weights
from demitasse.layers.backend.cpu.conv.winograd_forward import run_winograd_forward, winograd_forward
from demitasse.layers.backend.cpu.gemm_microkernel import fill, sum_of
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.operands import EMPTY, Outputs
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes
from demitasse.layers.backend.reference import convolution as reference


@takes(
    lambda x, w, b, geom, relu=None, out=None, scale=None, residual=None, repeats=False: (
        isinstance(x, RepeatedImage)
        or (x.ndim == 4 and floats(x, w) and x.size > 0 and (residual is None or floats(residual)))
    )
)
def conv_forward(be, x, w, b, geom, relu=None, out=None, scale=None, residual=None, repeats=False):
    outputs = _outputs(len(w), scale, b, relu, residual)
    padded = set(geom.kernel) == set(geom.stride) == {1} and any(geom.pad)
    plan, repeats = _plan(be, x.shape, len(w), geom), repeats and residual is None
    few = _few_rows(be, x, geom, repeats) if plan.repeats_rows else None
    if few is None:
        x = be.to_nchw(x)
    if not (padded or few):
        return _forward(be, plan, x, w, outputs, geom, out)
    own = outputs._replace(residual=EMPTY)  # not all outputs are computed
    y = _by_few_rows(be, few, w, own, geom) if few else _padded_pointwise(be, x, w, own, geom, out)
    if repeats and few:
        return y
    y = y.whole(be, out) if few else y
    if residual is not None:
        be.pool.run(_add_residual, 1, y.reshape(-1), outputs, math.prod(y.shape[2:]))
    return y


@takes(
    lambda dy, w, geom, spatial, b=None, relu=None, diagonal=False, out=None, scale=None: (
        dy.ndim == 4 and floats(dy, w) and dy.size > 0 and not (diagonal and geom.dilation != (1, 1))
    )
)
def conv_backward_data(be, dy, w, geom, spatial, b=None, relu=None, diagonal=False, out=None, scale=None):
    (n, k), channels, r = dy.shape[:2], w.shape[1] * geom.group, geom.kernel[0]
    outputs = _outputs(channels, scale, b, relu)
    dx = result(be, (n, channels, *spatial), out)
    if diagonal:
        shape = ConvShape.of(dx.shape, k, geom, dy.shape[2:])
        direct_backward_data_diagonal(be, shape, dy, w, outputs, dx)
        return dx
    if geom.is_pointwise:
        pointwise_backward_data(be, ConvShape.of(dx.shape, k, geom, dy.shape[2:]), dy, w, outputs, dx)
        return dx
    m = 0 if be.exact else tile_size(k // geom.group, w.shape[1], geom, tuple(spatial), n)
    if m and r == 3:  # a convolution with rotated kernels
        rotated = geom._replace(pad=tuple(r - 1 - p for p in geom.pad))
        plan = _plan(be, dy.shape, channels, rotated)
        if plan.tile:
            piece = group_shape(dy.shape, channels, rotated, plan.out)
            launch = winograd_forward(piece, plan.tile, be.pool.threads, r * r, w.shape[1] * r * r, True)
            for part_dy, part_w, part_outputs, part_dx in _groups(geom, dy, w, outputs, dx):
                run_winograd_forward(be, launch, part_dy, part_w, part_outputs, part_dx)
            return dx
    if m and relu is None and scale is None and (b is None or _all_zero(b)):
        piece = group_shape(dx.shape, k, geom, dy.shape[2:])
        for part_dy, part_w, _, part_dx in _groups(geom, dy, w, None, dx):
            winograd_backward_data(be, piece, TILES[r][-1], part_dy, part_w, part_dx)
        return dx
    shape = ConvShape.of(dx.shape, k, geom, dy.shape[2:])
    phases = polyphase_transposed.unstrided_transposed(geom, shape)
    if phases and not is_depthwise(shape):
        _by_phases(be, shape, dy, w, geom, phases, outputs, dx)
        return dx
    run = depthwise_backward_data if is_depthwise(shape) else direct_backward_data
    run(be, shape, dy, w, outputs, dx)
    return dx


def _by_phases(be, shape, dy, w, geom, over, outputs, dx):
    """The gradient of the input by a convolution without a stride, of the geometry `over`."""
    kernels = polyphase_transposed.kernels_to_phases(be, w, geom)
    plain = _outputs(len(kernels), None, None, None)
    phases = _forward(be, _plan(be, dy.shape, len(kernels), over), dy, kernels, plain, over)
    polyphase_transposed.phases_to_image(be, phases, shape, outputs, dx)


def _all_zero(b):
    """Whether a bias is all zero, as before a training."""
    if current.recorder is None:
        return not b.any()
    current.recorder.ask(_all_zero, b)
    return False


@takes(lambda x, dy, geom, dw: isinstance(x, RepeatedImage) or (x.ndim == 4 and floats(x, dy, dw) and dy.size > 0))
def conv_backward_weights(be, x, dy, geom, dw):
    k, plan = dy.shape[1], _plan(be, x.shape, dy.shape[1], geom)
    repeated = _repeated(be, x, geom) if plan.repeats_rows else None
    if repeated:
        x, dy = repeated_rows.small_image(be, x, *repeated), repeated_rows.small_gradients(be, dy, *repeated)
        geom = geom._replace(pad=(repeated[0].pad, repeated[1].pad))
        plan = _plan(be, x.shape, k, geom)
    _backward_weights(be, plan, be.to_nchw(x), dy, geom, dw)


def _backward_weights(be, plan, x, dy, geom, dw):
    """dw += the gradient of the weights of a convolution by its plan."""
    k = dy.shape[1]
    if plan.polyphase:
        x = polyphase.space_to_depth(be, x, geom, plan.out)
        deep = be.zeros((k, x.shape[1] // geom.group, *plan.polyphase.kernel))
        _backward_weights(be, _plan(be, x.shape, k, plan.polyphase), x, dy, plan.polyphase, deep)
        polyphase.add_depth_to_kernels(be, deep, dw, geom.stride[0])
    elif plan.tile:
        piece = group_shape(x.shape, k, geom, plan.out)
        for part_x, part_dw, _, part_dy in _groups(geom, x, dw, None, dy):
            winograd_backward_weights(be, piece, plan.tile, part_x, part_dy, part_dw)
    else:
        shape = ConvShape.of(x.shape, k, geom, plan.out)
        if is_depthwise(shape):
            depthwise_backward_weights(be, shape, x, dy, dw)
        elif are_few(shape):
            dot_backward_weights(be, shape, x, dy, dw)
        else:
            direct_backward_weights(be, shape, x, dy, dw)


def is_diagonal(be, w):
    if current.recorder is not None:
        raise NotRecordable("the weights tell how they are computed with")
    return reference.is_diagonal(be, w)


@takes(lambda dy, db: floats(dy, db))
def bias_backward(be, dy, db):
    area = dy.size // max(1, dy.shape[0] * dy.shape[1])
    be.pool.run(_bias_backward, 1, dy.reshape(-1), len(dy), area, db.reshape(-1))


def _repeated(be, x, geom):
    """The rows and columns that repeat, see repeated_rows; NotRecordable where there are some."""
    if current.recorder is None:
        return repeated_rows.find(be, x, geom.pad, geom.kernel[0])
    current.recorder.ask(functools.partial(repeated_rows.find, be), x, geom.pad, geom.kernel[0])
    return None


def _outputs(channels, scale, b, relu, residual=None) -> Outputs:
    """What becomes of so many channels."""
    affine, slope = (by_channel(channels, scale, 1.0), by_channel(channels, b, 0.0)), by_channel(channels, relu, 1.0)
    if residual is None:
        return Outputs(*affine, slope)
    return Outputs(*affine, by_channel(channels, None, 1.0), residual.reshape(-1), slope)


def _plan(be, x_shape, k_out, geom) -> ConvPlan:
    return conv_plan(x_shape, k_out, geom, be.exact, be.pool.threads)


def _forward(be, plan, x, w, outputs, geom, out=None):
    """y of a convolution by its plan."""
    size = plan.out
    if plan.polyphase:
        x = polyphase.space_to_depth(be, x, geom, size)
        w, geom = polyphase.kernels_to_depth(be, w, geom.stride[0]), plan.polyphase
        plan = _plan(be, x.shape, len(w), geom)
    y = result(be, (x.shape[0], len(w), *size), out)
    if plan.tile:
        for part_x, part_w, part_outputs, part_y in _groups(geom, x, w, outputs, y):
            run_winograd_forward(be, plan.launch, part_x, part_w, part_outputs, part_y)
    else:
        run_direct_forward(be, plan.launch, x, w, outputs, y)
    return y


def _padded_pointwise(be, x, w, outputs, geom, out):
    """y of a convolution whose border of outputs sees nothing but padding: it is not multiplied."""
    (pad_y, pad_x), (n, _, height, width) = geom.pad, x.shape
    geom, bias, slope = geom._replace(pad=(0, 0)), outputs.bias, outputs.slope
    inner = _forward(be, _plan(be, x.shape, len(w), geom), x, w, outputs, geom)
    y = result(be, (n, len(w), height + 2 * pad_y, width + 2 * pad_x), out)
    be.pool.run(_surround, 1, inner.reshape(-1), bias, slope, y.reshape(-1), (height, width), (pad_y, pad_x))
    return y


@kernel
def _surround(state, inner, bias, slope, y, size, pad):
    """Planes of y = those of `inner`, of that size, with `pad` rows and columns around them that are relu(bias)."""
    me, (height, width), (pad_y, pad_x) = enter(state), size, pad
    wide = width + 2 * pad_x
    area = (height + 2 * pad_y) * wide
    for plane in work(state, me, 0, y.size // area):
        b = bias[plane % bias.size]
        fill(y, plane * area, area, b if b > 0 else b * slope[plane % bias.size])
        for row in range(height):
            to = plane * area + (row + pad_y) * wide + pad_x
            copy(inner, (plane * height + row) * width, y, to, width)


def _few_rows(be, x, geom, repeats):
    """The FewRows of an image; None where it is to be convolved as it is."""
    return repeated_rows.few_rows(be, x, geom.pad, geom.kernel[0], lambda: _repeated(be, x, geom), repeats)


def _by_few_rows(be, few, w, outputs, geom):
    """y, a RepeatedImage, of a convolution of an image with rows and columns that repeat."""
    geom = geom._replace(pad=few.pad)
    small = _forward(be, _plan(be, few.image.shape, len(w), geom), few.image, w, outputs, geom)
    return RepeatedImage(small, few.rows, few.columns)


def _groups(geom, x, w, outputs, y):
    """Contiguous pieces (x, w, outputs, y) of each image and group; x and y may be either side."""
    if geom.group == 1:
        return [(x, w, outputs, y)]
    c, k, o = (n // geom.group for n in (x.shape[1], len(w), y.shape[1]))
    return [
        (
            x[i : i + 1, g * c : (g + 1) * c],
            w[g * k : (g + 1) * k],
            None if outputs is None else _outputs_of(outputs, i, slice(g * o, (g + 1) * o), y.shape),
            y[i : i + 1, g * o : (g + 1) * o],
        )
        for i in range(len(x))
        for g in range(geom.group)
    ]


def _outputs_of(outputs, image, channels, y_shape):
    """The Outputs of some channels of an image."""
    residual = outputs.residual
    if residual.size:
        residual = residual.reshape(y_shape)[image, channels].reshape(-1)
    scale, bias, slope, _, last_slope = (each[channels] for each in outputs)
    return Outputs(scale, bias, slope, residual, last_slope)


@kernel
def _add_residual(state, y, outputs, area):
    """y = relu(y + the residual of Outputs), planes of `area` pixels."""
    me = enter(state)
    for plane in work(state, me, 0, y.size // area):
        add_residual(outputs, y, plane * area, area, plane % outputs.last_slope.size)


@kernel
def _bias_backward(state, dy, n_images, area, db):
    """db[c] += the sum of dy (N, C, area): runs of 4096 in float32, those in float64."""
    me = enter(state)
    channels = db.size
    for c in work(state, me, 0, channels):
        total = 0.0
        for image in range(n_images):
            plane = (image * channels + c) * area
            for i in range(0, area, 4096):
                total += sum_of(dy, plane + i, min(4096, area - i))
        db[c] += np.float32(total)
