"""Nets that cannot fit are refused before anything is allocated."""

import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef import memory_check
from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import ShapeFault
from demitasse.proto.memory import bytes_text, memory_left
from tests.test_netdef.texts import blob, build, conv, layer

HUGE = blob("data", (1, 3, 1000000, 1000000)) + conv("c", "data", 4, 1)


def test_blobs_beyond_all_memory():
    with pytest.raises(
        ShapeFault,
        match=r"^2:1: layer 'c' \(Convolution\): not enough memory: the net needs 0 "
        r"MB for weights and at least 16.0 TB for blobs .* left: use smaller images",
    ):
        build(HUGE)


def test_a_batch_beyond_all_memory_is_not_begun():
    text = layer(
        "DummyData", "data", "", "data", "dummy_data_param { shape { dim: 4000000000 dim: 3 dim: 500 dim: 500 } }"
    ) + conv("c", "data", 4, 1)
    with pytest.raises(ShapeFault, match="layer 'c' .*not enough memory"):
        build(text)


def test_weights_beyond_all_memory():
    text = blob() + layer("InnerProduct", "ip", "data", more="inner_product_param { num_output: 2000000000 }")
    with pytest.raises(ShapeFault, match=r"layer 'ip' .* needs 1.5 TB for weights .* left: use fewer"):
        build(text)


def test_sizes_alone_need_no_memory():
    assert Plan(HUGE).newest["c"].shape == (1, 4, 1000000, 1000000)


def test_a_new_size_that_does_not_fit_leaves_the_net_as_it_was():
    net = build(blob() + conv("c", "data", 4, 1))
    with pytest.raises(ShapeFault, match="not enough memory"):
        net.reshape({"data": (1, 3, 1000000, 1000000)})
    assert net.forward()["c"].shape == (1, 4, 8, 8)


def test_training_holds_what_backward_needs(monkeypatch):
    text = (
        blob("label", (1, 1, 100, 100))
        + blob("c", (1, 3, 100, 100))
        + "".join(conv(f"c{i + 1}", f"c{i or ''}", 10, 1) for i in range(5))
        + layer("SoftmaxWithLoss", "loss", "c5 label")
    )
    monkeypatch.setattr(memory_check, "SMALL", 0)
    monkeypatch.setattr(memory_check, "memory_left", lambda: 1_000_000)  # four blobs of 0.4 MB do not fit, one does
    Net(text, "TEST", backend=make_backend("generic"))
    with pytest.raises(ShapeFault, match="for weights and gradients and at least 2 MB for blobs"):
        Net(text, "TRAIN", backend=make_backend("generic"))


def test_what_the_machine_says():
    assert memory_left() is None or memory_left() > 1 << 20
    assert [bytes_text(n) for n in (120_000_000, 2_340_000_000, 16 * 10**12)] == ["120 MB", "2.3 GB", "16.0 TB"]
