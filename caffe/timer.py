"""caffe.Timer: how long something takes."""

from __future__ import annotations

import time


class Timer:
    """start(), stop(), then `ms` or `us`; both also while it runs."""

    def __init__(self):
        self._begun: float | None = None
        self._taken = 0.0

    def start(self) -> None:
        """Begin to measure."""
        self._begun = time.perf_counter()

    def stop(self) -> None:
        """End measuring."""
        self._taken, self._begun = self._seconds(), None

    @property
    def ms(self) -> float:
        """Milliseconds from start to stop, or to now."""
        return 1e3 * self._seconds()

    @property
    def us(self) -> float:
        """Microseconds from start to stop, or to now."""
        return 1e6 * self._seconds()

    def _seconds(self) -> float:
        return self._taken if self._begun is None else time.perf_counter() - self._begun
