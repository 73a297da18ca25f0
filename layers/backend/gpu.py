"""The GPU backend: CuPy arrays, cuBLAS and cuDNN for the convolutions, own kernels (kernels/*.cu) for the rest.

Blobs are float32, NCHW.  precision "tf32" lets the tensor cores round a convolution's and a product's inputs to
ten bits of mantissa (as other frameworks do by default), "fp32" does not; "fp16" hands cuDNN half-precision,
channels-last copies of a convolution's images and weights (the float32 weights stay the master copy) and scales
each gradient by a power of two of its own, read and applied on the device, so that nothing underflows.
"""

from __future__ import annotations

import math

import numpy as np

from layers.backend.geometry import PoolGeometry
from layers.backend.gpu_conv import GpuConvolutions
from layers.backend.gpu_graph import Recorder
from layers.backend.gpu_image import Image
from proto.errors import SolverFault

PRECISIONS = ("fp32", "tf32", "fp16")
UPDATE_CHUNK = 16384  # as in update.cu
UPDATE_RULES = {  # in the order of update.cu: what each keeps of its histories
    "SGD": lambda c: (c.momentum, 0.0),
    "Nesterov": lambda c: (c.momentum, 0.0),
    "AdaGrad": lambda c: (1.0, 0.0),
    "RMSProp": lambda c: (c.rms_decay, 0.0),
    "AdaDelta": lambda c: (c.momentum, c.momentum),
    "Adam": lambda c: (c.momentum, c.momentum2),
}


