"""Nets run in parts: forward and backward to, from and between layers, from given gradients, with hooks."""

import numpy as np
import pytest

from demitasse.proto.errors import GraphFault
from tests.test_netdef.fcn_net import FEED, IMAGE, RNG, gradients
from tests.test_netdef.texts import SMALL, blob, build, conv


def test_forward_to_a_layer_gives_its_tops():
    net = build(SMALL)
    ((name, c1),) = net.forward(FEED, end="c1").items()
    assert name == "c1" and (c1 < 0).any()  # its ReLU, which usually runs in the same call, has not been asked for
    r1 = net.forward(end="r1")["c1"]
    np.testing.assert_array_equal(r1, np.maximum(c1, 0))


def test_forward_from_a_layer_goes_on_with_what_is_there():
    net = build(SMALL, keep="all")
    loss = float(net.forward(FEED)["loss"])
    assert float(net.forward(start="c2")["loss"]) == loss
    assert float(net.forward({"c1": np.zeros((1, 4, 6, 6))}, start="c2")["loss"]) == pytest.approx(np.log(4), rel=0.3)
    with pytest.raises(GraphFault, match="layer 'sum' .Eltwise.: reads blob 'c1', which holds nothing now: give it"):
        build(SMALL).forward(start="sum")


def test_forward_from_a_fused_relu():
    net = build(SMALL)
    given = RNG.standard_normal((1, 4, 6, 6)).astype("f")
    np.testing.assert_array_equal(net.forward({"c1": given}, start="r1", end="r1")["c1"], np.maximum(given, 0))


def test_a_relu_that_ran_fused_can_run_again_alone():
    results = []
    for fuse in (True, False):
        net = build(SMALL, "TRAIN", keep="all", fuse=fuse)
        net.forward(FEED)
        given = -net.blobs["c1"] - 1
        given[0, 0] = 3
        net.forward({"c1": given}, start="r1")
        np.testing.assert_array_equal(net.blobs["c1"], np.maximum(given, 0))
        net.backward()
        results.append([net.loss, *gradients(net)])
    for fused, alone in zip(*results, strict=True):
        np.testing.assert_array_equal(fused, alone)


@pytest.mark.parametrize("fuse", [True, False])
def test_backward_in_two_parts(fuse):
    whole, parts = (build(SMALL, "TRAIN", fuse=fuse) for _ in range(2))
    for net in (whole, parts):
        net.forward(FEED)
    whole.backward()
    parts.backward(end="c2")
    assert not parts.params["c1"][0].grad.any()
    parts.backward(start="r1")
    for expected, found in zip(gradients(whole), gradients(parts), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_backward_from_a_given_gradient():
    net = build("force_backward: true\n" + blob() + conv("c", "data", more="param { lr_mult: 0 }"))
    net.forward({"data": IMAGE})
    chosen = np.zeros((1, 4, 6, 6), "f")
    chosen[0, 2, 3, 3] = 1
    net.backward(grads={"c": chosen})
    expected = np.zeros((1, 3, 8, 8))
    expected[0, :, 3:6, 3:6] = net.params["c"][0].data[2]
    np.testing.assert_allclose(net.grads["data"], expected, rtol=1e-6)
    with pytest.raises(GraphFault, match="given for blob 'c' is 1x4, the blob 1x4x6x6"):
        net.backward(grads={"c": np.zeros((1, 4))})


def test_names_that_are_not_there():
    net = build(SMALL)
    with pytest.raises(GraphFault, match=r"no layer 'sumn' \(did you mean 'sum'\?\)"):
        net.forward(end="sumn")
    with pytest.raises(GraphFault, match=r"no input 'dta' \(did you mean 'data'\?\): its inputs are data, label"):
        net.forward({"dta": IMAGE})
    with pytest.raises(GraphFault, match="no input 'c1'"):
        net.reshape({"c1": (1, 2)})


@pytest.mark.parametrize(
    "text, phase, message",
    [
        (
            blob() + conv("c", "data"),
            "TRAIN",
            "nothing to do: no layer is a loss or has a loss_weight: add, say, a Soft",
        ),
        (
            SMALL.replace("convolution_param", "param { lr_mult: 0 } param { lr_mult: 0 } convolution_param"),
            "TRAIN",
            "nothing to do: no loss reaches a layer that learns",
        ),
        (SMALL, "TEST", "a net in the TEST phase saves nothing for backward: build it with keep='all'"),
    ],
)
def test_backward_without_purpose(text, phase, message):
    net = build(text, phase)
    net.forward()
    with pytest.raises(GraphFault, match=message):
        net.backward()


def test_backward_before_forward_or_twice():
    net = build(SMALL, "TRAIN")
    with pytest.raises(GraphFault, match="no gradient to begin from: run forward"):
        net.backward()
    net.forward(FEED)
    net.backward()
    with pytest.raises(GraphFault, match="layer 'loss' .*: has nothing saved to go back from: run forward again"):
        net.backward()
    all_kept = build(SMALL, keep="all")
    all_kept.forward(FEED)
    all_kept.backward()
    all_kept.backward()


def test_hooks_are_called_for_each_layer():
    net, calls = build(SMALL, "TRAIN"), []
    for name in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, name).append(lambda index, name=name: calls.append((name, index)))
    net.forward(FEED)
    assert calls == [(f"{when}_forward", i) for i in range(7) for when in ("before", "after")]
    calls.clear()
    net.backward()
    assert calls == [(f"{when}_backward", i) for i in range(6, -1, -1) for when in ("before", "after")]
