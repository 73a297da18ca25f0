"""Every kernel once more, compiled under AddressSanitizer: on a choice of the goldens, and in its own tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_gpu.shim import COMPILER

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "sweep": ["-m", "tests.test_gpu.sweep", "--few"],
    "kernels": [
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "tests/test_gpu/test_kernels.py",
        "tests/test_gpu/test_reductions.py",
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
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_kernel_reads_or_writes_out_of_bounds(program):
    """Without a time limit: a machine may be slow, and a kernel that does not end shows itself in test_kernels.py."""
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
