"""Convolutions on the GPU: through cuDNN, or through im2col and cuBLAS where it is missing or has no engine; bilinear
upsampling by channel, and the gradient of biases, by own kernels."""

from __future__ import annotations

import contextlib
import itertools
import math

import numpy as np

from demitasse.layers.backend.dispatch import takes
from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.layers.backend.gpu.launch import launch
from demitasse.layers.backend.gpu.nhwc import NhwcTensor
from demitasse.layers.backend.reference import convolution as reference

POINTWISE = ConvGeometry((1, 1), (1, 1), (0, 0), (1, 1))
COLUMN_BYTES = 256 << 20  # a strip of im2col columns; a whole image's can be over 1 GB


@takes(lambda x, *_, **__: x.ndim == 4)
def conv_forward(be, x, w, b, geom, relu=None, out=None, scale=None, residual=None, repeats=False):
    if residual is not None:
        y = conv_forward(be, x, w, b, geom, scale=scale)
        return be.weighted_sum([y, residual], [1, 1], relu)
    if be.derived.holds(scale):
        w, scale = _times_outputs(be, w, scale), None
    if scale is not None:
        return _scaled(be, conv_forward(be, x, w, None, geom), scale, b, relu)
    flat = np.isscalar(relu) and relu == 0  # cuDNN's epilogue knows ReLU without a negative slope
    done = _cudnn(be, "forward", x, w, b, geom, flat)
    if done is not None:
        y, fused = done
        if not fused:
            return _epilogue(be, y, b, relu)
        return y if flat else _epilogue(be, y, None, relu)
    x = be.to_nchw(x)
    y = be.empty((len(x), len(w), *geom.out_size(x.shape[2:])))
    if not x.size:
        return y
    rows, flat = _weight_rows(w, geom), _grouped_rows(y, geom)
    for image, group, strip, cols in _strips(be, x, geom):
        flat[image, group, :, strip] = be.matmul(rows[group], cols)
    return _epilogue(be, y, b, relu)


@takes(lambda dy, *_, **__: dy.ndim == 4)
def conv_backward_data(be, dy, w, geom, spatial, b=None, relu=None, diagonal=False, out=None, scale=None):
    if scale is not None:
        dx = conv_backward_data(be, dy, w, geom, spatial, diagonal=diagonal)
        return _scaled(be, dx, scale, b, relu)
    if diagonal and set(geom.dilation) == {1}:
        return _upsample_channels(be, dy, w, geom, spatial, b, relu)
    x = _cudnn(be, "backward_data", dy, w, geom, spatial)
    if x is None:
        x = _columns_to_image(be, dy, w, geom, spatial)
    return _epilogue(be, x, b, relu)


@takes(lambda x, dy, geom, dw: x.ndim == 4)
def conv_backward_weights(be, x, dy, geom, dw):
    if x.size and not _cudnn(be, "backward_weights", x, dy, geom, dw):
        x, dy = be.to_nchw(x), be.to_nchw(dy)
        rows, flat = _weight_rows(dw, geom), _grouped_rows(dy, geom)
        for image, group, strip, cols in _strips(be, x, geom):
            be.matmul(flat[image, group, :, strip], cols, out=rows[group], add=True, tb=True)


def conv_backward(be, x, dy, w, geom, dw, need):
    # both gradients take the same copy of dy
    with contextlib.nullcontext() if be.cudnn is None else be.cudnn.one_gradient():
        return reference.conv_backward(be, x, dy, w, geom, dw, need)


def frozen_weights(be):
    return be.derived.frozen()


def invalidate_weight_cache(be):
    be.derived.invalidate()


def _cudnn(be, direction, first, *args):
    """cuDNN's answer, or None where there is no cuDNN, no engine of it for these shapes, or nothing to compute."""
    if be.cudnn is None or not first.size:
        return None
    return getattr(be.cudnn, direction)(first, *args)


def _columns_to_image(be, dy, w, geom, spatial):
    dy = be.to_nchw(dy)
    n, channels = len(dy), w.shape[1] * geom.group
    x = be.zeros((n, channels, *spatial))
    if not dy.size:
        return x
    rows, flat = _weight_rows(w, geom), _grouped_rows(dy, geom)
    group_geom = geom._replace(group=1)
    each = channels // geom.group
    for image, group, strip in _strip_slices(n, geom.group, each * math.prod(geom.kernel), flat.shape[3]):
        cols = be.matmul(rows[group], flat[image, group, :, strip], ta=True)
        part = x[image, group * each : (group + 1) * each]
        launch(
            be,
            "convolution",
            "col2im",
            part.size,
            cols,
            part,
            np.int64(strip.start),
            np.int64(strip.stop - strip.start),
            _conv_constants(be, group_geom, (each, *spatial), dy.shape[2:]),
        )
    return x


