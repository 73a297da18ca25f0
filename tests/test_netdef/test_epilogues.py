"""Layers that scale and shift channels, ReLU and PReLU as epilogues of the layer before them: nobody can tell."""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from tests.test_netdef.texts import blob, conv, layer

CHANNELS = 5


def normed(top, bottom, relu="ReLU"):
    """BatchNorm, then Scale and a ReLU or PReLU in place."""
    after = layer("BatchNorm", f"{top}_bn", bottom, top)
    after += layer("Scale", f"{top}_scale", top, top, more="scale_param { bias_term: true }")
    return after + (layer(relu, f"{top}_relu", top, top) if relu else "")


def bn(top, bottom, param):
    return layer("BN", f"{top}_bn", bottom, top, more=f"bn_param {{ {param} }}")


C = conv("c", "data", CHANNELS, param="pad: 1")
UP = layer(
    "Deconvolution",
    "c",
    "data",
    more=f"convolution_param {{ num_output: {CHANNELS} kernel_size: 3 pad: 1 weight_filler {{ type: 'xavier' }} }}",
)
END = layer("Pooling", "end", "y", more="pooling_param { pool: AVE kernel_size: 2 }")


def build(text, batch=2, exact=False, **options):
    backend = make_backend("cpu", threads=2, exact=exact)
    net = Net(blob(shape=(batch, 3, 9, 7)) + text, backend=backend, seed=3, **options)
    draws = np.random.default_rng(1)
    for step in net.plan.steps:
        for param in step.layer.params:
            param.data[...] = draws.uniform(0.5, 1.5, param.shape) * np.where(draws.random(param.shape) < 0.3, -1, 1)
        if step.cls.type in ("BatchNorm", "BN"):  # variances
            for param in step.layer.params[1:3] if step.cls.type == "BatchNorm" else step.layer.params[3:]:
                np.abs(param.data, out=param.data)
    return net


def calls(net):
    """The names of the layers that run in each call."""
    return [" ".join(step.name for step in call.steps) for call in net.executor.begin_forward(0, 99).calls]


@pytest.fixture
def data():
    return {"data": np.random.default_rng(0).standard_normal((2, 3, 9, 7)).astype(np.float32)}


NETS = {
    "behind a convolution": (C + normed("y", "c"), ["c y_bn y_scale y_relu"]),
    "in place": (C + normed("c", "c") + layer("ReLU", "y", "c"), ["c c_bn c_scale c_relu", "y"]),
    "behind a deconvolution": (UP + normed("y", "c"), ["c y_bn y_scale y_relu"]),
    "before one": (normed("b", "data") + conv("y", "b", 4), ["b_bn b_scale b_relu", "y"]),
    "PReLU": (C + normed("y", "c", "PReLU"), ["c y_bn y_scale y_relu"]),
    "PReLU alone": (C + layer("PReLU", "y", "c"), ["c y"]),
    "PReLU of a sum of channels": (normed("y", "data", "PReLU"), ["y_bn y_scale y_relu"]),
    "BN": (C + bn("y", "c", "slope_filler { type: 'constant' value: 2 }"), ["c y_bn"]),
    "merged BN": (C + bn("y", "c", "bn_mode: INFERENCE") + layer("ReLU", "r", "y", "y"), ["c y_bn r"]),
    "BN of the batch": (C + bn("y", "c", "bn_mode: LEARN") + layer("ReLU", "r", "y", "y"), ["c", "y_bn r"]),
    "read twice": (
        C + normed("b", "c") + layer("Eltwise", "y", "b c"),
        ["c", "b_bn b_scale b_relu", "y"],
    ),
    "a scale that is no affine map of channels": (
        C + layer("Scale", "y", "c", more="scale_param { axis: 2 num_axes: 1 }"),
        ["c", "y"],
    ),
}


@pytest.mark.parametrize("text, expected", NETS.values(), ids=NETS)
def test_computed_in_one_call(text, expected, data):
    net, singly = build(text + END), build(text + END, fuse=False)
    assert calls(net) == [*expected, "end"]
    for _ in range(2):
        ours, theirs = net.forward(data)["end"], singly.forward(data)["end"]
        assert np.abs(ours - theirs).max() <= 5e-6 * np.abs(theirs).max()
        for each in (net, singly):  # weights written to in between count
            for params in each.params.values():
                params[0].data[...] *= 0.5


def test_not_where_a_blob_is_kept_or_read_or_gradients_are_wanted(data):
    text = C + normed("y", "c") + END
    kept = build(text, keep=["c"])
    assert calls(kept) == ["c", "y_bn y_scale y_relu", "end"]
    kept.forward(data)
    assert kept.blobs["c"].shape == (2, CHANNELS, 9, 7)
    assert calls(build(text, keep="newest")) == ["c", "y_bn y_scale y_relu", "end"]
    assert calls(build(text, keep="all")) == ["c", "y_bn", "y_scale y_relu", "end"]
    trained = Net(blob(shape=(2, 3, 9, 7)) + text + layer("Reduction", "loss", "end", more="loss_weight: 1"), "TRAIN")
    assert calls(trained)[:3] == ["c", "y_bn", "y_scale y_relu"]


def test_exact_numbers_are_those_of_each_layer(data):
    text = C + normed("y", "c") + END
    net, singly = build(text, exact=True), build(text, exact=True, fuse=False)
    assert calls(net) == ["c", "y_bn", "y_scale y_relu", "end"]
    assert np.array_equal(net.forward(data)["end"], singly.forward(data)["end"])


