"""Suppression of boxes on the CPU against the reference's."""

import numpy as np
import pytest

from demitasse.layers.backend.cpu import CpuBackend
from demitasse.layers.backend.reference import ReferenceBackend


@pytest.mark.parametrize("top", [None, 0, 20])
@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 700])
def test_suppression_is_the_reference_s_to_the_bit(count, extra, top):
    """Many of these boxes overlap by a threshold exactly."""
    ours, rng = CpuBackend(threads=2), np.random.default_rng(1)
    corners = rng.integers(0, 20, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(-1, 9, (count, 2))], axis=1).astype(np.float32)
    for threshold in (0.0, 1 / 3, 0.5, 0.7):
        theirs = ReferenceBackend("float32").suppress(boxes, threshold, top, extra)
        assert ours.suppress(boxes, threshold, top, extra).tolist() == theirs.tolist()


def test_suppression_of_boxes_that_are_no_numbers():
    boxes = np.float32([[0, 0, 4, 4], [np.nan, 0, 4, 4], [0, 0, 4, 9], [0, 0, 4, 4.5]])
    assert CpuBackend(threads=1).suppress(boxes, 0.5).tolist() == [0, 1, 2]
