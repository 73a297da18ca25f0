"""Lines that repeat are left out from convolution to convolution: the same numbers, whoever looks."""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.cpu.conv.repeated_image import RepeatedImage, Shortening
from demitasse.netdef.net import Net
from tests.test_netdef.texts import blob, conv, layer

POOL = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"


def relu(name):
    return layer("ReLU", f"{name}_relu", name, name)


def vgg(pad, *parts):
    """A net that begins with a wide pad.  parts: the pad of a 3x3 convolution, or None for a pooling."""
    text, bottom = conv("c0", "data", 6, param=f"pad: {pad}") + relu("c0"), "c0"
    for i, part in enumerate(parts):
        name = f"l{i}"
        text += (
            layer("Pooling", name, bottom, more=POOL) if part is None else conv(name, bottom, 8, param=f"pad: {part}")
        )
        text += "" if part is None else relu(name)
        bottom = name
    return text


def image(height, width, seed=0):
    return np.random.default_rng(seed).standard_normal((1, 3, height, width)).astype(np.float32)


@pytest.fixture
def seen(monkeypatch):
    """The shapes of the RepeatedImages that convolutions and poolings are given."""
    shapes = []

    def part_or_whole(self, *args):
        shapes.append(self.shape)
        return make(self, *args)

    make = RepeatedImage._lines
    monkeypatch.setattr(RepeatedImage, "_lines", part_or_whole)
    return shapes


NETS = [
    (40, (1, None, 1, 1, None, 1)),
    (41, (1, None, 1, 1, None, 1)),
    (100, (1, None, 1, 1, None, 1, 1, 1, None, 1, 1, 1, None)),
    (97, (None, 1, None, None, 1)),
    (60, (2, 0, None, 1, 3)),
    (25, (1, 1, 1, 1, 1, None)),
]


@pytest.mark.parametrize("pad, parts", NETS, ids=str)
@pytest.mark.parametrize("size", [(30, 41), (61, 52), (64, 64)], ids=str)
def test_the_same_as_of_whole_images(pad, parts, size):
    text, inputs = blob(shape=(1, 3, *size)) + vgg(pad, *parts), {"data": image(*size)}
    whole = Net(text, backend=make_backend("generic"), seed=1).forward(inputs)
    for options in ({"threads": 1}, {"threads": 3}):
        small = Net(text, backend=make_backend("cpu", **options), seed=1).forward(inputs)
        for name, expected in whole.items():
            assert isinstance(small[name], np.ndarray) and small[name].shape == expected.shape
            np.testing.assert_allclose(small[name], expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("pad, parts", NETS, ids=str)
def test_the_same_gradients_as_of_whole_images(pad, parts):
    """Layers save such images, too, and make them whole where a ReLU goes backward."""
    text = blob(shape=(1, 3, 61, 52)) + vgg(pad, *parts) + "force_backward: true"
    found = []
    for backend in (make_backend("generic"), make_backend("cpu", threads=1), make_backend("cpu", threads=3)):
        net = Net(text, "TRAIN", backend=backend, seed=1)
        ((name, y),) = net.forward({"data": image(61, 52)}).items()
        net.backward(grads={name: np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)})
        found.append([*(p.grad for p in net.learnable), net.grads["data"]])
    for expected, one, three in zip(*found, strict=True):
        assert np.array_equal(one, three)
        np.testing.assert_allclose(one, expected, atol=3e-5 * np.abs(expected).max())


def test_what_is_saved_for_backward_has_no_repeated_lines():
    text = blob(shape=(1, 3, 64, 64)) + vgg(50, 1, 1, None) + "force_backward: true"
    net = Net(text, "TRAIN", backend=make_backend("cpu"), seed=1)
    net.forward({"data": image(64, 64)})
    saved = {step.name: step.layer.saved for step in net.plan.steps if step.cls.type == "Convolution"}
    assert [type(saved[name][0][0]) is RepeatedImage for name in ("c0", "l0", "l1")] == [False, True, True]
    assert saved["l1"][0][0].small.nbytes < 0.6 * 8 * 162 * 162 * 4


