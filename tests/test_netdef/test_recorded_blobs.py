"""What a recording on the CPU leaves to look at, and which layers it takes in."""

import numpy as np
import pytest

from tests.test_netdef.test_cpu_recordings import DEEP, agree, early, image, pair  # noqa: F401 (a fixture for all)
from tests.test_netdef.texts import conv, layer


def test_all_of_these_is_recorded():
    padded = conv("p", "data", kernel=1, param="pad: 2")
    bn = layer("BN", "n", "r", more="bn_param { slope_filler { type: 'constant' value: 2 } }")
    nets = pair(padded + layer("ReLU", "r", "p") + bn + layer("Softmax", "s", "n") + layer("Concat", "c", "s r"))
    for seed in range(4):
        agree(nets, image(seed))
    assert len(nets[0].recordings) == 1 and not nets[0].recordings.refused


@pytest.mark.parametrize("keep", ["newest", "all"])
def test_blobs_that_stay(keep):
    """They are copied where somebody looks at them, or a layer behind the recorded ones reads them."""
    after = layer("AbsVal", "a", "e3") + layer("Flatten", "f", "c2") + layer("Split", "s", "f")
    nets = pair(DEEP + after, keep=keep)
    for seed in range(5):
        agree(nets, image(seed))
    assert len(nets[0].recordings) == 1 and "a" in [step.name for step in nets[0].recordings.refused]
    held, before = {name: nets[0].blobs[name] for name in ("c2", "s2", "s")}, {}
    for name, array in held.items():
        before[name] = array.copy()
    agree(nets, image(7))
    for name in nets[1].blobs:
        assert np.array_equal(nets[0].blobs[name], nets[1].blobs[name])
    assert all(np.array_equal(held[name], before[name]) for name in held)
    agree(nets, image(8))
    parts = []
    for net in nets:
        net.blobs["s2"][0, :2] = 1  # a part reads what has been written
        parts.append(net.forward(start="c3")["ip"])
    assert np.array_equal(*parts)
    kept = parts[0].copy()
    agree(nets, image(9))
    assert np.array_equal(parts[0], kept)
    for net in nets:  # a look at what is of another size now
        net.reshape({"data": (2, 3, 12, 10)})
        assert net.blobs["c1"].shape == (1, 6, 12, 10) and net.shapes["c1"] == (2, 6, 12, 10)


def test_all_layers_that_cannot_be_recorded_are_found_in_one_pass():
    text = "".join(conv(f"c{i}", f"a{i}", param="pad: 1") + layer("AbsVal", f"a{i + 1}", f"c{i}") for i in range(4))
    text = text.replace('"a0"', '"data"') + "".join(conv(f"d{i}", f"d{i - 1}", kernel=1) for i in range(4))
    nets = pair(text.replace('"d-1"', '"a4"'))
    for seed in range(3):
        agree(nets, image(seed))
    assert len(nets[0].recordings) == 1 and [step.name for step in nets[0].recordings.refused] == [
        "a1",
        "a2",
        "a3",
        "a4",
    ]
