"""What command lines and solvers say of the device, kept together until a backend is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from demitasse.layers.backend import make_backend


@dataclass(frozen=True)
class BackendOptions:
    """The arguments of `make_backend`.

    device: "cpu", "gpu", "gpu:1" or "generic"; None: whoever makes the backend chooses.  exact: convolve directly,
    never by a tile transform.  threads: of the CPU; None: all cores.  precision: of convolutions on a GPU.
    """

    device: str | None = None
    exact: bool = False
    threads: int | None = None
    precision: str = "tf32"

    @classmethod
    def of(cls, options: Any) -> BackendOptions:
        """Those of a command line, as `proto.cli.add_device_options` has declared them."""
        return cls(options.device, options.exact, options.threads, options.precision)

    def on(self, device: str) -> BackendOptions:
        """The same on another device."""
        return replace(self, device=device)

    def make(self) -> Any:
        """The backend; SolverFault where its device is missing."""
        return make_backend(self.device or "cpu", exact=self.exact, threads=self.threads, precision=self.precision)
