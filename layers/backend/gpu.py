"""The GPU backend: CuPy arrays, cuBLAS and cuDNN for the convolutions, own kernels (kernels/*.cu) for the rest.

Blobs are float32, NCHW, to whoever reads them; at tf32 and fp16 convolutions and what lies between them pass images
on whose channels lie last (gpu_image.py).  precision "tf32" lets the tensor cores round a convolution's and a product's
inputs to ten bits of mantissa (as other frameworks do by default), "fp32" does not; "fp16" keeps images and copies of
convolutions' weights as halves (the float32 weights stay the master copy) and scales each gradient by a power of two
of its own, read and applied on the device, so that nothing underflows.

Here: arrays, random numbers, products, losses, the update.  gpu_between.py: what runs between convolutions;
gpu_conv.py: convolutions, by cuDNN (gpu_cudnn.py, gpu_plans.py) or cuBLAS; gpu_runtime.py: the device.
"""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.contract import Capabilities
from demitasse.layers.backend.gpu_between import GpuBetween
from demitasse.proto.errors import SolverFault

PRECISIONS = ("fp32", "tf32", "fp16")


class GpuBackend(GpuBetween):
    """See the module's docstring.  exact: fp32, and the same bits on every run."""

    name = "gpu"

    def __init__(self, device: str = "gpu", precision: str = "tf32", exact: bool = False, runtime=None):
        if precision not in PRECISIONS:
            raise SolverFault(f"precision '{precision}' is not one of {', '.join(PRECISIONS)}")
        if runtime is None:
            from demitasse.layers.backend.gpu_runtime import CudaRuntime

            runtime = CudaRuntime(_index(device))
        self.runtime, self.xp = runtime, runtime.xp
        self.precision = "fp32" if exact else precision
        self.convolutions = runtime.convolutions(self.precision, exact)  # None: cuDNN is missing
        nhwc = getattr(self.convolutions, "images", None) is not None
        self.capabilities = Capabilities(host_memory=False, nhwc=nhwc)
        super().__init__("float32")

    # -- arrays --------------------------------------------------------------------------------

    def asarray(self, host, dtype=None):
        dtype = np.dtype(dtype or self.dtype)
        if isinstance(host, self.xp.ndarray):
            return self.xp.ascontiguousarray(host, dtype=dtype).reshape(host.shape)
        return self.runtime.upload(np.ascontiguousarray(host, dtype=dtype).reshape(np.shape(host)))

    def to_host(self, x):
        return self.runtime.download(self.to_nchw(x))

    def to_host_async(self, x):
        return self.runtime.later(self.to_nchw(x))

    def synchronize(self):
        self.runtime.synchronize()

    def describe(self):
        properties = self.xp.cuda.runtime.getDeviceProperties(self.runtime.index)
        return [
            f"GPU: {properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.1f} GiB, compute capability "
            f"{properties['major']}.{properties['minor']}, {properties['multiProcessorCount']} multiprocessors"
        ]

    def reducer(self, rank, size, share):
        from demitasse.layers.backend.gpu_nccl import NcclReducer

        return NcclReducer(rank, size, share, self.runtime.device)

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
        self._launch(
            "random",
            "uniform",
            fours,
            y,
            np.int64(y.size),
            np.uint64(self.key),
            np.uint64(self.position),
        )
        self.position += fours
        return y if (low, high) == (0.0, 1.0) else y * np.float32(high - low) + np.float32(low)

    def bernoulli(self, shape, p):
        return self.uniform(shape) < p

    # -- products ------------------------------------------------------------------------------

    def matmul(self, a, b, out=None, add=False, ta=False, tb=False):
        product = self.runtime.matmul(a.T if ta else a, b.T if tb else b, self.precision != "fp32")
        if out is None:
            return product
        if add:
            out += product
        else:
            out[...] = product
        return out

    # -- normalisation and losses --------------------------------------------------------------

    def lrn_forward(self, x, size, alpha, beta, k):
        y, scale = self.empty(x.shape), self.empty(x.shape)
        pixels, channels, inner = self._pixels(x, 1)
        self._launch(
            "lrn",
            "lrn_forward",
            int(pixels),
            x,
            y,
            scale,
            pixels,
            channels,
            inner,
            np.int32(size),
            np.float32(alpha),
            np.float32(beta),
            np.float32(k),
        )
        return y, scale

    def lrn_backward(self, dy, x, y, scale, size, alpha, beta):
        dx = self.empty(x.shape)
        pixels, channels, inner = self._pixels(x, 1)
        self._launch(
            "lrn",
            "lrn_backward",
            int(pixels),
            dy,
            x,
            y,
            scale,
            dx,
            pixels,
            channels,
            inner,
            np.int32(size),
            np.float32(alpha),
            np.float32(beta),
        )
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
        self._launch(
            "softmax",
            "softmax_loss_forward",
            int(pixels),
            x,
            labels,
            weights,
            prob,
            losses,
            counts,
            pixels,
            classes,
            inner,
            *_ignored(ignore),
            blocks=blocks,
        )
        loss, count = self.empty((), np.float64), self.empty((), np.int64)
        self._launch("softmax", "softmax_loss_total", blocks, losses, counts, loss, count, np.int32(blocks), blocks=1)
        return prob, loss, count

    def softmax_loss_backward(self, prob, labels, axis, ignore, scale, weights=None):
        dx = self.empty(prob.shape)
        labels = self.xp.ascontiguousarray(labels, dtype=np.int32)
        scale = self.xp.asarray(scale, dtype=np.float32)
        pixels, classes, inner = self._pixels(prob, axis)
        self._launch(
            "softmax",
            "softmax_loss_backward",
            int(pixels),
            prob,
            labels,
            weights,
            scale,
            dx,
            pixels,
            classes,
            inner,
            *_ignored(ignore),
        )
        return dx

    @staticmethod
    def _pixels(x, axis):
        """(pixels, size of the axis, values after the axis) as a kernel takes them."""
        axis %= x.ndim
        inner = math.prod(x.shape[axis + 1 :])
        return np.int64(math.prod(x.shape[:axis]) * inner), np.int32(x.shape[axis]), np.int64(inner)


def _ignored(ignore):
    return np.int32(ignore is not None), np.int32(ignore or 0)


def _index(device: str) -> int:
    """The number in "gpu:1"; "gpu" is 0."""
    name, _, number = device.partition(":")
    if name != "gpu" or not (number.isdigit() or not number):
        raise SolverFault(f"device '{device}' is not known: cpu, gpu or gpu:N, N from 0")
    return int(number or 0)
