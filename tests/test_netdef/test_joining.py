"""Convolutions that write straight into the array of the Concat that joins them: nobody can tell."""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from tests.test_netdef.texts import blob, conv, layer


def three(name, bottom, outputs, relu=True):
    """A 3x3 convolution that keeps the size, with its ReLU."""
    return conv(name, bottom, outputs, param="pad: 1") + (layer("ReLU", f"{name}_relu", name, name) if relu else "")


def concat(name, bottoms, axis=1):
    return layer("Concat", name, bottoms, more=f"concat_param {{ axis: {axis} }}")


A, B = three("a", "data", 4), three("b", "data", 3, relu=False)
FIRE = A + B + concat("ab", "a b") + three("c", "ab", 2)
UP = layer(
    "Deconvolution",
    "up",
    "data",
    more="convolution_param { num_output: 2 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } }",
)


def build(text, batch=1, phase="TEST", **options):
    return Net(blob(shape=(batch, 3, 9, 7)) + text, phase, backend=make_backend("cpu", threads=2), seed=3, **options)


@pytest.fixture
def data():
    return np.random.default_rng(0).standard_normal((1, 3, 9, 7)).astype(np.float32)


@pytest.mark.parametrize(
    "text, pieces",
    [
        (FIRE, ["a", "b"]),
        (A + UP + concat("ab", "up a"), ["up", "a"]),
        (A + three("b", "data", 4) + concat("ab", "a b", axis=0), ["a", "b"]),
        (A + concat("ab", "a data"), ["a"]),
        (A + concat("ab", "a a"), ["a"]),
        (A + B + concat("ba", "b a") + concat("ab", "a b"), ["a", "b"]),
        (A + B + concat("ba", "b a") + three("up", "ba", 2) + concat("ab", "ba up"), ["a", "b", "ba", "up"]),
        (A + B + concat("ba", "b a") + concat("ab", "data ba"), ["a", "b", "ba"]),
    ],
    ids=["fire", "deconvolution", "images", "input", "twice", "two", "chain", "chain behind"],
)
def test_joined_without_copying_where_that_is_possible(text, pieces, data):
    net, plain = build(text), build(text, keep="all")
    seen = {}

    def watch(index):
        seen.update((name, net.blobs[name]) for name in ("a", "b", "up", "ba", "ab") if name in net.blobs)

    net.after_forward.append(watch)
    for _ in range(2):
        result, expected = net.forward({"data": data}), plain.forward({"data": data})
        assert all(np.array_equal(result[name], expected[name]) for name in expected)
        whole = seen.pop("ab")
        assert {name for name in seen if np.shares_memory(seen[name], whole)} == set(pieces)


def test_several_images_are_copied(data):
    net, plain = build(FIRE, batch=2), build(FIRE, batch=2, keep="all")
    images = np.concatenate([data, 2 * data])
    assert np.array_equal(net.forward({"data": images})["c"], plain.forward({"data": images})["c"])
    small = {"data": data}  # another batch size, then the first again
    assert np.array_equal(net.forward(small)["c"], plain.forward(small)["c"])
    assert np.array_equal(net.forward({"data": images})["c"], plain.forward({"data": images})["c"])


def test_kept_blobs_have_arrays_of_their_own(data):
    net = build(FIRE, keep=["a", "ab"])
    net.forward({"data": data})
    assert not np.shares_memory(net.blobs["a"], net.blobs["ab"])


def test_parts_of_a_run_and_blobs_put_in_between(data):
    net, plain = build(FIRE), build(FIRE, keep="all")
    expected = plain.forward({"data": data})
    first = net.forward({"data": data}, end="a_relu")["a"]
    before = first.copy()
    second = net.forward(start="b")["c"]
    assert np.array_equal(second, expected["c"]) and np.array_equal(first, before)

    other = np.ones_like(before)

    def put(index):
        if net.layer_names[index] == "b":
            net.executor.put(net.plan.by_name["a_relu"].tops[0], other)

    net.after_forward.append(put)
    changed = net.forward({"data": data})["c"]
    assert np.array_equal(changed, plain.forward({"a": other}, start="b")["c"])
    assert not np.array_equal(changed, expected["c"])


def test_sizes_that_change(data):
    net, plain = build(FIRE), build(FIRE, keep="all")
    for size in (9, 5, 12, 9):
        image = {"data": np.ones((1, 3, size, size + 1), np.float32)}
        assert np.array_equal(net.forward(image)["c"], plain.forward(image)["c"])


def test_gradients(data):
    loss = layer("Reduction", "loss", "c", more="reduction_param { operation: SUMSQ } loss_weight: 1")
    nets = [build(FIRE + loss, phase="TRAIN", keep=keep) for keep in ("needed", "all")]
    for net in nets:
        net.forward({"data": data})
        net.backward()
    for ours, theirs in zip(*(net.learnable for net in nets), strict=True):
        assert ours.grad.any() and np.array_equal(ours.grad, theirs.grad)
