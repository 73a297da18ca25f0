"""The GPU backend: CuPy arrays, cuBLAS and cuDNN for the convolutions, own kernels (kernels/*.cu) for the rest.

Blobs are float32, NCHW, to whoever reads them; at tf32 and fp16 convolutions and what lies between them pass
channels-last tensors on (nhwc.py).  precision "tf32" lets the tensor cores round a convolution's and a product's
inputs to ten bits of mantissa (as other frameworks do by default), "fp32" does not; "fp16" keeps channels-last tensors
and copies of convolutions' weights as fp16 (the float32 weights stay the master copy) and scales each gradient by a
power of two of its own, read and applied on the device, so that nothing underflows.

Here is what a backend holds.  Primitives: the modules named as in reference/.  runtime.py: the device; launch.py:
kernels on arrays and channels-last tensors; cudnn*.py: cuDNN; derived.py: what is made of weights; diagonals.py: what
the host knows of Deconvolutions' weights; nccl.py: several GPUs.  recording.py is a family too: CUDA graphs.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.contract import Capabilities
from demitasse.layers.backend.dispatch import provides
from demitasse.layers.backend.gpu.derived import Derived
from demitasse.layers.backend.gpu.diagonals import DiagonalCache
from demitasse.proto.errors import SolverFault
from demitasse.proto.warning import warn

PRECISIONS = ("fp32", "tf32", "fp16")


@provides("demitasse.layers.backend.gpu")
class GpuBackend:
    """See the module's docstring.  exact: fp32, and the same bits on every run.

    record: nets may record their passes as CUDA graphs.
    runtime: what to launch on; None: the CUDA device of that name.  SolverFault where that is missing.
    """

    name = "gpu"

    def __init__(
        self, device: str = "gpu", precision: str = "tf32", exact: bool = False, runtime=None, record: bool = True
    ):
        if precision not in PRECISIONS:
            raise SolverFault(f"precision '{precision}' is not one of {', '.join(PRECISIONS)}")
        if runtime is None:
            from demitasse.layers.backend.gpu.runtime import CudaRuntime

            runtime = CudaRuntime(_index(device))
        self.runtime, self.xp = runtime, runtime.xp
        self.dtype = np.dtype("float32")
        self.precision = "fp32" if exact else precision
        self.derived = Derived(runtime)
        self.cudnn = _cudnn(runtime, self.derived, self.precision, exact) if runtime.has_cudnn else None
        nhwc = self.cudnn is not None and self.cudnn.layout is not None
        self.capabilities = Capabilities(
            host_memory=False, composes=nhwc, nhwc=nhwc, records=record, records_training=record
        )
        self.recording = None  # a recording.CapturedGraphs that is being made
        self.diagonals = DiagonalCache()
        self.update_tables: dict = {}  # of the newest net, by program
        self.seed(None)


def _cudnn(runtime, derived: Derived, precision: str, deterministic: bool):
    """cuDNN's convolutions at that precision, or None where cuDNN is missing."""
    try:
        from demitasse.layers.backend.gpu.cudnn import Cudnn

        return Cudnn(runtime, derived, precision, deterministic)
    except (ImportError, OSError, RuntimeError) as error:
        warn(f"cuDNN is not used ({error}): convolutions run through cuBLAS, slower")
        return None


def _index(device: str) -> int:
    """The number in "gpu:1"; "gpu" is 0."""
    name, _, number = device.partition(":")
    if name != "gpu" or not (number.isdigit() or not number):
        remedy = f" (PyTorch's {device} is {device.replace('cuda', 'gpu')} here)" if name == "cuda" else ""
        raise SolverFault(f"device '{device}' is not known: cpu, gpu or gpu:N, N from 0{remedy}")
    return int(number or 0)