def _strips(be, x, geom):
    """(image, group, slice of output pixels, their columns (rows, pixels)) of x."""
    out, each = geom.out_size(x.shape[2:]), x.shape[1] // geom.group
    if geom == POINTWISE._replace(group=geom.group):  # the columns are the image
        for image, group in itertools.product(range(len(x)), range(geom.group)):
            cols = x[image, group * each : (group + 1) * each].reshape(each, math.prod(out))
            yield image, group, slice(0, math.prod(out)), cols
        return
    rows = each * math.prod(geom.kernel)
    constants = _conv_constants(be, geom, (each, *x.shape[2:]), out)
    for image, group, strip in _strip_slices(len(x), geom.group, rows, math.prod(out)):
        cols = be.empty((rows, strip.stop - strip.start))
        launch(
            be,
            "convolution",
            "im2col",
            cols.size,
            x[image, group * each : (group + 1) * each],
            cols,
            np.int64(strip.start),
            np.int64(cols.shape[1]),
            constants,
        )
        yield image, group, strip, cols


def _strip_slices(images, groups, rows, pixels):
    width = max(1, COLUMN_BYTES // (4 * max(rows, 1)))
    for image, group, start in itertools.product(range(images), range(groups), range(0, pixels, width)):
        yield image, group, slice(start, min(start + width, pixels))


def is_diagonal(be, w):
    return be.diagonals.look_up(be, w)


def _upsample_channels(be, x, w, geom, spatial, b, relu):
    x = be.to_nchw(x)
    y = be.empty((*x.shape[:2], *spatial))
    launch(
        be,
        "convolution",
        "upsample_channels",
        y.size,
        x,
        w,
        be.diagonals.flag(be, w),
        b,
        y,
        np.int64(y.size),
        _conv_constants(be, geom, y.shape[1:], x.shape[2:]),
    )
    return y if relu is None else _epilogue(be, y, None, relu)


@takes(lambda dy, w, geom: dy.ndim == 4 and set(geom.dilation) == {1})
def upsample_backward(be, dy, w, geom):
    dy = be.to_nchw(dy)
    dx = be.empty((*dy.shape[:2], *geom.out_size(dy.shape[2:])))
    launch(
        be,
        "convolution",
        "upsample_channels_backward",
        dx.size,
        dy,
        w,
        be.diagonals.flag(be, w),
        dx,
        np.int64(dx.size),
        _conv_constants(be, geom, dy.shape[1:], dx.shape[2:]),
        blocks=min(-(-dx.size // 8), 1 << 20),
    )
    return dx


def bias_backward(be, dy, db):
    if not dy.size:
        return
    scale = None
    if isinstance(dy, NhwcTensor):
        partial, scale = dy.layout.channel_sums(dy), dy.scale
    else:
        partial = _channel_sums_of(be, dy)
    channels, strips = partial.shape
    launch(
        be,
        "convolution",
        "add_row_sums",
        channels,
        partial,
        db,
        scale,
        np.int64(channels),
        np.int32(strips),
        blocks=channels,
    )


def _channel_sums_of(be, dy):
    """(C, strips): the sum of each strip of pixels."""
    n, channels, inner = len(dy), dy.shape[1], math.prod(dy.shape[2:])
    strips = max(1, min(n * inner // 4096, 64))
    partial = be.empty((channels, strips))
    launch(
        be,
        "convolution",
        "channel_sums",
        dy.size,
        dy,
        partial,
        np.int32(channels),
        np.int32(strips),
        np.int64(n),
        np.int32(inner),
        blocks=channels * strips,
    )
    return partial


def _conv_constants(be, geom, data_shape, out):
    return be.runtime.constants((*data_shape, *out, *geom.kernel, *geom.stride, *geom.pad, *geom.dilation))


def _times_outputs(be, w, scale):
    """The weights (K, ...) times a scale (K,), both frozen: the scale then costs nothing."""

    def make(sources, outs):
        w, scale = sources
        be.xp.multiply(w, scale.reshape(-1, *(1,) * (w.ndim - 1)), out=outs[0])

    return be.derived.arrays("scaled", (w, scale), lambda: (be.empty(w.shape),), make)[0]


def _scaled(be, y, scale, b, relu):
    return be.affine(y, None, scale, b, relu)


def _epilogue(be, y, b, relu):
    if relu is not None and not np.isscalar(relu):
        return be.prelu_forward(_epilogue(be, y, b, None), relu)
    if b is None and relu is None:
        return y
    inner, scale, slope = math.prod(y.shape[2:]), None, np.float32(1 if relu is None else relu)
    if isinstance(y, NhwcTensor):
        inner, scale, y = 1, y.scale, NhwcTensor(y.layout, y.array)
    sizes = np.int64(y.size), np.int32(y.shape[1]), np.int32(inner), slope
    if scale is None and b is not None:
        launch(be, "elementwise", "affine", y.size, y, None, None, b, y, *sizes)
    else:
        launch(be, "elementwise", "bias_relu", y.size, y, b, scale, *sizes)
    return y


def _weight_rows(w, geom):
    """(group, outputs, C/group * kernel) of weights."""
    return w.reshape(geom.group, len(w) // geom.group, math.prod(w.shape[1:]))


def _grouped_rows(y, geom):
    """(N, group, channels of a group, pixels) of y (N, C, h, w)."""
    return y.reshape(len(y), geom.group, y.shape[1] // geom.group, math.prod(y.shape[2:]))
