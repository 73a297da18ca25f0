"""caffe.Net: constructors, what it shows, forward and backward with all their arguments, weights."""

import warnings

import numpy as np
import pytest

import caffe
from demitasse.proto.errors import GraphFault, NetError, ShapeFault, WeightsFault
from tests.test_caffe.nets import INPUTS, LOSSY, SMALL, build, write

STAGED = (
    INPUTS
    + """
layer { name: "A" type: "InnerProduct" bottom: "data" top: "A" inner_product_param { num_output: 1 }
        include { stage: "A" } }
layer { name: "B" type: "InnerProduct" bottom: "data" top: "B" inner_product_param { num_output: 1 }
        include { stage: "B" } }
layer { name: "AorB" type: "InnerProduct" bottom: "data" top: "AorB" inner_product_param { num_output: 1 }
        include { stage: "A" } include { stage: "B" } }
layer { name: "high" type: "Silence" bottom: "data" include { min_level: 2 } }
"""
)


def test_constructors_of_all_ages(tmp_path):
    path, weights = write(tmp_path), str(tmp_path / "w.caffemodel")
    caffe.Net(path, caffe.TEST).save(weights)
    expected = caffe.Net(path, weights, caffe.TEST).params["conv1"][0].data
    for net in (
        caffe.Net(path, caffe.TEST, weights=weights),
        caffe.Net(path, caffe.TRAIN, 0, None, weights),
        caffe.Net(network_file=path, phase=caffe.TEST, level=0, stages=[], weights=weights),
    ):
        np.testing.assert_array_equal(net.params["conv1"][0].data, expected)
    for wrong in ((), (caffe.TEST, 0, [], weights, 1)):
        with pytest.raises(TypeError):
            caffe.Net(path, *wrong)


def test_missing_files_are_runtime_errors(tmp_path):
    path = write(tmp_path)
    with pytest.raises(RuntimeError, match=r"Could not open file .*nett\.prototxt.*did you mean 'net\.prototxt'"):
        caffe.Net(str(tmp_path / "nett.prototxt"), caffe.TEST)
    with pytest.raises(RuntimeError, match="Could not open file nothing.caffemodel"):
        caffe.Net(path, "nothing.caffemodel", caffe.TEST)
    with pytest.raises(RuntimeError, match="Could not open file"):
        caffe.Net(path, caffe.TEST).copy_from("nothing.caffemodel")
    with pytest.raises(NetError, match="Could not open file"):
        caffe.SGDSolver("nothing.prototxt")


def test_stages_and_levels(tmp_path):
    def names(**options):
        return set(build(tmp_path, STAGED, **options).layer_dict) - {"in"}

    assert names() == set()
    assert names(stages=["A"]) == {"A", "AorB"} and names(stages=["A", "B"]) == {"A", "B", "AorB"}
    assert names(level=2) == {"high"}
    with pytest.raises(NetError, match="stages is a list"):
        names(stages="A")


def test_what_a_net_shows(tmp_path):
    net = build(tmp_path)
    assert net.inputs == ["data"] and net.outputs == ["sum"] and net.name == "small"
    assert list(net.blobs) == net._blob_names == ["data", "conv1", "pool1", "conv2", "sum"]
    assert net._layer_names == ["in", "conv1", "relu1", "pool1", "conv2", "sum"] == list(net.layer_dict)
    assert [layer.type for layer in net.layers] == ["Input", "Convolution", "ReLU", "Pooling", "Convolution", "Eltwise"]
    assert net.layer_dict["conv2"].blobs[0] is net.params["conv2"][0] and list(net.params) == ["conv1", "conv2"]
    assert net.top_names["relu1"] == ["conv1"] and net.bottom_names["sum"] == ["conv2", "conv2"]
    assert net._inputs == [0] and net._outputs == [4] and net._top_ids(2) == [1] and net._bottom_ids(5) == [3, 3]
    assert len(net._blobs) == 5 and set(net._blob_loss_weights) == {0}
    assert build(tmp_path, LOSSY).blob_loss_weights["loss"] == 2


