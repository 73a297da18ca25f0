"""A stand-in for the cupy module itself, so that CudaRuntime's own lines run without a GPU.

Arrays are pretend device arrays, kernels run through the shim; streams and events are those of CuPy 14.2 in name and
signature, and check the order in which they are used: a copy that nobody waited for is not there yet.
"""

from __future__ import annotations

import contextlib
import ctypes
from types import SimpleNamespace

import numpy as np

from demitasse.layers.backend.gpu import runtime as gpu_runtime
from tests.test_gpu import shim
from tests.test_gpu.device_array import DeviceArray, _Namespace


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.work = []

    def record(self, stream=None):
        self.work = list((stream or current).queue)

    def synchronize(self):
        for job in self.work:
            job()

    @property
    def done(self):
        return all(job.finished for job in self.work)


class Job:
    """Runs once, after what it waits for."""

    def __init__(self, action, after):
        self.action, self.after, self.finished = action, after, False

    def __call__(self):
        if not self.finished:
            self.finished = True
            for job in self.after:
                job()
            self.action()


class Stream:
    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.queue, self.ptr, self.non_blocking = [], id(self), non_blocking
        self.captured = None  # what is launched meanwhile

    def __enter__(self):
        global current
        self.outer, current = current, self
        return self

    def __exit__(self, *error):
        global current
        current = self.outer

    def begin_capture(self, mode=None):
        assert self.non_blocking and self.captured is None and mode is None, "the default stream cannot be captured"
        self.captured = []

    def end_capture(self):
        assert self.captured is not None
        captured, self.captured = self.captured, None

        def launch(stream=None):
            for job in captured:
                job()

        return SimpleNamespace(launch=launch)

    def _add(self, action):
        self.queue.append(Job(action, list(self.queue)))

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        work = list(event.work)
        self._add(lambda: [job() for job in work])

    def synchronize(self):
        for job in self.queue:
            job()


current = Stream()


class PinnedMemoryPointer:
    """As in CuPy: `ptr`, `mem`, `size()` and the buffer protocol, nothing else."""

    def __new__(cls, size):
        return (ctypes.c_byte * (-(-size // 512) * 512))()


class RawModule:
    def __init__(
        self,
        *,
        code=None,
        path=None,
        options=(),
        backend="nvrtc",
        translate_cucomplex=False,
        enable_cooperative_groups=False,
        name_expressions=None,
        jitify=False,
    ):
        assert isinstance(options, tuple) and path is None
        stems = [path.stem for path in gpu_runtime.KERNELS.glob("*.cu")]
        (self.file,) = (stem for stem in stems if code.endswith(gpu_runtime.source(stem)))
        self.defines = code.removesuffix(gpu_runtime.source(self.file))

    def get_function(self, name):
        declared = gpu_runtime.signatures(self.file)[name]

        def kernel(grid, block, args):
            assert all(type(arg) in (DeviceArray, np.uint64, np.int64, np.int32, np.float32) for arg in args)
            if current.captured is not None:
                current.captured.append(lambda: kernel(grid, block, args))
                return
            values = [
                None if pointer and isinstance(arg, np.uint64) else arg
                for arg, (_, pointer) in zip(args, declared, strict=True)
            ]
            current.synchronize()
            shim.ShimRuntime().launch(self.file, name, 1, *values, blocks=grid[0], defines=self.defines)

        return SimpleNamespace(kernel=kernel)


class MemoryPool:
    def malloc(self, size):
        raise NotImplementedError

    def free_all_blocks(self):
        pass

    def total_bytes(self):
        return 0

    free_bytes = total_bytes


@contextlib.contextmanager
def using_allocator(allocator):
    global allocating
    outer, allocating = allocating, allocator
    try:
        yield
    finally:
        allocating = outer


allocating = None


class FakeCupy(_Namespace):
    """The module."""

    def __init__(self, devices=1):
        super().__init__(np)
        self.math_modes = []
        self.memory_left = [1 << 30]
        handle = object()

        def get_device_count():
            if not devices:
                raise CUDARuntimeError("cudaErrorInsufficientDriver")
            return devices

        self.cuda = SimpleNamespace(
            Stream=Stream,
            Event=Event,
            Device=lambda index: SimpleNamespace(use=lambda: None, id=index),
            get_current_stream=lambda: current,
            alloc_pinned_memory=PinnedMemoryPointer,
            MemoryPool=MemoryPool,
            using_allocator=using_allocator,
            get_allocator=lambda: self.allocator,
            set_allocator=lambda allocator: setattr(self, "allocator", allocator),
            runtime=SimpleNamespace(
                getDeviceCount=get_device_count,
                CUDARuntimeError=CUDARuntimeError,
                memGetInfo=lambda: (sum(self.memory_left), 1 << 31),
            ),
            device=SimpleNamespace(get_cublas_handle=lambda: handle),
            cublas=SimpleNamespace(
                CUBLAS_DEFAULT_MATH=0, setMathMode=lambda handle, mode: self.math_modes.append(mode)
            ),
        )
        self.RawModule = RawModule
        self.allocator = self._allocate
        pool = MemoryPool()
        self.get_default_memory_pool = lambda: pool

    def _allocate(self, nbytes):
        if nbytes > sum(self.memory_left):
            raise MemoryError(nbytes)
        return nbytes

    @staticmethod
    def asnumpy(x):
        current.synchronize()
        return np.array(x._host)


class CUDARuntimeError(RuntimeError):
    pass


def empty_pinned(shape, dtype=float, order="C"):
    return np.full(shape, 77, dtype)


def set_array(self, array, stream=None):
    """ndarray.set: asynchronous with a stream, from what the host array holds when the stream comes to it.  Without
    one, from memory that is not page-locked, the host array has been read when it returns."""
    assert array.shape == self.shape and array.dtype == self.dtype
    source = array if stream is not None else array.copy()
    (stream or current)._add(lambda: self._host.__setitem__(..., source))


def get_array(self, stream=None, order="C", out=None, blocking=True):
    assert out.shape == self.shape and out.dtype == self.dtype and not blocking
    stream._add(lambda: out.__setitem__(..., self._host))
