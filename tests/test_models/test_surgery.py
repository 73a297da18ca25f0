"""Weights moved, reshaped, grown; a convolutional classifier gives on an image what it gives on its windows."""

import numpy as np
import pytest

from demitasse.models import surgery
from demitasse.models.base_weights import BASES, make_base, trunk_shapes
from demitasse.models.fcn import DataSource, fcn
from demitasse.netdef.net import Net
from demitasse.netdef.spec import L, NetSpec
from demitasse.proto.errors import ShapeFault, WeightsFault
from demitasse.proto.messages import NetParameter
from demitasse.proto.weights import write_weights
from examples.dense import dilated, shift_and_stitch, sliding_windows

rng = np.random.default_rng(7)


def random_weights(source):
    return {
        name: [rng.normal(0, 1 / np.sqrt(max(1, np.prod(shape[1:]))), shape).astype(np.float32) for shape in shapes]
        for name, shapes in surgery.param_shapes(source).items()
    }


def classifier(trunk, size, pads=True, width=1 / 32):
    """A trunk with fully connected layers on top, as published: an Input of `size`, 10 classes."""
    whole = fcn(DataSource(size=(size, size)), trunk=trunk, width=width, snug=None if trunk != "vgg16" else True)
    net = NetParameter()
    for layer in whole.layer:
        if layer.name in ("fc6", "score_fr"):
            break
        net.layer.add().CopyFrom(layer)
        conv = net.layer[-1].convolution_param
        if layer.type == "Convolution" and (not pads or conv.pad[:] == [100]):
            conv.ClearField("pad")
    top = net.layer[-1].top[0]
    if trunk == "googlenet":
        net.layer.add(name="pool5", type="Pooling", bottom=[top], top=["pool5"])
        net.layer[-1].pooling_param.pool, net.layer[-1].pooling_param.global_pooling = 1, True
        top = "pool5"
    else:
        for name in ("fc6", "fc7"):
            net.layer.add(name=name, type="InnerProduct", bottom=[top], top=[name]).inner_product_param.num_output = 12
            net.layer.add(name=f"relu_{name}", type="ReLU", bottom=[name], top=[name])
            top = name
    net.layer.add(name="fc8", type="InnerProduct", bottom=[top], top=["fc8"]).inner_product_param.num_output = 10
    return net


def function(message, weights):
    net = Net(message, weights=weights)
    return lambda image: np.array(net.forward({"data": image})[net.outputs[0]])


@pytest.mark.parametrize("trunk, window", [("vgg16", 64), ("alexnet", 99), ("googlenet", 64)])
def test_on_its_own_size_the_convolutional_net_is_the_classifier(trunk, window):
    net = classifier(trunk, window)
    weights = random_weights(net)
    convolutional = surgery.convolutional(net)
    assert not any(layer.type == "InnerProduct" for layer in convolutional.layer)
    moved, report = surgery.transplant(weights, surgery.param_shapes(convolutional))
    assert not report.unused and not report.missing
    image = rng.normal(0, 1, (1, 3, window, window)).astype(np.float32)
    expected, given = function(net, weights)(image), function(convolutional, moved)(image)
    assert given.shape == (1, 10, 1, 1)
    assert np.abs(given.ravel() - expected.ravel()).max() < 1e-4 * np.abs(expected).max()


# Windows of which no pooling hangs over the edge; without pads, since a window has borders that an image has not.
@pytest.mark.parametrize("trunk, window", [("vgg16", 212), ("alexnet", 195)])
def test_on_an_image_it_gives_what_the_classifier_gives_on_each_window(trunk, window):
    net = classifier(trunk, window, pads=False)
    weights = random_weights(net)
    image = rng.normal(0, 1, (1, 3, window + 32, window + 64)).astype(np.float32)
    large = surgery.convolutional(net, input_shape=image.shape)
    moved, _ = surgery.transplant(weights, surgery.param_shapes(large))
    scores = function(large, moved)(image)
    single = function(net, weights)
    windows = sliding_windows(lambda part: single(np.ascontiguousarray(part)).reshape(1, 10, 1, 1), image, window, 32)
    assert scores.shape == windows.shape == (1, 10, 2, 3)
    assert np.abs(scores - windows).max() < 1e-4 * np.abs(windows).max()


def test_shift_and_stitch_is_the_dilated_net():
    n = NetSpec()
    n.data = L.Input(shape=[dict(dim=[1, 2, 41, 38])])
    n.a = L.Convolution(n.data, num_output=4, kernel_size=3, stride=2)
    n.relu = L.ReLU(n.a, in_place=True)
    n.b = L.Convolution(n.relu, num_output=4, kernel_size=2, stride=2)
    n.c = L.Convolution(n.b, num_output=3, kernel_size=3)
    message = n.to_proto()
    weights = random_weights(message)
    image = rng.normal(0, 1, (1, 2, 41, 38)).astype(np.float32)
    coarse = function(message, weights)
    stitched = shift_and_stitch(lambda part: coarse(np.ascontiguousarray(part)), image, 4)
    dense = function(dilated(message), weights)(image)
    assert stitched.shape == dense.shape == (1, 3, 29, 26)
    assert np.allclose(stitched, dense, atol=1e-5)
    assert np.allclose(dense[:, :, ::4, ::4], coarse(image), atol=1e-5)


