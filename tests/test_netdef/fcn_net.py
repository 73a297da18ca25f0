"""A small net to run: its input, its label."""

import numpy as np

RNG = np.random.default_rng(5)
IMAGE = RNG.standard_normal((1, 3, 8, 8)).astype("f")
LABEL = RNG.integers(0, 4, (1, 1, 6, 6))
FEED = {"data": IMAGE, "label": LABEL}


def gradients(net):
    return [param.grad.copy() for param in net.learnable]
