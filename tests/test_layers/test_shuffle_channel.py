"""ShuffleChannel: the order that it gives."""

import numpy as np
import pytest

from tests.test_layers.building import build


@pytest.mark.independent("ShuffleChannel")
def test_channels_of_two_groups_alternate():
    layer = build("type: 'ShuffleChannel' bottom: 'x' top: 'y' shuffle_channel_param { group: 2 }", (1, 6))
    assert layer.forward([np.array([[0, 1, 2, 10, 11, 12]])])[0].tolist() == [[0, 10, 1, 11, 2, 12]]