class GpuBackend(GpuConvolutions):
    """See the module's docstring.  exact: fp32, and the same bits on every run.  graphs: nets may record their runs
    and repeat them (gpu_graph.py)."""

    name = "gpu"
    counter, origin = None, 0  # while recording: where the random numbers begin, on the device and on the host

    def __init__(
        self, device: str = "gpu", precision: str = "tf32", exact: bool = False, graphs: bool = False, runtime=None
    ):
        if precision not in PRECISIONS:
            raise SolverFault(f"precision '{precision}' is not one of {', '.join(PRECISIONS)}")
        if runtime is None:
            from layers.backend.gpu_runtime import CudaRuntime

            runtime = CudaRuntime(_index(device))
        self.runtime, self.xp = runtime, runtime.xp
        self.precision = "fp32" if exact else precision
        self.graphs = graphs
        self._update_tables: dict[tuple, tuple] = {}  # of the newest net
        self.convolutions = runtime.convolutions(self.precision, exact)  # None: cuDNN is missing
        self.has_images = getattr(self.convolutions, "images", None) is not None
        super().__init__("float32")

    # -- arrays --------------------------------------------------------------------------------

    def asarray(self, host, dtype=None):
        dtype = np.dtype(dtype or self.dtype)
        if isinstance(host, self.xp.ndarray):
            return self.xp.ascontiguousarray(host, dtype=dtype).reshape(host.shape)
        self._refuse("takes an array from the host")
        return self.runtime.upload(np.ascontiguousarray(host, dtype=dtype).reshape(np.shape(host)))

    def to_host(self, x):
        self._refuse("gives an array to the host")
        return self.runtime.download(self.plain(x))

    def later(self, x):
        self._refuse("gives an array to the host")
        return self.runtime.later(self.plain(x))

    def plain(self, x):
        return x.plain() if isinstance(x, Image) else x

    # -- graphs --------------------------------------------------------------------------------

    def recorder(self) -> Recorder | None:
        """A new one where graphs are wanted."""
        return Recorder(self) if self.graphs else None

    # -- random numbers ------------------------------------------------------------------------

    def seed(self, n):
        super().seed(n)
        # drawn beside the host's numbers, not from them: fillers give the same weights on every device
        self._seed_device(int(np.random.SeedSequence(n).generate_state(1, np.uint64)[0]), 0)

    def _seed_device(self, key: int, position: int):
        self.key, self.position = key, position

    def random_state(self):
        return {"host": super().random_state(), "key": self.key, "position": self.position}

    def set_random_state(self, state):
        super().set_random_state(state["host"])
        self._seed_device(state["key"], state["position"])

    def uniform(self, shape, low=0.0, high=1.0):
        y = self.empty(shape)
        fours = -(-y.size // 4)
        self._launch("random", "uniform", fours, y, np.int64(y.size), np.uint64(self.key),
                     np.uint64(self.position - self.origin), self.counter)  # fmt: skip
        self.position += fours
        return y if (low, high) == (0.0, 1.0) else y * np.float32(high - low) + np.float32(low)

    def bernoulli(self, shape, p):
        return self.uniform(shape) < p

    # -- products ------------------------------------------------------------------------------

    def matmul(self, a, b, out=None, add=False, ta=False, tb=False):
        self._refuse("computes a matrix product")
        product = self.runtime.matmul(a.T if ta else a, b.T if tb else b, self.precision != "fp32")
        if out is None:
            return product
        if add:
            out += product
        else:
            out[...] = product
        return out

    # -- elementwise ---------------------------------------------------------------------------

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
        y, mask = self._like(x), self._like(x, bool)
        draw = self.uniform(_array(x).shape)
        self._launch("elementwise", "dropout_forward", x.size, x, draw, y, mask, np.int64(x.size),
                     np.float32(1 - ratio))  # fmt: skip
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
        return super().concatenate([self.plain(x) for x in xs], axis)

    def part(self, x, axis, start, stop):
        if axis == 1 and isinstance(x, Image):
            return Image(x.images, x.array[..., start:stop].copy(), x.scale)  # never a view: see ALIGNMENT
        return super().part(self.plain(x), axis, start, stop)

    def _like(self, x, dtype=None, spatial=None):
        """An array, or an image with the scale of x, for as many numbers (N, C, ...) as x has, or of other sizes."""
        if not isinstance(x, Image):
            return self.empty((*x.shape[:2], *spatial) if spatial else x.shape, dtype)
        n, h, w, c = x.array.shape
        shape = n, *(spatial or (h, w)), c
        return x.images.empty(shape, x) if dtype is None else Image(x.images, self.empty(shape, dtype))

    def _in_form_of(self, kept, dy):
        return kept.images.of(dy, most=1.0) if isinstance(kept, Image) else self.plain(dy)

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

    # -- normalisation and losses --------------------------------------------------------------

    def lrn_forward(self, x, size, alpha, beta, k):
        y, scale = self.empty(x.shape), self.empty(x.shape)
        pixels, channels, inner = self._pixels(x, 1)
        self._launch("lrn", "lrn_forward", int(pixels), x, y, scale, pixels, channels, inner, np.int32(size),
                     np.float32(alpha), np.float32(beta), np.float32(k))  # fmt: skip
        return y, scale

    def lrn_backward(self, dy, x, y, scale, size, alpha, beta):
        dx = self.empty(x.shape)
        pixels, channels, inner = self._pixels(x, 1)
        self._launch("lrn", "lrn_backward", int(pixels), dy, x, y, scale, dx, pixels, channels, inner, np.int32(size),
                     np.float32(alpha), np.float32(beta))  # fmt: skip
        return dx

    def softmax_forward(self, x, axis):
        y = self.empty(x.shape)
        self._launch("softmax", "softmax_forward", x.size, x, y, *self._pixels(x, axis))
        return y

    def softmax_backward(self, dy, y, axis):
        dx = self.empty(y.shape)
        self._launch("softmax", "softmax_backward", y.size, dy, y, dx, *self._pixels(y, axis))
        return dx

    def softmax_loss_forward(self, x, labels, axis, ignore, weights=None):
        prob = self.empty(x.shape)
        pixels, classes, inner = self._pixels(x, axis)
        labels = self.xp.ascontiguousarray(labels, dtype=np.int32)
        blocks = max(1, min(-(-int(pixels) // 256), 1024))
        losses, counts = self.zeros(blocks, np.float64), self.zeros(blocks, np.int64)
        self._launch("softmax", "softmax_loss_forward", int(pixels), x, labels, weights, prob, losses, counts, pixels,
                     classes, inner, *_ignored(ignore), blocks=blocks)  # fmt: skip
        loss, count = self.empty((), np.float64), self.empty((), np.int64)
        self._launch("softmax", "softmax_loss_total", blocks, losses, counts, loss, count, np.int32(blocks), blocks=1)
        return prob, loss, count

    def softmax_loss_backward(self, prob, labels, axis, ignore, scale, weights=None):
        dx = self.empty(prob.shape)
        labels = self.xp.ascontiguousarray(labels, dtype=np.int32)
        scale = self.xp.asarray(scale, dtype=np.float32)
        pixels, classes, inner = self._pixels(prob, axis)
        self._launch("softmax", "softmax_loss_backward", int(pixels), prob, labels, weights, scale, dx, pixels, classes,
                     inner, *_ignored(ignore))  # fmt: skip
        return dx

    def labels_of_shape(self, shape, labels, axis, ignore):
        self._refuse("waits for its labels")
        return super().labels_of_shape(shape, labels, axis, ignore)

    @staticmethod
    def _pixels(x, axis):
        """(pixels, size of the axis, values after the axis) as a kernel takes them."""
        axis %= x.ndim
        inner = math.prod(x.shape[axis + 1 :])
        return np.int64(math.prod(x.shape[:axis]) * inner), np.int32(x.shape[axis]), np.int64(inner)

    # -- update --------------------------------------------------------------------------------

    def update(self, rule, tensors, constants, rate, decay, scale, t, l1):
        if not tensors:
            return True
        rows = tuple((w.data.ptr, g.data.ptr, *_two_pointers(histories), w.size, *rates)
                     for w, g, histories, *rates in tensors)  # fmt: skip
        if rows not in self._update_tables:
            self._update_tables = {rows: self._update_table(rows)}
        table, chunks = self._update_tables[rows]
        c, number = constants, list(UPDATE_RULES).index(rule)
        keep, keep2 = UPDATE_RULES[rule](c)
        correction = math.sqrt(1 - c.momentum2**t) / (1 - c.momentum**t) if rule == "Adam" else 1.0
        floats = (keep, 1 - keep, keep2, 1 - keep2, c.delta, correction)
        self._launch("update", "update", len(chunks), table, chunks, np.int32(len(chunks)), np.int32(number),
                     np.float32(scale), np.float32(rate), np.float32(decay), np.int32(l1), *map(np.float32, floats),
                     blocks=len(chunks))  # fmt: skip
        return True

    def _update_table(self, rows):
        """(Tensors, chunks) as update.cu takes them."""
        table = [[*row[:5], int(np.array(row[5:], np.float32).view(np.int64)[0])] for row in rows]
        chunks = [(i, j) for i, row in enumerate(rows) for j in range(-(-row[4] // UPDATE_CHUNK))]
        return self.asarray(table, np.int64), self.asarray(chunks, np.int32)

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


def _two_pointers(histories):
    """The addresses of one or two histories, the second 0 if there is one."""
    return [h.data.ptr for h in histories] + [0] * (2 - len(histories))


def _ignored(ignore):
    return np.int32(ignore is not None), np.int32(ignore or 0)


def _index(device: str) -> int:
    """The number in "gpu:1"; "gpu" is 0."""
    name, _, number = device.partition(":")
    if name != "gpu" or not (number.isdigit() or not number):
        raise SolverFault(f"device '{device}' is not known: cpu, gpu or gpu:N, N from 0")
    return int(number or 0)
