"""Every primitive that layers use, generic over xp (NumPy or CuPy): its meaning in plain code.

This class is a backend of its own ("generic"): slow, exact, any float type; the CPU and GPU backends
override what pays.  All arrays are C-contiguous; images are (N, C, spatial...).  No primitive writes
its inputs, except where its docstring says "adds to".
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import numpy as np

from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from demitasse.proto.errors import LabelFault

FLT_MIN = float(np.finfo(np.float32).tiny)  # the least probability a loss takes the logarithm of: 87.3365


class Backend:
    """The primitives; see the module's docstring."""

    name = "generic"
    xp = np
    joins_in_place = False  # whether convolutions use their `out`, and `concatenate` copies no pieces that lie in line
    has_images = False  # whether primitives take images in a form of its own, and give them to layers that pass them on
    graphs = False  # whether nets are to record their runs and repeat them (netdef/replay.py)

    def __init__(self, dtype: str = "float32"):
        self.dtype = np.dtype(dtype)
        self.seed(None)

    # -- arrays --------------------------------------------------------------------------------

    def asarray(self, host, dtype=None):
        """A C-contiguous device array of a host array (or a list), of the backend's float type unless told.

        It may share memory with `host`: whoever writes into `host` again hands in a copy.
        """
        return np.ascontiguousarray(host, dtype=dtype or self.dtype).reshape(np.shape(host))

    def to_host(self, x) -> np.ndarray:
        """The NumPy array of a device array; it may share memory."""
        return np.asarray(x)

    def later(self, x):
        """A function that gives to_host of what x is now.  Work begun between the two need not be waited for."""
        return lambda: self.to_host(x)

    def plain(self, x):
        """x as an array (N, C, spatial...), where it is an image in a form of the backend's own; else itself."""
        return x

    def empty(self, shape, dtype=None):
        return self.xp.empty(shape, dtype or self.dtype)

    def zeros(self, shape, dtype=None):
        return self.xp.zeros(shape, dtype or self.dtype)

    def concatenate(self, xs, axis: int):
        """The arrays one after the other along `axis`."""
        return self.xp.concatenate(xs, axis=axis)

    def part(self, x, axis: int, start: int, stop: int):
        """x from `start` to `stop` along `axis`."""
        return self.xp.ascontiguousarray(x[(slice(None),) * axis + (slice(start, stop),)])

    # -- random numbers ------------------------------------------------------------------------

    def seed(self, n: int | None) -> None:
        """Start the random numbers at seed n, or anywhere."""
        self.rng = np.random.Generator(np.random.PCG64(n))  # on the host: fillers draw from it directly

    def random_state(self) -> dict:
        """The state of every random number to come, as JSON values."""
        return self.rng.bit_generator.state

    def set_random_state(self, state: dict) -> None:
        self.rng.bit_generator.state = state

    def uniform(self, shape, low: float = 0.0, high: float = 1.0):
        """Device array of the backend's float type, uniform in [low, high)."""
        return self.asarray(self.rng.random(shape, dtype=self.dtype) * (high - low) + low)

    def bernoulli(self, shape, p: float):
        """Device array of bool, True with probability p."""
        return self.asarray(self.rng.random(shape, dtype=np.float32) < p, dtype=bool)

    # -- convolution ---------------------------------------------------------------------------

    def conv_forward(self, x, w, b, geom: ConvGeometry, relu: float | None = None, out=None):
        """y (N, K, out...) of x (N, C, spatial...), w (K, C/group, kernel...), b (K,) or None.

        relu: None, or the negative slope (>= 0) of a ReLU applied to y.  out: a flat array in which y may lie.
        """
        n, k, size = len(x), len(w), geom.out_size(x.shape[2:])
        cols = self._grouped(self.im2col(x, geom), geom)
        y = self.xp.matmul(w.reshape(geom.group, k // geom.group, cols.shape[2]), cols).reshape(n, k, *size)
        return self._epilogue(y, b, relu)

    def conv_backward_data(
        self, dy, w, geom: ConvGeometry, spatial, b=None, relu: float | None = None, diagonal: bool = False, out=None
    ):
        """dx (N, C, *spatial) of dy (N, K, out...), w (K, C/group, kernel...).

        Also Deconvolution's forward: then b (C,) and relu apply to the result.  diagonal: only w[i, i] is
        nonzero (and K == C, group 1), so that each channel can be computed alone.  out: a flat array in which dx
        may lie.
        """
        if diagonal:
            each = self.xp.arange(len(w))
            w, group = w[each, each][:, None], len(w)
        else:
            group = geom.group
        n, k, channels = len(dy), len(w), w.shape[1] * group
        w = w.reshape(group, k // group, math.prod(w.shape[1:]))
        dy = dy.reshape(n, group, k // group, math.prod(dy.shape[2:]))
        cols = self.xp.matmul(w.transpose(0, 2, 1), dy)
        return self._epilogue(self.col2im(cols, geom, channels, spatial), b, relu)

    def conv_backward_weights(self, x, dy, geom: ConvGeometry, dw) -> None:
        """Adds to dw (K, C/group, kernel...) its gradient, of x (N, C, spatial...) and dy (N, K, out...)."""
        group, k = geom.group, len(dw)
        for image, grad in zip(x, dy, strict=True):
            cols = self._grouped(self.im2col(image[None], geom), geom)[0]
            grad = grad.reshape(group, k // group, cols.shape[2])
            dw += self.xp.matmul(grad, cols.transpose(0, 2, 1)).reshape(dw.shape)

    def conv_backward(self, x, dy, w, geom: ConvGeometry, dw, need: bool):
        """Both ways back of conv_forward: adds to dw unless that is None, and returns dx if needed, else None."""
        if dw is not None:
            self.conv_backward_weights(x, dy, geom, dw)
        return self.conv_backward_data(dy, w, geom, x.shape[2:]) if need else None

    def upsample_backward(self, dy, w, geom: ConvGeometry):
        """dx of a conv_backward_data that ran with `diagonal`."""
        each = self.xp.arange(len(w))
        return self.conv_forward(dy, w[each, each][:, None], None, replace(geom, group=len(w)))

    @contextlib.contextmanager
    def steady_weights(self):
        """Inside, nobody writes to the weights of a convolution: a backend may keep copies of them in another form.

        Whoever computes one image after the other with the same weights says so: it saves a GPU the copying.
        """
        yield

    def forget_weights(self) -> None:
        """Somebody has written to weights nevertheless: copies are out of date."""

    def bias_backward(self, dy, db) -> None:
        """Adds to db (C,) the sum of dy (N, C, ...) over all axes but 1."""
        db += dy.sum(axis=(0, *range(2, dy.ndim)))

    def is_diagonal(self, w) -> bool:
        """Whether w (K, K, kernel...) is zero but for w[i, i].

        Asked at every run, so that weights written to in between count.  A backend on which the answer costs more
        than conv_backward_data's `diagonal` saves may always say False.
        """
        used = w.any(axis=tuple(range(2, w.ndim)))
        return not bool((used & ~self.xp.eye(len(w), dtype=bool)).any())

    def im2col(self, x, geom: ConvGeometry):
        """(N, C * kernel, out...): under each output pixel, the input values that its window sees (0 in the pad)."""
        if geom.is_pointwise:
            return x
        out = geom.out_size(x.shape[2:])
        windows = self._windows(x, geom.kernel, geom.stride, geom.pad, geom.dilation, out)
        kernel_before_out = (0, 1, *range(2 + len(out), 2 + 2 * len(out)), *range(2, 2 + len(out)))
        cols = self.xp.ascontiguousarray(windows.transpose(kernel_before_out))
        return cols.reshape(len(x), x.shape[1] * math.prod(geom.kernel), *out)

    def col2im(self, cols, geom: ConvGeometry, channels: int, spatial):
        """(N, channels, *spatial): im2col turned round, values that came from one pixel added up."""
        out = geom.out_size(spatial)
        if geom.is_pointwise:
            return cols.reshape(len(cols), channels, *spatial)
        cols = cols.reshape(len(cols), channels, *geom.kernel, *out)
        return self._scatter(cols, geom.kernel, geom.stride, geom.pad, geom.dilation, spatial)

    def matmul(self, a, b, out=None, add: bool = False, ta: bool = False, tb: bool = False):
        """a @ b of two matrices, each transposed first if told; into `out` if given, or added to it."""
        product = self.xp.matmul(a.T if ta else a, b.T if tb else b)
        if out is None:
            return product
        if add:
            out += product
        else:
            out[...] = product
        return out

    def _grouped(self, cols, geom):
        """(N, group, C/group * kernel, pixels) of (N, C * kernel, out...)."""
        return cols.reshape(len(cols), geom.group, cols.shape[1] // geom.group, math.prod(cols.shape[2:]))

    def _epilogue(self, y, b, relu):
        if b is not None:
            y = y + b.reshape(-1, *[1] * (y.ndim - 2))
        return y if relu is None else self.relu_forward(y, relu)

    def _windows(self, x, kernel, stride, pad, dilation, out, fill=0):
        """A view (N, C, out..., kernel...) of x (N, C, spatial...) padded with `fill` as far as windows reach."""
        extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        reach = [(o - 1) * s + e for o, s, e in zip(out, stride, extent, strict=True)]
        edges = [(p, max(0, r - n - p)) for r, n, p in zip(reach, x.shape[2:], pad, strict=True)]
        if any(map(any, edges)):
            x = self.xp.pad(x, [(0, 0), (0, 0), *edges], constant_values=fill)
        view = self.xp.lib.stride_tricks.sliding_window_view(x, extent, axis=tuple(range(2, x.ndim)))
        steps = [slice(0, (o - 1) * s + 1, s) for o, s in zip(out, stride, strict=True)]
        return view[(slice(None), slice(None), *steps, *[slice(None, None, d) for d in dilation])]

    def _scatter(self, cells, kernel, stride, pad, dilation, spatial):
        """(N, C, *spatial) with cells (N, C, kernel..., out...) added up where the windows had them."""
        out = cells.shape[2 + len(kernel) :]
        reach = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(out, stride, dilation, kernel, strict=True)]
        padded = [max(n + 2 * p, r) for n, p, r in zip(spatial, pad, reach, strict=True)]
        image = self.zeros((*cells.shape[:2], *padded), cells.dtype)
        everything = (slice(None), slice(None))
        for tap in np.ndindex(*kernel):
            place = [
                slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, out, stride, strict=True)
            ]
            image[(*everything, *place)] += cells[(*everything, *tap)]
        inner = [slice(p, p + n) for p, n in zip(pad, spatial, strict=True)]
        return self.xp.ascontiguousarray(image[(*everything, *inner)])

    # -- elementwise ---------------------------------------------------------------------------

    def relu_forward(self, x, slope: float):
        """max(x, 0) + slope * min(x, 0); NaN stays NaN."""
        return self.xp.where(x > 0, x, x * slope) if slope else self.xp.maximum(x, 0)

    def relu_backward(self, dy, y, slope: float):
        """dx of dy, where y is the ReLU's output or its input; y == 0 takes the slope.

        With a negative slope only the input's sign tells the sides apart: then y must be the input.
        """
        return self.xp.where(y > 0, dy, dy * slope) if slope else dy * (y > 0)

    def dropout_forward(self, x, ratio: float):
        """(y, mask): x / (1 - ratio) where mask, which is True with probability 1 - ratio; 0 elsewhere."""
        mask = self.bernoulli(x.shape, 1 - ratio)
        return self.dropout_backward(x, mask, ratio), mask

    def dropout_backward(self, dy, mask, ratio: float):
        """dx = dy / (1 - ratio) where mask, 0 elsewhere."""
        return dy * mask * (1 / (1 - ratio))

    def prelu_forward(self, x, slope):
        """x where x > 0, slope * x elsewhere; slope (C,), a value per channel (axis 1) of x, or ()."""
        return self.xp.where(x > 0, x, x * self._column(slope, x))

    def prelu_backward(self, dy, x, slope):
        """dx of dy; x == 0 takes the slope."""
        return self.xp.where(x > 0, dy, dy * self._column(slope, x))

    def affine(self, x, centre, scale, shift):
        """(x - centre) * scale + shift; all three (C,), a value per channel (axis 1) of x."""
        centre, scale, shift = (self._column(each, x) for each in (centre, scale, shift))
        return (x - centre) * scale + shift

    def moments(self, x):
        """(mean, variance) of x, (C,) each: of every channel (axis 1) over all other axes; 0 where there is nothing."""
        axes, n = (0, *range(2, x.ndim)), max(x.size // max(x.shape[1], 1), 1)
        mean = x.sum(axes) / n
        return mean, self.xp.square(x - self._column(mean, x)).sum(axes) / n

    def normalize_backward(self, dy, y, scale):
        """dx of y = (x - mean) * scale, where mean and scale = 1 / deviation are those of each channel of x."""
        axes, n = (0, *range(2, y.ndim)), max(y.size // max(y.shape[1], 1), 1)
        dx = dy - y * self._column((dy * y).sum(axes) / n, y)
        dx -= self._column(dy.sum(axes) / n, y)
        dx *= self._column(scale, y)
        return dx

    def _column(self, values, x):
        """values (C,) beside x (N, C, ...); () as it is."""
        return values.reshape(-1, *[1] * (x.ndim - 2)) if values.ndim else values

    def sigmoid(self, x):
        """1 / (1 + exp(-x)), without overflow and to full precision in both tails."""
        small = self.xp.exp(-self.xp.abs(x))
        return self.xp.where(x >= 0, 1, small) / (1 + small)

    # -- pooling -------------------------------------------------------------------------------

    def max_pool_forward(self, x, geom: PoolGeometry):
        """(y, index) of x (N, C, H, W): the largest pixel of each window and its place in the plane (int32).

        The first of equals wins; padding and NaN never do.  Where nothing wins index is -1, and y is 0 if the
        window holds no pixel at all, else the lowest number of the type.
        """
        xp = self.xp
        lowest = np.finfo(x.dtype).min
        windows = self._windows(
            xp.where(xp.isnan(x), lowest, x), geom.kernel, geom.stride, geom.pad, (1, 1), geom.out, fill=lowest
        )
        cells = windows.reshape(*windows.shape[:4], math.prod(geom.kernel))
        y = cells.max(axis=-1)
        index = xp.where(y > lowest, self._places(cells.argmax(axis=-1), geom, x.shape[3]), -1).astype(np.int32)
        rows, columns = (xp.arange(geom.out[a]) * geom.stride[a] - geom.pad[a] < x.shape[2 + a] for a in (0, 1))
        holds_pixels = rows[:, None] & columns
        return xp.where(index >= 0, y, xp.where(holds_pixels, lowest, 0)).astype(x.dtype), index

    def max_pool(self, x, geom: PoolGeometry):
        """y of max_pool_forward, where nobody asks for the places."""
        return self.max_pool_forward(x, geom)[0]

    def max_pool_backward(self, dy, index, geom: PoolGeometry, spatial):
        """dx (N, C, *spatial): each dy (N, C, out...) goes to the pixel that `index` names."""
        n, c = dy.shape[:2]
        area = math.prod(spatial)
        plane = self.xp.arange(n * c).reshape(n, c, 1, 1) * area
        won = index >= 0
        dx = self.xp.bincount((plane + index)[won], weights=dy[won], minlength=n * c * area)
        return dx.astype(dy.dtype).reshape(n, c, *spatial)

    def ave_pool_forward(self, x, geom: PoolGeometry):
        """y (N, C, out...): the sum of each window over its area in image + pad."""
        windows = self._windows(x, geom.kernel, geom.stride, geom.pad, (1, 1), geom.out)
        return windows.sum(axis=(4, 5)) / self._areas(geom, x.shape[2:], x.dtype)

    def ave_pool_backward(self, dy, geom: PoolGeometry, spatial):
        """dx (N, C, *spatial): each dy (N, C, out...) spread evenly over its window."""
        shares = dy / self._areas(geom, spatial, dy.dtype)
        cells = self.xp.broadcast_to(shares[:, :, None, None], (*dy.shape[:2], *geom.kernel, *geom.out))
        return self._scatter(cells, geom.kernel, geom.stride, geom.pad, (1, 1), spatial)

    def stochastic_pool_forward(self, x, geom: PoolGeometry, train: bool):
        """(y, index or None) of x (N, C, H, W) >= 0.

        train: a pixel drawn with a probability in proportion to its value, and its place as in max pooling;
        else the values' mean weighted by themselves, and None.
        """
        xp = self.xp
        cells = self._windows(x, geom.kernel, geom.stride, geom.pad, (1, 1), geom.out)
        cells = cells.reshape(*cells.shape[:4], math.prod(geom.kernel))
        if not train:
            total = cells.sum(axis=-1)
            return (cells * cells).sum(axis=-1) / xp.where(total > 0, total, 1), None
        ladder = xp.cumsum(cells, axis=-1)
        threshold = self.uniform(ladder.shape[:4]).astype(x.dtype)[..., None] * ladder[..., -1:]
        chosen = xp.minimum((ladder < threshold).sum(axis=-1), cells.shape[-1] - 1)
        y = xp.take_along_axis(cells, chosen[..., None], axis=-1)[..., 0]
        index = self._places(chosen, geom, x.shape[3])
        heights, widths = geom.areas(x.shape[2:])
        holds_pixels = (xp.asarray(heights) > 0)[:, None] & (xp.asarray(widths) > 0)
        return y, xp.where(holds_pixels, index, -1).astype(np.int32)

    def _places(self, tap, geom, width):
        """The place in a plane of `width` of the window's cell number `tap` (N, C, OH, OW)."""
        xp = self.xp
        rows = xp.arange(geom.out[0])[:, None] * geom.stride[0] - geom.pad[0] + tap // geom.kernel[1]
        return rows * width + xp.arange(geom.out[1]) * geom.stride[1] - geom.pad[1] + tap % geom.kernel[1]

    def _areas(self, geom, spatial, dtype):
        heights, widths = (self.xp.asarray(sizes, dtype) for sizes in geom.areas(spatial))
        return self.xp.maximum(heights[:, None] * widths, 1)  # 1: a window without pixels, whose sum is 0

    # -- normalisation and losses --------------------------------------------------------------

    def lrn_forward(self, x, size: int, alpha: float, beta: float, k: float):
        """(y, scale) across channels: scale = k + alpha/size * (sum of x^2 over `size` of them), y = x / scale^beta."""
        scale = self._channel_sums(x * x, size) * (alpha / size) + k
        return x * scale**-beta, scale

    def lrn_backward(self, dy, x, y, scale, size: int, alpha: float, beta: float):
        """dx of lrn_forward."""
        around = self._channel_sums(dy * y / scale, size)
        return dy * scale**-beta - x * around * (2 * alpha * beta / size)

    def _channel_sums(self, x, size):
        """At each channel, the sum over the `size` (odd) channels around it."""
        half, channels = size // 2, x.shape[1]
        sums = x.copy()
        for step in range(1, min(half, channels - 1) + 1):
            sums[:, step:] += x[:, :-step]
            sums[:, :-step] += x[:, step:]
        return sums

    def softmax_forward(self, x, axis: int):
        """exp(x) over its sum along `axis`, the largest x subtracted first."""
        y = self.xp.exp(x - x.max(axis=axis, keepdims=True))
        return y / y.sum(axis=axis, keepdims=True)

    def softmax_backward(self, dy, y, axis: int):
        return y * (dy - (dy * y).sum(axis=axis, keepdims=True))

    def softmax_loss_forward(self, x, labels, axis: int, ignore: int | None, weights=None):
        """(prob, loss_sum, valid): softmax along `axis`; the sum of -log(prob of the label) over the `valid` pixels
        whose label is not `ignore`.

        labels: integers, as many as x has pixels (x's shape without `axis`), in any shape.  weights: one per
        class, that multiply a pixel's loss by its label's weight, or None.  LabelFault for a label outside 0..C-1.
        loss_sum and valid are a float and an int.  A backend that would have to wait for them gives device arrays of
        shape () instead, and a loss of NaN in place of the fault, which checked_labels then raises.
        """
        prob = self.softmax_forward(x, axis)
        labels, valid = self.checked_labels(x, labels, axis, ignore)
        picked = self.xp.take_along_axis(prob, labels, axis=axis)
        losses = -self.xp.log(self.xp.maximum(picked, FLT_MIN).astype(np.float64))
        if weights is not None:
            losses = losses * weights[labels]
        return prob, float(self.xp.where(valid, losses, 0).sum()), int(valid.sum())

    def softmax_loss_backward(self, prob, labels, axis: int, ignore: int | None, scale, weights=None):
        """dx = scale * (prob - onehot(label)), times the label's weight, 0 at ignored pixels.

        scale: a number, or a device array of shape () and of prob's type.
        """
        labels, valid = self.checked_labels(prob, labels, axis, ignore)
        factor = valid * scale
        if weights is not None:
            factor = factor * weights[labels]
        classes = self.xp.arange(prob.shape[axis]).reshape(-1, *[1] * (prob.ndim - 1 - axis))
        return ((prob - (classes == labels)) * factor).astype(prob.dtype)

    def checked_labels(self, x, labels, axis: int, ignore: int | None):
        """(labels, which of them count), both of x's shape with 1 at `axis`; ignored labels become 0.

        labels: integers, as many as x has without `axis`.  LabelFault for one outside the classes.
        """
        return self.labels_of_shape(x.shape, labels, axis, ignore)

    def labels_of_shape(self, shape, labels, axis: int, ignore: int | None):
        """checked_labels for scores of this shape."""
        labels = labels.reshape(*shape[:axis], 1, *shape[axis + 1 :])
        valid = self.xp.ones(labels.shape, bool) if ignore is None else labels != ignore
        if bool((valid & ((labels < 0) | (labels >= shape[axis]))).any()):
            raise label_fault(self.to_host(labels), shape, axis, ignore)
        return self.xp.where(valid, labels, 0), valid

    # -- update --------------------------------------------------------------------------------

    def sgd_update(self, w, g, h, rate: float, momentum: float, decay: float, l1: bool = False) -> None:
        """Adds to all three: g += decay * w (or decay * sign(w)); h = momentum * h + rate * g; w -= h.

        The other solvers are written with xp in solver/updates.py.
        """
        if decay:
            g += decay * (self.xp.sign(w) if l1 else w)
        h *= momentum
        h += rate * g
        w -= h

    def update(self, rule: str, tensors, constants, rate: float, decay: float, scale: float, t: int, l1: bool) -> bool:
        """Whether this backend has made update t of all learned arrays in one go; if not, the caller makes it.

        rule: "SGD", "Adam", ...: their meaning is in solver/updates.py, as that of constants (its Settings), rate,
        decay, scale and l1.  tensors: [(w, g, histories, lr_mult, decay_mult)] of the backend's float type.
        """
        return False


def label_fault(labels: np.ndarray, shape, axis: int, ignore: int | None) -> LabelFault:
    """The fault of the first label that is neither `ignore` nor one of the classes along `axis` of scores of `shape`.

    labels: host integers, as many as `shape` has pixels.
    """
    classes = shape[axis]
    labels = labels.reshape(*shape[:axis], *shape[axis + 1 :])
    wrong = (labels < 0) | (labels >= classes)
    if ignore is not None:
        wrong &= labels != ignore
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    names = "(n, y, x)" if len(place) == 3 else "index"
    if labels[place] == np.iinfo(np.int32).min:
        return LabelFault(f"the label at {names} {place} is NaN, or too large for a class: correct the labels")
    remedy = (
        "raise num_output of the score layer, or mark such pixels with loss_param { ignore_label: "
        f"{int(labels[place])} }}"
        if ignore is None
        else f"only ignore_label {ignore} is passed over: correct the labels or raise num_output of the score layer"
    )
    return LabelFault(
        f"label {int(labels[place])} at {names} {place} is not one of the {classes} classes "
        f"0 to {classes - 1}: {remedy}"
    )