def test_what_cannot_be_dilated_or_made_convolutional_is_refused():
    n = NetSpec()
    n.data = L.Input(shape=[dict(dim=[1, 2, 16, 16])])
    n.a = L.Convolution(n.data, num_output=4, kernel_size=3, stride=2)
    n.pool = L.Pooling(n.a, kernel_size=2, stride=2)
    with pytest.raises(ShapeFault, match="comes after a stride of 2"):
        dilated(n.to_proto())
    n.flat = L.Flatten(n.pool)
    n.fc = L.InnerProduct(n.flat, num_output=3)
    with pytest.raises(ShapeFault, match="'flat' .Flatten. keeps the net from being convolutional"):
        surgery.convolutional(n.to_proto())
    with pytest.raises(ShapeFault, match="a window of 20 does not fit into an image of 16x16"):
        sliding_windows(lambda x: x, np.zeros((1, 2, 16, 16)), 20, 4)


def test_transplant_counts_and_names():
    old = {"a": [np.arange(12.0).reshape(3, 4), np.zeros(3)], "gone": [np.zeros(2)], "b": [np.ones((2, 2))]}
    made, report = surgery.transplant(old, {"a_x": [(3, 1, 2, 2)], "new": [(4,)], "c_x": [(2, 2)]}, "_x", {"b": "c_x"})
    assert made["a_x"][0].shape == (3, 1, 2, 2) and np.array_equal(made["a_x"][0].ravel(), np.arange(12))
    assert (report.matched, report.unused, report.missing) == (["a_x", "c_x"], ["a 1", "gone"], ["new"])
    assert "a_x 0: (3, 4) to (3, 1, 2, 2)" in str(report)
    with pytest.raises(WeightsFault, match="'a' blob 0 has 12 values of shape .3, 4., but 'a' needs 15"):
        surgery.transplant(old, {"a": [(3, 5)]})
    with pytest.raises(WeightsFault, match="no layer in common: the weights have a, gone, b, the net has z"):
        surgery.transplant(old, {"z": [(1,)]})


def test_interpolation_classes_and_channels():
    shapes = {"up": [(3, 3, 4, 4)], "each": [(3, 1, 3, 3)], "bad": [(3, 2, 4, 4)]}
    made = surgery.interp(shapes, ["up", "each"])
    assert made["up"][0][1, 1].sum() == 4 and not made["up"][0][0, 1].any() and made["up"][0][0, 0, 0, 0] == 0.0625
    assert made["each"][0][2, 0, 1, 1] == 1
    with pytest.raises(ShapeFault, match="'bad' cannot interpolate"):
        surgery.interp(shapes, ["bad"])
    score = [np.arange(6.0).reshape(3, 2, 1, 1), np.arange(3.0)]
    changed = surgery.change_classes(score, [2, None])
    assert changed[0].ravel().tolist() == [4, 5, 0, 0] and changed[1].tolist() == [2, 0]
    assert surgery.expand_score(score, 4)[1].tolist() == [0, 1, 2, 0]
    with pytest.raises(WeightsFault, match="no class 3 among the 3"):
        surgery.change_classes(score, [3])
    with pytest.raises(WeightsFault, match="3 classes cannot be expanded to 2"):
        surgery.expand_score(score, 2)
    first = surgery.add_channels([np.arange(3.0).reshape(1, 3, 1, 1), np.ones(1)])
    assert first[0].ravel().tolist() == [0, 1, 2, 1] and first[1].tolist() == [1]


@pytest.mark.parametrize("name", BASES)
def test_every_base_comes_from_its_classifier(name, tmp_path):
    shapes = trunk_shapes(name, 1 / 32)
    weights = {layer: [np.ones(shape, np.float32) for shape in arrays] for layer, arrays in shapes.items()}
    weights["fc8"] = [np.ones((3, 3), np.float32)]
    for layer in ("fc6", "fc7"):
        if layer in weights:
            weights[layer][0] = weights[layer][0].reshape(len(weights[layer][0]), -1)
    write_weights(tmp_path / "c.npz", weights)
    made, report = make_base(name, tmp_path / "c.npz", 1 / 32)
    assert {layer: [a.shape for a in arrays] for layer, arrays in made.items()} == {
        layer: [tuple(shape) for shape in arrays] for layer, arrays in shapes.items()
    }
    assert report.unused == ["fc8"] and len(report.coerced) == 2 * ("fc6" in shapes)
    del weights[next(iter(shapes))]
    write_weights(tmp_path / "c.npz", weights)
    with pytest.raises(WeightsFault, match=f"lacks {next(iter(shapes))} of {name}; are these the weights of"):
        make_base(name, tmp_path / "c.npz", 1 / 32)


def test_squeezenet_by_its_other_names(tmp_path):
    weights = random_weights(fcn(DataSource(), trunk="squeezenet", stride=16, width=1 / 16))
    other = {
        name.replace("conv1x1_1", "squeeze1x1")
        .replace("conv1x1_2", "expand1x1")
        .replace("conv3x3_2", "expand3x3"): arrays
        for name, arrays in weights.items()
    }
    write_weights(tmp_path / "s.npz", other)
    made, _ = make_base("squeezenet", tmp_path / "s.npz", 1 / 16)
    assert np.array_equal(made["fire5/conv3x3_2"][0], weights["fire5/conv3x3_2"][0])
