"""What runs between convolutions on the GPU: elementwise primitives, joining and cutting channels, pooling; each on
plain arrays and on images (gpu_image.py) by the same kernel."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.geometry import PoolGeometry
from demitasse.layers.backend.gpu_conv import GpuConvolutions
from demitasse.layers.backend.gpu_image import Image


class GpuBetween(GpuConvolutions):
    """These primitives of GpuBackend."""

    def to_nchw(self, x):
        return x.plain() if isinstance(x, Image) else x

    # An image or what belongs to one (a mask, an index) goes with an image, a plain array with a plain one: gradients
    # take the form of what forward has kept.

    def relu_forward(self, x, slope):
        y = self._like(x)
        self._launch("elementwise", "relu_forward", x.size, x, y, np.int64(x.size), np.float32(slope))
        return y

    def relu_backward(self, dy, y, slope):
        dy = self._in_form_of(y, dy)
        dx, bits = self._like(dy), []
        if isinstance(dx, Image) and dx.images.half:
            bits = [self.zeros(1, np.int32)]
            dx.bits = bits[0]
        self._launch("elementwise", "relu_backward", y.size, dy, y, dx, *bits, np.int64(y.size), np.float32(slope))
        return dx

    def dropout_forward(self, x, ratio):
        y, mask, draw = self._like(x), self._like(x, bool), self.uniform(x.shape)
        channels, pixels = (x.shape[1], math.prod(x.shape[2:])) if isinstance(x, Image) else (1, 1)
        self._launch(
            "elementwise",
            "dropout_forward",
            x.size,
            x,
            draw,
            y,
            mask,
            np.int64(x.size),
            np.int32(channels),
            np.int32(pixels),
            np.float32(1 - ratio),
        )
        return y, mask

    def dropout_backward(self, dy, mask, ratio):
        dy = self._in_form_of(mask, dy)
        dx = self._like(dy)
        self._launch("elementwise", "dropout_backward", dy.size, dy, mask, dx, np.int64(dy.size), np.float32(1 - ratio))
        return dx

    def prelu_forward(self, x, slope):
        y = self._like(x)
        self._launch("elementwise", "prelu_forward", x.size, x, slope, y, *self._channels(x, slope))
        return y

    def prelu_backward(self, dy, x, slope):
        dx = self._like(x)
        self._launch("elementwise", "prelu_backward", x.size, dy, x, slope, dx, *self._channels(x, slope))
        return dx

    def affine(self, x, centre, scale, shift):
        x = x.images.unscaled(x) if isinstance(x, Image) else x
        y = self._like(x)
        self._launch("elementwise", "affine", x.size, x, centre, scale, shift, y, *self._channels(x, scale))
        return y

    @staticmethod
    def _channels(x, values):
        """(numbers of x, channels, numbers of a channel in a row), where `values` has one for each channel or for
        all."""
        inner = 1 if isinstance(x, Image) else math.prod(x.shape[2:])
        return np.int64(x.size), *((np.int32(x.shape[1]), np.int32(inner)) if values.ndim else (np.int32(1),) * 2)

    def concatenate(self, xs, axis):
        if axis == 1 and all(isinstance(x, Image) for x in xs):
            images = xs[0].images
            return Image(images, self.xp.concatenate([images.unscaled(x).array for x in xs], axis=3))
        return super().concatenate([self.to_nchw(x) for x in xs], axis)

    def part(self, x, axis, start, stop):
        if axis == 1 and isinstance(x, Image):
            return Image(x.images, x.array[..., start:stop].copy(), x.scale)  # never a view: see ALIGNMENT
        return super().part(self.to_nchw(x), axis, start, stop)

    def _like(self, x, dtype=None, spatial=None):
        """An array, or an image with the scale of x, for as many numbers (N, C, ...) as x has, or of other sizes."""
        if not isinstance(x, Image):
            return self.empty((*x.shape[:2], *spatial) if spatial else x.shape, dtype)
        n, h, w, c = x.array.shape
        shape = n, *(spatial or (h, w)), c
        return x.images.empty(shape, x) if dtype is None else Image(x.images, self.empty(shape, dtype))

    def _in_form_of(self, kept, dy):
        return kept.images.of(dy, most=1.0) if isinstance(kept, Image) else self.to_nchw(dy)

    # -- pooling -------------------------------------------------------------------------------

    def max_pool_forward(self, x, geom):
        y, index = self._like(x, None, geom.out), self._like(x, np.int32, geom.out)
        self._pool("max_pool_forward", y, geom, x.shape[2:], x, y, index)
        return y, index

    def max_pool(self, x, geom):
        y = self._like(x, None, geom.out)
        self._pool("max_pool_forward", y, geom, x.shape[2:], x, y, None)
        return y

    def max_pool_backward(self, dy, index, geom, spatial):
        dy = self._in_form_of(index, dy)
        dx = self._like(dy, None, spatial)
        self._pool("max_pool_backward", dx, geom, spatial, dy, index, dx)
        return dx

    def ave_pool_forward(self, x, geom):
        y = self._like(x, None, geom.out)
        self._pool("ave_pool_forward", y, geom, x.shape[2:], x, y)
        return y

    def ave_pool_backward(self, dy, geom, spatial):
        dy = self.to_nchw(dy) if isinstance(dy, Image) and dy.images.half else dy  # shares are too small for halves
        dx = self._like(dy, None, spatial)
        self._pool("ave_pool_backward", dx, geom, spatial, dy, dx)
        return dx

    def stochastic_pool_forward(self, x, geom, train):
        y = self._like(x, None, geom.out)
        draw = self.uniform(y.shape) if train else None
        index = self.empty(y.shape, np.int32) if train else None
        self._pool("stochastic_pool_forward", y, geom, x.shape[2:], x, draw, y, index)
        return y, index

    def _pool(self, kernel, result, geom: PoolGeometry, spatial, *arrays):
        channels = result.shape[1] if isinstance(result, Image) else 1  # planes are images of one channel
        constants = self.runtime.constants((*spatial, *geom.out, *geom.kernel, *geom.stride, *geom.pad, channels))
        self._launch("pooling", kernel, result.size, *arrays, np.int64(result.size), constants)

    def _launch(self, file, kernel, n, *args, blocks=None):
        """Run a kernel; of images, the one for them."""
        if n:
            arrays = self.xp.ndarray
            kernel += next((a.images.suffix for a in args if isinstance(a, Image)), "")
            args = [self.xp.ascontiguousarray(a) if isinstance(a, arrays) and a.ndim else _array(a) for a in args]
            self.runtime.launch(file, kernel, n, *args, blocks=blocks)


def _array(x):
    """What an image holds; other things are themselves."""
    return x.array if isinstance(x, Image) else x
