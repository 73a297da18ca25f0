"""All goldens through the GPU backend on the CPU; prints what disagrees: `python -m tests.test_gpu.sweep`.

Once as plain arrays, once with a stand-in for cuDNN and images whose channels lie last.
"""

import sys

from demitasse.layers.backend.gpu import GpuBackend
from tests.test_gpu import fake_cudnn
from tests.test_gpu.shim import CudnnRuntime, ShimRuntime
from tests.test_layers import golden


def main() -> int:
    sys.modules["cudnn"] = fake_cudnn
    faults, launched = [], set()
    for backend in (GpuBackend(runtime=ShimRuntime(), precision="fp32"), GpuBackend(runtime=CudnnRuntime())):
        for name in golden.case_names():
            faults += [
                f"{name}, {backend.precision}: {fault}" for fault in golden.run(golden.case(name), backend, 1e-5)
            ]
        launched.update(backend.runtime.launches)
    print("\n".join(faults))
    print(f"{len(golden.case_names())} cases, {len(launched)} kernels launched: {', '.join(sorted(launched))}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
