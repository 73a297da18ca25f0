"""What looks at a window of an image at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry

Array = Any  # numpy.ndarray, cupy.ndarray, or a device's tensor that to_nchw takes
Shape = Sequence[int]


class Convolution(Protocol):
    """x (N, C, spatial...), w (K, C/group, kernel...), y (N, K, out...)."""

    def conv_forward(
        self,
        x: Array,
        w: Array,
        b: Array | None,
        geom: ConvGeometry,
        relu: float | Array | None = None,
        out: Array | None = None,
        scale: Array | None = None,
        residual: Array | None = None,
        repeats: bool = False,
    ) -> Array:
        """y (N, K, out...), out = geom.out_size.  b: (K,), or None.

        scale: (K,), what each channel of y is multiplied with before b is added.  residual: of y's shape, what is added
        to y then.  relu: the slope for negative numbers of a ReLU applied to y at last, or an array of slopes, (K,) or
        one for all; with a residual a number.  out: a flat array of y's size, in which y may lie.  repeats: whether y
        may be without lines that repeat others, until to_nchw puts them in: see Capabilities; such a y goes back so, as
        x of conv_backward and as y of affine_backward.
        """

    def conv_backward_data(
        self,
        dy: Array,
        w: Array,
        geom: ConvGeometry,
        spatial: Shape,
        b: Array | None = None,
        relu: float | Array | None = None,
        diagonal: bool = False,
        out: Array | None = None,
        scale: Array | None = None,
    ) -> Array:
        """dx (N, C, *spatial), the transposed convolution of dy.

        Also Deconvolution's forward: then scale (C,), b (C,) and relu apply to the result.  diagonal: only w[i, i] is
        nonzero (and K == C, group 1), so that each channel can be computed alone.  out: a flat array dx may lie in.
        """

    def conv_backward_weights(self, x: Array, dy: Array, geom: ConvGeometry, dw: Array) -> None:
        """Adds to dw (K, C/group, kernel...) the gradient of w, summed over the batch."""

    def conv_backward(
        self, x: Array, dy: Array, w: Array, geom: ConvGeometry, dw: Array | None, need: bool
    ) -> Array | None:
        """Both gradients of conv_forward: adds to dw, of w's shape, unless that is None; returns dx, of x's shape, if
        needed, else None."""

    def upsample_backward(self, dy: Array, w: Array, geom: ConvGeometry) -> Array:
        """The gradient, of the shape that dy had there, of a conv_backward_data that ran with `diagonal`."""

    def bias_backward(self, dy: Array, db: Array) -> None:
        """Adds to db (C,) the sum of dy (N, C, ...) over all axes but 1."""

    def is_diagonal(self, w: Array) -> bool:
        """Whether w (K, K, kernel...) is zero but for w[i, i].

        Asked at every run, so that weights written to in between count.  A backend on which the answer costs more
        than conv_backward_data's `diagonal` saves may always say False.
        """

    def frozen_weights(self) -> AbstractContextManager[None]:
        """Inside, nobody writes to the weights of a convolution: a device may keep copies of them in another form.

        Whoever computes one image after the other with the same weights says so: it saves a GPU the copying.
        """

    def invalidate_weight_cache(self) -> None:
        """Somebody has written to weights nevertheless: copies are out of date."""

    def im2col(self, x: Array, geom: ConvGeometry) -> Array:
        """(N, C * kernel, out...): under each output pixel, the input values that its window sees (0 in the pad)."""

    def col2im(self, cols: Array, geom: ConvGeometry, channels: int, spatial: Shape) -> Array:
        """(N, channels, *spatial): the adjoint of im2col, values that came from one pixel added up."""


class Pooling(Protocol):
    """x (N, C, H, W), y (N, C, *geom.out)."""

    def max_pool_forward(self, x: Array, geom: PoolGeometry) -> tuple[Array, Array]:
        """(y, index), both (N, C, *geom.out): the largest pixel of each window and its position in the plane (int32).

        The first of equals wins; padding and NaN never do.  Where nothing wins index is -1, and y is 0 if the
        window holds no pixel at all, else the lowest number of the type.
        """

    def max_pool(self, x: Array, geom: PoolGeometry, repeats: bool = False) -> Array:
        """y (N, C, *geom.out) of max_pool_forward, where nobody asks for the positions.  repeats: see conv_forward."""

    def max_pool_backward(self, dy: Array, index: Array, geom: PoolGeometry, spatial: Shape) -> Array:
        """dx (N, C, *spatial): each dy goes to the pixel that `index` names."""

    def ave_pool_forward(self, x: Array, geom: PoolGeometry) -> Array:
        """y (N, C, *geom.out): the sum of each window over its area in image + pad."""

    def ave_pool_backward(self, dy: Array, geom: PoolGeometry, spatial: Shape) -> Array:
        """dx (N, C, *spatial): each dy spread evenly over its window."""

    def stochastic_pool_forward(self, x: Array, geom: PoolGeometry, train: bool) -> tuple[Array, Array | None]:
        """(y, index or None), both (N, C, *geom.out), of x >= 0.

        train: a pixel drawn with a probability in proportion to its value, and its position as in max pooling;
        else the values' mean weighted by themselves, and None.
        """


class Regions(Protocol):
    """Windows of their own for each of R regions, P x Q of them: image (R,) names the item of x (N, C, H, W) that a
    region lies in, rows (R, P, 2) and columns (R, Q, 2) the first row or column of its windows and the one after the
    last, within x.  All three are int32.  A window without pixels gives 0.  region_weighted_ weighs all of
    an image's rows and columns instead."""

    def region_max_forward(self, x: Array, image: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
        """(y, index), both (R, C, P, Q): the largest pixel of each window and its position in the plane (int32).

        The first of equals wins; NaN never does.  Where nothing wins index is -1, and y the lowest number of the type
        if the window holds pixels.
        """

    def region_max_backward(self, dy: Array, index: Array, image: Array, shape: Shape) -> Array:
        """dx of that shape: each dy added to the pixel that `index` names."""

    def region_mean_forward(self, x: Array, image: Array, rows: Array, columns: Array) -> Array:
        """y (R, D, P, Q), where C = D * P * Q: window (p, q) of number d is the mean of channel (d * P + p) * Q + q."""

    def region_mean_backward(self, dy: Array, image: Array, rows: Array, columns: Array, shape: Shape) -> Array:
        """dx of that shape: each dy spread evenly over its window."""

    def region_weighted_forward(self, x: Array, image: Array, rows: Array, columns: Array) -> Array:
        """y (R, C, P, Q): rows[r, p] times a plane times columns[r, q].

        rows (R, P, H) and columns (R, Q, W) are how much each row and column counts: most of them nothing.
        """

    def region_weighted_backward(self, dy: Array, image: Array, rows: Array, columns: Array, shape: Shape) -> Array:
        """dx of that shape: the adjoint of region_weighted_forward."""