def test_a_gradient_given_in_between_may_be_of_any_kind():
    text, found = blob(shape=(1, 3, 61, 52)) + vgg(50, 1, 1) + "force_backward: true", []
    for device in ("generic", "cpu"):
        net = Net(text, "TRAIN", backend=make_backend(device), seed=1)
        net.forward({"data": image(61, 52)})
        gradient = np.random.default_rng(1).standard_normal(net.plan.newest["l0"].shape).astype(np.float32)
        gradient.flags.writeable = False
        net.backward(start="l0_relu", grads={"l0": gradient})
        found.append([p.grad for p in net.learnable])
    for expected, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, atol=3e-5 * max(1, np.abs(expected).max()))


def test_between_them_no_image_is_whole(seen):
    text = blob(shape=(1, 3, 64, 64)) + vgg(50, 1, None, 1, 1, None)
    (top,) = Net(text, backend=make_backend("cpu"), seed=1).forward({"data": image(64, 64)}).values()
    assert (1, 8, 162, 162) not in seen and seen[-1] == (1, 8, 41, 41) == top.shape


def test_who_looks_between_layers_sees_all_of_it():
    text, inputs = blob(shape=(1, 3, 50, 50)) + vgg(40, 1, None, 1), {"data": image(50, 50)}
    net, kept = (Net(text, backend=make_backend("cpu"), seed=1, keep=keep) for keep in ("needed", "all"))
    found = {}

    def look(index):
        found[index] = {name: net.blobs[name].copy() for name in ("c0", "l0", "l1", "l2") if name in net.blobs}

    net.after_forward.append(look)
    outputs, expected = net.forward(inputs), kept.forward(inputs)
    assert np.allclose(outputs["l2"], expected["l2"], atol=1e-5)
    for blobs in found.values():
        for name, array in blobs.items():
            assert type(array) is np.ndarray
            np.testing.assert_allclose(array, kept.blobs[name], atol=1e-5)
    assert {"c0", "l0", "l1", "l2"} <= set().union(*found.values())


def test_parts_of_a_run():
    text, inputs = blob(shape=(1, 3, 50, 50)) + vgg(40, 1, None, 1), {"data": image(50, 50)}
    net = Net(text, backend=make_backend("cpu"), seed=1)
    expected = net.forward(inputs)["l2"]
    net.forward(inputs, end="l0_relu")
    assert net.blobs["l0"].shape == (1, 8, 128, 128)
    assert np.allclose(net.forward(start="l1")["l2"], expected, atol=1e-5)


def test_others_that_read_it_get_all_of_it():
    text = vgg(40, 1, None) + layer("Eltwise", "sum", "l0 l0") + conv("one", "l1", 4, kernel=1)
    net, whole = (
        Net(blob(shape=(1, 3, 50, 50)) + text, backend=make_backend(device), seed=1) for device in ("cpu", "generic")
    )
    outputs, expected = (each.forward({"data": image(50, 50)}) for each in (net, whole))
    for name in ("sum", "one"):
        np.testing.assert_allclose(outputs[name], expected[name], atol=2e-5 * np.abs(expected[name]).max())


@pytest.mark.parametrize("pad, taps", [(0, 3), (1, 3), (2, 5)])
def test_shortenings_follow_their_lines(pad, taps):
    """Of lines of which each is its own number but for the runs: windows and pooled ones, taken from the small one."""
    axis = Shortening(41, ((0, 14, 8), (22, 37, 10)))
    lines = np.arange(41.0) + 1
    lines[:15], lines[22:38] = 1, 23
    small = lines[[0, 1, 2, 3, 4, 5, 6, *range(15, 28), 38, 39, 40]]
    assert axis.small_size == len(small) and np.array_equal(small[axis.source], lines)

    def windows(x):
        return np.lib.stride_tricks.sliding_window_view(np.pad(x, pad), taps)

    outputs = axis.windows(pad, taps)
    assert np.array_equal(windows(small)[outputs.source], windows(lines))
    pairs = axis.pooled(20)
    assert np.array_equal(small[:22].reshape(-1, 2)[pairs.source], lines[:40].reshape(-1, 2))
