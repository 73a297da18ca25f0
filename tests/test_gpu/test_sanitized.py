"""The goldens and the kernels' own tests once more with the kernels compiled under AddressSanitizer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_gpu.shim import COMPILER

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "goldens": ["-m", "tests.test_gpu.sweep"],
    "kernels": [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_gpu/test_kernels.py",
        "tests/test_gpu/test_cudnn.py",
        "tests/test_gpu/test_images.py",
    ],
}


def sanitized(arguments):
    """A finished Python process whose kernels are compiled with AddressSanitizer."""
    if COMPILER is None or not shutil.which("gcc"):
        pytest.skip("AddressSanitizer needs gcc")
    asan = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(asan):
        pytest.skip("gcc has no libasan here")
    environment = os.environ | {
        "LD_PRELOAD": asan,
        "ASAN_OPTIONS": "detect_leaks=0,detect_stack_use_after_return=0",
        "DEMITASSE_SANITIZE": "address",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_kernel_reads_or_writes_out_of_bounds(program):
    done = sanitized(PROGRAMS[program])
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "AddressSanitizer" not in done.stderr


def test_the_sanitizer_would_notice():
    """The same harness reports a kernel that is told of one number more than there is."""
    done = sanitized(
        [
            "-c",
            "import numpy as np; from tests.test_gpu.shim import ShimRuntime, xp\n"
            "x, y = xp.asarray(np.ones(1000, np.float32)), xp.asarray(np.ones(1000, np.float32))\n"
            "ShimRuntime().launch('elementwise', 'relu_forward', 1001, x, y, np.int64(1001), np.float32(0))\n",
        ]
    )
    assert done.returncode != 0 and "heap-buffer-overflow" in done.stderr and "elementwise.cu" in done.stderr
