"""Arrays and primitives on a device.  `make_backend` is the only way in.

contract/      what a backend offers: every primitive with shapes, dtypes and errors; capabilities
reference/     the meaning of each primitive in plain code, by family; a backend of its own, "generic"
gpu/  cpu/     what a device computes otherwise, in modules of the same names
dispatch.py    the one rule that joins them: the device's own where it takes the arguments, else the reference's

Adding a primitive: its signature and docstring in the Protocol of its family (contract/), a function of that name
in reference/FAMILY.py with the backend as its first argument, a test in
tests/test_layers/test_reference_backend.py.
Accelerating it on a device: a function of the same name and parameters in gpu/FAMILY.py or cpu/FAMILY.py, and
`@takes(...)` above it if it does not take everything: the rest goes to the reference by itself.  What it needs of the
device (memory, threads, a runtime) it finds on the backend, its first argument.
Adding a family: a Protocol in contract/, its name in dispatch.FAMILIES, reference/NAME.py.
"""

from __future__ import annotations

from demitasse.environment import lack_of


def make_backend(
    device: str = "cpu",
    *,
    dtype: str = "float32",
    exact: bool = False,
    threads: int | None = None,
    precision: str = "tf32",
    record: bool = True,
):
    """The backend of "cpu", "gpu", "gpu:1" or "generic" (the plain NumPy meaning of every primitive).

    exact: convolve directly, never by a tile transform (CPU).  precision: fp32, tf32 or fp16 (GPU).
    record: let nets launch a pass of sizes that come again as a whole, on a GPU as one CUDA graph.
    float64 is always computed by the generic backend's code.  Raises SolverFault where the device is missing,
    ImportError where Numba is.
    """
    if device == "generic" or dtype != "float32":
        from demitasse.layers.backend.reference import ReferenceBackend

        return ReferenceBackend(dtype)
    if device == "cpu":
        try:
            from demitasse.layers.backend.cpu import CpuBackend
        except ModuleNotFoundError as error:  # Numba, which only this backend needs
            raise ImportError(lack_of([error.name]), name=error.name) from None
        return CpuBackend(exact=exact, threads=threads, record=record)
    from demitasse.layers.backend.gpu import GpuBackend

    return GpuBackend(device, precision=precision, exact=exact, record=record)
