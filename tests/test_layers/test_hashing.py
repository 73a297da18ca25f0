"""HashNet's layers: codes that are pulled towards -1 and 1, and alike for items that share a label."""

import numpy as np
import pytest

from demitasse.proto.errors import NetError
from tests.test_layers.building import build, normal

LOSS = "type: 'PairwiseLoss' bottom: 'a' bottom: 'y' bottom: 'b' bottom: 'z' top: 'l' pairwise_param {{ {} }}"


@pytest.mark.independent("ScaleTanH")
def test_the_scale_grows_every_so_many_passes():
    fields = "init_scale: 2 step_size: 3 gamma: 0.5 power: 2"
    layer, x = build(f"type: 'ScaleTanH' scale_tanh_param {{ {fields} }}", (2, 3)), normal(2, 3)
    for done in range(7):
        scale = 2 * (1 + 0.5 * (done // 3 * 3)) ** 2
        np.testing.assert_allclose(layer.forward([x])[0], np.tanh(scale * x))
        layer.backward([x], [True])
    other = build(f"type: 'ScaleTanH' scale_tanh_param {{ {fields} }}", (2, 3))
    other.load_state(layer.state())
    assert np.array_equal(other.forward([x])[0], layer.forward([x])[0])
    with pytest.raises(NetError, match="step_size is 0"):
        build("type: 'ScaleTanH' scale_tanh_param { step_size: 0 }", (2, 3))


@pytest.mark.independent("PairwiseLoss")
@pytest.mark.parametrize("continuous", [False, True])
def test_all_pairs_of_two_batches(continuous):
    a, b = normal(4, 3), normal(4, 3, seed=1)
    y = np.array([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [-1, -1, -1, -1]])  # the last one's are unknown
    z = np.array([[1.0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0], [1, 1, 1, 0]])
    fields = f"class_num: 3 l_lambda: 0.5 sigmoid_param: 0.4 continous_similarity: {str(continuous).lower()}"
    total = over = 0
    for i in range(4):
        for j in range(4):
            shared = y[i] @ z[j]
            if shared < 0:
                continue
            d, s = 0.4 * a[i] @ b[j], shared > 0
            v = 3 if s else 1
            w = v * 4 * shared**2 / ((y[i] @ y[i]) * (z[j] @ z[j])) if continuous and s else v
            total += w * (np.log(1 + np.exp(d)) - s * d)
            over += v
    layer = build(LOSS.format(fields), a.shape, y.shape, b.shape, z.shape)
    assert np.isclose(layer.forward([a, y, b, z])[0], 2 * 0.5 * total / over)
    (far,) = build(LOSS.format(""), (1, 1), (1, 2), (1, 1), (1, 2)).forward(
        [np.array([[900.0]]), np.array([[1.0, 0]]), np.array([[900.0]]), np.array([[0, 1.0]])]
    )
    assert far == 2 * 900 * 900


def test_labels_have_a_number_for_each_class():
    with pytest.raises(NetError, match="label_dim of ImageData"):
        build(LOSS.format(""), (4, 3), (4,), (4, 3), (4,))
