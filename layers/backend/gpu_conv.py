"""Convolutions on the GPU: through cuDNN, or through im2col and cuBLAS where it is missing or has no engine; bilinear
upsampling by channel, and the gradient of biases, by own kernels."""

from __future__ import annotations

import itertools
import math

import numpy as np

from demitasse.layers.backend.gpu_image import Image
from demitasse.layers.backend.reference import ReferenceBackend

COLUMN_BYTES = 256 << 20  # a strip of im2col columns; a whole image's can be over 1 GB


class GpuConvolutions(ReferenceBackend):
    """The primitives about convolutions of GpuBackend, which has the runtime and launches kernels.

    convolutions: cuDNN's, or None where cuDNN is missing.
    """

    convolutions = None

    def __init__(self, dtype: str = "float32"):
        self._beliefs: dict[int, _Belief] = {}  # by address
        self._fresh_flag = None, None
        super().__init__(dtype)

    def conv_forward(self, x, w, b, geom, relu=None, out=None):
        if x.ndim != 4:
            return super().conv_forward(x, w, b, geom, relu)
        flat = relu == 0  # cuDNN's epilogue knows the plain ReLU
        done = self._cudnn("forward", x, w, b, geom, flat)
        if done is not None:
            y, fused = done
            if not fused:
                return self._epilogue(y, b, relu)
            return y if flat else self._epilogue(y, None, relu)
        x = self.to_nchw(x)
        y = self.empty((len(x), len(w), *geom.out_size(x.shape[2:])))
        if not x.size:
            return y
        rows, flat = _weight_rows(w, geom), _grouped_rows(y, geom)
        for image, group, strip, cols in self._strips(x, geom):
            flat[image, group, :, strip] = self.matmul(rows[group], cols)
        return self._epilogue(y, b, relu)

    def conv_backward_data(self, dy, w, geom, spatial, b=None, relu=None, diagonal=False, out=None):
        if dy.ndim != 4:
            return super().conv_backward_data(dy, w, geom, spatial, b, relu, diagonal)
        if diagonal and set(geom.dilation) == {1}:
            return self._upsample_channels(dy, w, geom, spatial, b, relu)
        x = self._cudnn("backward_data", dy, w, geom, spatial)
        if x is None:
            x = self._columns_to_image(dy, w, geom, spatial)
        return self._epilogue(x, b, relu)

    def conv_backward_weights(self, x, dy, geom, dw):
        if x.ndim != 4:
            super().conv_backward_weights(x, dy, geom, dw)
        elif x.size and not self._cudnn("backward_weights", x, dy, geom, dw):
            x, dy = self.to_nchw(x), self.to_nchw(dy)
            rows, flat = _weight_rows(dw, geom), _grouped_rows(dy, geom)
            for image, group, strip, cols in self._strips(x, geom):
                self.matmul(flat[image, group, :, strip], cols, out=rows[group], add=True, tb=True)

    def conv_backward(self, x, dy, w, geom, dw, need):
        if self.convolutions is not None and dy.ndim == 4:
            with self.convolutions.one_gradient():  # both ways back take the same copy of it
                return super().conv_backward(x, dy, w, geom, dw, need)
        return super().conv_backward(x, dy, w, geom, dw, need)

    def frozen_weights(self):
        return super().frozen_weights() if self.convolutions is None else self.convolutions.frozen_weights()

    def invalidate_weight_cache(self):
        if self.convolutions is not None:
            self.convolutions.invalidate_weight_cache()

    def _cudnn(self, direction, first, *args):
        """cuDNN's answer, or None where there is no cuDNN, no engine of it for these shapes, or nothing to compute."""
        if self.convolutions is None or not first.size:
            return None
        return getattr(self.convolutions, direction)(first, *args)

    def _columns_to_image(self, dy, w, geom, spatial):
        dy = self.to_nchw(dy)
        n, channels = len(dy), w.shape[1] * geom.group
        x = self.zeros((n, channels, *spatial))
        if not dy.size:
            return x
        rows, flat = _weight_rows(w, geom), _grouped_rows(dy, geom)
        group_geom = geom._replace(group=1)
        each = channels // geom.group
        for image, group, strip in self._strip_slices(n, geom.group, each * math.prod(geom.kernel), flat.shape[3]):
            cols = self.matmul(rows[group], flat[image, group, :, strip], ta=True)
            part = x[image, group * each : (group + 1) * each]
            self._launch(
                "convolution",
                "col2im",
                part.size,
                cols,
                part,
                np.int64(strip.start),
                np.int64(strip.stop - strip.start),
                self._conv_constants(group_geom, (each, *spatial), dy.shape[2:]),
            )
        return x

    def _strips(self, x, geom):
        """(image, group, slice of output pixels, their columns (rows, pixels)) of x."""
        out, each = geom.out_size(x.shape[2:]), x.shape[1] // geom.group
        rows = each * math.prod(geom.kernel)
        constants = self._conv_constants(geom, (each, *x.shape[2:]), out)
        for image, group, strip in self._strip_slices(len(x), geom.group, rows, math.prod(out)):
            cols = self.empty((rows, strip.stop - strip.start))
            self._launch(
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

    @staticmethod
    def _strip_slices(images, groups, rows, pixels):
        width = max(1, COLUMN_BYTES // (4 * max(rows, 1)))
        for image, group, start in itertools.product(range(images), range(groups), range(0, pixels, width)):
            yield image, group, slice(start, min(start + width, pixels))

    def is_diagonal(self, w):
        """What was last known of w, and what is asked now: only the first question about an array waits for the
        device.  A wrong answer costs time, not truth: the kernels look themselves."""
        flag = self._off_diagonal(w)
        self._fresh_flag = w.data.ptr, flag
        belief = self._beliefs.setdefault(w.data.ptr, _Belief())
        if belief.coming is None:
            belief.coming = self.runtime.later(flag)
        if belief.dense is None or belief.coming.ready:
            belief.dense, belief.coming = bool(belief.coming()), None
        return not belief.dense

    def _off_diagonal(self, w):
        """A flag on the device: whether w has numbers beside w[i, i]."""
        flag = self.zeros((), np.int32)
        self._launch(
            "convolution",
            "off_diagonal",
            w.size,
            w,
            flag,
            np.int64(w.size),
            np.int32(w.shape[1]),
            np.int32(math.prod(w.shape[2:])),
        )
        return flag

    def forget_flags(self):
        """What is_diagonal has computed last is not there (any more)."""
        self._fresh_flag = None, None

    def _flag_of(self, w):
        """The flag that is_diagonal has just computed for w, or a new one."""
        ptr, flag = self._fresh_flag
        self.forget_flags()
        return flag if ptr == w.data.ptr else self._off_diagonal(w)

    def _upsample_channels(self, x, w, geom, spatial, b, relu):
        x = self.to_nchw(x)
        y = self.empty((*x.shape[:2], *spatial))
        self._launch(
            "convolution",
            "upsample_channels",
            y.size,
            x,
            w,
            self._flag_of(w),
            b,
            y,
            np.int64(y.size),
            self._conv_constants(geom, y.shape[1:], x.shape[2:]),
        )
        return y if relu is None else self._epilogue(y, None, relu)

    def upsample_backward(self, dy, w, geom):
        if dy.ndim != 4 or set(geom.dilation) != {1}:
            return super().upsample_backward(dy, w, geom)
        dy = self.to_nchw(dy)
        dx = self.empty((*dy.shape[:2], *geom.out_size(dy.shape[2:])))
        self._launch(
            "convolution",
            "upsample_channels_backward",
            dx.size,
            dy,
            w,
            self._flag_of(w),
            dx,
            np.int64(dx.size),
            self._conv_constants(geom, dy.shape[1:], dx.shape[2:]),
            blocks=min(-(-dx.size // 8), 1 << 20),
        )
        return dx

    def bias_backward(self, dy, db):
        if not dy.size:
            return
        scale = None
        if isinstance(dy, Image):
            partial, scale = dy.images.channel_sums(dy), dy.scale
        else:
            partial = self._channel_sums_of(dy)
        channels, strips = partial.shape
        self._launch(
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

    def _channel_sums_of(self, dy):
        """(C, strips): what each strip of pixels adds up to."""
        n, channels, inner = len(dy), dy.shape[1], math.prod(dy.shape[2:])
        strips = max(1, min(n * inner // 4096, 64))
        partial = self.empty((channels, strips))
        self._launch(
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

    def _conv_constants(self, geom, image, out):
        return self.runtime.constants((*image, *out, *geom.kernel, *geom.stride, *geom.pad, *geom.dilation))

    def _epilogue(self, y, b, relu):
        if b is None and relu is None:
            return y
        inner, scale = math.prod(y.shape[2:]), None
        if isinstance(y, Image):
            inner, scale, y = 1, y.scale, Image(y.images, y.array)
        self._launch(
            "elementwise",
            "bias_relu",
            y.size,
            y,
            b,
            scale,
            np.int64(y.size),
            np.int32(y.shape[1]),
            np.int32(inner),
            np.float32(1 if relu is None else relu),
        )
        return y


class _Belief:
    """What the host last heard of some weights: whether they are dense, and the answer on its way to it."""

    def __init__(self):
        self.dense, self.coming = None, None


def _weight_rows(w, geom):
    """(group, outputs, C/group * kernel) of weights."""
    return w.reshape(geom.group, len(w) // geom.group, math.prod(w.shape[1:]))


def _grouped_rows(y, geom):
    """(N, group, channels of a group, pixels) of images."""
    return y.reshape(len(y), geom.group, y.shape[1] // geom.group, math.prod(y.shape[2:]))
