"""What the tests of channels-last tensors share."""

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.netdef.net import Net

generic = make_backend("generic")
TOLERANCE = {"tf32": 2e-3, "fp16": 2e-3}
WHOLE = {"tf32": 2e-2, "fp16": 4e-2}  # of a net's norms


def gpu(precision, **options):
    backend = make_backend("gpu", precision=precision, **options)
    backend.seed(5)
    return backend


def values(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def near(got, expected, precision):
    got = np.asarray(got)
    assert got.shape == expected.shape and got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[precision] * np.abs(expected).max(initial=1e-30))


CONVOLUTIONS = {
    "3x3": (ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1)), (2, 4, 9, 7), 6),
    "stride, group": (ConvGeometry((5, 3), (2, 1), (2, 0), (1, 1), 2), (1, 4, 12, 9), 6),
    "unfolded": (ConvGeometry((7, 6), (1, 1), (0, 0), (1, 1)), (2, 5, 8, 7), 40),
    "unfolded, strided": (ConvGeometry((3, 4), (2, 3), (1, 2), (2, 1)), (1, 3, 6, 7), 64),
}


def run(text, inputs, backend, keep):
    net = Net(text, "TRAIN" if keep == "needed" else "TEST", backend=backend, seed=3, keep=keep)
    for _ in range(2):  # the second run finds everything built
        net.forward(inputs)
        if keep != ["conv2"]:
            net.clear_grads()
            net.backward()
    to_host = net.backend.to_host
    found = {name: to_host(array) for name, array in net.blobs.items()}
    found |= {f"d {name}": to_host(array) for name, array in net.grads.items()}
    return found | {
        f"{name}[{i}]": to_host(p.grad)
        for name, params in net.params.items()
        for i, p in enumerate(params)
        if p.grad is not None and keep != ["conv2"]
    }
