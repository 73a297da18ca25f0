"""All goldens through the GPU backend on the CPU; prints what disagrees: `python -m tests.test_gpu.sweep`."""

import sys

from layers.backend.gpu import GpuBackend
from tests.test_gpu.shim import ShimRuntime
from tests.test_layers import golden


def main() -> int:
    backend = GpuBackend(runtime=ShimRuntime(), precision="fp32")
    faults, launched = [], set()
    for name in golden.case_names():
        backend.runtime.launches.clear()
        faults += [f"{name}: {fault}" for fault in golden.run(golden.case(name), backend, 1e-5)]
        launched.update(backend.runtime.launches)
    print("\n".join(faults))
    print(f"{len(golden.case_names())} cases, {len(launched)} kernels launched: {', '.join(sorted(launched))}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
