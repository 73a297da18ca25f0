"""SoftmaxWithFocalLoss: the paper's formula by hand, what it is without focus, and what it refuses."""

import numpy as np
import pytest

from demitasse.proto.errors import SchemaFault
from tests.test_layers.building import build

TEXT = "type: '{}' bottom: 'x' bottom: 't' top: 'loss' {}"
SCORES, LABELS = np.log([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), np.array([0.0, 0, 1])


def loss(kind, fields=""):
    layer = build(TEXT.format(kind, fields), (3, 2), (3,))
    found = layer.forward([SCORES, LABELS])[0]
    return float(found), layer.backward([np.array(1.0)], [True, False])[0]


@pytest.mark.independent("SoftmaxWithFocalLoss")
def test_the_paper_s_formula():
    p = np.array([0.9, 0.2, 0.5])
    expected = -(0.25 * (1 - p) ** 2 * np.log(p)).mean()
    assert loss("SoftmaxWithFocalLoss")[0] == pytest.approx(expected)


def test_without_focus_it_is_softmax_with_loss():
    (ours, dx), (plain, plain_dx) = (
        loss("SoftmaxWithFocalLoss", "focal_loss_param { gamma: 0 alpha: 1 }"),
        loss("SoftmaxWithLoss"),
    )
    assert ours == pytest.approx(plain)
    np.testing.assert_allclose(dx, plain_dx, atol=1e-7)


@pytest.mark.parametrize("fields", ["gamma: -1", "alpha: 0", "gamma: nan"])
def test_what_it_refuses(fields):
    with pytest.raises(SchemaFault, match="gamma is 0 or more, alpha above 0"):
        loss("SoftmaxWithFocalLoss", f"focal_loss_param {{ {fields} }}")
