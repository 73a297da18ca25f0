"""What loading weights says: one line on stderr where a net and a file do not wholly match, else nothing."""

import numpy as np
import pytest

import caffe
from demitasse.proto.errors import ShapeFault
from tests.test_caffe.nets import SMALL, build, write

RENAMED = SMALL.replace('"conv2" type', '"conv2_new" type')


@pytest.fixture
def weights(tmp_path):
    path = str(tmp_path / "old.caffemodel")
    build(tmp_path).save(path)
    return path


@pytest.fixture(autouse=True)
def every_line(monkeypatch):
    monkeypatch.delenv("GLOG_minloglevel", raising=False)


def test_all_matched_is_not_worth_a_line(tmp_path, weights, capfd):
    net = caffe.Net(write(tmp_path), weights, caffe.TEST)
    net.copy_from(weights)
    net.share_with(build(tmp_path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["old constructor", "new constructor", "copy_from", "load_hdf5"])
def test_what_stayed_and_what_was_left_over(tmp_path, weights, capfd, how):
    path = write(tmp_path, RENAMED, "renamed.prototxt")
    if how == "old constructor":
        caffe.Net(path, weights, caffe.TEST)
    elif how == "new constructor":
        caffe.Net(path, caffe.TEST, weights=weights)
    else:
        getattr(caffe.Net(path, caffe.TEST), how)(weights)
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("W")
    assert "loaded 1 layer " in err and "left as they were: conv2_new" in err and "not used: conv2" in err


def test_a_file_that_has_more_and_one_that_has_less(tmp_path, weights, capfd):
    fewer = SMALL[: SMALL.index('layer { name: "conv2"')]
    build(tmp_path, fewer).copy_from(weights)
    assert "not in the net, so not used: conv2" in capfd.readouterr().err
    build(tmp_path, fewer).save(str(tmp_path / "less.caffemodel"))
    build(tmp_path).copy_from(str(tmp_path / "less.caffemodel"))
    assert "not in the file, so left as they were: conv2" in capfd.readouterr().err


def test_a_solvers_net_tells_too(tmp_path, weights, capfd):
    write(tmp_path, RENAMED, "renamed.prototxt")
    solver = write(tmp_path, f'net: "{tmp_path}/renamed.prototxt" base_lr: 1 lr_policy: "fixed"', "solver.prototxt")
    net = caffe.SGDSolver(solver).net
    capfd.readouterr()
    net.copy_from(weights)
    assert "left as they were: conv2_new" in capfd.readouterr().err


def test_sharing(tmp_path, capfd):
    ours, theirs = build(tmp_path), build(tmp_path, RENAMED)
    theirs.params["conv1"][0].data[...] = 3
    ours.share_with(theirs)
    err = capfd.readouterr().err
    assert "shared the weights of 1 layer; " in err and err.count("\n") == 1
    assert "left as they were: conv2;" in err and "not used: conv2_new" in err
    assert (ours.params["conv1"][0].data == 3).all()


def test_glog_minloglevel_hides_it(tmp_path, weights, capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    caffe.Net(write(tmp_path, RENAMED), weights, caffe.TEST)
    assert capfd.readouterr().err == ""


MEMORY = """layer { name: "data" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 2 channels: 1 height: 3 width: 4 } }"""


def test_labels_of_one_axis(tmp_path):
    net = build(tmp_path, MEMORY)
    data = np.arange(48, dtype=np.float32).reshape(4, 1, 3, 4)
    for shape in ((4,), (4, 1, 1, 1)):
        net.set_input_arrays(data, np.arange(4, dtype=np.float32).reshape(shape))
        assert net.forward()["label"].tolist() == [0, 1] and net.forward()["label"].tolist() == [2, 3]
    with pytest.raises(ShapeFault, match="int64 of shape"):
        net.set_input_arrays(data, np.arange(4))
    with pytest.raises(ShapeFault, match="data must be .* four axes, not float32 of shape"):
        net.set_input_arrays(data[0], np.zeros(4, np.float32))
    with pytest.raises(ShapeFault, match="which is not C-contiguous"):
        net.set_input_arrays(data[:, :, ::2], np.zeros(4, np.float32))
