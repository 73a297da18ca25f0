"""Loading, saving and sharing the weights of nets."""

import numpy as np
import pytest

from demitasse.proto.errors import WeightsFault
from demitasse.proto.weights import read_weights
from tests.test_netdef.texts import SMALL, blob, build, conv, layer

FORMATS = [".caffemodel", ".caffemodel.h5", ".npz", ".safetensors"]


def arrays(net):
    return {name: [param.data.copy() for param in params] for name, params in net.params.items()}


def same(a, b):
    return a.keys() == b.keys() and all(map(np.array_equal, sum(a.values(), []), sum(b.values(), [])))


@pytest.mark.parametrize("ending", FORMATS)
def test_what_is_saved_can_be_loaded(tmp_path, ending):
    path, net, other = tmp_path / f"w{ending}", build(SMALL, seed=1), build(SMALL, seed=2)
    net.save(path)
    assert not same(arrays(net), arrays(other))
    report = other.load(path)
    assert same(arrays(net), arrays(other))
    assert report.matched == ["c1", "c2"] and report.values == 4 * 27 + 4 + 16 + 4
    assert str(report) == f"loaded 2 layers (132 values) from {path}"
    assert same(arrays(build(SMALL, weights=path)), arrays(net))


def test_loading_writes_into_the_arrays_there_are():
    net = build(SMALL)
    view, flat = net.params["c1"][0].data, net.params["c1"][0].data.reshape(-1)
    net.load({"c1": [np.full((4, 3, 3, 3), 5), np.zeros(4)]})
    assert net.params["c1"][0].data is view and flat[7] == 5


def test_the_report_says_what_was_not_there():
    net = build(SMALL)
    before = arrays(net)
    report = net.load({"c2": before["c2"], "fc8": [np.zeros((3, 3))], "relu": []})
    assert (report.matched, report.missing, report.unused) == (["c2"], ["c1"], ["fc8"])
    assert str(report) == (
        "loaded 1 layer (20 values) from the given arrays; "
        "not in the file, so left as they were: c1; not in the net, so not used: fc8"
    )
    assert same(arrays(net), before)


def test_weights_given_at_the_start_win_over_fillers(tmp_path):
    weights = {"c1": [np.full((4, 3, 3, 3), 2), np.ones(4)]}
    net = build(SMALL, weights=weights)
    assert (net.params["c1"][0].data == 2).all() and net.params["c2"][0].data.any()
    assert net.load_report.missing == ["c2"]


