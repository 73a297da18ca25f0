"""Running nets: values and gradients, what stays alive, sizes that change, parts of a net."""

import json

import numpy as np
import pytest

from demitasse.proto.errors import GraphFault, LabelFault, NetError, SchemaFault, ShapeFault
from tests.test_netdef.fcn_net import FEED, IMAGE, RNG, gradients
from tests.test_netdef.texts import SMALL, blob, build, conv, layer


def numeric(net, param, direction, epsilon=1e-6):
    """The slope of the loss along a direction."""
    start, losses = param.data.copy(), []
    for sign in (1, -1):
        param.data[...] = start + sign * epsilon * direction
        net.forward()
        losses.append(net.loss)
    param.data[...] = start
    return (losses[0] - losses[1]) / (2 * epsilon)


# -- values and gradients ----------------------------------------------------------------------------


def test_a_value_read_twice_gets_the_sum_of_both_gradients():
    net = build(SMALL, "TRAIN", dtype="float64")
    net.forward(FEED)
    net.backward()
    grads = gradients(net)
    for param, grad in zip(net.learnable, grads, strict=True):
        direction = RNG.standard_normal(param.shape)
        assert numeric(net, param, direction) == pytest.approx((grad * direction).sum(), rel=1e-6)


@pytest.mark.parametrize(
    "options", [{"fuse": False}, {"keep": "all"}, {"keep": "all", "fuse": False}, {"keep": ["c1"]}]
)
def test_fusing_and_keeping_change_no_number(options):
    results = []
    for each in ({}, options):
        net = build(SMALL, "TRAIN", **each)
        net.forward(FEED)
        loss = net.loss
        net.backward()
        results.append([loss, *gradients(net)])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_any_layer_before_a_relu_computes_it_too_and_changes_no_number(phase, operation):
    filler = "filler { type: 'gaussian' std: 1 } bias_term: true bias_filler { type: 'gaussian' std: 1 }"
    text = (
        blob(shape=(2, 3, 8, 8))
        + blob("label", (2, 1, 6, 6))
        + "".join(conv(name, "data") for name in ("a", "b"))
        + layer("BatchNorm", "norm", "a", "a")
        + layer("ReLU", "r1", "a", "a")
        + layer("Scale", "scale", "b", more=f"scale_param {{ {filler} }}")
        + layer("ReLU", "r2", "scale", "scale", "relu_param { negative_slope: 0.25 }")
        + layer("Eltwise", "sum", "a scale", more=f"eltwise_param {{ operation: {operation} }}")
        + layer("ReLU", "r3", "sum", "sum")
        + layer("SoftmaxWithLoss", "loss", "sum label")
    )
    results, feed = [], {"data": RNG.standard_normal((2, 3, 8, 8)), "label": RNG.integers(0, 4, (2, 1, 6, 6))}
    for fuse in (True, False):
        net = build("force_backward: true\n" + text, phase, fuse=fuse, keep=["data"])
        net.forward(feed)
        calls = len(net.executor.begin_forward(0, len(net.plan.steps) - 1).calls)
        net.forward(feed)
        loss = net.loss
        net.backward()
        results.append([calls, loss, net.grads["data"], *gradients(net)])
    (fused, *values), (alone, *others) = results
    assert fused == alone - 3
    for found, expected in zip(values, others, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_gradients_accumulate_until_they_are_cleared():
    net = build(SMALL, "TRAIN")
    net.forward(FEED)
    net.backward()
    once = gradients(net)
    net.forward()
    net.backward()
    for twice, grad in zip(gradients(net), once, strict=True):
        np.testing.assert_allclose(twice, 2 * grad, rtol=1e-5)
    net.clear_grads()
    assert not any(grad.any() for grad in gradients(net))


def test_in_place_layers_leave_the_values_before_them_alone():
    net = build(SMALL, keep="all", fuse=False)
    net.forward(FEED)
    before, after = (step.tops[0] for step in net.plan.steps if step.name in ("c1", "r1"))
    assert (net.executor.array(before) < 0).any()
    np.testing.assert_array_equal(net.blobs["c1"], np.maximum(net.executor.array(before), 0))
    assert net.blobs["c1"] is net.executor.array(after)


def test_the_gradient_seen_of_a_blob_is_that_before_its_in_place_layers():
    seen = []
    for fuse in (True, False):
        net = build(SMALL, "TRAIN", keep="all", fuse=fuse)
        net.forward(FEED)
        net.backward()
        seen.append(net.grads["c1"])
        assert not net.grads["c1"][net.blobs["c1"] == 0].any()
    np.testing.assert_array_equal(*seen)


def test_loss_weights_count_in_loss_and_gradient():
    text = (
        blob("x", (2, 3))
        + layer("Power", "p", "x", more="loss_weight: 0.5 power_param { scale: 3 }")
        + layer("Power", "q", "p", more="loss_weight: -2")
    )
    net = build("force_backward: true\n" + text, "TRAIN")
    x = np.arange(6.0).reshape(2, 3)
    net.forward({"x": x})
    assert net.loss == pytest.approx(1.5 * 15 - 2 * 3 * 15)
    net.backward()
    np.testing.assert_allclose(net.grads["x"], np.full((2, 3), 3 * (0.5 - 2)))


def test_a_net_without_losses_has_loss_zero_and_one_that_has_not_run_none():
    net = build(blob() + conv("c", "data"))
    net.forward()
    assert net.loss == 0.0
    with pytest.raises(GraphFault, match="before forward"):
        _ = build(SMALL).loss


def test_frozen_params_have_no_gradient_array():
    net = build(SMALL.replace('top: "c2"', 'top: "c2" param { lr_mult: 0 }'), "TRAIN")
    assert [param.grad is None for param in net.params["c2"]] == [True, False]
    assert all(param.grad is None for param in build(SMALL, "TEST").learnable)


# -- what is there -----------------------------------------------------------------------------------


def test_only_inputs_outputs_and_losses_stay():
    net = build(SMALL)
    outputs = net.forward(FEED)
    assert list(outputs) == net.outputs == ["loss"]
    assert sorted(net.blobs) == ["data", "label", "loss"]
    assert net.blob_names == ["data", "label", "c1", "c2", "sum", "loss"]
    with pytest.raises(KeyError, match="blob 'sum' holds nothing now: run forward; keep="):
        net.blobs["sum"]
    with pytest.raises(GraphFault, match="no blob 'sun'.*did you mean 'sum'"):
        net.blobs["sun"]


def test_named_blobs_stay_too():
    net = build(SMALL, "TRAIN", keep=["sum", "c1"])
    net.forward(FEED)
    assert "sum" in net.blobs and "c1" in net.blobs and "c2" not in net.blobs
    net.backward()
    assert sorted(net.grads) == ["c1", "sum"]
    with pytest.raises(GraphFault, match="no blob 'sun' to keep"):
        build(SMALL, keep=["sun"])
    with pytest.raises(SchemaFault, match="keep is 'needed', 'newest', 'lazy', 'all' or a list"):
        build(SMALL, keep="some")


def test_memory_is_that_of_the_live_values():
    text = blob(shape=(1, 1, 4, 4)) + "".join(layer("Power", f"p{i}", f"p{i - 1}" if i else "data") for i in range(9))
    net, alive = build(text), []
    net.after_forward.append(lambda index: alive.append(len(net.blobs)))
    net.forward()
    assert max(alive) == 2  # the input, and the newest value


def test_layers_are_relieved_of_what_they_saved():
    net = build(SMALL, "TRAIN")
    net.forward(FEED)
    assert any(layer.saved is not None for layer in net.layers)
    net.backward()
    assert all(layer.saved is None for layer in net.layers)
    test = build(SMALL, "TEST")
    test.forward(FEED)
    assert all(layer.saved is None for layer in test.layers)


def test_inputs_are_copied_kept_and_never_written():
    net = build(blob(shape=(1, 3)) + layer("Power", "y", "data"))
    mine = np.ones((1, 3), "f")
    first = net.forward({"data": mine})["y"].copy()
    mine[...] = 5
    np.testing.assert_array_equal(net.forward()["y"], first)
    np.testing.assert_array_equal(net.blobs["data"], np.ones((1, 3)))


def test_inputs_nobody_has_set_are_zeros():
    net = build(blob(shape=(1, 3)) + layer("Power", "y", "data", more="power_param { shift: 2 }"))
    np.testing.assert_array_equal(net.blobs["data"], np.zeros((1, 3)))
    np.testing.assert_array_equal(net.forward()["y"], np.full((1, 3), 2))


def test_the_lists_of_a_net():
    net = build("name: 'small'\n" + SMALL)
    assert net.name == "small"
    assert net.layer_names == ["data", "label", "c1", "r1", "c2", "sum", "loss"]
    assert [layer.type for layer in net.layers] == [spec.type for spec in net.specs]
    assert [where.line for where in net.wheres] == [2, 3, 4, 5, 6, 7, 8]
    assert net.inputs == ["data", "label"]
    assert list(net.params) == ["c1", "c2"] and len(net.learnable) == 4
    assert net.shapes["sum"] == (1, 4, 6, 6) and net.shapes["loss"] == ()


def test_labels_outside_the_classes_name_the_layer():
    net = build(SMALL)
    with pytest.raises(LabelFault, match=r"^7:1: layer 'loss' \(SoftmaxWithLoss\): .*21"):
        net.forward({"data": IMAGE, "label": np.full((1, 1, 6, 6), 21)})


def test_state_restarts_dropout_exactly():
    text = blob() + layer("Dropout", "d", "data")
    net = build(text, "TRAIN")
    net.forward({"data": np.ones((1, 3, 8, 8))})
    state = json.loads(json.dumps(net.state()))
    expected = [net.forward()["d"].copy() for _ in range(3)]
    again = build(text, "TRAIN", seed=99)
    again.load_state(state)
    for y in expected:
        np.testing.assert_array_equal(again.forward({"data": np.ones((1, 3, 8, 8))})["d"], y)


def test_the_seed_decides_the_fillers():
    one, two, other = (build(SMALL, seed=seed).params["c1"][0].data for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_an_unknown_filler_names_its_layer():
    with pytest.raises(SchemaFault, match=r"^2:1: layer 'c' \(Convolution\): unknown filler 'glorot'"):
        build(blob() + conv("c", "data").replace("xavier", "glorot"))


def test_notes_tell_where_a_foreign_exception_came_from():
    net = build(SMALL)
    net.plan.by_name["c2"].layer.forward = lambda xs: 1 / 0
    with pytest.raises(ZeroDivisionError) as caught:
        net.forward(FEED)
    assert not hasattr(caught.value, "__notes__") or caught.value.__notes__ == ["in layer 'c2' (Convolution) at 5:1"]
    assert not issubclass(ZeroDivisionError, NetError)


def test_closing_a_net_closes_its_layers():
    net, closed = build(SMALL), []
    for each in net.layers:
        each.close = lambda name=each.spec.name: closed.append(name)
    net.close()
    assert closed == net.layer_names


def test_memory_that_is_not_enough_names_the_layer(monkeypatch):
    net = build(SMALL)

    def forward(xs):
        raise MemoryError("Unable to allocate 2 TiB")

    monkeypatch.setattr(net.layers[net.layer_names.index("c2")], "forward", forward)
    with pytest.raises(ShapeFault, match=r"layer 'c2' \(Convolution\): not enough memory: Unable to all"):
        net.forward()
