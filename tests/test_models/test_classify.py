"""Classifier: BGR, mean, size and probabilities, as the net was trained."""

import numpy as np
import pytest

from demitasse.layers.data.images import resize
from demitasse.models.classify import Classifier
from demitasse.netdef.net import Net
from demitasse.proto.errors import GraphFault
from tests.test_netdef.texts import blob, conv, layer

POOL = layer("Pooling", "pool", "c", more="pooling_param { pool: AVE global_pooling: true }")
NET = blob() + conv("c", "data", 4) + POOL
IMAGE = np.random.RandomState(1).randint(0, 256, (21, 33, 3), np.uint8)


@pytest.fixture
def files(tmp_path):
    def write(text):
        (tmp_path / "deploy.prototxt").write_text(text)
        net = Net(tmp_path / "deploy.prototxt", seed=3)
        net.save(tmp_path / "w.npz")
        return tmp_path / "deploy.prototxt", tmp_path / "w.npz"

    return write


@pytest.mark.parametrize("softmax", [False, True])
def test_it_feeds_what_caffe_would(files, softmax):
    text = NET + (layer("Softmax", "prob", "pool") if softmax else "")
    net, weights = files(text)
    classifier = Classifier(net, weights, mean=(1.0, 2.0, 3.0), scale=0.1, names=["ant", "bee"])
    found = classifier(IMAGE)
    plain = Net(net, weights=weights, keep="all")
    height, width = plain.shapes["data"][2:]
    fed = (resize(IMAGE[:, :, ::-1].copy(), height, width).astype(np.float32) - [1, 2, 3]) * 0.1
    plain.forward({"data": fed.transpose(2, 0, 1)[None].astype(np.float32)})
    scores = plain.backend.to_host(plain.blobs["pool"]).ravel()
    expected = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    best = classifier.best(IMAGE, 4)
    assert [p for _, p in best] == sorted(found.tolist(), reverse=True)
    assert {name for name, _ in best} == {"ant", "bee", "2", "3"}
    swapped = Classifier(net, weights, mean=(1.0, 2.0, 3.0), scale=0.1, rgb=True)(IMAGE[:, :, ::-1])
    np.testing.assert_array_equal(swapped, found)


def test_nets_that_are_no_classifiers(files):
    with pytest.raises(GraphFault, match="is a map of scores: demitasse.models.segment has Segmenter"):
        Classifier(*files(blob() + conv("c", "data", 4)))
    with pytest.raises(GraphFault, match="a classifier has one Input .* and one output"):
        Classifier(*files(NET + conv("d", "data", 2)))
