"""Whole nets whose layers pass on channels-last tensors: values, gradients, what a user writes."""

import contextlib

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.geometry import PoolGeometry
from demitasse.netdef.net import Net
from tests.test_gpu import fake_cudnn, shim
from tests.test_gpu.nhwc_cases import CONVOLUTIONS, TOLERANCE, WHOLE, generic, gpu, near, run, values
from tests.test_gpu.test_device import FCN, image

# What passes channels-last tensors on, what does not, and values that both read.
MIXED = """
name: "mixed" force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 23 dim: 18 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 12 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "prelu" type: "PReLU" bottom: "conv1" top: "prelu" }
layer { name: "conv2" type: "Convolution" bottom: "prelu" top: "conv2"
        convolution_param { num_output: 12 kernel_size: 3 stride: 2 bias_term: false weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv2" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true
        filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 } } }
layer { name: "bn2" type: "BN" bottom: "scale" top: "bn2" bn_param { bn_mode: INFERENCE shift: 0.1 } }
layer { name: "shared" type: "PReLU" bottom: "bn2" top: "shared" prelu_param { channel_shared: true } }
layer { name: "relu" type: "ReLU" bottom: "shared" top: "relu" relu_param { negative_slope: 0.1 } }
layer { name: "ave" type: "Pooling" bottom: "relu" top: "ave"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "conv3" type: "Convolution" bottom: "ave" top: "conv3"
        convolution_param { num_output: 12 kernel_size: 3 pad: 1 group: 3 weight_filler { type: "msra" } } }
layer { name: "leaky" type: "ReLU" bottom: "conv3" top: "conv3" relu_param { negative_slope: 0.2 } }
layer { name: "sum" type: "Eltwise" bottom: "conv3" bottom: "ave" top: "sum" }
layer { name: "join" type: "Concat" bottom: "sum" bottom: "conv3" bottom: "ave" top: "join" }
layer { name: "pair" type: "Concat" bottom: "conv3" bottom: "ave" top: "pair" }
layer { name: "rows_of" type: "Concat" bottom: "join" bottom: "join" top: "rows_of" concat_param { axis: 2 } }
layer { name: "mix" type: "Convolution" bottom: "rows_of" top: "mix"
        convolution_param { num_output: 6 kernel_size: 2 weight_filler { type: "msra" } } }
layer { name: "mix2" type: "Convolution" bottom: "pair" top: "mix2"
        convolution_param { num_output: 6 kernel_size: 2 weight_filler { type: "msra" } } }
layer { name: "cut" type: "Crop" bottom: "mix" bottom: "mix2" top: "cut" }
layer { name: "both" type: "Concat" bottom: "cut" bottom: "mix2" top: "both" }
layer { name: "up" type: "Deconvolution" bottom: "both" top: "up"
        convolution_param { num_output: 8 kernel_size: 4 stride: 2 pad: 1 weight_filler { type: "msra" }
                            bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu_up" type: "ReLU" bottom: "up" top: "up" }
layer { name: "top" type: "Pooling" bottom: "up" top: "top" top: "mask" pooling_param { kernel_size: 3 stride: 3 } }
layer { name: "flat" type: "Convolution" bottom: "top" top: "flat"
        convolution_param { num_output: 40 kernel_h: 3 kernel_w: 2 weight_filler { type: "msra" } } }
layer { name: "again" type: "ReLU" bottom: "flat" top: "flat" }
layer { name: "rows" type: "InnerProduct" bottom: "flat" top: "rows"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Reduction" bottom: "rows" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""


@pytest.fixture(autouse=True)
def on_a_gpu(request, monkeypatch):
    """Whether device "gpu" is one; else it is the CPU, pretending."""
    real = shim.gpu_or_pretence(request, monkeypatch, shim.CudnnRuntime)
    if not real:
        monkeypatch.setattr(fake_cudnn, "without_cores", set())
        monkeypatch.setitem(TOLERANCE, "tf32", 1e-6)  # the stand-in for cuDNN does not round
        monkeypatch.setitem(WHOLE, "tf32", 1e-5)
    elif make_backend("gpu").cudnn is None:
        pytest.skip("without cuDNN there are no such tensors: pip install 'nvidia-cudnn-frontend>=1.18,<1.24'")
    return real


@pytest.mark.parametrize("keep", ["needed", "all", ["conv2"]], ids=str)
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("net", ["fcn", "mixed"])
def test_a_whole_net_agrees_with_nchw_arrays(net, precision, keep):
    text, inputs = (FCN, image()) if net == "fcn" else (MIXED, {"data": values(2, 3, 23, 18)})
    expected = run(text, inputs, generic, keep)
    for name, array in run(text, inputs, gpu(precision), keep).items():
        # at fp16 some ReLUs and maxima are others: a few pixels' gradients are far off, their sum is not
        error = np.linalg.norm(array - expected[name]) / max(np.linalg.norm(expected[name]), 1e-30)
        assert array.dtype == np.float32 and error < WHOLE[precision], (name, error)


@pytest.mark.parametrize("precision, kernel", [("tf32", "transpose"), ("fp16", "to_nhwc_fp16")])
def test_a_chain_of_layers_transposes_its_input_only(precision, kernel, on_a_gpu):
    if on_a_gpu:
        pytest.skip("only the pretend device counts launches")
    layers = """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 10 } } }"""
    bottom = "data"
    for i in range(3):
        layers += f"""
        layer {{ name: "conv{i}" type: "Convolution" bottom: "{bottom}" top: "conv{i}"
                 convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
        layer {{ name: "relu{i}" type: "ReLU" bottom: "conv{i}" top: "conv{i}" }}
        layer {{ name: "pool{i}" type: "Pooling" bottom: "conv{i}" top: "pool{i}"
                 pooling_param {{ kernel_size: 2 stride: 2 }} }}
        layer {{ name: "drop{i}" type: "Dropout" bottom: "pool{i}" top: "pool{i}" }}"""
        bottom = f"pool{i}"
    layers += f"""
        layer {{ name: "loss" type: "Reduction" bottom: "{bottom}" top: "loss" loss_weight: 1 }}"""
    be = gpu(precision, record=False)
    net = Net(layers, "TRAIN", backend=be, seed=1)
    net.forward({"data": values(1, 3, 12, 10)})
    be.runtime.launches.clear()
    with be.frozen_weights():
        net.forward()
        launches = list(be.runtime.launches)
        net.clear_grads()
        net.backward()
    back = {"transpose": "transpose", "to_nhwc_fp16": "from_nhwc_fp16"}[kernel]
    assert launches.count(kernel) - (kernel == back) == 1 + 3  # the data, and three times weights
    assert launches.count(back) - (kernel == back) * 4 == 1  # what Reduction takes
    assert be.runtime.launches[len(launches) :].count(kernel) == 2  # its gradient, and the data once more
    assert not set(be.runtime.launches[len(launches) :]) & {"from_nhwc_fp16"}


def test_a_user_may_write_into_the_blobs_of_a_net_that_keeps_them():
    be = gpu("tf32")
    net = Net(MIXED, backend=be, seed=3, keep="all")
    net.forward({"data": values(2, 3, 23, 18)}, end="conv2")
    net.blobs["conv1"][...] = 1
    net.forward(start="prelu", end="conv2")
    found = be.to_host(net.blobs["conv2"])
    assert np.ptp(found[0, 0]) < 1e-5 * np.abs(found).max()


CHAIN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 8 } } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
        convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2"
        convolution_param { num_output: 7 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "c2" top: "c2" }
layer { name: "c3" type: "Convolution" bottom: "c2" top: "c3"
        convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "loss" type: "Reduction" bottom: "c3" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""


def written_into(backend, keep, way):
    """The gradient of c1's weights where a user has written into a gradient or a blob on the way."""
    net = Net(CHAIN, "TRAIN", backend=backend, seed=3, keep=keep)
    if way == "hook":
        c2 = net.layer_names.index("c2")
        net.after_backward.append(lambda i: net.grads["c1"].fill(0) if i == c2 else None)
    net.forward({"data": values(1, 3, 9, 8)})
    if way == "blob":
        net.blobs["c2"][...] = -1
    net.backward(end="c2" if way == "gradient" else None)
    if way == "gradient":
        net.grads["c1"][...] *= np.float32(0.5)
        net.backward(start="c1")
    return net.backend.to_host(net.params["c1"][0].grad)


@pytest.mark.parametrize(
    "keep, way",
    [
        ("needed", "gradient"),
        ("needed", "hook"),
        (["c1"], "gradient"),
        ("all", "gradient"),
        ("all", "hook"),
        ("all", "blob"),
    ],
)
@pytest.mark.parametrize("precision", TOLERANCE)
def test_what_a_user_writes_on_the_way_counts(precision, keep, way):
    near(written_into(gpu(precision), keep, way), written_into(generic, keep, way), precision)


@pytest.mark.parametrize("std", [0.001, 1])
def test_gradients_through_many_deconvolutions_stay_in_range(std):
    layers = """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 8 dim: 3 dim: 3 } } }"""
    bottom = "data"
    for i in range(5):
        layers += f"""
        layer {{ name: "d{i}" type: "Deconvolution" bottom: "{bottom}" top: "d{i}"
                 convolution_param {{ num_output: 8 kernel_size: 4 stride: 1 pad: 1 bias_term: false
                                      weight_filler {{ type: "gaussian" std: {std} }} }} }}"""
        bottom = f"d{i}"
    layers += f"""
        layer {{ name: "loss" type: "Reduction" bottom: "{bottom}" top: "loss" loss_weight: 1e-6 }}"""
    inputs = {"data": values(1, 8, 3, 3)}
    expected, found = (run(layers, inputs, be, "needed") for be in (generic, gpu("fp16")))
    for i in range(5):
        error = np.linalg.norm(found[f"d{i}[0]"] - expected[f"d{i}[0]"]) / np.linalg.norm(expected[f"d{i}[0]"])
        assert error < 1e-2, (i, error)


def test_average_pooling_of_large_windows_loses_no_gradients():
    be, geometry = gpu("fp16"), PoolGeometry((200, 150), (1, 1), (0, 0), (1, 1))
    dy = values(1, 8, 1, 1) * np.float32(0.01)
    back = be.ave_pool_backward(be.cudnn.layout.tensor(be.asarray(dy)), geometry, (200, 150))
    near(be.to_host(back), generic.ave_pool_backward(dy, geometry, (200, 150)), "fp16")


def test_dropout_draws_the_same_in_every_form():
    masks = []
    for precision in ("fp32", "tf32", "fp16"):
        be = gpu(precision)
        x = be.asarray(np.ones((2, 5, 4, 3), np.float32))
        x = be.cudnn.layout.tensor(x) if be.capabilities.nhwc else x
        masks.append(be.to_host(be.dropout_forward(x, 0.5)[0]))
    assert np.array_equal(masks[0], masks[1]) and np.array_equal(masks[0], masks[2]) and 0 < masks[0].mean() < 2


@pytest.mark.parametrize("precision", TOLERANCE)
def test_weights_loaded_while_they_were_said_to_be_frozen_count(precision):
    be = gpu(precision)
    net = Net(CHAIN, backend=be, seed=3, keep=["c3"])
    with be.frozen_weights():
        net.forward({"data": values(1, 3, 9, 8)})
        net.load({"c3": [np.zeros((5, 7, 1, 1), np.float32), np.zeros(5, np.float32)]})
        net.forward()
        assert not be.to_host(net.blobs["c3"]).any()


def test_fp32_has_no_channels_last_tensors():
    be = gpu("fp32")
    assert not be.capabilities.nhwc
    y = be.conv_forward(be.asarray(values(1, 4, 5, 5)), be.asarray(values(3, 4, 3, 3)), None, CONVOLUTIONS["3x3"][0])
    assert isinstance(y, be.xp.ndarray)


@pytest.mark.parametrize("precision, kernel", [("tf32", "transpose"), ("fp16", "to_nhwc_fp16")])
def test_inference_transposes_nothing_behind_a_convolution(precision, kernel, on_a_gpu):
    if on_a_gpu:
        pytest.skip("only the pretend device counts launches")
    be = gpu(precision)
    net = Net(MIXED.replace("force_backward: true", ""), backend=be, seed=3)
    be.runtime.launches.clear()
    net.forward({"data": values(2, 3, 23, 18)}, end="conv3")
    assert be.runtime.launches.count(kernel) == 1 + 3 + (kernel == "transpose")  # data, weights; last, the result


NORMED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "first" type: "BatchNorm" bottom: "conv" top: "first" }
layer { name: "leaky" type: "ReLU" bottom: "first" top: "first" relu_param { negative_slope: 0.5 } }
layer { name: "y" type: "Convolution" bottom: "first" top: "y"
        convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "slopes" type: "PReLU" bottom: "y" top: "y" prelu_param { filler { type: "gaussian" std: 1 } } }
"""


@pytest.mark.parametrize("precision", TOLERANCE)
def test_what_scales_channels_behind_a_convolution_is_in_its_weights(precision, on_a_gpu):
    """Frozen or not, recorded or not; and weights that have changed count."""
    inputs, rng = {"data": values(1, 3, 9, 8)}, np.random.default_rng(1)
    nets = [Net(NORMED, backend=be, seed=3) for be in (generic, *(gpu(precision, record=on) for on in (False, True)))]
    for _ in range(2):
        for name in nets[0].params:
            for i, param in enumerate(nets[0].params[name]):
                drawn = rng.uniform(0.5, 1.5, param.shape).astype(np.float32)
                for net in nets:
                    net.params[name][i].data[...] = net.backend.asarray(drawn)
        (expected,) = nets[0].forward(inputs).values()
        found = []
        for net in nets[1:]:
            for frozen in (False, True):
                with net.backend.frozen_weights() if frozen else contextlib.nullcontext():
                    for _ in range(6):
                        (y,) = net.forward(inputs).values()
                    found.append(net.backend.to_host(y))
        near(found[0], expected, precision)
        assert all(np.array_equal(found[0], other) for other in found[1:])
    assert nets[2].recordings.sizes.recordings
    if not on_a_gpu:
        with nets[1].backend.frozen_weights():
            nets[1].forward(inputs)
            nets[1].backend.runtime.launches.clear()
            nets[1].forward(inputs)
        made = [name for name in nets[1].backend.runtime.launches if "nhwc" not in name and name != "transpose"]
        assert [name.removesuffix("_fp16") for name in made] == ["affine", "prelu_forward"]  # of `first`, of `slopes`
