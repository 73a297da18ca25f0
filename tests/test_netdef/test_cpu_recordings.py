"""Passes that are recorded on the CPU: the same bits as those that are not, whatever changes between them."""

import gc
import os
import threading

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.contract.memory import NotRecordable
from demitasse.layers.backend.cpu.allocator import current, unrecorded
from demitasse.netdef.net import Net
from tests.test_netdef.test_epilogues import normed
from tests.test_netdef.texts import blob, conv, layer

DEEP = (
    conv("c1", "data", 6, param="pad: 1")
    + normed("c1", "c1")
    + layer("Pooling", "p1", "c1", more="pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
    + normed("b2", "p1")
    + conv("c2", "b2", 6, kernel=1)
    + layer("Concat", "j2", "p1 c2")
    + layer("ShuffleChannel", "s2", "j2", more="shuffle_channel_param { group: 3 }")
    + conv("c3", "s2", 12, param="pad: 1")
    + layer("Eltwise", "e3", "c3 s2")
    + layer("PReLU", "e3_prelu", "e3", "e3")
    + layer("Permute", "t3", "e3", more="permute_param { order: 0 order: 2 order: 3 order: 1 }")
    + layer("InnerProduct", "ip", "e3", more="inner_product_param { num_output: 5 weight_filler { type: 'xavier' } }")
)

CONVOLUTION = "convolution_param { kernel_size: 1 "


@pytest.fixture(autouse=True)
def early(monkeypatch):
    monkeypatch.setattr("demitasse.netdef.recorded_sizes.ORDINARY_PASSES", 1)


def pair(text=DEEP, shape=(1, 3, 12, 10), **options):
    """The same net with recordings and without."""
    return [
        Net(blob(shape=shape) + text, backend=make_backend("cpu", threads=2, record=record), seed=3, **options)
        for record in (True, False)
    ]


def image(seed, shape=(1, 3, 12, 10)):
    return {"data": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def agree(nets, inputs):
    ours, theirs = (net.forward(inputs) for net in nets)
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)
    return ours


def test_images_weights_and_sizes_that_change():
    nets = pair(keep=["e3"])
    results = [agree(nets, image(seed)) for seed in range(4)]
    assert len(nets[0].recordings) == 1 and not nets[0].recordings.refused
    assert not any(np.array_equal(results[0]["ip"], other["ip"]) for other in results[1:])  # nor written to since
    assert np.array_equal(nets[0].blobs["e3"], nets[1].blobs["e3"])
    for net in nets:  # in place
        for params in net.params.values():
            params[0].data *= 0.5
    agree(nets, image(4))
    for net in nets:  # another array
        net.params["c3"][0].data = net.params["c3"][0].data * -1
    for seed in range(4):
        agree(nets, image(seed))
    taller = {"data": np.ones((1, 3, 12, 10), np.float32)}
    agree(nets, taller)


def test_several_images():
    nets = pair(shape=(3, 3, 12, 10))
    for seed in range(4):
        agree(nets, image(seed, (3, 3, 12, 10)))
    assert len(nets[0].recordings) == 1


def test_what_numpy_computes_is_left_out():
    middle = (
        layer("AbsVal", "a", "e3") + conv("c5", "a", 3) + layer("ReLU", "c5_relu", "c5", "c5") + conv("c6", "c5", 2)
    )
    nets = pair(DEEP + middle)
    for seed in range(8):
        agree(nets, image(seed))
    recordings = nets[0].recordings
    assert [step.name for step in recordings.refused] == ["a"] and len(recordings) == 1


def test_what_numpy_makes_of_inputs_is_left_out():
    """No kernel takes it: what reads it stands behind the recorded layers."""
    labels = "layer { name: 'labels' type: 'Input' top: 'labels' input_param { shape { dim: 4 dim: 2 } } }"
    cut = "layer { name: 'cut' type: 'Slice' bottom: 'labels' top: 'one' top: 'two' }"
    score = layer("Accuracy", "score", "ip one")
    nets = pair(labels + cut + DEEP + score, (4, 3, 12, 10))
    for seed in range(6):
        found = np.random.default_rng(seed).integers(0, 5, (4, 2)).astype(np.float32)
        agree(nets, {"labels": found, **image(seed, (4, 3, 12, 10))})
    assert "cut" in [step.name for step in nets[0].recordings.refused] and len(nets[0].recordings) == 1


def test_what_is_not_recorded_draws_no_random_numbers():
    noise = layer("Dropout", "noise", "data") + conv("c1", "noise") + conv("c2", "c1") + conv("c3", "c2")
    nets = pair(noise, phase="TRAIN")
    for seed in range(5):
        agree(nets, image(seed))
    assert ["noise"] == [step.name for step in nets[0].recordings.refused]


def test_weights_that_decide_are_asked_each_time():
    up = "convolution_param { num_output: 3 kernel_size: 4 stride: 2 weight_filler { type: 'bilinear' } }"
    nets = pair(layer("Deconvolution", "up", "data", more=up) + conv("c1", "up") + conv("c2", "c1") + conv("c3", "c2"))
    for seed in range(5):
        agree(nets, image(seed))
    for net in nets:
        net.params["up"][0].data[...] = 1
    agree(nets, image(6))
    assert [step.name for step in nets[0].recordings.refused] == ["up"]


def test_a_fault_in_a_pass_that_is_recorded_changes_nothing(monkeypatch):
    nets = pair()
    agree(nets, image(0))

    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("demitasse.layers.backend.cpu.arrays._interleave", fail)
        with pytest.raises(KeyboardInterrupt):
            nets[0].forward(image(1))
    for seed in range(4):
        agree(nets, image(seed))
    assert len(nets[0].recordings) == 1


def test_a_fault_in_what_is_not_recorded():
    """Also while somebody keeps the traceback, and when it goes."""
    be = make_backend("cpu", threads=2)

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        be.record(lambda: unrecorded(fail))
    assert current.recorder is None
    del caught
    gc.collect()
    assert current.recorder is None


def test_threads_with_a_net_each():
    pairs = [pair() for _ in range(3)]
    faults = []

    def work(nets):
        try:
            for seed in range(12):
                agree(nets, image(seed))
        except BaseException as fault:  # noqa: BLE001 (told below)
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(nets,)) for nets in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults and all(len(nets[0].recordings) == 1 for nets in pairs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_goes_on():
    nets = pair()
    for seed in range(3):
        agree(nets, image(seed))
    child = os.fork()
    if not child:
        try:
            agree(nets, image(7))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    agree(nets, image(8))


def test_arrays_of_a_recording_refuse_numpy():
    be = make_backend("cpu", threads=2)

    def attempt(compute):
        with pytest.raises(NotRecordable):
            be.record(lambda: compute(be.empty((2, 3))))

    for compute in (
        lambda x: x + 1,
        lambda x: x.sum(),
        lambda x: float(x[0, 0]),
        lambda x: x.T.reshape(6),
        lambda x: x.__setitem__((0, 0), 1.0),
        lambda x: np.concatenate([x, x]),
        lambda x: be.xp.ones(3),
        lambda x: be.relu_forward(np.ones((2, 3), np.float32), 0.0),  # computed each time
    ):
        attempt(compute)
    assert np.array_equal(be.zeros((2, 2)) + 1, np.ones((2, 2)))  # and so does nothing afterwards


def test_loaded_and_shared_weights_and_parts_of_passes(tmp_path):
    nets, other = pair(), Net(blob(shape=(1, 3, 12, 10)) + DEEP, seed=9)
    for seed in range(3):
        agree(nets, image(seed))
    other.save(tmp_path / "other.caffemodel")
    for net in nets:
        net.load(tmp_path / "other.caffemodel")
    held = agree(nets, image(3))["ip"]
    before = held.copy()
    for end, start in (("p1", "b2_bn"), ("c2", "j2")):
        for net in nets:
            net.forward(image(4), end=end)
        parts = [net.forward(start=start) for net in nets]
        assert np.array_equal(parts[0]["ip"], parts[1]["ip"])
    agree(nets, image(5))
    for net in nets:
        net.share_with(other)
    for seed in range(3):
        agree(nets, image(seed))
    assert np.array_equal(held, before)


def test_hooks_inputs_of_any_kind_and_sizes_that_come_back():
    nets, seen = pair(DEEP.replace("InnerProduct", "Convolution").replace("inner_product_param { ", CONVOLUTION)), []
    for seed in range(3):
        agree(nets, image(seed))
    for inputs in (
        {"data": image(4)["data"].astype(np.float64)},
        {"data": image(5, (1, 3, 10, 12))["data"].transpose(0, 1, 3, 2)},
        {"data": image(6, (1, 3, 24, 20))["data"][..., ::2, ::2]},
        *[image(seed, (1, 3, 16, 18)) for seed in range(4)],
        *[image(seed) for seed in range(2)],
    ):
        agree(nets, inputs)
    assert len(nets[0].recordings) == 2
    for net in nets:
        net.before_forward.append(seen.append)
    agree(nets, image(7))
    assert len(seen) == 2 * len(nets[0].plan.steps)


@pytest.mark.parametrize("options", [{"exact": True}, {"threads": 1}], ids=["exact", "alone"])
def test_other_backends(options):
    text = blob(shape=(1, 3, 12, 10)) + DEEP
    nets = [Net(text, backend=make_backend("cpu", record=record, **options), seed=3) for record in (True, False)]
    for seed in range(4):
        agree(nets, image(seed))
    assert len(nets[0].recordings) == 1


def test_two_threads_with_one_net():
    net, plain = pair()
    expected = [plain.forward(image(seed))["ip"] for seed in range(4)]
    wrong = []

    def work():
        for i in range(16):
            found = net.forward(image(i % 4))["ip"]
            if not np.array_equal(found, expected[i % 4]):
                wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(net.recordings) == 1


def test_the_memory_of_ordinary_passes_is_given_back():
    net, _ = pair(shape=(4, 3, 64, 64))
    pool = net.backend.memory
    for seed in range(2):
        net.forward(image(seed, (4, 3, 64, 64)))
    ordinary = pool.peak
    net.forward(image(2, (4, 3, 64, 64)))
    assert len(net.recordings) == 1 and net.recordings.nbytes() <= ordinary + (1 << 20)