def test_parts_of_a_net(data):
    text = C + normed("y", "c") + END
    net, singly = build(text), build(text, fuse=False)
    expected = singly.forward(data)["end"]
    c = net.forward(data, end="c")["c"]
    assert np.array_equal(c, singly.forward(data, end="c")["c"])
    assert np.allclose(net.forward({"c": c}, start="y_bn")["end"], expected, rtol=1e-5, atol=1e-5)


def test_a_relu_of_another_name_is_an_epilogue_too(data):
    text = C + layer("ReLU", "y", "c") + END
    net, kept = build(text), build(text, keep=["c"])
    assert calls(net) == ["c y", "end"] and calls(kept) == ["c", "y", "end"]
    assert np.array_equal(net.forward(data)["end"], kept.forward(data)["end"])


def test_a_reader_that_makes_nothing_is_a_call_of_its_own(data):
    net = build(C + normed("y", "c", relu=None) + layer("Silence", "quiet", "y", "") + conv("z", "data"))
    assert calls(net) == ["c y_bn y_scale", "quiet", "z"] and list(net.forward(data)) == ["z"]


def residual(top, more="", relu=True, bottoms="a b"):
    """What data becomes by two ways, added up."""
    text = conv("a", "data", CHANNELS, param="pad: 1") + C + normed("b", "c", relu=None)
    text += layer("Eltwise", "sum", bottoms, top, more=f"eltwise_param {{ {more} }}")
    return text + (layer("ReLU", "r", top, top) if relu else "")


RESIDUALS = {
    "with a ReLU": (residual("y"), ["a", "c b_bn b_scale sum r"]),
    "in place": (residual("b", relu=False, bottoms="b a") + layer("ReLU", "y", "b"), ["a", "c b_bn b_scale sum y"]),
    "without a ReLU": (residual("y", relu=False), ["a", "c b_bn b_scale sum"]),
    "with coefficients": (residual("y", "coeff: 1 coeff: -1"), ["a", "c b_bn b_scale", "sum r"]),
    "a product": (residual("y", "operation: PROD"), ["a", "c b_bn b_scale", "sum r"]),
    "a PReLU": (residual("s", relu=False) + layer("PReLU", "y", "s"), ["a", "c b_bn b_scale sum", "y"]),
    "read twice": (residual("s") + layer("Eltwise", "y", "s c"), ["a", "c", "b_bn b_scale", "sum r", "y"]),
    "of one blob": (C + layer("Eltwise", "y", "c c"), ["c", "y"]),
    "before the other is there": (
        C + conv("d", "data", CHANNELS, param="pad: 1") + layer("ReLU", "r", "d", "d") + layer("Eltwise", "y", "d c"),
        ["c", "d r", "y"],
    ),
    "read by others behind it": (
        residual("s") + conv("z", "a", CHANNELS, param="pad: 1") + layer("Eltwise", "y", "s z"),
        ["a", "c b_bn b_scale sum r", "z y"],
    ),
    "of one channel each": (
        layer("ReLU", "a", "data") + conv("c", "data", 3, param="pad: 1 group: 3") + layer("Eltwise", "y", "c a"),
        ["a", "c y"],
    ),
    "of a deconvolution": (
        conv("a", "data", CHANNELS, param="pad: 1") + UP + layer("Eltwise", "y", "a c"),
        ["a", "c", "y"],
    ),
}


@pytest.mark.parametrize("text, expected", RESIDUALS.values(), ids=RESIDUALS)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_sum_with_what_is_there_already(text, expected, batch, data):
    inputs = {"data": data["data"][:batch]}
    net, singly = build(text + END, batch), build(text + END, batch, fuse=False)
    assert calls(net) == [*expected, "end"]
    for _ in range(5):  # ordinary and recorded
        assert np.allclose(net.forward(inputs)["end"], singly.forward(inputs)["end"], rtol=1e-5, atol=1e-5)
        inputs = {"data": inputs["data"] + 1}


def test_a_sum_where_a_blob_is_kept_or_gradients_are_wanted(data):
    text = residual("y") + END
    for name in ("c", "b"):
        net = build(text, keep=[name])
        assert "sum r" in calls(net)
        net.forward(data)
        assert name in net.blobs
    kept = build(text, keep=["a", "y"])
    assert calls(kept) == ["a", "c b_bn b_scale sum r", "end"]
    kept.forward(data)
    assert np.array_equal(kept.blobs["a"], build(text).forward(data, end="a")["a"])
    loss = layer("Reduction", "loss", "end", more="loss_weight: 1")
    trained = Net(blob(shape=(2, 3, 9, 7)) + text + loss, "TRAIN")
    assert calls(trained)[:5] == ["a", "c", "b_bn", "b_scale", "sum r"]


def test_a_sum_in_parts_of_a_net(data):
    text = residual("y") + END
    net, singly = build(text), build(text, fuse=False)
    expected = singly.forward(data)["end"]
    b = net.forward(data, end="b_scale")["b"]
    assert "a" in net.blobs and np.array_equal(b, net.blobs["b"])
    assert np.allclose(net.forward(start="sum")["end"], expected, rtol=1e-5, atol=1e-5)


def test_sums_are_the_same_to_the_bit_for_any_number_of_threads(data):
    first = None
    for threads in (1, 2, 3):
        net = Net(blob(shape=(2, 3, 9, 7)) + residual("y") + END, backend=make_backend("cpu", threads=threads), seed=3)
        y = net.forward(data)["end"]
        assert first is None or np.array_equal(y, first)
        first = y
