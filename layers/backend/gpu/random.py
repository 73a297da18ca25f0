"""Random numbers by counter, on the device: their state is a key and a position."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.gpu.launch import launch
from demitasse.layers.backend.reference import random as reference


def seed(be, n):
    reference.seed(be, n)
    # drawn beside the host's numbers, not from them: fillers give the same weights on every device
    be.key, be.position = int(np.random.SeedSequence(n).generate_state(1, np.uint64)[0]), 0


def random_state(be):
    return {"host": reference.random_state(be), "key": be.key, "position": be.position}


def set_random_state(be, state):
    reference.set_random_state(be, state["host"])
    be.key, be.position = state["key"], state["position"]


def uniform(be, shape, low=0.0, high=1.0):
    y = be.empty(shape)
    fours = -(-y.size // 4)
    begin, first = (
        (None, be.position) if be.recording is None else (be.recording.random, be.position - be.recording.position)
    )
    launch(be, "random", "uniform", fours, y, np.int64(y.size), begin, np.uint64(be.key), np.uint64(first))
    be.position += fours
    return y if (low, high) == (0.0, 1.0) else y * np.float32(high - low) + np.float32(low)


def bernoulli(be, shape, p):
    return be.uniform(shape) < p
