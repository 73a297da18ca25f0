"""The permutohedral lattice against Gaussian sums written out, and CRF-RNN's iterations against its formula."""

import numpy as np
import pytest

from demitasse.layers.permutohedral import Lattice
from demitasse.proto.errors import NetError
from tests.test_layers.building import build, normal

FIELDS = "num_iterations: {} theta_alpha: 4 theta_beta: 1 theta_gamma: 2 "
FIELDS += "spatial_filter_weight: 2 bilateral_filter_weight: 3"
CRF = "type: 'MultiStageMeanfield' multi_stage_meanfield_param {{ " + FIELDS + " }}"


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_a_lattice_comes_near_to_gaussian_weights(d):
    points = normal(400, d, seed=d)
    values = np.stack([np.ones(400), np.sin(2 * points[:, 0])])
    lattice = Lattice(np, points)
    np.testing.assert_allclose(lattice.weights.sum(1), 1)
    assert lattice.weights.min() > -1e-9
    weights = np.exp(-((points[:, None] - points[None]) ** 2).sum(2) / 2)
    exact, found = values @ weights, lattice.filtered(values)
    assert np.abs(found[1] / found[0] - exact[1] / exact[0]).mean() < 0.08


def test_the_adjoint_of_a_lattice():
    lattice, x, y = Lattice(np, normal(60, 3)), normal(2, 60, seed=1), normal(2, 60, seed=2)
    np.testing.assert_allclose((lattice.filtered(x) * y).sum(), (x * lattice.filtered(y, transposed=True)).sum())


@pytest.mark.independent("MultiStageMeanfield")
def test_an_iteration_is_that_of_the_paper():
    shape = (1, 3, 4, 5)
    unary, start, image = normal(*shape), normal(*shape, seed=1), normal(*shape, seed=2)
    layer = build(CRF.format(1), shape, shape, shape)
    assert [param.data[0, 0].tolist() for param in layer.params] == [(v * np.eye(3)).tolist() for v in (2, 3, -1)]
    (y,) = layer.forward([unary, start, image])
    p = np.exp(start) / np.exp(start).sum(1, keepdims=True)
    rows, columns = np.meshgrid(np.arange(4), np.arange(5), indexing="ij")
    places = np.stack([columns.ravel(), rows.ravel()], 1)
    both = np.concatenate([places / 4, image[0].reshape(3, -1).T], 1)
    message = 0
    for weight, features in ((2, places / 2), (3, both)):
        lattice = Lattice(np, features)
        mean = lattice.filtered(p[0].reshape(3, -1)) / lattice.filtered(np.ones((1, 20)))
        message = message + weight * mean.reshape(3, 4, 5)
    np.testing.assert_allclose(y[0], unary[0] + message)


def test_an_image_of_another_size_is_refused():
    with pytest.raises(NetError, match="the image of their size"):
        build(CRF.format(1), (1, 3, 4, 5), (1, 3, 4, 5), (1, 3, 4, 4))
