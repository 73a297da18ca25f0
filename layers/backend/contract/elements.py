"""What looks at every element, with its channel or its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from demitasse.layers.backend.update_program import UpdateProgram, UpdateTensor

Array = Any  # numpy.ndarray, cupy.ndarray, or a device's tensor that to_nchw takes
Shape = Sequence[int]


class Elementwise(Protocol):
    """Every element by itself: x of any shape; y, dy, dx and mask have the shape of x, and its type where no other is
    named."""

    def relu_forward(self, x: Array, slope: float) -> Array:
        """y = max(x, 0) + slope * min(x, 0), in x's shape; NaN stays NaN.  slope: 0 for a plain ReLU."""

    def relu_backward(self, dy: Array, y: Array, slope: float) -> Array:
        """dx = dy where y > 0, slope * dy elsewhere; y, in dy's shape, is the ReLU's output or its input.

        With a negative slope only the input's sign tells the sides apart: then y must be the input.
        """

    def prelu_forward(self, x: Array, slope: Array) -> Array:
        """x where x > 0, slope * x elsewhere; slope (C,), a value per channel (axis 1) of x, or ()."""

    def prelu_backward(self, dy: Array, x: Array, slope: Array) -> Array:
        """dx = dy where x > 0, slope * dy elsewhere, in x's shape; slope as in prelu_forward, (C,) or ().

        The gradient of the slope is the layer's affair.
        """

    def dropout_forward(self, x: Array, ratio: float) -> tuple[Array, Array]:
        """(y, mask), both in x's shape: y = x / (1 - ratio) where mask (bool), which is True with probability
        1 - ratio; 0 elsewhere.  ratio: 0 <= ratio < 1."""

    def dropout_backward(self, dy: Array, mask: Array, ratio: float) -> Array:
        """dx = dy / (1 - ratio) where mask (bool, in dy's shape), 0 elsewhere."""

    def weighted_sum(self, xs: Sequence[Array], weights: Sequence[float], relu: float | None = None) -> Array:
        """xs[0] * weights[0] + xs[1] * weights[1] + ... of arrays of one shape; relu: the slope of a ReLU to apply."""

    def sigmoid(self, x: Array) -> Array:
        """y = 1 / (1 + exp(-x)), in x's shape, without overflow and to full precision in both tails."""


class Norm(Protocol):
    """Normalization over channels, batches or neighbours."""

    def affine(
        self,
        x: Array,
        centre: Array | None,
        scale: Array | None,
        shift: Array | None,
        relu: float | Array | None = None,
    ) -> Array:
        """y = (x - centre) * scale + shift, in the shape of x (N, C, ...); all three (C,), a value per channel; None:
        what changes nothing.

        relu: the slope of a ReLU to apply to it, or an array of slopes, (C,) or one for all.
        """

    def affine_backward(
        self,
        dy: Array,
        x: Array | None,
        scale: Array | None,
        dscale: Array | None,
        dshift: Array | None,
        y: Array | None = None,
        relu: float | None = None,
    ) -> Array:
        """dx of y = relu(scale * x + shift), in the shape of dy (N, C, ...); adds to dscale and dshift, (C,) each.

        None: no scale, no such gradient, no ReLU.  relu: the slope of the ReLU, 0 or more, with which y is needed; x is
        needed for dscale alone.
        """

    def compose_affine(self, first: Sequence[Array | None], then: Sequence[Array | None]) -> tuple[Array, Array]:
        """(scale, shift), (C,) each, of the map that is `first` and `then` the other: both (scale, shift), (C,) each or
        None for what changes nothing (one of all four at least is an array)."""

    def running_statistics(
        self, mean: Array, variance: Array, count: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        """(mean, scale, shift), (C,) each, of sums of means and of variances (C,), which are divided by `count` (1,),
        unless that is None, or are 0 where it is 0: scale = 1 / sqrt(variance + eps), shift = -mean * scale."""

    def moments(self, x: Array) -> tuple[Array, Array]:
        """(mean, variance), (C,) each, of x (N, C, ...): of every channel over all other axes; the variance is divided
        by the count, not one less.  0 where x is empty."""

    def normalize_backward(self, dy: Array, y: Array, scale: Array) -> Array:
        """dx (N, C, ...) of y = (x - mean) * scale, where mean and scale = 1 / deviation, (C,), are those of each
        channel of x: the gradient goes through both of them, too."""

    def lrn_forward(self, x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
        """(y, scale), both in the shape of x (N, C, spatial...): scale = k + alpha / size * (the sum of x^2 over `size`
        channels, an odd number, around each one), y = x / scale^beta."""

    def lrn_backward(self, dy: Array, x: Array, y: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
        """dx (N, C, spatial...) of lrn_forward, whose bottom and tops x, y and scale were."""


class Loss(Protocol):
    """labels: integers, as many as the scores x have pixels (x's shape without `axis`), in any shape."""

    def softmax_forward(self, x: Array, axis: int) -> Array:
        """y = exp(x) over its sum along `axis`, in x's shape; the largest x is subtracted first, so that nothing
        overflows."""

    def softmax_backward(self, dy: Array, y: Array, axis: int) -> Array:
        """dx of softmax_forward, in the shape of its y: y * (dy - the sum of dy * y along `axis`)."""

    def softmax_loss_forward(
        self, x: Array, labels: Array, axis: int, ignore: int | None, weights: Array | None = None
    ) -> tuple[Array, Any, Any]:
        """(prob, loss_sum, valid): softmax along `axis`, in x's shape; the sum of -log(prob of the label) over the
        `valid` pixels whose label is not `ignore`.

        weights: (C,), one per class, that multiply a pixel's loss by its label's weight.  LabelFault for a label
        outside 0..C-1.  loss_sum and valid are a float and an int.  A device that would have to wait for them gives
        arrays of shape () instead, and a loss of NaN in place of the fault, which checked_labels then raises.
        """

    def softmax_loss_backward(
        self, prob: Array, labels: Array, axis: int, ignore: int | None, scale: Any, weights: Array | None = None
    ) -> Array:
        """dx = scale * (prob - onehot(label)), in prob's shape, times the label's weight, 0 at ignored pixels.

        scale: a number, or a device array of shape () and of prob's type.
        """

    def checked_labels(self, shape: Shape, labels: Array, axis: int, ignore: int | None) -> tuple[Array, Array]:
        """(labels, which of them count), integers and bool, both of the scores' shape but with 1 at `axis`.

        Ignored labels become 0.

        LabelFault for one outside the classes.
        """


class Update(Protocol):
    """The rules of a solver, as programs."""

    def update(self, program: UpdateProgram, tensors: Sequence[UpdateTensor]) -> None:
        """Run the program's steps on every element of each tensor's arrays, of one size and of the backend's float
        type, in place.

        Who the arrays belong to and what the steps mean is the solver's affair (solver/updates.py).
        """

    def clear(self, arrays: Sequence[Array]) -> None:
        """Set all elements of the arrays, which are of the backend's float type, to 0."""
