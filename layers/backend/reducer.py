"""Sums over several processes, where a device computes them itself."""

from __future__ import annotations

from typing import Any, Protocol

Array = Any  # cupy.ndarray


class Reducer(Protocol):
    """Sums device arrays in place over several processes."""

    def broadcast(self, array: Array) -> None:
        """Make the array what it is in the first process."""

    def start(self, array: Array) -> None:
        """Begin to sum the array over all processes."""

    def finish(self) -> None:
        """What is computed from here on sees the sums."""
