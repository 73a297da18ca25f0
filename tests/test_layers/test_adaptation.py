"""Layers of nets that learn for one domain from the labels of another: their values against loops."""

import numpy as np
import pytest

from demitasse.proto.errors import NetError
from tests.test_layers.building import build, normal

SCALER = "type: 'GradientScaler' bottom: 'x' top: 'y' gradient_scaler_param {{ {} }}"


@pytest.mark.independent("GradientScaler")
def test_the_gradient_is_turned_round_and_grows():
    layer, dy = build(SCALER.format("upper_bound: 2 alpha: 3 max_iter: 4"), (2, 3)), normal(2, 3)
    x = normal(2, 3, seed=1)
    for done in range(6):
        assert layer.forward([x])[0] is x
        scale = 2 * (2 / (1 + np.exp(-3 * min(1, done / 4))) - 1)
        np.testing.assert_allclose(layer.backward([dy], [True])[0], -scale * dy)
    late = build(SCALER.format("threshold_iter: 2 max_iter: 2 lower_bound: 0.5"), (2, 3))
    scales = []
    for _ in range(4):
        late.forward([x])
        scales.append(late.backward([dy], [True])[0][0, 0] / -dy[0, 0])
    assert scales[:3] == [0, 0, 0] and np.isclose(scales[3], 0.5 + 0.5 * (2 / (1 + np.exp(-2.5)) - 1))
    resumed = build(SCALER.format("threshold_iter: 2 max_iter: 2 lower_bound: 0.5"), (2, 3))
    resumed.load_state(late.state())
    assert resumed.scale() == late.scale() > scales[3]
    with pytest.raises(NetError, match="exchange them"):
        build(SCALER.format("lower_bound: 3"), (2, 3))


@pytest.mark.independent("OuterProduct")
def test_every_number_of_one_meets_every_number_of_the_other():
    a, b = normal(2, 3), normal(2, 4)
    layer = build("type: 'OuterProduct' bottom: 'a' bottom: 'b' top: 'y'", a.shape, b.shape)
    np.testing.assert_allclose(layer.forward([a, b])[0][:, 0], np.einsum("ni,nj->nij", a, b))


def discrepancy(s, t, gamma, widths):
    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not same or i != j]
        return sum(np.exp(-gamma * w * ((a[i] - b[j]) ** 2).sum()) for i, j in pairs for w in widths) / len(pairs)

    return mean(s, s, True) + mean(t, t, True) - 2 * mean(s, t, False)


@pytest.mark.independent("MMDLoss")
def test_how_far_two_domains_are_apart():
    s, t = normal(3, 4), 1 + normal(5, 4, seed=1)
    x = np.concatenate([s, t])
    gamma = 8 * 7 / sum(((a - b) ** 2).sum() for a in x for b in x)
    layer = build("type: 'MMDLoss' bottom: 's' bottom: 't' top: 'l' mmd_param { kernel_num: 3 }", s.shape, t.shape)
    assert np.isclose(layer.forward([s, t])[0], discrepancy(s, t, gamma, (0.5, 1, 2)))
    ds, dt = layer.backward([np.array(2.0)], [True, True])
    for grad, index in ((ds, (1, 2)), (dt, (4, 0))):
        values = []
        for step in (1e-5, -1e-5):
            moved = [s.copy(), t.copy()]
            moved[0 if grad is ds else 1][index] += step
            values.append(discrepancy(*moved, gamma, (0.5, 1, 2)))
        assert np.isclose(grad[index], 2 * (values[0] - values[1]) / 2e-5)
    fixed = build("type: 'MMDLoss' bottom: 's' bottom: 't' top: 'l' mmd_param { fix_gamma: true }", s.shape, t.shape)
    fixed.forward([s, t])
    assert np.isclose(fixed.forward([3 * s, 3 * t])[0], discrepancy(3 * s, 3 * t, gamma, (0.25, 0.5, 1, 2, 4)))


@pytest.mark.independent("EntropyLoss")
def test_undecided_probabilities_cost():
    p = np.array([[0.5, 0.5, 0.0], [0.9, 0.05, 0.05]])
    layer = build("type: 'EntropyLoss' bottom: 'p' top: 'l'", p.shape)
    expected = -(2 * 0.5 * np.log(0.5) + 0.9 * np.log(0.9) + 0.1 * np.log(0.05)) / 2
    assert np.isclose(layer.forward([p])[0], expected)
    late = build("type: 'EntropyLoss' bottom: 'p' top: 'l' entropy_param { iterations_num: 1 threshold: 0.1 }", p.shape)
    assert late.forward([p])[0] == 0 and not late.backward([np.array(1.0)], [True])[0].any()
    assert np.isclose(late.forward([p])[0], -(np.log(0.5) + 0.9 * np.log(0.9)) / 2)


@pytest.mark.independent("K1_EuclideanLoss", "K2_EuclideanLoss")
def test_codes_leave_the_middle_and_are_even():
    x = normal(2, 3)
    far = build("type: 'K1_EuclideanLoss' bottom: 'x' bottom: 'x' top: 'l'", x.shape, x.shape)
    assert np.isclose(far.forward([x, x])[0], -sum((v - 0.5) ** 2 for v in x.flat) / (2 * 6 * 2))
    even = build("type: 'K2_EuclideanLoss' bottom: 'x' bottom: 'x' top: 'l'", x.shape, x.shape)
    assert np.isclose(even.forward([x, x])[0], (sum(x.flat) / 6 - 0.5) ** 2 / 4)
    with pytest.raises(NetError, match="write the codes"):
        build("type: 'K1_EuclideanLoss' bottom: 'x' bottom: 'y' top: 'l'", (2, 3), (2, 4))
