"""Params shared by name."""

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.proto.errors import GraphFault, SchemaFault
from tests.test_netdef.texts import blob, build, conv, layer

W = 'param { name: "w" }'


def ip(name, bottom, outputs=3, more=W, bias="bias_term: false"):
    return layer(
        "InnerProduct",
        name,
        bottom,
        more=f"{more} inner_product_param {{ num_output: {outputs} weight_filler {{ type: 'xavier' }} {bias} }}",
    )


def test_shared_arrays_are_one_and_gradients_add_up():
    text = blob("x", (2, 3)) + blob("y", (2, 3)) + ip("a", "x") + ip("b", "a") + layer("EuclideanLoss", "loss", "b y")
    net = build(text, "TRAIN")
    (a,), (b,) = net.params["a"], net.params["b"]
    assert net.learnable == [a]
    assert a.data is not None and np.shares_memory(a.data, b.data) and np.shares_memory(a.grad, b.grad)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 2, 3))
    net.forward({"x": x, "y": y})
    net.backward()
    w = a.data.astype(float)
    hidden = x @ w.T
    residual = (hidden @ w.T - y) / 2
    expected = residual.T @ hidden + (residual @ w).T @ x
    np.testing.assert_allclose(a.grad, expected, rtol=1e-5)


def test_a_transposed_view_is_shared_permissively():
    text = blob("x", (2, 4)) + ip("a", "x", 6) + ip("b", "a", 4, W.replace("}", "share_mode: PERMISSIVE }"))
    net = build(text)
    assert net.params["b"][0].data.shape == (4, 6)
    assert np.shares_memory(net.params["a"][0].data, net.params["b"][0].data)


@pytest.mark.parametrize(
    "more, outputs, message",
    [
        (
            W,
            4,
            r"^3:1: layer 'b' \(InnerProduct\): shares param 'w' with layer 'a' at 2:1, but its shape is 4x6 here and "
            "6x4 there: set share_mode: PERMISSIVE to compare counts only",
        ),
        (W, 5, "5x6 here and 6x4 there: give one of them another param name"),
        (W.replace("}", "share_mode: PERMISSIVE }"), 5, "5x6 here and 6x4 there: the counts differ"),
    ],
)
def test_shapes_that_do_not_agree(more, outputs, message):
    with pytest.raises(GraphFault, match=message):
        build(blob("x", (2, 4)) + ip("a", "x", 6) + ip("b", "a", outputs, more))


@pytest.mark.parametrize(
    "first, second, rate",
    [
        ("", "lr_mult: 3", 3),
        ("lr_mult: 3", "", 3),
        ("lr_mult: 3", "lr_mult: 3", 3),
        ("", "", 1),
        ("lr_mult: 0", "", 0),
    ],
)
def test_a_rate_is_that_of_whoever_gives_it(first, second, rate):
    a, b = (W.replace("}", given + "}") for given in (first, second))
    net = build(blob("x", (2, 3)) + ip("a", "x", more=a) + ip("b", "a", more=b))
    assert [param.lr_mult for params in net.params.values() for param in params] == [rate, rate]


def test_rates_that_do_not_agree():
    rates = [W.replace("}", f"decay_mult: {rate} }}") for rate in (1, 0)]
    with pytest.raises(GraphFault, match=r"decay_mult 0, but layer 'a' at 2:1 gives it 1: write the same"):
        build(blob("x", (2, 3)) + ip("a", "x", more=rates[0]) + ip("b", "a", more=rates[1]))


def test_three_sharers_two_of_whom_disagree():
    texts = [W, W.replace("}", "lr_mult: 2 }"), W.replace("}", "lr_mult: 4 }")]
    with pytest.raises(GraphFault, match=r"lr_mult 4, but layer 'b' at 3:1 gives it 2"):
        build(blob("x", (2, 3)) + "".join(ip(n, b, more=m) for n, b, m in zip("abc", "xab", texts, strict=True)))


def test_rates_of_a_layer_that_sets_its_own_stay():
    net = build(blob() + layer("BatchNorm", "bn", "data", more="param {} param {}") + conv("c", "bn"))
    assert [param.lr_mult for param in net.params["bn"]] == [0, 0, 0]
    assert [param.lr_mult for param in net.params["c"]] == [1, 1]


def test_rates_that_a_layer_keeps_at_0_stay_there():
    three = "param { lr_mult: 1 } " * 3  # old nets: Caffe's upgrade makes them 0
    fork = "param { lr_mult: 1 decay_mult: 1 } " * 4  # PSPNet's layer makes the last two 0, and with frozen all
    net = build(
        blob()
        + layer("BatchNorm", "a", "data", more=three)
        + layer("BN", "b", "a", more=fork + "bn_param { momentum: 0.9 }")
        + layer("BN", "c", "b", more=fork + "bn_param { momentum: 0.9 frozen: true }")
    )
    rates = {name: [param.lr_mult for param in params] for name, params in net.params.items()}
    assert rates == {"a": [0, 0, 0], "b": [1, 1, 0, 0], "c": [0, 0, 0, 0]}
    assert [entry.lr_mult for entry in net.to_message().layer[2].param] == [1, 1, 0, 0]


def test_statistics_that_the_solver_is_told_to_learn():
    with pytest.raises(SchemaFault, match=r"2:1: layer 'bn' \(BatchNorm\): the running statistics are not learned"):
        build(blob() + layer("BatchNorm", "bn", "data", more="param { lr_mult: 0 } param { lr_mult: 1 }"))


def test_layers_that_share_all_weights_may_share_their_name(tmp_path):
    conv = (
        "layer {{ name: 'c' type: 'Convolution' bottom: '{}' top: '{}' param {{ name: 'w' }} param {{ name: 'b' }}"
        " convolution_param {{ num_output: 2 kernel_size: 1 weight_filler {{ type: 'xavier' }} }} }}\n"
    )
    text = "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }\n"
    net = Net(text + conv.format("x", "y") + conv.format("y", "z"), "TEST", seed=1)
    assert [param.shape for param in net.plan.learnable] == [(2, 2, 1, 1), (2,)]
    net.save(tmp_path / "w.caffemodel")
    other = Net(text + conv.format("x", "y") + conv.format("y", "z"), "TEST", seed=2)
    report = other.load(tmp_path / "w.caffemodel")
    assert not report.missing
    x = np.ones((1, 2, 3, 3), np.float32)
    assert np.array_equal(net.forward({"x": x})["z"], other.forward({"x": x})["z"])
    with pytest.raises(GraphFault, match="shares all of them by param"):
        Net(text + conv.format("x", "y") + conv.format("y", "z").replace("'b'", "'b2'"), "TEST")


def test_an_entry_for_a_bias_that_is_not_there_is_told():
    text = blob("x", (2, 3)) + ip("a", "x", more="param { lr_mult: 2 } param { lr_mult: 1 }")
    with pytest.warns(UserWarning, match="last param entry is for a bias, but bias_term is false"):
        net = build(text)
    assert [param.lr_mult for param in net.params["a"]] == [2]
    with pytest.raises(GraphFault, match="3 param entries, but has 1 learned arrays"):
        build(blob("x", (2, 3)) + ip("a", "x", more="param { } param { } param { }"))
