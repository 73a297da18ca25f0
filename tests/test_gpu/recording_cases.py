"""What the tests of recordings share: the same net with recordings and without, which must agree to the bit."""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from tests.test_gpu import shim
from tests.test_gpu.test_device import FCN, image

SMALL = FCN.replace("num_output: 16", "num_output: 4").replace("num_output: 32", "num_output: 6")
SMALL = SMALL.replace("num_output: 64", "num_output: 8").replace("dim: 61 dim: 47", "dim: 17 dim: 13")


def gpu_with_cudnn(request, monkeypatch) -> bool:
    """Whether device "gpu" is one; else it is the CPU, pretending, and a tape stands in for a capture."""
    monkeypatch.setattr("demitasse.netdef.recorded_sizes.ORDINARY_PASSES", 1)
    real = shim.gpu_or_pretence(request, monkeypatch, shim.CudnnRuntime)
    if real and make_backend("gpu").cudnn is None:
        pytest.skip("without cuDNN there is little to record: pip install 'nvidia-cudnn-frontend>=1.18,<1.24'")
    return real


def pair(source=SMALL, phase="TEST", precision=None, **options):
    """The same net without and with recordings."""
    return [
        Net(
            source,
            phase,
            **options | {"seed": 3},
            backend=make_backend("gpu", exact=precision is None, record=record, precision=precision or "fp32"),
        )
        for record in (False, True)
    ]


def same(a, b, near=0.0):
    """To the bit, or where cuDNN's engines may add in any order as near as told."""
    return np.array_equal(a, b, equal_nan=True) or (near and np.abs(a - b).max() <= near * np.abs(b).max())


def forward(nets, inputs, near=0.0):
    """What the nets' outputs are, which must be the same for all."""
    found = [{name: net.backend.to_host(array) for name, array in net.forward(inputs).items()} for net in nets]
    for other in found[1:]:
        assert found[0].keys() == other.keys()
        for name, array in found[0].items():
            assert same(array, other[name], near), name
    return found[0]


def images(count, *size):
    for i in range(count):
        inputs = image(*size)
        inputs["data"] *= i + 1
        yield inputs


def gradients(net):
    return [net.backend.to_host(p.grad) for p in net.learnable if p.grad is not None]


def both_ways(nets, inputs, near=0.0, **options):
    forward(nets, inputs, near)
    assert same(*(np.array(net.loss) for net in nets), near)
    for net in nets:
        net.backward(**options)
    for a, b in zip(*map(gradients, nets), strict=True):
        assert same(a, b, near)


def recorded(net):
    """How many passes forward and backward have been recorded."""
    return tuple(int(word) for word in str(net.recordings).split() if word.isdigit())
