"""Tensors in the layout that cuDNN's engines for tensor cores work in: NHWC, of float32 or fp16.

Convolutions at tf32 and fp16 take and give them, and so do the primitives between convolutions (pooling, ReLU,
dropout): a chain of layers passes them on as they are.  Everybody else gets arrays (N, C, H, W) of float32, by
to_nchw.

The largest number of fp16 is 65504, its smallest 6e-8.  What forward computes is kept in fp16 as it is.  Gradients are
multiplied by a power of two that brings the largest of them near 1 before they go into a convolution; the product
stays in the image that comes out, and is known by its `scale`, a number on the device: nobody waits for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_TILES = 132 * 8  # blocks that turn tiles one after another
MAX_STRIPS = 1024  # of pixels, whose sums are then added up


@dataclass(eq=False)
class NhwcTensor:
    """A batch of images, channels last.  To others its shape is (N, C, H, W), and its elements are float32.

    layout: what has made it.
    array: (N, H, W, C), C-contiguous: float32, float16, or what another primitive keeps for each pixel.
    scale: what the numbers have been multiplied by, a float32 array (1,) on the device; None: 1.
    bits: those of the largest number as a float, an int32 array (1,) on the device, where they are known.
    """

    layout: NhwcLayout
    array: Any
    scale: Any = None
    bits: Any = None
    ndim, dtype = 4, np.dtype("float32")

    def __post_init__(self):
        n, h, w, c = self.array.shape
        self.shape = n, c, h, w

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.array.size

    def __len__(self) -> int:
        return len(self.array)

    def to_nchw(self):
        """The array (N, C, H, W) of float32, with no scale."""
        return self.layout.to_nchw(self)

    def reshape(self, *shape):
        """Itself, or an array of another shape."""
        shape = shape[0] if len(shape) == 1 else shape
        return self if tuple(shape) == self.shape else self.to_nchw().reshape(shape)

    def copy(self) -> NhwcTensor:
        """A tensor of memory of its own."""
        return NhwcTensor(self.layout, self.array.copy(), None if self.scale is None else self.scale.copy())


class NhwcLayout:
    """Makes channels-last tensors, of fp16 or float32, and arrays (N, C, H, W) of them."""

    def __init__(self, runtime, half: bool):
        self.runtime, self.xp, self.half = runtime, runtime.xp, half

    def tensor(self, x, most: float | None = None) -> NhwcTensor:
        """The tensor of an array (N, C, H, W), or the one that x is.  most: the elements of an array get a scale as
        by `near`."""
        if isinstance(x, NhwcTensor):
            return x
        x = self._in_line(x)
        n, c, h, w = x.shape
        image, bits = self.empty((n, h, w, c)), None
        if not self.half:
            self._turn("turn", n, c, h * w, x, image.array)
            return image
        if most is not None and x.size:
            image.scale, bits = self.xp.empty(1, np.float32), self._largest(x)
        self._turn("to_nhwc_half", n, c, h * w, x, image.array, bits, np.float32(most or 1), image.scale)
        return image

    def to_nchw(self, image: NhwcTensor):
        """The array (N, C, H, W) float32 of a channels-last tensor."""
        n, c, h, w = image.shape
        x = self.xp.empty(image.shape, np.float32)
        if self.half:
            self._turn("from_nhwc_half", n, h * w, c, image.array, x, image.scale)
        else:
            self._turn("turn", n, h * w, c, image.array, x)
        return x

    def empty(self, shape, like: NhwcTensor | None = None) -> NhwcTensor:
        """An NhwcTensor of (N, H, W, C) numbers to come.  like: an NhwcTensor whose scale they will have."""
        return NhwcTensor(self, self.xp.empty(shape, np.float16 if self.half else np.float32), like and like.scale)

    def unscaled(self, image: NhwcTensor) -> NhwcTensor:
        """The same tensor with its scale multiplied in."""
        return image if image.scale is None else self._rescaled(image, None, 1.0, None)

    def near(self, most: float, x) -> NhwcTensor:
        """x with a scale that brings its largest number near `most`, a power of two.  Floats need none."""
        image = self.tensor(x, most)
        if image is not x or not self.half or not image.size:
            return image
        bits = self._largest(image.array) if image.bits is None else image.bits
        return self._rescaled(image, bits, most, self.xp.empty(1, np.float32))

    def _rescaled(self, image, bits, most, scale):
        other = self.empty(image.array.shape)
        other.scale = scale
        self._launch(
            "rescale_half",
            image.size,
            image.array,
            other.array,
            image.scale,
            bits,
            np.float32(most),
            scale,
            np.int64(image.size),
        )
        return other

    def _largest(self, x):
        bits = self.xp.zeros(1, np.int32)
        self._launch("largest_half" if x.dtype == np.float16 else "largest", x.size, x, bits, np.int64(x.size))
        return bits

    def unfold(self, image: NhwcTensor, geom) -> NhwcTensor:
        """(N, C * taps, out...): under each output pixel, what its window sees, in the order of weights
        (K, C, kh, kw)."""
        n, c, *spatial = image.shape
        out = geom.out_size(spatial)
        wide = self.empty((n, *out, c * math.prod(geom.kernel)), image)
        self._fold("unfold", wide.size, image.array, wide.array, geom, (c, *spatial), out)
        return wide

    def fold(self, wide: NhwcTensor, geom, spatial) -> NhwcTensor:
        """(N, C, *spatial): the adjoint of `unfold`, which adds up what the windows say of each pixel."""
        n, channels, *out = wide.shape
        c = channels // math.prod(geom.kernel)
        image = self.empty((n, *spatial, c), wide)
        self._fold("fold", image.size, wide.array, image.array, geom, (c, *spatial), out)
        return image

    def _fold(self, kernel, n, source, target, geom, image, out):
        constants = self.runtime.constants((*image, *out, *geom.kernel, *geom.stride, *geom.pad, *geom.dilation))
        if n:
            self.runtime.launch("convolution", kernel + self.suffix, n, source, target, np.int64(n), constants)

    # -- weights (K, C, kh, kw), which are to have their channels last too ---------------------

    def converts(self, w) -> bool:
        """Whether cuDNN is to see another array: (K, C, 1, 1) of floats is (K, 1, 1, C)."""
        return self.half or math.prod(w.shape[2:]) > 1

    def weights_array(self, w):
        """An array for `weights`, not initialized."""
        return self.xp.empty((w.shape[0], *w.shape[2:], w.shape[1]), np.float16 if self.half else np.float32)

    def weights(self, w, out):
        """`out`, a weights_array, filled with what cuDNN is to see."""
        k, c, taps = w.shape[0], w.shape[1], math.prod(w.shape[2:])
        more = (None, np.float32(1), None) if self.half else ()
        w = self._in_line(w)
        self._turn("to_nhwc_half" if self.half else "turn", k, c, taps, w, out, *more)
        return out

    def add_to_weights(self, gradient, dw, x: NhwcTensor, dy: NhwcTensor) -> None:
        """dw += the product (K, kh, kw, C) of two images."""
        k, c, taps = dw.shape[0], dw.shape[1], math.prod(dw.shape[2:])
        if self.half:
            self._turn("add_from_nhwc_half", k, taps, c, gradient, dw, x.scale, dy.scale)
        else:
            self._turn("add_from_nhwc", k, taps, c, gradient, dw)

    def channel_sums(self, image: NhwcTensor):
        """(C, strips): what each strip of pixels adds up to, times the image's scale."""
        pixels, channels = image.size // max(image.shape[1], 1), image.shape[1]
        strips = max(1, min(pixels // 128, MAX_STRIPS))
        partial = self.xp.empty((channels, strips), np.float32)
        self._launch(
            "image_sums" + self.suffix,
            image.size,
            image.array,
            partial,
            np.int64(pixels),
            np.int32(channels),
            np.int32(strips),
            blocks=strips * -(-channels // 32),
        )
        return partial

    def _in_line(self, x):
        return x if x.flags.c_contiguous else self.xp.ascontiguousarray(x)

    @property
    def suffix(self) -> str:
        """Of the kernels for these images."""
        return "_half" if self.half else ""

    def _turn(self, kernel, images, rows, columns, *args):
        """Launch a kernel that turns (images, rows, columns) to (images, columns, rows)."""
        tiles = images * -(-rows // 32) * -(-columns // 32)
        self._launch(
            kernel,
            args[0].size,
            *args,
            np.int32(images),
            np.int32(rows),
            np.int32(columns),
            blocks=min(tiles, MAX_TILES),
        )

    def _launch(self, kernel, n, *args, blocks=None):
        if n:
            self.runtime.launch("nhwc", kernel, n, *args, blocks=blocks)
