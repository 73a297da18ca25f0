"""What looks at every element, with its channel or its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from demitasse.layers.backend.update_program import UpdateProgram, UpdateTensor

Array = Any  # numpy.ndarray, cupy.ndarray, or a device's tensor that to_nchw takes
Shape = Sequence[int]


class Elementwise(Protocol):
    """Every element by itself; results have the shape of x."""

    def relu_forward(self, x: Array, slope: float) -> Array:
        """max(x, 0) + slope * min(x, 0); NaN stays NaN."""

    def relu_backward(self, dy: Array, y: Array, slope: float) -> Array:
        """dx of dy, where y is the ReLU's output or its input; y == 0 takes the slope.

        With a negative slope only the input's sign tells the sides apart: then y must be the input.
        """

    def prelu_forward(self, x: Array, slope: Array) -> Array:
        """x where x > 0, slope * x elsewhere; slope (C,), a value per channel (axis 1) of x, or ()."""

    def prelu_backward(self, dy: Array, x: Array, slope: Array) -> Array:
        """dx of dy; x == 0 takes the slope."""

    def dropout_forward(self, x: Array, ratio: float) -> tuple[Array, Array]:
        """(y, mask): x / (1 - ratio) where mask, which is True with probability 1 - ratio; 0 elsewhere."""

    def dropout_backward(self, dy: Array, mask: Array, ratio: float) -> Array:
        """dx = dy / (1 - ratio) where mask, 0 elsewhere."""

    def weighted_sum(self, xs: Sequence[Array], weights: Sequence[float], relu: float | None = None) -> Array:
        """xs[0] * weights[0] + xs[1] * weights[1] + ... of arrays of one shape; relu: the slope of a ReLU to apply."""

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), without overflow and to full precision in both tails."""


class Norm(Protocol):
    """Normalization over channels, batches or neighbours."""

    def affine(self, x: Array, centre: Array, scale: Array, shift: Array, relu: float | None = None) -> Array:
        """(x - centre) * scale + shift; all three (C,), a value per channel (axis 1) of x.

        relu: the slope of a ReLU to apply to it.
        """

    def moments(self, x: Array) -> tuple[Array, Array]:
        """(mean, variance) of x, (C,) each: of every channel (axis 1) over all other axes; 0 where nothing is."""

    def normalize_backward(self, dy: Array, y: Array, scale: Array) -> Array:
        """dx of y = (x - mean) * scale, where mean and scale = 1 / deviation are those of each channel of x."""

    def lrn_forward(self, x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
        """(y, scale) across channels: scale = k + alpha/size * (sum of x^2 over `size` of them), y = x / scale^beta."""

    def lrn_backward(self, dy: Array, x: Array, y: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
        """dx of lrn_forward."""


class Loss(Protocol):
    """labels: integers, as many as the scores x have pixels (x's shape without `axis`), in any shape."""

    def softmax_forward(self, x: Array, axis: int) -> Array:
        """exp(x) over its sum along `axis`, the largest x subtracted first."""

    def softmax_backward(self, dy: Array, y: Array, axis: int) -> Array:
        """dx of softmax_forward."""

    def softmax_loss_forward(
        self, x: Array, labels: Array, axis: int, ignore: int | None, weights: Array | None = None
    ) -> tuple[Array, Any, Any]:
        """(prob, loss_sum, valid): softmax along `axis`; the sum of -log(prob of the label) over the `valid` pixels
        whose label is not `ignore`.

        weights: one per class, that multiply a pixel's loss by its label's weight.  LabelFault for a label outside
        0..C-1.  loss_sum and valid are a float and an int.  A device that would have to wait for them gives arrays of
        shape () instead, and a loss of NaN in place of the fault, which checked_labels then raises.
        """

    def softmax_loss_backward(
        self, prob: Array, labels: Array, axis: int, ignore: int | None, scale: Any, weights: Array | None = None
    ) -> Array:
        """dx = scale * (prob - onehot(label)), times the label's weight, 0 at ignored pixels.

        scale: a number, or a device array of shape () and of prob's type.
        """

    def checked_labels(self, shape: Shape, labels: Array, axis: int, ignore: int | None) -> tuple[Array, Array]:
        """(labels, which of them count) for scores of this shape, both with 1 at `axis`; ignored labels become 0.

        LabelFault for one outside the classes.
        """


class Update(Protocol):
    """The rules of a solver, as programs."""

    def update(self, program: UpdateProgram, tensors: Sequence[UpdateTensor]) -> None:
        """Run the program's steps on every element of each tensor's arrays, in place.

        Who the arrays belong to and what the steps mean is the solver's affair (solver/updates.py).
        """
