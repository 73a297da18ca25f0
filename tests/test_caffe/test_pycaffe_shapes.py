"""New sizes by every way a script may give them, on nets that are fresh and nets that have settled."""

import numpy as np
import pytest

import caffe
from demitasse.netdef.net import Net
from demitasse.proto.errors import ShapeFault
from tests.test_caffe.nets import LOSSY, build
from tests.test_netdef import goldens

NETS = goldens.table("net_shapes")
SWEPT = (
    "voc-fcn8s/deploy.prototxt",
    "voc-fcn-alexnet/val.prototxt",
    "nyud-fcn32s-color-hha/test.prototxt",
    "siftflow-fcn8s/test.prototxt",
    "pascalcontext-fcn16s/val.prototxt",
)


def by_net(engine, net, shapes):
    engine.reshape(shapes)


def by_blobs(engine, net, shapes):
    for name, shape in shapes.items():
        net.blobs[name].reshape(*shape)
    net.reshape()


@pytest.mark.parametrize("key", SWEPT)
def test_every_blob_of_published_nets_at_every_size(key):
    golden, expected = NETS[key], goldens.arrays("net_shapes")[key]
    start = {top: (1, channels, 64, 64) for top, channels in golden["inputs"]}
    engine = Net(goldens.ROOT / "models" / key, inputs=start, keep="all", fuse=False)
    net = caffe.Net.of(engine)
    for index, (size, row) in enumerate(zip(golden["sizes"], expected, strict=True)):
        height, width = map(int, size.split("x"))
        shapes = {top: (1, channels, height, width) for top, channels in golden["inputs"]}
        for give in (by_blobs, by_net)[:: -1 if index % 2 else 1]:  # the second one finds the net settled
            give(engine, net, shapes)
            found = [list(net.blobs[blob].shape) for blob in golden["blobs"]]
            assert found == [[n for n in shape if n >= 0] for shape in row.tolist()], (size, give.__name__)


@pytest.fixture(params=["fresh", "reshaped", "run", "run in part"])
def net(request, tmp_path):
    net = build(tmp_path)
    if request.param == "reshaped":
        net.reshape()
        net.reshape()
    elif request.param != "fresh":
        net.forward()
        net.forward(end="pool1" if request.param == "run in part" else None)
    return net


def shapes(net):
    return {name: blob.shape for name, blob in net.blobs.items()}


OLD = {"data": (2, 3, 8, 8), "conv1": (2, 4, 8, 8), "pool1": (2, 4, 4, 4), "conv2": (2, 5, 4, 4), "sum": (2, 5, 4, 4)}
NEW = {"data": (1, 3, 6, 4), "conv1": (1, 4, 6, 4), "pool1": (1, 4, 3, 2), "conv2": (1, 5, 3, 2), "sum": (1, 5, 3, 2)}


def test_reshape_of_blob_then_of_net(net):
    for expected in (NEW, OLD, NEW):
        net.blobs["data"].reshape(*expected["data"])
        net.reshape()
        assert shapes(net) == expected
        assert {name: blob.data.shape for name, blob in net.blobs.items()} == expected
        assert {name: blob.diff.shape for name, blob in net.blobs.items()} == expected


def test_reshape_of_blob_then_forward(net):
    for expected in (NEW, OLD):
        net.blobs["data"].reshape(*expected["data"])
        net.blobs["data"].data[...] = 1
        assert net.forward()["sum"].shape == expected["sum"] and shapes(net) == expected


def test_reshape_of_blob_then_forward_of_arrays(net):
    for expected in (NEW, OLD):
        net.blobs["data"].reshape(*expected["data"])
        assert net.forward(data=np.ones(expected["data"]))["sum"].shape == expected["sum"]
        assert shapes(net) == expected


def test_an_inner_blob_written_after_a_reshape(net):
    net.blobs["data"].reshape(*NEW["data"])
    net.reshape()
    net.blobs["pool1"].data[...] = 1
    assert net.forward(start="conv2")["sum"].shape == NEW["sum"]


def test_an_inner_blob_reshaped_is_sized_by_its_layer_again(net):
    net.blobs["pool1"].reshape(1, 1, 1, 1)
    net.reshape()
    assert shapes(net) == OLD
    net.blobs["conv1"].reshape(1, 1, 1, 1)  # made by two layers, one of them in place
    assert net.forward()["sum"].shape == OLD["sum"] and shapes(net) == OLD


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 0, 8), (3, 8, 8)])
@pytest.mark.parametrize("run", [False, True])
def test_a_size_that_does_not_fit_is_said_at_once_and_taken_back(net, shape, run):
    net.blobs["data"].data[...] = 1
    expected = net.forward()["sum"].copy()
    net.blobs["data"].reshape(*shape)
    with pytest.raises(ShapeFault, match="layer 'conv1'"):
        net.forward() if run else net.reshape()
    assert shapes(net) == OLD
    assert net.blobs["sum"].data.shape == OLD["sum"]
    net.reshape()
    assert shapes(net) == OLD
    assert np.array_equal(net.forward(data=np.ones(OLD["data"]))["sum"], expected)
    net.blobs["data"].reshape(*NEW["data"])
    net.reshape()
    assert shapes(net) == NEW


def test_backward_after_a_size_that_did_not_fit(net):
    def gradient():
        net.blobs["sum"].diff[...] = 1
        net.clear_param_diffs()
        net.backward()
        return net.params["conv1"][0].diff.copy()

    net.forward(data=np.ones(OLD["data"]))
    expected = gradient()
    net.blobs["data"].reshape(2, 4, 4, 4)
    with pytest.raises(ShapeFault):
        net.reshape()
    assert expected.any() and np.array_equal(gradient(), expected)


def test_the_nets_of_data_layers_settle_never(tmp_path):
    net = build(tmp_path, LOSSY)
    before = shapes(net)
    net.forward()
    net.blobs["data"].reshape(1, 3, 6, 4)
    net.reshape()  # the data layer says its own size again
    assert shapes(net) == before
    net.forward()
