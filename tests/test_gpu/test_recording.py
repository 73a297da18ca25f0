"""Forward passes launched as a whole, on a GPU with `make test-gpu`, else on the pretend device: whatever a net does,
it does to the same bit with recordings and without."""

from types import SimpleNamespace

import numpy as np
import pytest

from demitasse.proto.errors import LabelFault
from tests.test_gpu import shim
from tests.test_gpu.recording_cases import SMALL, both_ways, forward, gpu_with_cudnn, images, pair, recorded
from tests.test_gpu.test_device import image


@pytest.fixture(autouse=True)
def on_a_gpu(request, monkeypatch):
    """Whether device "gpu" is one; else it is the CPU, pretending."""
    return gpu_with_cudnn(request, monkeypatch)


def test_several_images_of_changing_sizes():
    unrecorded, recorded = pair()
    seen = []
    for size in [(17, 13)] * 4 + [(9, 20), (17, 13), (9, 20), (9, 20), (9, 20), (17, 13)]:
        for inputs in images(2, *size):
            seen.append(forward([unrecorded, recorded], inputs)["loss"])
    assert len(recorded.recordings) == 2 and not len(unrecorded.recordings) and len(set(map(float, seen))) == 4
    assert recorded.shapes == unrecorded.shapes and not recorded.recordings.refused


def test_outputs_stay_what_they_were_when_the_next_pass_runs():
    _, net = pair(keep=["score"])
    kept = [(net.forward(inputs)["loss"], net.blobs["score"]) for inputs in images(5, 17, 13)]
    assert recorded(net) == (1, 0)
    assert len({tuple(float(net.backend.to_host(array).ravel()[0]) for array in arrays) for arrays in kept}) == 5


def test_weights_written_in_place_count():
    nets = pair()
    for step in range(6):
        forward(nets, image(17, 13))
        for net in nets:
            net.params["conv1"][0].data[...] = net.params["conv1"][0].data * np.float32(1.5)
            if step == 3:  # no longer full
                eye = np.eye(5, dtype=np.float32)[:, :, None, None] * np.ones((8, 8), np.float32)
                net.params["up"][0].data[...] = net.backend.asarray(eye)
    assert recorded(nets[1]) == (1, 0)


def test_another_way_for_other_weights_is_recorded_anew(monkeypatch):
    monkeypatch.setattr("demitasse.layers.backend.gpu.recording.CHECK_EVERY", 2)
    nets = pair(precision="fp32")
    for net in nets:
        net.forward(image(17, 13))
        eye = np.eye(5, dtype=np.float32)[:, :, None, None] * np.ones((8, 8), np.float32)
        net.params["up"][0].data[...] = net.backend.asarray(eye)
    for _ in range(6):
        forward(nets, image(17, 13))
    (recording,) = nets[1].recordings.sizes.recordings.values()
    assert [diagonal for _, diagonal in recording.forward.launched.diagonals] == [True]


def test_loaded_weights_count_and_other_arrays_drop_the_recordings():
    nets = pair()
    for _ in range(3):
        forward(nets, image(17, 13))
    other = {name: [nets[0].backend.to_host(p.data) * 2 for p in params] for name, params in nets[0].params.items()}
    for net in nets:
        net.load(other)
    forward(nets, image(17, 13))
    assert recorded(nets[1]) == (1, 0)
    for net in nets:
        net.params["fc"][0].data = net.params["fc"][0].data * np.float32(0.5)
    forward(nets, image(17, 13))
    assert recorded(nets[1]) == (0, 0)
    donors = pair()
    for net, donor in zip(nets, donors, strict=True):
        net.share_with(donor)
    for _ in range(3):
        forward(nets, image(17, 13))
    assert recorded(nets[1]) == (1, 0)


def test_inputs_that_stay_and_inputs_written_in_place():
    nets = pair()
    for _ in range(3):
        forward(nets, image(17, 13))
    forward(nets, None)
    forward(nets, {"label": image(17, 13)["label"] * 0})
    for net in nets:
        net.blobs["data"][...] = net.blobs["data"] * np.float32(3)
    forward(nets, {})


def test_the_first_passes_of_sizes_are_ordinary(monkeypatch):
    monkeypatch.setattr("demitasse.netdef.recorded_sizes.ORDINARY_PASSES", 3)
    _, net = pair()
    counts = [(net.forward(inputs), len(net.recordings))[1] for inputs in images(5, 17, 13)]
    assert counts == [0, 0, 0, 1, 1]


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr("demitasse.netdef.recorded_sizes.MAX_RECORDINGS", 2)
    nets = pair()
    for _ in range(3):
        for height in (9, 11, 13):
            forward(nets, image(height, 13))
    assert recorded(nets[1]) == (2, 0)
    sizes = set(nets[1].recordings.sizes.recordings)
    monkeypatch.setattr("demitasse.netdef.recorded_sizes.PATIENCE", 2)
    for _ in range(3):
        forward(nets, image(13, 13))
    assert recorded(nets[1]) == (2, 0) and set(nets[1].recordings.sizes.recordings) != sizes


