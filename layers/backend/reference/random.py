"""Random numbers by NumPy's PCG64, on the host: fillers draw from `be.rng` directly, on every device."""

from __future__ import annotations

import numpy as np
import numpy.random  # now: a child that is forked while another thread imports it waits for good


def seed(be, n):
    be.rng = np.random.Generator(np.random.PCG64(n))


def random_state(be):
    return be.rng.bit_generator.state


def set_random_state(be, state):
    be.rng.bit_generator.state = state


def uniform(be, shape, low=0.0, high=1.0):
    return be.asarray(be.rng.random(shape, dtype=be.dtype) * (high - low) + low)


def bernoulli(be, shape, p):
    return be.asarray(be.rng.random(shape, dtype=np.float32) < p, dtype=bool)
