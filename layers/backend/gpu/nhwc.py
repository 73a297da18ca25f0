"""Tensors in the layout that cuDNN's engines for tensor cores work in: NHWC, of float32 or fp16.

Convolutions at tf32 and fp16 take and give them, and so do the primitives between convolutions (pooling, ReLU,
dropout): a chain of layers passes them on as they are.  Everybody else gets arrays (N, C, H, W) of float32, by
to_nchw.

The largest value of fp16 is 65504, its smallest 6e-8.  What forward computes is kept in fp16 as it is.  Gradients are
multiplied by a power of two that brings the largest of them near 1 before they go into a convolution; the product
stays in the tensor that comes out, and is known by its `scale`, a value on the device: nobody waits for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_TILES = 132 * 8  # blocks that transpose tiles one after another
MAX_STRIPS = 1024  # of pixels, whose sums are then added up


@dataclass(eq=False)
class NhwcTensor:
    """A tensor of four axes, channels last.  To others its shape is (N, C, H, W), and its elements are float32.

    layout: what has made it.
    array: (N, H, W, C), C-contiguous: float32, float16, or what another primitive keeps for each pixel.
    scale: what the elements have been multiplied by, a float32 array (1,) on the device; None: 1.
    bits: those of the largest element as a float, an int32 array (1,) on the device, where they are known.
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

    def __init__(self, runtime, fp16: bool):
        self.runtime, self.xp, self.fp16 = runtime, runtime.xp, fp16

    def tensor(self, x, target: float | None = None) -> NhwcTensor:
        """The tensor of an array (N, C, H, W), or the one that x is.  target: the elements of an array get a scale as
        by `scaled`."""
        if isinstance(x, NhwcTensor):
            return x
        x = self._contiguous(x)
        n, c, h, w = x.shape
        made, bits = self.empty((n, h, w, c)), None
        if not self.fp16:
            self._transpose("transpose", n, c, h * w, x, made.array)
            return made
        if target is not None and x.size:
            made.scale, bits = self.xp.empty(1, np.float32), self._largest(x)
        self._transpose("to_nhwc_fp16", n, c, h * w, x, made.array, bits, np.float32(target or 1), made.scale)
        return made

    def to_nchw(self, x: NhwcTensor):
        """The array (N, C, H, W) float32 of a channels-last tensor."""
        n, c, h, w = x.shape
        y = self.xp.empty(x.shape, np.float32)
        if self.fp16:
            self._transpose("from_nhwc_fp16", n, h * w, c, x.array, y, x.scale)
        else:
            self._transpose("transpose", n, h * w, c, x.array, y)
        return y

    def empty(self, shape, like: NhwcTensor | None = None) -> NhwcTensor:
        """An NhwcTensor (N, H, W, C), not initialized.  like: an NhwcTensor whose scale it takes."""
        return NhwcTensor(self, self.xp.empty(shape, np.float16 if self.fp16 else np.float32), like and like.scale)

    def unscaled(self, x: NhwcTensor) -> NhwcTensor:
        """The same tensor with its scale divided out."""
        return x if x.scale is None else self._rescaled(x, None, 1.0, None)

    def scaled(self, target: float, x) -> NhwcTensor:
        """x with a scale that brings its largest element near `target`, a power of two.  Float32 needs none."""
        made = self.tensor(x, target)
        if made is not x or not self.fp16 or not made.size:
            return made
        bits = self._largest(made.array) if made.bits is None else made.bits
        return self._rescaled(made, bits, target, self.xp.empty(1, np.float32))

    def _rescaled(self, x, bits, target, scale):
        y = self.empty(x.array.shape)
        y.scale = scale
        self._launch(
            "rescale_fp16",
            x.size,
            x.array,
            y.array,
            x.scale,
            bits,
            np.float32(target),
            scale,
            np.int64(x.size),
        )
        return y

    def _largest(self, x):
        bits = self.xp.zeros(1, np.int32)
        self._launch("largest_fp16" if x.dtype == np.float16 else "largest", x.size, x, bits, np.int64(x.size))
        return bits

    def unfold(self, x: NhwcTensor, geom) -> NhwcTensor:
        """im2col: (N, C * taps, out...), under each output pixel the elements in its window, in the order of weights
        (K, C, kh, kw)."""
        n, c, *spatial = x.shape
        out = geom.out_size(spatial)
        columns = self.empty((n, *out, c * math.prod(geom.kernel)), x)
        self._fold("unfold", columns.size, x.array, columns.array, geom, (c, *spatial), out)
        return columns

    def fold(self, columns: NhwcTensor, geom, spatial) -> NhwcTensor:
        """(N, C, *spatial): the adjoint of `unfold`, each pixel the sum over all windows that cover it."""
        n, channels, *out = columns.shape
        c = channels // math.prod(geom.kernel)
        x = self.empty((n, *spatial, c), columns)
        self._fold("fold", x.size, columns.array, x.array, geom, (c, *spatial), out)
        return x

    def _fold(self, kernel, n, source, target, geom, data_shape, out):
        constants = self.runtime.constants((*data_shape, *out, *geom.kernel, *geom.stride, *geom.pad, *geom.dilation))
        if n:
            self.runtime.launch("convolution", kernel + self.suffix, n, source, target, np.int64(n), constants)

    # -- weights (K, C, kh, kw), whose channels come last too ---------------------

    def converts(self, w) -> bool:
        """Whether cuDNN needs another array: (K, C, 1, 1) of float32 is (K, 1, 1, C) as it lies."""
        return self.fp16 or math.prod(w.shape[2:]) > 1

    def weights_array(self, w):
        """An array for `weights`, not initialized."""
        return self.xp.empty((w.shape[0], *w.shape[2:], w.shape[1]), np.float16 if self.fp16 else np.float32)

    def weights(self, w, out) -> None:
        """Fill `out`, a weights_array, with w as cuDNN needs it."""
        k, c, taps = w.shape[0], w.shape[1], math.prod(w.shape[2:])
        more = (None, np.float32(1), None) if self.fp16 else ()
        w = self._contiguous(w)
        self._transpose("to_nhwc_fp16" if self.fp16 else "transpose", k, c, taps, w, out, *more)

    def add_to_weights(self, gradient, dw, x: NhwcTensor, dy: NhwcTensor) -> None:
        """dw += the product (K, kh, kw, C) of two tensors."""
        k, c, taps = dw.shape[0], dw.shape[1], math.prod(dw.shape[2:])
        if self.fp16:
            self._transpose("add_from_nhwc_fp16", k, taps, c, gradient, dw, x.scale, dy.scale)
        else:
            self._transpose("add_from_nhwc", k, taps, c, gradient, dw)

    def channel_sums(self, x: NhwcTensor):
        """(C, strips): the sum of each strip of pixels, times the tensor's scale."""
        pixels, channels = x.size // max(x.shape[1], 1), x.shape[1]
        strips = max(1, min(pixels // 128, MAX_STRIPS))
        partial = self.xp.empty((channels, strips), np.float32)
        self._launch(
            "nhwc_sums" + self.suffix,
            x.size,
            x.array,
            partial,
            np.int64(pixels),
            np.int32(channels),
            np.int32(strips),
            blocks=strips * -(-channels // 32),
        )
        return partial

    def _contiguous(self, x):
        return x if x.flags.c_contiguous else self.xp.ascontiguousarray(x)

    @property
    def suffix(self) -> str:
        """What the names of kernels for these tensors end in."""
        return "_fp16" if self.fp16 else ""

    def _transpose(self, kernel, n, rows, columns, *args):
        """Launch a kernel that transposes (n, rows, columns) to (n, columns, rows)."""
        tiles = n * -(-rows // 32) * -(-columns // 32)
        self._launch(
            kernel,
            args[0].size,
            *args,
            np.int32(n),
            np.int32(rows),
            np.int32(columns),
            blocks=min(tiles, MAX_TILES),
        )

    def _launch(self, kernel, n, *args, blocks=None):
        if n:
            self.runtime.launch("nhwc", kernel, n, *args, blocks=blocks)
