"""The pretend device for a rehearsal, and nets of a moment's work in place of the large ones."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.gpu import runtime
from demitasse.netdef.net import Net
from demitasse.proto.text import read_net
from tests.test_gpu import fake_cudnn, shim
from tests.test_gpu.device_array import _Namespace
from tests.test_gpu.test_device import FCN, NOISY
from tests.test_netdef import goldens

TRAINED = NOISY
SMALL = "small-fcn"
TINY = FCN.replace("num_output: 64", "num_output: 8").replace("num_output: 5 ", "num_output: 21 ")  # labels as of VOC
SIZE = (33, 35)


class Event:
    """As cupy.cuda.Event: its time is the host's."""

    done = True

    def record(self):
        self.at = time.perf_counter()


class PretendCupy(_Namespace):
    """The pretend arrays, and what the steps ask of CuPy beside them."""

    def __init__(self):
        super().__init__(np)
        self.cuda = SimpleNamespace(
            get_current_stream=_Namespace.cuda.get_current_stream,
            Event=Event,
            get_elapsed_time=lambda start, end: 1e3 * (end.at - start.at),
            runtime=SimpleNamespace(
                getDeviceProperties=lambda index: {"name": b"none", "major": 9, "maxGridSize": (1, 2, 3)},
                driverGetVersion=lambda: 13000,
                runtimeGetVersion=lambda: 13000,
            ),
        )
        pool = SimpleNamespace(total_bytes=lambda: 0, free_all_blocks=lambda: None)
        self.get_default_memory_pool = lambda: pool


class PretendRuntime(shim.CudnnRuntime):
    xp = PretendCupy()


def pretend() -> None:
    """Let device "gpu" be the CPU from now on, in this process."""
    fake_cudnn.backend_version = lambda: 0
    fake_cudnn.create_device_properties = lambda index: SimpleNamespace(serialize=lambda: list(b"{}"))
    sys.modules["cudnn"] = fake_cudnn
    runtime.CudaRuntime = lambda index: PretendRuntime()


def speed_message():
    """A small FCN with its loss."""
    return read_net(TINY.replace("force_backward: true", "") + "\n")[0]


CLASSIFIER = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "msra" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def classifier_message():
    """A net of a few layers with a BatchNorm."""
    return read_net(CLASSIFIER)[0]


def net_golden():
    """(names, table, arrays) as of tests/golden's whole nets, computed by the plain NumPy backend."""
    height, width = SIZE
    text = TINY.replace("dim: 61 dim: 47", f"dim: {height} dim: {width}")
    net = Net(read_net(text + "\n")[0], "TEST", backend=make_backend("generic"), keep="all")
    net.load(goldens.made_up_weights(net.plan.steps))
    net.forward(goldens.made_up_inputs(*SIZE))
    net.backward()
    blobs = {name: float(np.abs(array).max()) for name, array in net.blobs.items() if name not in net.inputs}
    grads = {f"{n}[{i}]": p.grad for n, ps in net.params.items() for i, p in enumerate(ps) if p.grad is not None}
    arrays = {f"{SMALL}:val:{name}": goldens.sampled(name, net.blobs[name], 100) for name in blobs}
    arrays |= {f"{SMALL}:grad:{label}": goldens.sampled(label, grad, 100) for label, grad in grads.items()}
    arrays[f"{SMALL}:argmax"] = net.blobs["score"][0].argmax(0)
    most = {label: float(np.abs(grad).max()) for label, grad in grads.items()}
    case = {"net": text, "size": SIZE, "blobs": blobs, "grads": most, "loss": net.loss}
    return [SMALL], {SMALL: case}, arrays
