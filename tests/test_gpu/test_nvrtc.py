"""Every kernel compiles for the GPUs of today with NVRTC, the compiler that CuPy calls; no GPU is needed."""

import ctypes
import glob
import site

import pytest

from demitasse.layers.backend.gpu_runtime import KERNELS, source


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


@pytest.mark.skipif(NVRTC is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("path", sorted(KERNELS.glob("*.cu")), ids=lambda path: path.stem)
def test_compiles(path, architecture):
    program = ctypes.c_void_p()
    text = source(path.stem).encode()
    assert NVRTC.nvrtcCreateProgram(ctypes.byref(program), text, path.name.encode(), 0, None, None) == 0
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
