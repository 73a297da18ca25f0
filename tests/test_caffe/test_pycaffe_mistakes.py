"""What scripts get wrong with nets, blobs and NetSpec: said where it is written, with what to write instead."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe import layers as L
from caffe import params as P
from tests.test_caffe.nets import build, write


@pytest.fixture
def net(tmp_path):
    return build(tmp_path)


def test_arrays_are_written_into_blobs(net):
    for blob in (net.blobs["data"], net.params["conv1"][0], caffe.Blob((2, 3))):
        for what in ("data", "diff"):
            with pytest.raises(AttributeError, match=rf"write {what}\[\.\.\.\] = array"):
                setattr(blob, what, np.zeros(blob.shape))
    net.params["conv1"][1].data[...] = 1
    net.params["conv1"][1].data += 2  # hands back the same array
    assert (net.params["conv1"][1].data == 3).all()


def test_blobs_and_params_are_not_replaced(net):
    with pytest.raises(TypeError, match=r"blobs\['data'\]\.data\[\.\.\.\] = array"):
        net.blobs["data"] = np.zeros((2, 3, 8, 8))
    with pytest.raises(TypeError, match=r"params\['conv1'\]\[0\]\.data\[\.\.\.\] = array"):
        net.params["conv1"] = [np.zeros(3)]
    with pytest.raises(TypeError, match=r"blobs\[0\]\.data\[\.\.\.\] = array"):
        net.params["conv1"][0] = np.zeros(3)
    assert list(net.blobs) == ["data", "conv1", "pool1", "conv2", "sum"]


def test_an_array_where_names_belong(net):
    image = np.zeros((2, 3, 8, 8), np.float32)
    for given in (image, [image], 3):
        with pytest.raises(TypeError, match=r"net\.forward\(data=array\)"):
            net.forward(given)
    with pytest.raises(TypeError, match=r"net\.backward\(sum=array\)"):
        net.backward(np.zeros((2, 5, 4, 4)))
    with pytest.raises(TypeError, match=r"\['conv1'\]"):
        net.forward("conv1")
    assert net.forward(["conv1"], data=image).keys() == {"sum", "conv1"}
    assert net.forward(blobs=("conv1",)).keys() == {"sum", "conv1"}


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        (lambda net: net.blobs["data"].reshape((1, 3, 9, 9)), TypeError, "takes whole numbers one by one"),
        (lambda net: net.blobs["data"].reshape(1, 3, 4.5, 9), TypeError, "takes whole numbers one by one"),
        (lambda net: caffe.Blob((2, 3)).reshape((1, 3)), TypeError, "sizes one by one"),
        (lambda net: net.forward(data="cat.jpg"), TypeError, "'data' is given text: an array is expected"),
        (lambda net: net.forward(data=np.array([None])), TypeError, "given an array of object: numbers are expected"),
        (lambda net: net.share_with("a.caffemodel"), TypeError, "share_with takes a net, not a str; copy_from takes"),
        (lambda net: net.copy_from(net), TypeError, "share_with takes another net"),
        (lambda net: caffe.Net("a.prototxt", caffe.TEST, "w"), TypeError, "or by name: weights='w'"),
        (lambda net: caffe.Net("layer { }\n", caffe.TEST), RuntimeError, "is the text of a prototxt: write it into"),
        (lambda net: caffe.io.resize_image(np.zeros((3, 3, 3)), (0, 4)), Exception, "each from 1, not"),
        (lambda net: net.engine.forward({"data": "x"}), Exception, "'data' is given text: an array of real numbers"),
        (lambda net: net.engine.forward({"data": np.ones((1, 3, 8, 8), complex)}), Exception, "array of complex128"),
    ],
)
def test_what_cannot_be_meant(net, wrong, kind, says):
    with pytest.raises(kind, match=says) as caught:
        wrong(net)
    assert "\n" not in str(caught.value)


def test_a_name_for_each_top():
    n = caffe.NetSpec()
    with pytest.raises(TypeError, match=r"given 2 tops: .* n\.data, n\.data2 = L\.DummyData\(\.\.\.\)"):
        n.data = L.DummyData(shape=dict(dim=3), ntop=2)
    with pytest.raises(TypeError, match=r"it is given 'conv' \(str\)"):
        n["conv"] = "conv"
    with pytest.raises(TypeError, match=r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$"):
        L.Silence(L.DummyData(shape=dict(dim=3), ntop=2), ntop=0)
    n.data, n.data2 = L.DummyData(shape=dict(dim=3), ntop=2)
    n.quiet = L.Silence(n.data, n.data2, ntop=0)
    assert [layer.name for layer in n.to_proto().layer] == ["data", "quiet"]


def test_enum_values():
    with pytest.raises(AttributeError, match=r"no 'MAXX' \(did you mean 'MAX'\?\); it has MAX, AVE"):
        P.Pooling.MAXX  # noqa: B018
    with pytest.raises(AttributeError, match=r"no PolingParameter message \(did you mean 'Pooling'\?\)"):
        P.Poling.MAX  # noqa: B018
    assert P.Pooling.AVE == 1 and "STOCHASTIC" in dir(P.Pooling) and not hasattr(P.Pooling, "NONE")


def test_the_private_module(net):
    import caffe._caffe
    from caffe._caffe import RawBlobVec

    assert type(net.params["conv1"]) is caffe._caffe.BlobVec
    assert caffe._caffe.Net is caffe.Net and caffe._caffe.Blob is caffe.Blob and caffe._caffe.Layer is caffe.Layer
    assert issubclass(RawBlobVec, list) and all(hasattr(caffe._caffe, name) for name in caffe._caffe.__all__)


def test_caffes_own_command(tmp_path):
    def run(*words):
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-m", "caffe", *words]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)

    done = run("time", "-model", write(tmp_path), "-iterations", "1", "-phase", "TEST")
    assert done.returncode == 0 and "conv1" in done.stdout + done.stderr
    done = run("train", "--solver=nowhere.prototxt")
    assert done.returncode == 2 and "nowhere.prototxt" in done.stderr and done.stderr.count("\n") == 1


def test_a_file_without_its_library_is_called_by_its_own_name(net, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(Exception, match="h5py") as caught:
        net.save_hdf5(str(tmp_path / "a.weights"))
    assert "weights.h5" not in str(caught.value)
