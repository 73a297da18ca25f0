"""What the GPU backend asks of a device: memory, uploads and kernel launches.  CuPy is imported here alone.

Tests put another runtime in its place that runs the same kernels' text on the CPU.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np

from proto.errors import SolverFault

KERNELS = Path(__file__).parent / "kernels"
THREADS = 256
MOST_BLOCKS = 132 * 16  # kernels stride over the grid: more blocks than fit at once gain nothing


def blocks_for(n: int) -> int:
    """How many blocks of THREADS serve n values."""
    return max(1, min(-(-n // THREADS), MOST_BLOCKS))


class CudaRuntime:
    """One CUDA device through CuPy."""

    def __init__(self, index: int = 0):
        self.xp = cupy = _cupy()
        count = _device_count(cupy)
        if index >= count:
            have = "no GPU was found" if count == 0 else f"this machine has {count}, numbered from 0"
            raise SolverFault(f"GPU {index} was asked for, but {have}: use --device cpu, or install a driver")
        self.index = index
        self.device = cupy.cuda.Device(index)
        self.device.use()
        self.copies = cupy.cuda.Stream(non_blocking=True)
        self._pinned = [_Pinned(cupy), _Pinned(cupy)]

    @functools.cache  # noqa: B019 (a runtime lives as long as the process)
    def _module(self, file: str):
        return self.xp.RawModule(code=(KERNELS / f"{file}.cu").read_text(), options=("-std=c++17",))

    @functools.cache  # noqa: B019
    def constants(self, values: tuple[int, ...]):
        """A small int32 array on the device, kept: kernels read a geometry from it."""
        return self.xp.asarray(np.asarray(values, np.int32))

    def launch(self, file: str, kernel: str, n: int, *args, blocks: int | None = None) -> None:
        """Run a kernel over n values.  Arguments: device arrays, None (a null pointer) or NumPy scalars."""
        function = self._module(file).get_function(kernel)
        values = tuple(np.uint64(0) if arg is None else arg for arg in args)
        function((blocks or blocks_for(n),), (THREADS,), values)

    def upload(self, host: np.ndarray):
        """A device array of a host array.  The copy to the device runs beside what computes there: the host array
        goes through one of two pinned buffers, so that the caller may reuse it at once."""
        self._pinned.reverse()
        return self._pinned[0].upload(host, self.copies)

    def download(self, x) -> np.ndarray:
        return self.xp.asnumpy(x)

    def convolutions(self, precision: str, deterministic: bool):
        """cuDNN's convolutions at that precision, or None where cuDNN is missing.  Sets cuBLAS to match."""
        cublas = self.xp.cuda.cublas
        mode = cublas.CUBLAS_DEFAULT_MATH if precision == "fp32" else cublas.CUBLAS_TF32_TENSOR_OP_MATH
        cublas.setMathMode(self.xp.cuda.device.get_cublas_handle(), mode)
        try:
            from layers.backend.gpu_cudnn import Convolutions

            return Convolutions(self, precision, deterministic)
        except (ImportError, OSError, RuntimeError) as error:
            warnings.warn(f"cuDNN is not used ({error}): convolutions run through cuBLAS, slower", stacklevel=2)
            return None

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()


class _Pinned:
    """A page-locked buffer that grows and never shrinks, and the event of its last copy."""

    def __init__(self, cupy):
        self.cupy = cupy
        self.memory = None
        self.done = cupy.cuda.Event(disable_timing=True)

    def upload(self, host, stream):
        cupy = self.cupy
        device = cupy.empty(host.shape, host.dtype)
        if host.nbytes == 0:
            return device
        self.done.synchronize()  # the copy before last has left this buffer
        if self.memory is None or self.memory.nbytes < host.nbytes:
            self.memory = cupy.cuda.alloc_pinned_memory(host.nbytes)
            self.memory_bytes = np.frombuffer(self.memory, np.uint8)
        staged = self.memory_bytes[: host.nbytes].view(host.dtype).reshape(host.shape)
        staged[...] = host
        current = cupy.cuda.get_current_stream()
        stream.wait_event(current.record())  # the block may still be in use by what ran before it was freed
        device.set(staged, stream=stream)
        self.done.record(stream)
        current.wait_event(self.done)
        return device


def _cupy():
    try:
        import cupy
    except ImportError as error:
        raise SolverFault(
            f"the GPU needs CuPy ({error}): pip install 'demitasse[gpu]' for CUDA 12, 'demitasse[gpu-cuda13]' for "
            "CUDA 13; or use --device cpu"
        ) from error
    return cupy


def _device_count(cupy) -> int:
    try:
        return cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0


def device_count() -> int:
    """How many GPUs can be used; 0 too where CuPy is missing."""
    try:
        return _device_count(_cupy())
    except SolverFault:
        return 0
