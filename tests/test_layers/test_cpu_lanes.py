"""The CPU's kernels with the tile sizes and vector lengths of other processors, as far as this one can run them.

LLVM makes vectors of any length from the registers that there are: what comes out is slow, and right.  A process each
takes itself for such a processor, and passes the tests of the CPU's backend; all kernels are compiled for it first.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRETEND = """
import importlib.util, sys
import pytest
name, level = "demitasse.layers.backend.cpu.processor", sys.argv[1] or None
spec = importlib.util.spec_from_file_location(name, "layers/backend/cpu/processor.py")
processor = sys.modules[name] = importlib.util.module_from_spec(spec)  # before anything asks it
spec.loader.exec_module(processor)
processor.level, processor.has_avx = lambda: level, lambda: level is not None
from demitasse.layers.backend.cpu import code_cache
code_cache.shipped = lambda: None  # the code that comes along for that level has instructions that are not here
from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES
print("lanes", TILE_LANES)
select = "convolution or pooling or product or borders"
sys.exit(pytest.main(["tests/test_layers/test_cpu_backend.py", "-q", "-n", "0", "-k", select]))
"""


@pytest.mark.full
@pytest.mark.parametrize("level, lanes", [("x86-64-v4", 16), ("", 4)], ids=["AVX-512", "NEON"])
def test_other_tiles_and_lanes(level, lanes, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PRETEND, level],
        cwd=ROOT,
        env=os.environ | {"DEMITASSE_CACHE": str(tmp_path)},  # its code is not for this processor
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert f"lanes {lanes}" in done.stdout and done.returncode == 0, done.stdout + done.stderr
