"""Recordings of what is launched, as CUDA graphs: launched in one call, where launching layer by layer would keep the
host busy for longer than the device.

A graph holds addresses and the values of kernels' arguments.  So what is made while it is captured lies in memory that
nothing else is put into; random numbers begin where an array on the device says; what is made of weights alone lies
where it stays, and a graph of its own makes it anew where they may have changed (derived.py, frozen_weights).
"""

from __future__ import annotations

import weakref

import numpy as np

from demitasse.layers.backend.gpu.launch import launch

CHECK_EVERY = 32  # launches; then the choices that depend on values (is a Deconvolution diagonal?) are checked


class CapturedGraphs:
    """contract.Recorded: the graph of what a function launches, and all that has to stay for it."""

    def __init__(self, be, after, give_way):
        self.be, self.after = be, after
        self.give_way = give_way and weakref.WeakMethod(give_way)
        self.memory = be.runtime.capture_memory() if after is None else after.memory
        self.random = be.zeros(2, np.uint64)  # the key and the position that random numbers begin at
        self.held: list = []  # what the graph's launches read or use beside arrays of its memory and its caller's
        self.derived: list = []  # what is made of weights alone (DerivedArrays), each after what it is made of
        self.diagonals: list = []  # (weights, whether they were taken for diagonal)
        self.graph = self.derivation = None
        self.position = self.draws = self.launches = 0
        self.stale = False

    def capture(self, run) -> None:
        """Take in what run() launches."""
        be, self.position = self.be, self.be.position
        self._begin(self)
        try:
            self.graph = be.runtime.capture(run, self.memory)
            self.draws = be.position - self.position
        finally:
            self._begin(None)
            be.position = self.position
            be.diagonals.forget_flag()
        if self.derived:
            self.derivation = be.runtime.capture(self._derive, self.memory)

    def _begin(self, recording) -> None:
        """Let primitives know what is being recorded."""
        self.be.recording = self.be.derived.recording = recording
        if self.be.cudnn is not None:
            self.be.cudnn.recording = recording

    def _derive(self) -> None:
        for made in self.derived:
            made.make()

    def nbytes(self) -> int:
        """Bytes of the memory that it shares with what was recorded after it."""
        return self.be.runtime.captured_bytes(self.memory)

    def launch(self) -> None:
        """Launch the graphs on the stream that is current, with the random numbers that come next."""
        be = self.be
        if self.derived:
            self._refresh_derived()
        if self.draws:
            launch(be, "random", "begin_at", 1, self.random, np.uint64(be.key), np.uint64(be.position))
            be.position += self.draws
        self.graph.launch()
        self.launches += 1
        if self.launches % CHECK_EVERY == 0:
            self.stale = any([be.diagonals.look_up(be, w) != taken for w, taken in self.diagonals])

    def holds(self) -> bool:
        """True: numbers decide nothing here but what `stale` tells."""
        return True

    def _refresh_derived(self) -> None:
        token = self.be.derived.frozen_since
        if token is None or any(made.made_in is not token for made in self.derived):
            self.derivation.launch()
            for made in self.derived:
                made.made_in = token


def has_room_to_record(be):
    return be.runtime.is_half_free()


def record(be, run, after=None, give_way=None):
    recorded = CapturedGraphs(be, after, give_way)
    recorded.capture(run)
    be.runtime.recordings.add(recorded)
    return recorded