def test_forward_returns_outputs_extra_blobs_or_the_tops_of_the_end(tmp_path):
    net, data = build(tmp_path), np.ones((2, 3, 8, 8))
    assert net.forward(data=data).keys() == {"sum"}
    assert net.forward(["conv2", "data"]).keys() == {"sum", "conv2", "data"}
    assert net.forward(end="pool1", blobs=["conv1"]).keys() == {"pool1", "conv1"}
    whole = net.forward()["sum"].copy()
    net.forward(end="pool1")
    np.testing.assert_array_equal(net.forward(start="conv2")["sum"], whole)


def test_backward_returns_inputs_extra_diffs_or_the_bottoms_of_the_end(tmp_path):
    net, ones = build(tmp_path), np.ones((2, 5, 4, 4), "f")
    net.forward(data=np.ones((2, 3, 8, 8)))
    whole = net.backward(sum=ones)
    assert whole.keys() == {"data"} and whole["data"].any()
    whole = whole["data"].copy()
    assert net.backward(["pool1"]).keys() == {"data", "pool1"}
    assert net.backward(end="conv2").keys() == {"pool1"}
    net.blobs["data"].diff[...] = 0
    np.testing.assert_array_equal(net.backward(start="pool1")["data"], whole)
    np.testing.assert_array_equal(net.blobs["conv2"].diff, 2 * ones)
    net.blobs["pool1"].diff[...] *= 2  # a script's own diff to begin from
    np.testing.assert_allclose(net.backward(start="pool1")["data"], 2 * whole, rtol=1e-5)


def test_backward_in_parts_adds_nothing_twice(tmp_path):
    net = build(tmp_path, LOSSY, caffe.TRAIN)
    net.forward()
    net.backward()
    expected = [blob.diff.copy() for blob in net.params["conv1"]]
    for _ in range(2):
        net.backward(end="conv2")
    net.clear_param_diffs()
    net.backward(start="pool1")
    for blob, diff in zip(net.params["conv1"], expected, strict=True):
        np.testing.assert_allclose(blob.diff, diff, rtol=1e-5)


def test_backward_without_a_loss_says_so(tmp_path):
    net = build(tmp_path, SMALL.replace("force_backward: true", ""))
    net.forward()
    with pytest.warns(UserWarning, match="nothing to do.*force_backward"):
        assert not net.backward()["data"].any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not build(tmp_path).backward()["data"].any()


def test_wrong_arguments(tmp_path):
    net = build(tmp_path)
    with pytest.raises(GraphFault, match=r"must be given all of the net's inputs \(data\).*did you mean 'data'"):
        net.forward(dta=np.ones((2, 3, 8, 8)))
    with pytest.raises(GraphFault, match="all of the net's outputs .sum."):
        net.backward(conv2=1)
    with pytest.raises(ShapeFault, match=r"not batch sized.*forward_all"):
        net.forward(data=np.ones((5, 3, 8, 8)))
    with pytest.raises(ShapeFault, match=r"'data' is given \(2, 3, 9, 9\), but the blob is \(2, 3, 8, 8\)"):
        net.forward(data=np.ones((2, 3, 9, 9)))
    with pytest.raises(KeyError, match="no layer 'pool_1'.*did you mean 'pool1'"):
        net.forward(end="pool_1")
    with pytest.raises(GraphFault, match="data come from data layers"):
        build(tmp_path, LOSSY).forward_all(data=np.ones((2, 3, 8, 8)))


def test_forward_all_and_forward_backward_all(tmp_path):
    net, images = build(tmp_path), np.random.default_rng(1).standard_normal((5, 3, 8, 8)).astype("f")
    singly = [net.forward(data=np.repeat(image[None], 2, 0))["sum"][0].copy() for image in images]
    together = net.forward_all(["conv2"], data=images)
    np.testing.assert_allclose(together["sum"], singly, rtol=1e-5, atol=1e-5)
    assert together["conv2"].shape == (5, 5, 4, 4)
    diffs = np.ones((5, 5, 4, 4), "f")
    data, sent = net.forward_backward_all(diffs=["pool1"], data=images, sum=diffs)
    np.testing.assert_allclose(data["sum"], singly, rtol=1e-5, atol=1e-5)
    assert sent["data"].shape == images.shape and sent["pool1"].shape == (5, 4, 4, 4)
    with pytest.raises(ShapeFault, match="no samples"):
        net.forward_all()