def test_frozen_weights_are_converted_once():
    _, net = pair(precision="tf32")
    for inputs in images(2, 17, 13):
        net.forward(inputs)
    (recording,) = net.recordings.sizes.recordings.values()
    launched, conversions = recording.forward.launched, []
    launched.derivation = SimpleNamespace(launch=lambda launch=launched.derivation.launch: conversions.append(launch()))
    for _ in range(2):
        with net.backend.frozen_weights():
            for inputs in images(3, 17, 13):
                net.forward(inputs)
    assert len(conversions) == 2 and len(launched.derived) == 4
    for inputs in images(3, 17, 13):
        net.forward(inputs)
    assert len(conversions) == 5


def test_another_seed_counts():
    dropout = 'layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }\nlayer { name: "score_fr"'
    nets = pair(SMALL.replace('layer { name: "score_fr"', dropout), phase="TRAIN")
    losses = []
    for seed in (1, 2, 1):
        for net in nets:
            net.backend.seed(seed)
        losses += [float(forward(nets, image(17, 13))["loss"]) for _ in range(4)]
    assert losses[:4] == losses[8:] and len(set(losses)) == 8
    assert recorded(nets[1]) == (1, 0) and nets[0].state()["random"] == nets[1].state()["random"]


def test_without_cudnn_what_lies_between_matrix_products_is_recorded(on_a_gpu, monkeypatch):
    if on_a_gpu:
        pytest.skip("only the pretend device can be without")
    monkeypatch.setattr("demitasse.layers.backend.gpu.runtime.CudaRuntime", lambda index: shim.ShimRuntime())
    nets = pair(phase="TRAIN", keep="needed")
    for inputs in images(12, 17, 13):
        both_ways(nets, inputs)
    assert {step.name for step in nets[1].recordings.refused} == {"conv1", "conv2", "fc", "score_fr", "up"}
    assert recorded(nets[1]) == (0, 0)


def test_a_recording_that_fails_changes_nothing(monkeypatch):
    nets = pair(phase="TRAIN")
    layer = nets[1].plan.by_name["pool2"].layer
    forward_of, backend = layer.forward, nets[1].backend

    def waiting(xs):
        if backend.recording is not None:
            raise RuntimeError("the current stream is capturing")
        return forward_of(xs)

    monkeypatch.setattr(layer, "forward", waiting)
    for inputs in images(6, 17, 13):
        both_ways(nets, inputs)
    assert "'pool2' (Pooling): RuntimeError: the current stream is capturing" in str(nets[1].recordings)


def test_too_little_memory_ends_recording(monkeypatch):
    nets = pair()

    def record(run, after=None, give_way=None):
        raise MemoryError("out of memory")

    monkeypatch.setattr(nets[1].backend, "record", record)
    for inputs in images(3, 17, 13):
        forward(nets, inputs)
    assert not nets[1].recordings.on


def test_recordings_give_way_to_other_arrays(monkeypatch):
    nets = pair(phase="TRAIN")
    for i, inputs in enumerate(images(8, 17, 13)):
        if i == 4:
            assert recorded(nets[1]) == (1, 1)
            nets[1].recordings.give_way()
        both_ways(nets, inputs)
    assert recorded(nets[1]) == (0, 0)
    nets = pair()
    monkeypatch.setattr(nets[1].backend.runtime, "is_half_free", lambda: False)
    for inputs in images(4, 17, 13):
        forward(nets, inputs)
    assert recorded(nets[1]) == (0, 0)


def test_a_wrong_label_is_found_in_a_recorded_pass():
    _, net = pair()
    for _ in range(4):
        net.forward(image(17, 13))
    wrong = image(17, 13)
    wrong["label"][0, 0, 5, 7] = 9
    net.forward(image(9, 20))
    net.forward(wrong)
    assert recorded(net) == (1, 0)
    with pytest.raises(LabelFault, match=r"label 9 at \(n, y, x\) \(0, 5, 7\)"):
        net.loss  # noqa: B018


def test_nets_that_keep_all_blobs_are_not_recorded():
    nets = pair(keep="all")
    for _ in range(3):
        forward(nets, image(17, 13))
    assert recorded(nets[1]) == (0, 0)
