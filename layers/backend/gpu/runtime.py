"""What the GPU backend asks of a device: memory, copies and kernel launches.  CuPy is imported here alone.

Tests put another runtime in its place that runs the same kernels' text on the CPU.
"""

from __future__ import annotations

import contextlib
import functools
import re
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from demitasse.layers.backend.contract.memory import NotRecordable
from demitasse.layers.backend.gpu.transfers import Download, PinnedBuffer
from demitasse.proto.errors import SolverFault

KERNELS = Path(__file__).parent / "kernels"
THREADS = 256
BLOCK, NULL = (THREADS,), np.uint64(0)
ALIGNMENT = 16  # bytes: what kernels that read eight fp16 elements at once, and cuDNN's plans, expect of an address
MAX_BLOCKS = 132 * 16  # kernels stride over the grid: more blocks than fit at once gain nothing
MAX_PINNED = 32 << 20  # bytes of an upload that goes through page-locked memory; images do, weights need not
TF32_MATH = 3  # cublasMath_t's CUBLAS_TF32_TENSOR_OP_MATH, which CuPy does not name

SIGNATURE = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)\s*\{')
TYPES = {  # what a kernel declares, and the NumPy type of what it must be given
    "float": "float32",
    "double": "float64",
    "int": "int32",
    "long long": "int64",
    "bool": "bool",
    "unsigned long long": "uint64",
    "unsigned short": "float16",
    **dict.fromkeys(("Pool", "Conv", "Regions"), "int32"),
    "Tensor": "int64",
}


def blocks_for(n: int) -> int:
    """How many blocks of THREADS serve n values."""
    return max(1, min(-(-n // THREADS), MAX_BLOCKS))


def source(file: str, defines: str = "") -> str:
    """What is compiled of a .cu file.  defines: macros that its text asks for."""
    return defines + f'{(KERNELS / "common.h").read_text()}#line 1 "{file}.cu"\n{(KERNELS / f"{file}.cu").read_text()}'


@functools.cache
def signatures(file: str) -> dict[str, list[tuple[np.dtype, bool]]]:
    """{kernel: [(type, whether it is a pointer) of each parameter]} of a .cu file."""
    return {
        name: [_declared(text) for text in parameters.split(",")]
        for name, parameters in SIGNATURE.findall((KERNELS / f"{file}.cu").read_text())
    }


def _declared(parameter: str) -> tuple[np.dtype, bool]:
    pointer = "*" in parameter
    kind = parameter.rpartition("*")[0] if pointer else parameter.rpartition(" ")[0]
    return np.dtype(TYPES[kind.replace("const", "").replace("__restrict__", "").strip()]), pointer


def check_arguments(kernel: str, declared, args, array_type) -> None:
    """TypeError unless the arguments are arrays (or None) and NumPy scalars of the declared types: a device would
    compute with the wrong bytes in silence."""
    if len(declared) != len(args):
        raise TypeError(f"kernel {kernel} takes {len(declared)} arguments, not {len(args)}")
    for index, ((dtype, pointer), arg) in enumerate(zip(declared, args, strict=True)):
        if pointer and arg is None:
            continue
        if pointer and dtype == np.float16 and arg.size and arg.data.ptr % ALIGNMENT:
            raise TypeError(
                f"kernel {kernel}, argument {index}: a float16 array that is not aligned to {ALIGNMENT} bytes"
            )
        if isinstance(arg, array_type) != pointer or getattr(arg, "dtype", None) != dtype:
            raise TypeError(
                f"kernel {kernel}, argument {index}: {dtype}{' array' * pointer} expected, got "
                f"{getattr(arg, 'dtype', '')} {type(arg).__name__}"
            )


class CudaRuntime:
    """One CUDA device through CuPy.  It belongs to the thread that makes it; other threads stay on the host."""

    has_cudnn = True  # to be asked for

    def __init__(self, index: int = 0):
        self.xp = cupy = _cupy()
        count = _device_count(cupy)
        if index >= count:
            have = "no GPU was found" if count == 0 else f"this machine has {count}, numbered from 0"
            raise SolverFault(f"GPU {index} was asked for, but {have}: use --device cpu, or install a driver")
        self.index, self.device = index, cupy.cuda.Device(index)
        self.device.use()
        self.uploads, self.downloads = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
        self._pinned = [PinnedBuffer(cupy), PinnedBuffer(cupy)]
        self._modules, self._functions, self._constants = {}, {}, {}
        self._capturing = False
        self.recordings = _recordings(cupy)  # those that exist in this process

    def launch(self, file: str, kernel: str, n: int, *args, blocks: int | None = None, defines: str = "") -> None:
        """Run a kernel over n values.  Arguments: contiguous device arrays, None (a null pointer), NumPy scalars."""
        function = self._functions.get((kernel, defines))
        if function is None:
            check_arguments(kernel, signatures(file)[kernel], args, self.xp.ndarray)  # later ones are of the same types
            function = self._functions[kernel, defines] = self._module(file, defines).get_function(kernel).kernel
        function((blocks or blocks_for(n),), BLOCK, tuple([NULL if arg is None else arg for arg in args]))

    def _module(self, file: str, defines: str):
        if (file, defines) not in self._modules:
            self._modules[file, defines] = self.xp.RawModule(code=source(file, defines), options=("-std=c++17",))
        return self._modules[file, defines]

    def constants(self, values: tuple[int, ...], dtype="int32"):
        """A small array on the device, kept: kernels read a geometry from it."""
        key = values, dtype
        if key not in self._constants:
            self._refuse("a constant that is not on the device yet")
            self._constants[key] = self.xp.asarray(np.array(values, dtype))
        return self._constants[key]

    def upload(self, host: np.ndarray):
        """A device array of a host array.  The host array goes through one of two pinned buffers, so that the caller
        may reuse it at once and does not wait for what the device is computing.  A large one goes by itself: CUDA
        has read it when the call returns, and page-locked memory for it would be missing elsewhere."""
        self._refuse("an upload")
        if host.nbytes > MAX_PINNED:
            device = self.xp.empty(host.shape, host.dtype)
            device.set(host)
            return device
        self._pinned.reverse()
        return self._pinned[0].upload(host, self.uploads)

    def download(self, x) -> np.ndarray:
        """The host copy of a device array, of its shape, when it is computed."""
        self._refuse("a copy to the host")
        return self.xp.asnumpy(x)

    def download_async(self, x):
        """The host copy of x, begun as soon as x is computed; what is launched afterwards does not hold it up."""
        self._refuse("a copy to the host")
        return Download(self.xp, x, self.downloads)

    def matmul(self, a, b, tensor_cores: bool):
        """a @ b; the rounding of float32 to TF32 is a state of this thread's cuBLAS handle, and off in between."""
        self._refuse("a product by cuBLAS")
        if not tensor_cores:
            return self.xp.matmul(a, b)
        cublas, handle = self.xp.cuda.cublas, self.xp.cuda.device.get_cublas_handle()
        cublas.setMathMode(handle, TF32_MATH)
        try:
            return self.xp.matmul(a, b)
        finally:
            cublas.setMathMode(handle, cublas.CUBLAS_DEFAULT_MATH)

    def capture_memory(self):
        """Where arrays of graphs are to lie that are launched one after the other: nothing else is put there."""
        cuda = self.xp.cuda
        return CaptureMemory(cuda.Stream(non_blocking=True), cuda.MemoryPool(), cuda.MemoryPool())

    def is_half_free(self) -> bool:
        """Whether at least half of the device's memory is; what CuPy keeps for arrays to come counts as free."""
        free, total = self.xp.cuda.runtime.memGetInfo()
        return 2 * (free + self.xp.get_default_memory_pool().free_bytes()) >= total

    def captured_bytes(self, memory: CaptureMemory) -> int:
        """Bytes that graphs have taken there."""
        return memory.pool.total_bytes() + memory.lasting.total_bytes()

    def lasting(self, memory: CaptureMemory):
        """A context: what is made in it while a graph is captured has memory that no launch of the graph works in."""
        return self.xp.cuda.using_allocator(memory.lasting.malloc)

    def capture(self, run, memory: CaptureMemory):
        """What run() launches, not done but captured: a graph to `launch()` on the stream that is current then."""
        self.xp.get_default_memory_pool().free_all_blocks()  # a pass's memory is about to be taken once more
        self._capturing = True
        try:
            with memory.stream, self.xp.cuda.using_allocator(memory.pool.malloc):
                memory.stream.begin_capture()
                try:
                    run()
                except BaseException:
                    with contextlib.suppress(Exception):  # a capture that an error of CUDA's has ended already
                        memory.stream.end_capture()
                    raise
                return memory.stream.end_capture()
        finally:
            self._capturing = False

    def _refuse(self, what: str) -> None:
        """CuPy would capture a copy from memory that somebody else soon writes to, and refuses cuBLAS."""
        if self._capturing:
            raise NotRecordable(f"{what} cannot be part of a CUDA graph")

    def synchronize(self) -> None:
        """Wait for all work on this thread's stream."""
        self.xp.cuda.get_current_stream().synchronize()


class CaptureMemory(NamedTuple):
    """A stream to capture on, and pools whose blocks belong to that stream: one for what the launches use in turn, one
    for what others write before the graph is launched."""

    stream: Any
    pool: Any
    lasting: Any


def _cupy():
    try:
        import cupy
    except ImportError as error:
        raise SolverFault(
            f"the GPU needs CuPy ({error}): in Demitasse's folder, pip install '.[gpu]' for CUDA 12, "
            "'.[gpu-cuda13]' for CUDA 13; or use --device cpu"
        ) from error
    return cupy


@functools.cache
def _recordings(cupy) -> weakref.WeakSet:
    """Where recordings (recording.CapturedGraphs) are to be put: from now on CuPy asks them to give way where an array
    finds no memory."""
    recordings: weakref.WeakSet = weakref.WeakSet()
    allocate = cupy.cuda.get_allocator()

    def malloc(nbytes):
        try:
            return allocate(nbytes)
        except MemoryError:
            owners = {forget for one in list(recordings) if one.give_way and (forget := one.give_way())}
            if not owners:
                raise
        for forget in owners:
            forget()
        return allocate(nbytes)

    with contextlib.suppress(ValueError):  # a user's allocator of this thread stays
        cupy.cuda.set_allocator(malloc)
    return recordings


def _device_count(cupy) -> int:
    try:
        return cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0
