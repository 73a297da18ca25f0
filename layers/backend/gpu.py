"""The GPU backend: CuPy arrays, cuBLAS and cuDNN for the convolutions, own kernels (kernels/*.cu) for the rest.

Blobs are float32, NCHW.  precision "tf32" lets the tensor cores round a convolution's and a product's inputs to
ten bits of mantissa (as other frameworks do by default), "fp32" does not; "fp16" hands cuDNN half-precision,
channels-last copies of a convolution's images and weights (the float32 weights stay the master copy) and scales
each gradient by a power of two of its own, read and applied on the device, so that nothing underflows.
"""

from __future__ import annotations

import math

import numpy as np

from layers.backend.base import Backend, PoolGeometry, label_fault
from proto.errors import SolverFault

COLUMN_BYTES = 256 << 20  # a strip of im2col columns; a whole image's can be over 1 GB
PRECISIONS = ("fp32", "tf32", "fp16")


class GpuBackend(Backend):
    """See the module's docstring.  exact: fp32, and the same bits on every run."""

    name = "gpu"

    def __init__(self, device: str = "gpu", precision: str = "tf32", exact: bool = False, runtime=None):
        if precision not in PRECISIONS:
            raise SolverFault(f"precision '{precision}' is not one of {', '.join(PRECISIONS)}")
        if runtime is None:
            from layers.backend.gpu_runtime import CudaRuntime

            runtime = CudaRuntime(_index(device))
        self.runtime, self.xp = runtime, runtime.xp
        self.precision = "fp32" if exact else precision
        self.deterministic = exact
        self.convolutions = runtime.convolutions(self.precision, exact)  # None: cuDNN is missing
        super().__init__("float32")

    # -- arrays --------------------------------------------------------------------------------

    def asarray(self, host, dtype=None):
        dtype = np.dtype(dtype or self.dtype)
        if isinstance(host, self.xp.ndarray):
            return self.xp.ascontiguousarray(host, dtype=dtype).reshape(host.shape)
        return self.runtime.upload(np.ascontiguousarray(host, dtype=dtype).reshape(np.shape(host)))

    def to_host(self, x):
        return self.runtime.download(x)

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
        self._launch("random", "uniform", fours, y, np.int64(y.size), np.uint64(self.key), np.uint64(self.position))
        self.position += fours
        return y if (low, high) == (0.0, 1.0) else y * np.float32(high - low) + np.float32(low)

    def bernoulli(self, shape, p):
        return self.uniform(shape) < p

    # -- convolution ---------------------------------------------------------------------------

    def conv_forward(self, x, w, b, geom, relu=None):
        if x.ndim != 4:
            return super().conv_forward(x, w, b, geom, relu)
        if self.convolutions is not None and x.size:
            fused = relu if relu == 0 else None  # cuDNN's epilogue knows the plain ReLU
            y = self.convolutions.forward(x, w, b, geom, relu=fused == 0)
            return y if relu in (None, 0) else self._epilogue(y, None, relu)
        y = self.empty((len(x), len(w), *geom.out_size(x.shape[2:])))
        for image, strip, cols in self._strips(x, w, geom):
            rows = w.reshape(geom.group, len(w) // geom.group, -1)
            y.reshape(len(x), geom.group, rows.shape[1], -1)[image, :, :, strip] = self.xp.matmul(rows, cols())
        return self._epilogue(y, b, relu)

    def conv_backward_data(self, dy, w, geom, spatial, b=None, relu=None, diagonal=False):
        if dy.ndim != 4:
            return super().conv_backward_data(dy, w, geom, spatial, b, relu, diagonal)
        if diagonal and set(geom.dilation) == {1}:
            return self._upsample_channels(dy, w, geom, spatial, b, relu)
        if self.convolutions is not None and dy.size:
            return self._epilogue(self.convolutions.backward_data(dy, w, geom, spatial), b, relu)
        n, channels = len(dy), w.shape[1] * geom.group
        x = self.zeros((n, channels, *spatial))
        rows = w.reshape(geom.group, len(w) // geom.group, -1).transpose(0, 2, 1)
        flat = dy.reshape(n, geom.group, len(w) // geom.group, -1)
        for image, strip in self._strip_slices(n, channels * math.prod(geom.kernel), flat.shape[3]):
            cols = self.xp.ascontiguousarray(self.xp.matmul(rows, flat[image, :, :, strip]))
            first, count = np.int64(strip.start), np.int64(strip.stop - strip.start)
            self._launch("convolution", "col2im", x[image].size, cols, x[image], first, count,
                         self._conv_constants(geom, (channels, *spatial), dy.shape[2:]))  # fmt: skip
        return self._epilogue(x, b, relu)

    def conv_backward_weights(self, x, dy, geom, dw):
        if x.ndim != 4:
            super().conv_backward_weights(x, dy, geom, dw)
        elif self.convolutions is not None and x.size:
            dw += self.convolutions.backward_weights(x, dy, geom, dw.shape)
        else:
            flat = dy.reshape(len(dy), geom.group, len(dw) // geom.group, -1)
            for image, strip, cols in self._strips(x, dw, geom):
                dw += self.xp.matmul(flat[image, :, :, strip], cols().transpose(0, 2, 1)).reshape(dw.shape)

    def _strips(self, x, w, geom):
        """(image, slice of output pixels, function that makes their columns (group, rows, pixels)) of x."""
        out = geom.out_size(x.shape[2:])
        rows = x.shape[1] * math.prod(geom.kernel)
        constants = self._conv_constants(geom, x.shape[1:], out)
        for image, strip in self._strip_slices(len(x), rows, math.prod(out)):

            def columns(image=image, strip=strip):
                count = strip.stop - strip.start
                cols = self.empty((geom.group, rows // geom.group, count))
                self._launch("convolution", "im2col", cols.size, x[image], cols, np.int64(strip.start),
                             np.int64(count), constants)  # fmt: skip
                return cols

            yield image, strip, columns

    @staticmethod
    def _strip_slices(images, rows, pixels):
        width = max(1, COLUMN_BYTES // (4 * max(rows, 1)))
        for image in range(images):
            for start in range(0, pixels, width):
                yield image, slice(start, min(start + width, pixels))

    def _upsample_channels(self, x, w, geom, spatial, b, relu):
        each = self.xp.arange(len(w))
        kernels = self.xp.ascontiguousarray(w[each, each])
        y = self.empty((*x.shape[:2], *spatial))
        self._launch("convolution", "upsample_channels", y.size, x, kernels, b, y, np.int64(y.size),
                     self._conv_constants(geom, y.shape[1:], x.shape[2:]))  # fmt: skip
        return y if relu is None else self._epilogue(y, None, relu)

    def _conv_constants(self, geom, image, out):
        return self.runtime.constants((*image, *out, *geom.kernel, *geom.stride, *geom.pad, *geom.dilation))

    def _epilogue(self, y, b, relu):
        if b is not None or relu is not None:
            slope = np.float32(1 if relu is None else relu)
            inner = math.prod(y.shape[2:])
            self._launch("elementwise", "bias_relu", y.size, y, b, np.int64(y.size), np.int32(y.shape[1]),
                         np.int64(inner), slope)  # fmt: skip
        return y

    # -- elementwise ---------------------------------------------------------------------------

    def relu_forward(self, x, slope):
        return self._map("relu_forward", [x], np.float32(slope))

    def relu_backward(self, dy, y, slope):
        return self._map("relu_backward", [dy, y], np.float32(slope))

    def dropout_forward(self, x, ratio):
        y, mask, draw = self.xp.empty_like(x), self.empty(x.shape, bool), self.uniform(x.shape)
        keep = np.float32(1 - ratio)
        self._launch("elementwise", "dropout_forward", x.size, x, draw, y, mask, np.int64(x.size), keep)
        return y, mask

    def dropout_backward(self, dy, mask, ratio):
        return self._map("dropout_backward", [dy, mask], np.float32(1 - ratio))

    def _map(self, kernel, inputs, parameter):
        y = self.empty(inputs[0].shape)
        self._launch("elementwise", kernel, y.size, *inputs, y, np.int64(y.size), parameter)
        return y

    # -- pooling -------------------------------------------------------------------------------

    def max_pool_forward(self, x, geom):
        y, index = self._pooled(x, geom), self.empty((*x.shape[:2], *geom.out), np.int32)
        self._pool("max_pool_forward", y.size, geom, x.shape[2:], x, y, index)
        return y, index

    def max_pool_backward(self, dy, index, geom, spatial):
        dx = self.empty((*dy.shape[:2], *spatial))
        self._pool("max_pool_backward", dx.size, geom, spatial, dy, index, dx)
        return dx

    def ave_pool_forward(self, x, geom):
        y = self._pooled(x, geom)
        self._pool("ave_pool_forward", y.size, geom, x.shape[2:], x, y)
        return y

    def ave_pool_backward(self, dy, geom, spatial):
        dx = self.empty((*dy.shape[:2], *spatial))
        self._pool("ave_pool_backward", dx.size, geom, spatial, dy, dx)
        return dx

    def stochastic_pool_forward(self, x, geom, train):
        y = self._pooled(x, geom)
        draw = self.uniform(y.shape) if train else None
        index = self.empty(y.shape, np.int32) if train else None
        self._pool("stochastic_pool_forward", y.size, geom, x.shape[2:], x, draw, y, index)
        return y, index

    def _pooled(self, x, geom):
        return self.empty((*x.shape[:2], *geom.out))

    def _pool(self, kernel, n, geom: PoolGeometry, spatial, *arrays):
        constants = self.runtime.constants((*spatial, *geom.out, *geom.kernel, *geom.stride, *geom.pad))
        self._launch("pooling", kernel, n, *arrays, np.int64(n), constants)

    # -- normalisation and losses --------------------------------------------------------------

    def lrn_forward(self, x, size, alpha, beta, k):
        y, scale = self.xp.empty_like(x), self.xp.empty_like(x)
        pixels, channels, inner = self._pixels(x, 1)
        self._launch("lrn", "lrn_forward", int(pixels), x, y, scale, pixels, channels, inner, np.int32(size),
                     np.float32(alpha), np.float32(beta), np.float32(k))  # fmt: skip
        return y, scale

    def lrn_backward(self, dy, x, y, scale, size, alpha, beta):
        dx = self.xp.empty_like(x)
        pixels, channels, inner = self._pixels(x, 1)
        self._launch("lrn", "lrn_backward", int(pixels), dy, x, y, scale, dx, pixels, channels, inner, np.int32(size),
                     np.float32(alpha), np.float32(beta))  # fmt: skip
        return dx

    def softmax_forward(self, x, axis):
        y = self.xp.empty_like(x)
        self._launch("softmax", "softmax_forward", x.size, x, y, *self._pixels(x, axis))
        return y

    def softmax_backward(self, dy, y, axis):
        dx = self.xp.empty_like(y)
        self._launch("softmax", "softmax_backward", y.size, dy, y, dx, *self._pixels(y, axis))
        return dx

    def softmax_loss_forward(self, x, labels, axis, ignore, weights=None):
        prob = self.xp.empty_like(x)
        pixels, classes, inner = self._pixels(x, axis)
        labels = self.xp.ascontiguousarray(labels, dtype=np.int32)
        blocks = max(1, min(-(-int(pixels) // 256), 1024))
        losses, counts = self.empty(blocks, np.float64), self.empty(blocks, np.int64)
        bad = self.zeros(1, np.int32)
        self._launch("softmax", "softmax_loss_forward", int(pixels), x, labels, weights, prob, losses, counts, bad,
                     pixels, classes, inner, *_ignored(ignore), blocks=blocks)  # fmt: skip
        if int(self.to_host(bad)[0]):
            raise label_fault(self.to_host(labels), x.shape, axis, ignore)
        return prob, float(self.to_host(losses).sum()), int(self.to_host(counts).sum())

    def softmax_loss_backward(self, prob, labels, axis, ignore, scale, weights=None):
        dx = self.xp.empty_like(prob)
        labels = self.xp.ascontiguousarray(labels, dtype=np.int32)
        scale = self.xp.asarray(scale, dtype=np.float32)
        pixels, classes, inner = self._pixels(prob, axis)
        self._launch("softmax", "softmax_loss_backward", int(pixels), prob, labels, weights, scale, dx, pixels, classes,
                     inner, *_ignored(ignore))  # fmt: skip
        return dx

    @staticmethod
    def _pixels(x, axis):
        """(pixels, size of the axis, values after the axis) as a kernel takes them."""
        axis %= x.ndim
        inner = math.prod(x.shape[axis + 1 :])
        return np.int64(math.prod(x.shape[:axis]) * inner), np.int32(x.shape[axis]), np.int64(inner)

    # -- update --------------------------------------------------------------------------------

    def sgd_update(self, w, g, h, rate, momentum, decay, l1=False):
        self._launch("update", "sgd_update", w.size, w, g, h, np.int64(w.size), np.float32(rate), np.float32(momentum),
                     np.float32(decay), np.int32(l1))  # fmt: skip

    def _launch(self, file, kernel, n, *args, blocks=None):
        if n:
            arrays = self.xp.ndarray
            args = [self.xp.ascontiguousarray(a) if isinstance(a, arrays) and a.ndim else a for a in args]
            self.runtime.launch(file, kernel, n, *args, blocks=blocks)


def _ignored(ignore):
    return np.int32(ignore is not None), np.int32(ignore or 0)


def _index(device: str) -> int:
    """The number in "gpu:1"; "gpu" is 0."""
    name, _, number = device.partition(":")
    if name != "gpu" or not (number.isdigit() or not number):
        raise SolverFault(f"device '{device}' is not known: cpu, gpu or gpu:N, N from 0")
    return int(number or 0)
