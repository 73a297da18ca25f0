"""Every kernel compiles for the GPUs of today with NVRTC, the compiler that CuPy calls; no GPU is needed."""

import ctypes
import glob
import site

import pytest

from demitasse.layers.backend.gpu.runtime import KERNELS, source
from demitasse.layers.backend.gpu.update import defines
from demitasse.solver.updates import RULES, update_program


def nvrtc():
    """libnvrtc, of a wheel in this environment or of the system."""
    places = [f"{folder}/nvidia/*/lib/libnvrtc.so.1?" for folder in site.getsitepackages()]
    for name in [*(p for place in places for p in sorted(glob.glob(place))), "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


NVRTC = nvrtc()
FILES = [(path.stem, None) for path in sorted(KERNELS.glob("*.cu")) if path.stem != "update"]
FILES += [("update", rule) for rule in RULES]


@pytest.mark.skipif(NVRTC is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("file, rule", FILES)
def test_compiles(file, rule, architecture):
    program = ctypes.c_void_p()
    text = source(file, defines(update_program(rule, True, "L1")) if rule else "").encode()
    assert NVRTC.nvrtcCreateProgram(ctypes.byref(program), text, f"{file}.cu".encode(), 0, None, None) == 0
    options = [b"-std=c++17", f"-arch={architecture}".encode(), b"-ftz=true", b"--device-as-default-execution-space"]
    status = NVRTC.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    NVRTC.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    NVRTC.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    NVRTC.nvrtcGetCUBINSize(program, ctypes.byref(size))
    assert size.value > 0
    NVRTC.nvrtcDestroyProgram(ctypes.byref(program))
