"""CUDA graphs: what a piece of work has launched is recorded once, and launched again as a whole.

A Recorder belongs to passes over a net at one set of sizes that follow one another (forward, backward): they share
memory of their own, which nothing else is put into, so that what one has left is there for the next.  A graph knows
addresses, not arrays: whoever launches it again sees to it that the arrays it reads and writes are still those.

What a graph cannot hold raises NotRecordable while one is recorded: copies from and to the host, matrix products
(CuPy refuses cuBLAS there), constants that are not on the device yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np


class NotRecordable(RuntimeError):
    """A piece of work has done what a graph cannot hold."""


class Recorder:
    """Records what a GpuBackend launches."""

    def __init__(self, backend):
        self.backend = backend
        self.tape = backend.runtime.tape()
        self._counter = backend.zeros(1, np.uint64)  # where a graph's random numbers begin
        self._weights: dict = {}  # halves of weights that the first graph makes and the next ones read

    def record(self, work: Callable[[], Any]) -> Graph:
        """A graph of work(), which is not done yet; `work` runs once, to launch it."""
        backend, start = self.backend, self.backend.position
        backend.recording, backend.counter, backend.origin = True, self._counter, start
        try:
            with self._convolutions() as held:
                result, launch = self.tape.record(work)
            return Graph(backend, result, launch, self._counter, backend.position - start, (self.tape, held))
        finally:
            backend.recording, backend.counter, backend.origin = False, None, 0
            backend.position = start
            backend.forget_flags()

    @contextlib.contextmanager
    def _convolutions(self):
        """Convolutions as they are to be recorded; what their launches read that others may let go."""
        convolutions, held = self.backend.convolutions, [self._weights]
        if convolutions is None:
            yield held
            return
        planner = convolutions.planner
        planner.used = {}
        held.append(convolutions.workspace)  # where what is launched before it grows works
        try:
            with convolutions.steady_weights(self._weights):
                yield held
            held += [convolutions.workspace, planner.used]
        finally:
            planner.used = None


class Graph:
    """Recorded launches.  result: what the work gave; its arrays get their values when the graph is launched."""

    def __init__(self, backend, result, launch, counter, draws: int, held):
        self.backend, self.result = backend, result
        self._launch, self._counter, self._draws, self._held = launch, counter, draws, held

    def launch(self) -> None:
        """Do it all again, after what has been launched before."""
        if self._draws:
            self._counter.fill(np.uint64(self.backend.position))
        self._launch()
        self.backend.position += self._draws


class CudaTape:
    """A stream to record on and the memory of the graphs recorded there, by CuPy."""

    def __init__(self, cupy, stream):
        self.cupy, self.stream = cupy, stream
        self.pool = cupy.cuda.MemoryPool()

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """(work(), a function that launches what it has launched, on the stream that is current then)."""
        with self.stream, self.cupy.cuda.using_allocator(self.pool.malloc):
            self.stream.begin_capture()
            try:
                result = work()
            except BaseException:
                with contextlib.suppress(Exception):  # one that cannot be ended well either
                    self.stream.end_capture()
                raise
            graph = self.stream.end_capture()
        return result, graph.launch
