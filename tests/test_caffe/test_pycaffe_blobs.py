"""Blobs as scripts use them: read, written, reshaped and held on to."""

import gc

import numpy as np
import pytest

import caffe
from demitasse.proto.errors import ShapeFault
from tests.test_caffe.nets import LOSSY, SMALL, build

RNG = np.random.default_rng(5)


def image(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture
def net(tmp_path):
    caffe.set_random_seed(3)
    return build(tmp_path)


def test_a_view_of_the_input_taken_once_feeds_every_run(net):
    view, first = net.blobs["data"].data, image(2, 3, 8, 8)
    assert view.dtype == np.float32 and not view.any()
    view[...] = first
    one = net.forward()["sum"].copy()
    assert net.blobs["data"].data is view
    view[...] *= 2
    assert not np.array_equal(net.forward()["sum"], one)
    view[...] = first
    np.testing.assert_array_equal(net.forward()["sum"], one)


def test_a_view_of_a_result_shows_later_results(net):
    net.blobs["data"].data[...] = image(2, 3, 8, 8)
    out, conv1 = net.forward()["sum"], net.blobs["conv1"].data
    before = out.copy(), conv1.copy()
    net.blobs["data"].data[...] = image(2, 3, 8, 8)
    net.forward()
    assert not np.array_equal(out, before[0]) and not np.array_equal(conv1, before[1])
    assert net.blobs["sum"].data is out


def test_an_in_place_layer_shows_its_result_and_the_gradient_before_it(net):
    net.blobs["data"].data[...] = image(2, 3, 8, 8)
    net.forward(end="conv1")
    raw = net.blobs["conv1"].data.copy()
    assert (raw < 0).any()
    net.forward()
    np.testing.assert_array_equal(net.blobs["conv1"].data, np.maximum(raw, 0))
    net.blobs["sum"].diff[...] = 1
    net.backward()
    assert not net.blobs["conv1"].diff[raw < 0].any() and net.blobs["conv1"].diff.any()


def test_reshaping_the_input_then_forward(net):
    old = net.blobs["data"].data
    old[...] = 1
    result = net.forward()["sum"]
    kept = result.copy()
    net.blobs["data"].reshape(1, 3, 12, 10)
    assert net.blobs["data"].shape == (1, 3, 12, 10) and net.blobs["conv2"].shape == (2, 5, 4, 4)
    net.blobs["data"].data[...] = picture = image(1, 3, 12, 10)
    assert net.forward()["sum"].shape == (1, 5, 6, 5)
    np.testing.assert_array_equal(net.blobs["data"].data, picture)
    gc.collect()
    assert (old == 1).all()  # older views keep their memory and numbers
    np.testing.assert_array_equal(result, kept)
    assert net.blobs["sum"].data.shape == (1, 5, 6, 5) and net.blobs["sum"].diff.shape == (1, 5, 6, 5)


def test_net_reshape_sizes_all_blobs_before_forward(net):
    net.blobs["data"].reshape(3, 3, 16, 16)
    net.reshape()
    assert net.blobs["sum"].data.shape == (3, 5, 8, 8)
    net.blobs["data"].reshape(3, 3, 2, 128)  # as many numbers: they stay
    net.blobs["data"].data[...] = 7
    net.blobs["data"].reshape(3, 3, 128, 2)
    assert (net.blobs["data"].data == 7).all()


def test_sizes_that_do_not_fit_are_said(net):
    net.blobs["data"].reshape(1, 4, 8, 8)
    with pytest.raises(ShapeFault, match="'conv1'"):
        net.forward()
    net.blobs["data"].reshape(1, 3, 8, 8)
    net.forward()
    with pytest.raises(ShapeFault, match="cannot have the shape"):
        net.blobs["data"].reshape(1, -3, 8, 8)


def test_axes_of_old(net):
    blob = net.blobs["data"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 8, 8, 384)
    assert net.params["conv1"][1].shape == (4,) and net.params["conv1"][1].height == 1


def test_written_blobs_are_what_later_layers_read(net):
    pool1 = image(2, 4, 4, 4)
    net.blobs["pool1"].data[...] = pool1  # before any run
    one = net.forward(start="conv2")["sum"].copy()
    net.forward()
    net.blobs["pool1"].data[...] = pool1
    np.testing.assert_array_equal(net.forward(start="conv2")["sum"], one)
    assert net.forward(start="conv2", end="conv2").keys() == {"conv2"}


def test_writing_before_an_in_place_layer(net):
    net.blobs["conv1"].data[...] = raw = image(2, 4, 8, 8)
    net.forward(start="relu1", end="relu1")
    np.testing.assert_array_equal(net.blobs["conv1"].data, np.maximum(raw, 0))
    net.forward()
    net.blobs["conv1"].data[...] = raw
    net.forward(start="relu1")
    np.testing.assert_array_equal(net.blobs["conv1"].data, np.maximum(raw, 0))


def test_what_nobody_has_made_is_zero(net):
    out = net.forward(start="conv2")["sum"]
    np.testing.assert_array_equal(out, np.ones_like(out))  # twice the bias


def test_params_by_flat_assignment(net):
    weights, bias = net.params["conv2"]
    weights.data.flat = np.arange(weights.count)
    bias.data[...] = 0
    assert weights.data[0, 0, 0, 1] == 1 and len(net.params["conv2"]) == 2
    net.blobs["pool1"].data[...] = 1
    assert net.forward(start="conv2")["sum"][0, 0, 1, 1] == pytest.approx(2 * np.arange(36).sum())
    with pytest.raises(ShapeFault, match="keeps its shape"):
        weights.reshape(5, 4, 1, 9)


def test_blobs_do_not_share_memory(net):
    net.forward()
    net.blobs["sum"].data[...] = 5
    assert not (net.blobs["conv2"].data == 5).any()
    net.blobs["sum"].diff[...] = 1
    net.backward()
    net.blobs["conv2"].diff[...] = 9
    assert (net.blobs["sum"].diff == 1).all()


def test_diffs_begin_at_the_loss_weight_and_zero(tmp_path):
    net = build(tmp_path, LOSSY, caffe.TRAIN)
    assert net.blobs["loss"].diff == 2 and not net.blobs["conv1"].diff.any()
    net.forward()
    net.backward()
    once = net.params["conv1"][0].diff.copy()
    assert once.any() and net.blobs["sum"].diff.any()
    net.blobs["loss"].diff[...] = 4  # a script's own weight counts instead
    net.backward()
    np.testing.assert_allclose(net.params["conv1"][0].diff, 3 * once, rtol=1e-4, atol=1e-6)
    net.clear_param_diffs()
    assert not net.params["conv1"][0].diff.any()


def test_unknown_names_are_answered_with_the_nearest(net):
    with pytest.raises(KeyError, match="no blob 'conv_1'.*did you mean 'conv1'"):
        net.blobs["conv_1"]
    with pytest.raises(KeyError, match="no layer with learned blobs 'relu1'"):
        net.params["relu1"]
    assert "conv3" not in net.blobs and net.blobs.get("conv3") is None


def test_a_blob_has_no_pointer_on_a_gpu_that_is_not_there(net):
    net.forward()
    for blob in (net.blobs["data"], net.params["conv1"][0]):
        for name in ("_gpu_data_ptr", "_gpu_diff_ptr"):
            with pytest.raises(RuntimeError, match="set_mode_gpu"):
                getattr(blob, name)


def test_in_place_on_the_input_itself(tmp_path):
    text = (
        SMALL[: SMALL.index('layer { name: "conv1"')]
        + """
layer { name: "p" type: "Power" bottom: "data" top: "data" power_param { scale: 2 } }"""
    )
    net = build(tmp_path, text)
    net.blobs["data"].data[...] = 1
    net.forward()
    assert (net.blobs["data"].data == 2).all()
    net.forward()  # one memory, as in Caffe
    assert (net.blobs["data"].data == 4).all()
