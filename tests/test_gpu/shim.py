"""A runtime for the GPU backend without a GPU: the kernels' own text, compiled for the CPU, on pretend device arrays.

DEMITASSE_SANITIZE=address compiles them with AddressSanitizer (then libasan must be preloaded).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from layers.backend.gpu_runtime import KERNELS, THREADS, blocks_for
from tests.test_gpu.device_array import DeviceArray, xp

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
SIGNATURE = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)\s*\{')
COMPILER = shutil.which("g++") or shutil.which("clang++")


def kernels(text: str) -> dict[str, list[str]]:
    """{kernel name: its parameters' declarations} of a .cu text."""
    return {name: [p.strip() for p in parameters.split(",")] for name, parameters in SIGNATURE.findall(text)}


def program(file: str) -> str:
    """C++ that holds a .cu file's text and, for each kernel, a function `run_<kernel>(blocks, threads, ...)`."""
    text = (KERNELS / f"{file}.cu").read_text()
    bodies = SIGNATURE.split(text)[3::3]
    parts = [f'#include "{HEADER}"\n#line 1 "{KERNELS / file}.cu"\n{text}']
    for (name, parameters), body in zip(kernels(text).items(), bodies, strict=True):
        names = ", ".join(re.split(r"[\s*]+", p)[-1] for p in parameters)
        runner = "run_with_barriers" if "__syncthreads" in body else "run_flat"
        parts.append(
            f'extern "C" void run_{name}(unsigned blocks, unsigned threads, {", ".join(parameters)}) {{\n'
            f"    cuda_on_cpu::{runner}(blocks, threads, [=] {{ {name}({names}); }});\n}}"
        )
    return "\n".join(parts) + "\n"


@functools.cache
def library(file: str) -> ctypes.CDLL:
    """The compiled kernels of a file; kept in the temporary folder by the text's hash."""
    sanitize = os.environ.get("DEMITASSE_SANITIZE", "")
    source = program(file)
    digest = hashlib.sha256((source + HEADER.read_text() + sanitize).encode()).hexdigest()[:20]
    folder = Path(tempfile.gettempdir()) / f"demitasse-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"{file}-{digest}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            text, out = Path(scratch) / "kernels.cpp", Path(scratch) / "kernels.so"
            text.write_text(source)
            options = ["-std=c++17", "-O1", "-g", "-fPIC", "-shared", "-ffp-contract=off"]
            if sanitize:
                options.append(f"-fsanitize={sanitize}")
            subprocess.run([COMPILER, *options, "-o", out, text], check=True, capture_output=True, text=True)
            os.replace(out, built)
    return ctypes.CDLL(str(built))


class ShimRuntime:
    """What gpu_runtime.CudaRuntime offers, on the CPU."""

    xp = xp

    def __init__(self):
        self.launches: list[str] = []

    def launch(self, file, kernel, n, *args, blocks=None):
        self.launches.append(kernel)
        function = getattr(library(file), f"run_{kernel}")
        declared = kernels((KERNELS / f"{file}.cu").read_text())[kernel]
        assert len(declared) == len(args), f"{kernel} takes {declared}"
        values = [_argument(value, text) for value, text in zip(args, declared, strict=True)]
        function(ctypes.c_uint(blocks or blocks_for(n)), ctypes.c_uint(THREADS), *values)

    def constants(self, values):
        return DeviceArray(np.asarray(values, np.int32))

    def upload(self, host):
        return DeviceArray(np.array(host))

    def download(self, x):
        return np.array(x._host)

    def convolutions(self, precision, deterministic):
        return None

    def synchronize(self):
        pass


SCALARS = {"int": np.int32, "long long": np.int64, "unsigned long long": np.uint64, "float": np.float32}
POINTEES = {
    "float": np.float32, "int": np.int32, "bool": np.bool_, "double": np.float64, "long long": np.int64,
    "Pool": np.int32, "Conv": np.int32,
}  # fmt: skip


def _argument(value, declared):
    """A ctypes value, after checking what a GPU would not: that the type is the one the kernel declares."""
    kind = re.sub(r"\bconst\b", "", declared.rpartition("*")[0] if "*" in declared else declared.rpartition(" ")[0])
    kind = kind.strip()
    if "*" in declared:
        if value is None:
            return ctypes.c_void_p(None)
        assert isinstance(value, DeviceArray), f"{declared}: a host array went to a kernel"
        assert value.dtype == POINTEES[kind], f"{declared}: got {value.dtype}"
        assert value._host.flags.c_contiguous, f"{declared}: not contiguous"
        return ctypes.c_void_p(value._host.ctypes.data)
    assert type(value) is SCALARS[kind], f"{declared}: got {type(value)}"
    return np.ctypeslib.as_ctypes_type(SCALARS[kind])(value.item())
