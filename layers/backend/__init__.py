"""Arrays and primitives on a device.  `make_backend` is the only way in."""

from __future__ import annotations


def make_backend(
    device: str = "cpu",
    *,
    dtype: str = "float32",
    exact: bool = False,
    threads: int | None = None,
    precision: str = "tf32",
    graphs: bool = False,
):
    """The backend of "cpu", "gpu", "gpu:1" or "generic" (the plain NumPy meaning of every primitive).

    exact: convolve directly, never by a tile transform (CPU).  precision: fp32, tf32 or fp16 (GPU).
    graphs: record a net's runs and repeat them (GPU).
    float64 is always computed by the generic backend's code.  Raises SolverFault where the device is missing.
    """
    if device == "generic" or dtype != "float32":
        from demitasse.layers.backend.base import Backend

        return Backend(dtype)
    if device == "cpu":
        from demitasse.layers.backend.cpu import CpuBackend

        return CpuBackend(exact=exact, threads=threads)
    from demitasse.layers.backend.gpu import GpuBackend

    return GpuBackend(device, precision=precision, exact=exact, graphs=graphs)