def test_several_files_the_later_wins(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        net = build(SMALL)
        net.load({"c1": [np.full((4, 3, 3, 3), value), np.full(4, value)]})
        net.save(tmp_path / f"{name}.npz")
    net = build(SMALL, weights=f"{tmp_path / 'a.npz'}, {tmp_path / 'b.npz'}")
    assert (net.params["c1"][0].data == 2).all()


def test_old_shapes_of_four_axes():
    net = build(SMALL)
    report = net.load({"c1": [np.ones((4, 3, 3, 3)), np.full((1, 1, 1, 4), 3)]})
    assert (net.params["c1"][1].data == 3).all()
    assert report.coerced == ["array 1 of 'c1' 1x1x1x4 as 4"]
    assert "four-axis shapes of old" in str(report)


@pytest.mark.parametrize(
    "weights, message",
    [
        (
            {"c1": [np.ones((4, 3, 5, 5)), np.ones(4)]},
            r"^3:1: layer 'c1' \(Convolution\): array 0 of 'c1' is 4x3x5x5 in the given arrays, "
            "but 4x3x3x3 in the net: "
            "rename the layer to learn it from scratch$",
        ),
        ({"c1": [np.ones((4, 27)), np.ones(4)]}, "4x27 .* 4x3x3x3 in the net, which holds as many numbers: reshape"),
        ({"c1": [np.ones((4, 3, 3, 3)), np.ones((4, 1, 1, 1))]}, "array 1 of 'c1' is 4x1x1x1"),
        (
            {"c1": [np.ones((4, 3, 3, 3))]},
            r"has 1 array \(4x3x3x3\) for it, the net 2 arrays \(4x3x3x3, 4\): .*bias_term",
        ),
        (
            {"conv1": [np.ones(3)], "fc": [np.ones(2)]},
            "none of its layers has the name of a layer with weights in this net: "
            "the file has conv1, fc; the net has c1, c2",
        ),
        ({}, "the file has no weights; the net has c1, c2"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(weights, message):
    net = build(SMALL)
    before = arrays(net)
    with pytest.raises(WeightsFault, match=message):
        net.load({"c2": [np.zeros((4, 4, 1, 1)), np.zeros(4)], **weights} if "c1" in weights else weights)
    assert same(arrays(net), before)


def test_files_that_are_none(tmp_path):
    net = build(SMALL)
    with pytest.raises(WeightsFault, match="Could not open file .*no_such.caffemodel"):
        net.load(tmp_path / "no_such.caffemodel")
    for name, content in (("garbage", b"this is not a model\xff\xfe" * 10), ("empty", b""), ("junk.h5", b"junk")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsFault, match=name):
            net.load(tmp_path / name)


def test_a_net_without_weights_takes_any_file():
    net = build(blob() + layer("ReLU", "r", "data"))
    assert net.load({"c1": [np.ones(3)]}).unused == ["c1"]


SHARED = (
    blob(shape=(1, 3, 8, 8))
    + conv("a", "data", 3, more='param { name: "w" } param { name: "b" }')
    + conv("b", "a", 3, more='param { name: "w" }')
    + conv("c", "b", 3, more='param { name: "w" } param { name: "b" }')
)


@pytest.mark.parametrize("ending", FORMATS)
def test_shared_arrays_are_loaded_where_they_belong(tmp_path, ending):
    path, net, other = tmp_path / f"w{ending}", build(SHARED, seed=1), build(SHARED, seed=2)
    net.save(path)
    stored = read_weights(path)
    assert (stored["b"][0] is None) == ("c" not in stored) == ending.endswith(".h5")
    assert other.load(path).missing == []
    assert same(arrays(net), arrays(other))
    assert np.shares_memory(other.params["a"][0].data, other.params["b"][0].data)


def test_a_file_that_leaves_out_what_nobody_shares_here(tmp_path):
    build(SHARED).save(tmp_path / "w.h5")
    alone = SHARED.replace('name: "w"', "")
    with pytest.raises(WeightsFault, match="array 0 of 'b' is not in .*another layer owns it, but nothing shares it"):
        build(alone).load(tmp_path / "w.h5")


def test_gradients_travel_too(tmp_path):
    from demitasse.proto.weights import read_grads

    net = build(SMALL, "TRAIN")
    net.forward({"data": np.ones((1, 3, 8, 8)), "label": np.zeros((1, 1, 6, 6))})
    net.backward()
    net.save(tmp_path / "w.caffemodel", grads=True)
    found = read_grads(tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(found["c1"][0], net.params["c1"][0].grad)


def test_sharing_with_another_net():
    train = build(SMALL, "TRAIN", seed=1)
    test = build(SMALL.replace("c2", "d2"), seed=2)
    test.share_with(train)
    assert test.params["c1"][0].data is train.params["c1"][0].data
    assert "d2" in test.params
    with pytest.raises(WeightsFault, match="layer 'c1' has arrays .*'5x3x3x3'.* here and .*'4x3x3x3'"):
        build(SMALL.replace("num_output: 4", "num_output: 5")).share_with(train)


def product(more, outputs=3):
    bias = "true" if more.count("blobs") > 1 else "false"
    fields = f"inner_product_param {{ num_output: {outputs} bias_term: {bias} }}"
    return blob("x", (1, 2)) + layer("InnerProduct", "a", "x", more=more + fields)


def test_weights_in_the_text_itself():
    weights, bias = (
        "blobs { shape { dim: 3 dim: 2 } data: [1, 2, 3, 4, 5, 6] } ",
        "blobs { num: 1 channels: 1 height: 1 width: 3 double_data: [7, 8, 9] } ",
    )
    text = product(weights + bias)
    assert [array.tolist() for array in arrays(build(text))["a"]] == [[[1, 2], [3, 4], [5, 6]], [7, 8, 9]]
    loaded = build(text, weights={"a": [np.zeros((3, 2)), np.ones(3)]})
    assert [array.sum() for array in arrays(loaded)["a"]] == [0, 3]
    with pytest.raises(WeightsFault, match=r"2:1: layer 'a' .*: array 0 is 3x2 in the layer's blobs, but 4x2"):
        build(product(weights, outputs=4))
    with pytest.raises(WeightsFault, match=r"gives the values of 1 array as blobs, but has 2 \(3x2, 3\): give all"):
        build(product(weights).replace("bias_term: false", ""))