def test_callbacks(tmp_path):
    net, seen = build(tmp_path, LOSSY, caffe.TRAIN), []
    net.before_forward(lambda index: seen.append(("bf", index)))
    net.after_forward(lambda index: seen.append(("af", index)))
    net.before_backward(lambda index: seen.append(("bb", index)))
    net.after_backward(lambda index: seen.append(("ab", index)))
    net.forward()
    assert seen[:3] == [("bf", 0), ("af", 0), ("bf", 1)] and len(seen) == 2 * len(net.layers)
    seen.clear()
    net.backward()
    assert seen[:2] == [("bb", 6), ("ab", 6)] and seen[-1] == ("ab", 0)


def test_a_callback_may_change_what_comes_next(tmp_path):
    net = build(tmp_path)
    conv1, conv2 = (net._layer_names.index(name) for name in ("conv1", "conv2"))

    def flatten(index):
        if index == conv1:
            net.blobs["conv1"].data[...] = -1  # before the in-place ReLU
        if index == conv2:
            net.blobs["conv2"].data[...] = 3

    net.after_forward(flatten)
    assert (net.forward()["sum"] == 6).all() and not net.blobs["conv1"].data.any()


def test_save_and_load(tmp_path):
    net, other = build(tmp_path), build(tmp_path)
    net.save(tmp_path / "w.caffemodel")
    other.copy_from(str(tmp_path / "w.caffemodel"))
    np.testing.assert_array_equal(other.params["conv2"][0].data, net.params["conv2"][0].data)
    net.params["conv2"][0].data[...] = 1
    net.save_hdf5(str(tmp_path / "no_ending"))
    assert (tmp_path / "no_ending").read_bytes()[:4] == b"\x89HDF"
    view = other.params["conv2"][0].data
    other.load_hdf5(str(tmp_path / "no_ending"))
    assert (view == 1).all() and sorted(p.name for p in tmp_path.iterdir()) == [
        "net.prototxt",
        "no_ending",
        "w.caffemodel",
    ]
    (tmp_path / "bad.caffemodel").write_bytes(b"\x0a\x05hello\x12")
    with pytest.raises(WeightsFault):
        other.copy_from(str(tmp_path / "bad.caffemodel"))


def test_weights_of_several_files(tmp_path):
    first, second = build(tmp_path), build(tmp_path)
    first.save(tmp_path / "a.caffemodel")
    second.params["conv2"][0].data[...] = 2
    second.engine.save(tmp_path / "b,c.npz")
    both = f"{tmp_path}/a.caffemodel, {tmp_path}/a.caffemodel"
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST, weights=both)
    np.testing.assert_array_equal(net.params["conv1"][0].data, first.params["conv1"][0].data)
    net.copy_from(tmp_path / "b,c.npz")  # a comma in a name
    assert (net.params["conv2"][0].data == 2).all()
    with pytest.raises(RuntimeError, match="Could not open file .*d.caffemodel"):
        net.copy_from(f"{both},{tmp_path}/d.caffemodel")


def test_share_with(tmp_path):
    net, other = build(tmp_path), build(tmp_path)
    other.share_with(net)
    net.params["conv1"][0].data[...] = 2
    assert (other.params["conv1"][0].data == 2).all()


def test_set_input_arrays(tmp_path):
    net = build(
        tmp_path,
        """
layer { name: "m" type: "MemoryData" top: "x" top: "y"
        memory_data_param { batch_size: 2 channels: 1 height: 2 width: 2 } }
layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 3 } }""",
    )
    data = np.arange(16, dtype=np.float32).reshape(4, 1, 2, 2)
    net.set_input_arrays(data, np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1))
    np.testing.assert_array_equal(net.forward()["p"], 3 * data[:2])
    np.testing.assert_array_equal(net.forward(["y"])["y"].ravel(), [2, 3])
    for wrong in (data.astype(float), data[:, 0], data.transpose(0, 1, 3, 2)):
        with pytest.raises(ShapeFault, match="C-contiguous float32"):
            net.set_input_arrays(wrong, np.zeros((4, 1, 1, 1), "f"))
    with pytest.raises(GraphFault, match="first layer is MemoryData, not Input"):
        build(tmp_path).set_input_arrays(data, data)
