"""What layers, nets and solvers may ask of a device: the primitives with their shapes and errors, and its capabilities.

All arrays are C-contiguous, of the backend's float type (`dtype`) where no other is named; images are
(N, C, spatial...).  No primitive writes its inputs, except where its docstring says "adds to".  The first of `shape`
axes may be 0 throughout.  How each is computed is in reference/; which of them a device computes otherwise is in the
modules of the same names in its package (dispatch.py has the rule).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from demitasse.layers.backend.reducer import Reducer
from demitasse.layers.backend.update_program import UpdateProgram, UpdateTensor

Array = Any  # numpy.ndarray, cupy.ndarray, or a device's tensor that to_nchw takes
Shape = Sequence[int]


class Capabilities(NamedTuple):
    """What a device does differently from plain NumPy; who needs to know asks for these, never for its name."""

    host_memory: bool = True  # arrays lie in the machine's own memory, which nets must fit into
    writes_into_out: bool = False  # convolutions use `out`, and concatenate copies no arrays that lie in line
    nhwc: bool = False  # primitives take and give channels-last tensors (to_nchw) among themselves


class Arrays(Protocol):
    """Memory and transfers."""

    def asarray(self, host: Any, dtype: Any = None) -> Array:
        """A device array of a host array or a list; dtype None: the backend's float type.

        It may share memory with `host`: whoever writes into `host` again hands in a copy.
        """

    def to_host(self, x: Array) -> np.ndarray:
        """The NumPy array (N, C, spatial...) of a device array; it may share memory."""

    def to_host_async(self, x: Array) -> Callable[[], np.ndarray]:
        """A function that gives to_host of what x is now.  Work begun between the two need not be waited for."""

    def to_nchw(self, x: Array) -> Array:
        """x as an array (N, C, spatial...), where it is a channels-last tensor of the device; else x itself."""

    def empty(self, shape: Shape, dtype: Any = None) -> Array: ...

    def zeros(self, shape: Shape, dtype: Any = None) -> Array: ...

    def concatenate(self, xs: Sequence[Array], axis: int) -> Array:
        """The arrays one after the other along `axis`."""

    def part(self, x: Array, axis: int, start: int, stop: int) -> Array:
        """x from `start` to `stop` along `axis`."""

    def synchronize(self) -> None:
        """Wait until all that has been begun is done."""

    def describe(self) -> list[str]:
        """Lines for a user: what there is to compute on."""

    def reducer(self, rank: int, size: int, share: Callable[[bytes], bytes]) -> Reducer | None:
        """Sums over `size` processes, of which this one is number `rank`; None where the host is to do it.

        share: gives every process the first one's bytes.  SolverFault where the library for it is missing.
        """


class Random(Protocol):
    """Random numbers."""

    def seed(self, n: int | None) -> None:
        """Start the random numbers at seed n; None: anywhere."""

    def random_state(self) -> dict:
        """The state of every random number to come, as JSON values."""

    def set_random_state(self, state: dict) -> None: ...

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Array:
        """Uniform in [low, high)."""

    def bernoulli(self, shape: Shape, p: float) -> Array:
        """bool, True with probability p."""


class Matmul(Protocol):
    def matmul(
        self, a: Array, b: Array, out: Array | None = None, add: bool = False, ta: bool = False, tb: bool = False
    ) -> Array:
        """a @ b of two matrices, a transposed first with `ta`, b with `tb`; written into `out`, or with `add` added to
        it, where that is given."""


class Convolution(Protocol):
    """x (N, C, spatial...), w (K, C/group, kernel...), y (N, K, out...)."""

    def conv_forward(
        self,
        x: Array,
        w: Array,
        b: Array | None,
        geom: ConvGeometry,
        relu: float | None = None,
        out: Array | None = None,
    ) -> Array:
        """y.  b: (K,).  relu: the negative slope (>= 0) of a ReLU applied to y.  out: a flat array y may lie in."""

    def conv_backward_data(
        self,
        dy: Array,
        w: Array,
        geom: ConvGeometry,
        spatial: Shape,
        b: Array | None = None,
        relu: float | None = None,
        diagonal: bool = False,
        out: Array | None = None,
    ) -> Array:
        """dx (N, C, *spatial), the transposed convolution of dy.

        Also Deconvolution's forward: then b (C,) and relu apply to the result.  diagonal: only w[i, i] is nonzero (and
        K == C, group 1), so that each channel can be computed alone.  out: a flat array dx may lie in.
        """

    def conv_backward_weights(self, x: Array, dy: Array, geom: ConvGeometry, dw: Array) -> None:
        """Adds to dw the gradient of w."""

    def conv_backward(
        self, x: Array, dy: Array, w: Array, geom: ConvGeometry, dw: Array | None, need: bool
    ) -> Array | None:
        """Both gradients of conv_forward: adds to dw unless that is None, and returns dx if needed, else None."""

    def upsample_backward(self, dy: Array, w: Array, geom: ConvGeometry) -> Array:
        """dx of a conv_backward_data that ran with `diagonal`."""

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
        """(y, index): the largest pixel of each window and its position in the plane (int32).

        The first of equals wins; padding and NaN never do.  Where nothing wins index is -1, and y is 0 if the
        window holds no pixel at all, else the lowest number of the type.
        """

    def max_pool(self, x: Array, geom: PoolGeometry) -> Array:
        """y of max_pool_forward, where nobody asks for the positions."""

    def max_pool_backward(self, dy: Array, index: Array, geom: PoolGeometry, spatial: Shape) -> Array:
        """dx (N, C, *spatial): each dy goes to the pixel that `index` names."""

    def ave_pool_forward(self, x: Array, geom: PoolGeometry) -> Array:
        """y: the sum of each window over its area in image + pad."""

    def ave_pool_backward(self, dy: Array, geom: PoolGeometry, spatial: Shape) -> Array:
        """dx (N, C, *spatial): each dy spread evenly over its window."""

    def stochastic_pool_forward(self, x: Array, geom: PoolGeometry, train: bool) -> tuple[Array, Array | None]:
        """(y, index or None) of x >= 0.

        train: a pixel drawn with a probability in proportion to its value, and its position as in max pooling;
        else the values' mean weighted by themselves, and None.
        """


class Regions(Protocol):
    """Windows of their own for each of R regions, P x Q of them: image (R,) names the item of x (N, C, H, W) that a
    region lies in, rows (R, P, 2) and columns (R, Q, 2) the first row or column of its windows and the one after the
    last, within x.  All three are int32.  A window without pixels gives 0."""

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


class Elementwise(Protocol):
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

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), without overflow and to full precision in both tails."""


class Norm(Protocol):
    def affine(self, x: Array, centre: Array, scale: Array, shift: Array) -> Array:
        """(x - centre) * scale + shift; all three (C,), a value per channel (axis 1) of x."""

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
    def update(self, program: UpdateProgram, tensors: Sequence[UpdateTensor]) -> None:
        """Run the program's steps on every element of each tensor's arrays, in place.

        Who the arrays belong to and what the steps mean is the solver's affair (solver/updates.py).
        """


class Backend(Arrays, Random, Matmul, Convolution, Pooling, Regions, Elementwise, Norm, Loss, Update, Protocol):
    """Arrays and primitives on a device."""

    name: str
    xp: Any  # numpy, or a module that computes as it does
    dtype: np.dtype  # of floats
    rng: np.random.Generator  # on the host
    capabilities: Capabilities
