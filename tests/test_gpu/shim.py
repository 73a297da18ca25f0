"""A runtime for the GPU backend without a GPU: the kernels' own text, compiled for the CPU, on pretend device arrays.

DEMITASSE_SANITIZE=address compiles them with AddressSanitizer (then libasan must be preloaded).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from demitasse.layers.backend.gpu.runtime import (
    KERNELS,
    SIGNATURE,
    THREADS,
    blocks_for,
    check_arguments,
    signatures,
    source,
)
from tests.test_gpu import fake_cudnn
from tests.test_gpu.device_array import DeviceArray, Tape, refuse_to_record, xp

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
# __syncthreads, and the functions that call it
BARRIERS = re.compile(r"__syncthreads|\b(transpose_tiles|block_sum|atomic_block_max|sum_channels)\(")
COMPILER = shutil.which("g++") or shutil.which("clang++")


def kernels(text: str) -> dict[str, list[str]]:
    """{kernel name: its parameters' declarations} of a .cu text."""
    return {name: [p.strip() for p in parameters.split(",")] for name, parameters in SIGNATURE.findall(text)}


def program(file: str, defines: str = "") -> str:
    """C++ that holds a .cu file's text and, for each kernel, a function `run_<kernel>(blocks, threads, ...)`."""
    text = (KERNELS / f"{file}.cu").read_text()
    bodies = SIGNATURE.split(text)[3::3]
    parts = [f'#include "{HEADER}"\n{source(file, defines)}']
    for (name, parameters), body in zip(kernels(text).items(), bodies, strict=True):
        names = ", ".join(re.split(r"[\s*]+", p)[-1] for p in parameters)
        runner = "run_with_barriers" if BARRIERS.search(body) else "run_flat"
        parts.append(
            f'extern "C" void run_{name}(unsigned grid_, unsigned block_, {", ".join(parameters)}) {{\n'
            f"    cuda_on_cpu::{runner}(grid_, block_, [=] {{ {name}({names}); }});\n}}"
        )
    return "\n".join(parts) + "\n"


@functools.cache
def library(file: str, defines: str = "") -> ctypes.CDLL:
    """The compiled kernels of a file; kept in the temporary folder by the text's hash."""
    sanitize = os.environ.get("DEMITASSE_SANITIZE", "")
    source = program(file, defines)
    digest = hashlib.sha256((source + HEADER.read_text() + sanitize).encode()).hexdigest()[:20]
    folder = Path(tempfile.gettempdir()) / f"demitasse-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"{file}-{digest}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            text, out = Path(scratch) / "kernels.cpp", Path(scratch) / "kernels.so"
            text.write_text(source)
            options = ["-std=c++17", "-O1", "-g1", "-fPIC", "-shared", "-ffp-contract=off"]
            if sanitize:
                options.append(f"-fsanitize={sanitize}")
            subprocess.run([COMPILER, *options, "-o", out, text], check=True, capture_output=True, text=True)
            os.replace(out, built)
    return ctypes.CDLL(str(built))


class ShimRuntime:
    """What runtime.CudaRuntime offers, on the CPU."""

    xp = xp
    index = 0
    has_cudnn = False

    def __init__(self):
        self.launches: list[str] = []
        self._constants = {}
        self.recordings = set()

    def launch(self, file, kernel, n, *args, blocks=None, defines=""):
        self.launches.append(kernel)
        declared = signatures(file)[kernel]
        check_arguments(kernel, declared, args, DeviceArray)
        values = [_argument(arg, *kind) for arg, kind in zip(args, declared, strict=True)]
        run = getattr(library(file, defines), f"run_{kernel}")
        launch = functools.partial(run, ctypes.c_uint(blocks or blocks_for(n)), ctypes.c_uint(THREADS), *values)
        if Tape.running is not None:
            Tape.running.touch(arg._host for arg in args if isinstance(arg, DeviceArray))
            Tape.running.jobs.append(launch)
        launch()

    def constants(self, values, dtype="int32"):
        key = values, dtype
        if key not in self._constants:
            refuse_to_record("a constant from the host")
            self._constants[key] = DeviceArray(np.asarray(values, dtype))
        return self._constants[key]

    def capture_memory(self):
        """The pretend arrays' memory is never used twice."""

    def is_half_free(self):
        return True

    def captured_bytes(self, memory):
        return 0

    @contextlib.contextmanager
    def lasting(self, memory):
        running, Tape.running = Tape.running, None
        yield
        Tape.running = running

    def capture(self, run, memory):
        _, again = Tape().record(run)
        return SimpleNamespace(launch=again)

    def upload(self, host):
        refuse_to_record("an upload")
        return DeviceArray(np.array(host))

    def download(self, x):
        refuse_to_record("a download")
        DeviceArray.waits += 1
        return np.array(x._host)

    def download_async(self, x):
        refuse_to_record("a download")
        return Copy(x._host.copy())

    def matmul(self, a, b, tensor_cores):
        refuse_to_record("cuBLAS")
        return self.xp.matmul(a, b)

    def synchronize(self):
        pass


class CudnnRuntime(ShimRuntime):
    """With whatever module is called cudnn."""

    has_cudnn = True


def gpu_or_pretence(request, monkeypatch, runtime=ShimRuntime) -> bool:
    """Whether device "gpu" is one (make test-gpu); else it is the CPU from now on, pretending with this runtime."""
    real = request.config.getoption("--gpu")
    if not real:
        if COMPILER is None:
            pytest.skip("neither a GPU (make test-gpu) nor a C++ compiler")
        if runtime is CudnnRuntime:
            monkeypatch.setitem(sys.modules, "cudnn", fake_cudnn)
        monkeypatch.setattr("demitasse.layers.backend.gpu.runtime.CudaRuntime", lambda index: runtime())
    return real


class Copy:
    """transfers.Download, done at once.  Who asks whether it is ready before taking it does not wait."""

    asked = False

    @property
    def ready(self):
        self.asked = True
        return True

    def __init__(self, host):
        self.host = host

    def __call__(self):
        DeviceArray.waits += not self.asked
        return self.host


def _argument(value, dtype, pointer):
    if not pointer:
        return np.ctypeslib.as_ctypes_type(dtype)(value.item())
    if value is None:
        return ctypes.c_void_p(None)
    assert value._host.flags.c_contiguous, "a kernel got an array with gaps"
    return ctypes.c_void_p(value._host.ctypes.data)
