"""SmoothL1Loss, and the layers that choose regions by their loss, by hand."""

import numpy as np
import pytest

from demitasse.proto.errors import SchemaFault, ShapeFault
from tests.test_layers.building import build, normal


@pytest.mark.independent("SmoothL1Loss")
@pytest.mark.parametrize("sigma", [1, 3])
def test_smooth_l1_is_quadratic_then_linear(sigma):
    layer = build(
        f"type: 'SmoothL1Loss' bottom: 'a' bottom: 'b' top: 'l' smooth_l1_loss_param {{ sigma: {sigma} }}",
        (5, 1),
        (5, 1),
    )
    differences = np.array([0.0, 0.05, -0.1, 2, -3])
    expected = [0.5 * sigma**2 * d * d if abs(d) < 1 / sigma**2 else abs(d) - 0.5 / sigma**2 for d in differences]
    assert layer.forward([differences[:, None], np.zeros((5, 1))])[0] == pytest.approx(sum(expected) / 5)


def test_smooth_l1_has_weights_inside_and_outside():
    layer = build("type: 'SmoothL1Loss' bottom: 'a' bottom: 'b' bottom: 'i' bottom: 'o' top: 'l'", *[(2, 2)] * 4)
    a, inside, outside = np.array([[2.0, 3], [4, 5]]), np.array([[1.0, 0], [0.1, 1]]), np.array([[1.0, 9], [10, 0.5]])
    expected = 1 * (2 - 0.5) + 10 * (0.5 * 0.4**2) + 0.5 * (5 - 0.5)
    assert layer.forward([a, a * 0, inside, outside])[0] == pytest.approx(expected / 2)
    dx, dy, *weights = layer.backward([1.0], [True, True, False, False])
    assert dx == pytest.approx(np.array([[1, 0], [10 * 0.4 * 0.1, 0.5]]) / 2)
    assert np.array_equal(dx, -dy) and weights == [None, None]


def test_smooth_l1_of_other_shapes_is_refused():
    with pytest.raises(ShapeFault, match=r"bottom 1 has shape \(2, 4\), but bottom 0 has \(2, 8\)"):
        build("type: 'SmoothL1Loss' bottom: 'a' bottom: 'b' top: 'l'", (2, 8), (2, 4))


@pytest.mark.independent("SoftmaxWithLossOHEM")
def test_the_loss_of_each_region():
    layer = build(
        "type: 'SoftmaxWithLossOHEM' bottom: 'x' bottom: 'l' top: 'a' top: 'b' top: 'c' "
        "loss_param { ignore_label: -1 }",
        (3, 4, 1, 1),
        (3, 1, 1, 1),
    )
    x, labels = normal(3, 4, 1, 1), np.array([1.0, -1, 3]).reshape(3, 1, 1, 1)
    loss, prob, each = layer.forward([x, labels])
    expected = np.log(np.exp(x[..., 0, 0]).sum(1)) - x[[0, 1, 2], [1, 0, 3], 0, 0]
    assert each.reshape(-1) == pytest.approx([expected[0], 0, expected[2]])
    assert loss == pytest.approx((expected[0] + expected[2]) / 2)
    assert prob.sum(axis=1) == pytest.approx(np.ones((3, 1, 1)))


@pytest.mark.independent("SmoothL1LossOHEM")
def test_box_losses_are_divided_by_the_number_given():
    text = (
        "type: 'SmoothL1LossOHEM' bottom: 'a' bottom: 'b' bottom: 'w' top: 'l' top: 'each' "
        "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 }"
    )
    layer = build(text, *[(2, 4, 1, 1)] * 3)
    a, weights = np.full((2, 4, 1, 1), 3.0), np.array([[1.0] * 4, [0] * 4]).reshape(2, 4, 1, 1)
    loss, each = layer.forward([a, a * 0, weights])
    assert each.reshape(-1).tolist() == [10, 0] and loss == pytest.approx(10 / 128)
    with pytest.raises(SchemaFault, match="ignore_label is about labels"):
        build("type: 'SmoothL1LossOHEM' bottom: 'a' bottom: 'b' top: 'l' loss_param { ignore_label: 1 }", *[(2, 4)] * 2)


@pytest.mark.independent("BoxAnnotatorOHEM")
def test_the_worst_regions_of_each_image_stay():
    layer = build(
        "type: 'BoxAnnotatorOHEM' bottom: 'r' bottom: 'l' bottom: 'c' bottom: 'w' top: 'k' top: 'v' "
        "box_annotator_ohem_param { roi_per_img: 2 }",
        (6, 5),
        (6, 1, 1, 1),
        (6, 1, 1, 1),
        (6, 8, 1, 1),
    )
    rois = np.zeros((6, 5))
    rois[:, 0] = [0, 1, 0, 0, 1, 0]
    losses = np.array([0.1, 5, 0.3, 0.9, 0.2, 0.2]).reshape(-1, 1, 1, 1)
    labels = np.array([4.0, 0, 2, 3, 1, 7]).reshape(-1, 1, 1, 1)
    kept, weights = layer.forward([rois, losses, labels, np.ones((6, 8, 1, 1))])
    assert kept.reshape(-1).tolist() == [-1, 0, 2, 3, 1, -1]
    assert weights[:, :, 0, 0].all(axis=1).tolist() == [False, True, True, True, True, False]
    with pytest.raises(SchemaFault, match="roi_per_img is missing"):
        build("type: 'BoxAnnotatorOHEM' bottom: 'r' bottom: 'l' bottom: 'c' bottom: 'w' top: 'k' top: 'v'", (6, 5))
