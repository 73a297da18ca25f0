"""AssistedExcitation: its values against loops over pixels."""

import math

import numpy as np
import pytest

from demitasse.layers.layer import TEST
from demitasse.proto.errors import NetError
from tests.test_layers.building import build, normal

TEXT = "type: 'AssistedExcitation' bottom: 'x' bottom: 'label' bottom: 'mean' top: 'y'"
SHAPES = (2, 3, 4, 6), (2, 1, 3, 5), (2, 4, 6)
LABEL = np.zeros(SHAPES[1])
LABEL[0, 0, :2] = [[7, 0.5, 0.5, 0.5, 0.5], [1, 0.95, 0.05, 0.01, 0.01]]
LABEL[1, 0, 1] = [3, 0.5, 0.5, 1, 1]  # after the end


def covered(image, row, column):
    """Written out: the first box has rows 1 and 2, columns 1.5 to 4.5; the second lies in one pixel."""
    return image == 0 and ((row in (1, 2) and 1 <= column <= 4) or (row, column) == (0, 5))


@pytest.mark.independent("AssistedExcitation")
def test_boxes_stand_out_and_fade():
    layer = build(TEXT + " assisted_excitation_param { max_iter: 4 }", *SHAPES)
    x, mean, dy = normal(*SHAPES[0]), normal(*SHAPES[2], seed=1), normal(*SHAPES[0], seed=2)
    for done in range(6):
        strength = math.cos(min(done / 4, 1) * math.pi / 2)
        (y,) = layer.forward([x, LABEL, mean])
        dx, _, spread = layer.backward([dy], [True, False, True])
        for n, i, j in np.ndindex(2, 4, 6):
            share = strength * covered(n, i, j)
            assert np.allclose(y[n, :, i, j], x[n, :, i, j] + share * mean[n, i, j])
            assert np.isclose(spread[n, i, j], share * dy[n, :, i, j].sum())
        assert np.array_equal(dx, dy)
    resumed = build(TEXT + " assisted_excitation_param { max_iter: 12 }", *SHAPES)
    resumed.load_state(layer.state())
    assert np.isclose(resumed.strength(), math.cos(math.pi / 4))


def test_a_test_net_is_left_alone_and_training_asks_for_its_end():
    x, mean = normal(*SHAPES[0]), normal(*SHAPES[2], seed=1)
    assert np.array_equal(build(TEXT, *SHAPES, phase=TEST).forward([x, LABEL, mean])[0], x)
    with pytest.raises(NetError, match="max_iter"):
        build(TEXT, *SHAPES)
    with pytest.raises(NetError, match="rows, 5"):
        build(TEXT + " assisted_excitation_param { max_iter: 4 }", SHAPES[0], (2, 3, 4), SHAPES[2])
