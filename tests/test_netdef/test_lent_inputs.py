"""Inputs are copied to where a recorded pass reads them: nobody who holds one sees it change."""

import numpy as np
import pytest

from demitasse.proto.errors import NetError
from tests.test_netdef.test_cpu_recordings import agree, early, image, pair  # noqa: F401 (a fixture for all)
from tests.test_netdef.test_training_recordings import MIDDLE, batch
from tests.test_netdef.test_training_recordings import pair as training_pair
from tests.test_netdef.texts import conv, layer


def recorded_pair():
    nets = pair()
    for seed in range(3):
        agree(nets, image(seed))
    assert len(nets[0].recordings) == 1
    return nets


def test_what_was_read_stays():
    nets = recorded_pair()
    held = nets[0].blobs["data"]
    assert np.array_equal(held, image(2)["data"])
    agree(nets, image(3))
    assert np.array_equal(held, image(2)["data"]) and np.array_equal(nets[0].blobs["data"], image(3)["data"])


def test_what_was_given_is_kept_and_may_be_written_to():
    nets, given = recorded_pair(), image(3)
    agree(nets, given)
    given["data"][...] = 7
    assert np.array_equal(agree(nets, None)["ip"], agree(nets, image(3))["ip"])
    for net in nets:
        net.blobs["data"][:, 1] = 2
    changed = image(3)["data"]
    changed[:, 1] = 2
    assert np.array_equal(agree(nets, None)["ip"], agree(nets, {"data": changed})["ip"])


def test_other_sizes_and_types():
    nets = recorded_pair()
    for shape in [(2, 3, 12, 10), (1, 3, 12, 10), (3, 3, 12, 10), (1, 3, 12, 10)]:
        agree(nets, image(5, shape))
        agree(nets, {"data": np.full(shape, 3, np.uint8)})
        agree(nets, {"data": image(6, shape)["data"].astype(np.float64)})
        agree(nets, {"data": image(6, shape)["data"].transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)})


def test_a_layer_behind_that_keeps_a_view():
    text = conv("c1", "data", 4) + conv("c2", "c1", 4) + conv("c3", "c2", 4) + layer("Flatten", "flat", "data")
    nets = pair(text + layer("AbsVal", "last", "c3"))
    outputs = [agree(nets, image(seed)) for seed in range(5)]
    assert len(nets[0].recordings) == 1
    for seed, made in enumerate(outputs):
        assert np.array_equal(made["flat"].reshape(-1), image(seed)["data"].reshape(-1))


def test_a_forward_that_is_refused_leaves_the_last_one_to_go_back_from():
    shape = (2, 3, 17, 19)
    both = training_pair(MIDDLE, shape)
    for seed in range(5):
        for training in both:
            training.step([batch(seed, shape)])
    grads = []
    for training in both:
        training.net.clear_grads()
        training.net.forward(batch(6, shape))
        with pytest.raises(NetError):
            training.net.forward({"data": batch(7, shape)["data"], "label": np.zeros((5, 1, 1, 1), np.float32)})
        training.net.backward()
        grads.append([param.grad.copy() for param in training.net.learnable if param.grad is not None])
    assert all(map(np.array_equal, *grads))
