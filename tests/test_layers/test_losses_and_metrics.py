"""SoftmaxWithLoss and Accuracy where the goldens do not reach: bad labels, class weights, the second top."""

import numpy as np
import pytest

from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal

LOSS = "type: 'SoftmaxWithLoss' bottom: 'x' bottom: 'label' top: 'loss' "
ACCURACY = "type: 'Accuracy' bottom: 'x' bottom: 'label' top: 'accuracy' "


@pytest.mark.parametrize("text", [LOSS, ACCURACY])
@pytest.mark.parametrize("label", [21, 255, -1])
def test_a_label_outside_the_classes_is_an_error(text, label):
    layer, labels = build(text, (1, 3, 4, 5), (1, 1, 4, 5)), np.zeros((1, 1, 4, 5))
    labels[0, 0, 2, 3] = label
    with pytest.raises(LabelFault, match=rf"label {label} at \(n, y, x\) \(0, 2, 3\) .* 3 classes"):
        layer.forward([normal(1, 3, 4, 5), labels])


def test_not_a_number_is_no_label():
    layer = build(LOSS, (1, 3, 1, 1), (1, 1, 1, 1))
    with pytest.raises(LabelFault), np.errstate(invalid="ignore"):
        layer.forward([normal(1, 3, 1, 1), np.full((1, 1, 1, 1), np.nan)])


def test_class_weights_multiply_each_place_and_leave_the_divisor():
    x, labels = normal(2, 3, 2, 2), np.array([0, 1, 2, 255, 1, 1, 0, 2.0]).reshape(2, 1, 2, 2)
    weights = "class_weight: 2 class_weight: 0 class_weight: 0.5"
    layer = build(LOSS + f"loss_param {{ ignore_label: 255 {weights} }}", x.shape, labels.shape)
    (loss,) = layer.forward([x, labels])
    log = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    expected = 0.0
    for n, i, j in np.ndindex(2, 2, 2):
        label = int(labels[n, 0, i, j])
        expected -= [2, 0, 0.5][label] * log[n, label, i, j] if label != 255 else 0
    assert loss == pytest.approx(expected / 7)


def test_class_weights_need_one_for_each_class():
    with pytest.raises(SchemaFault, match="class_weight is given 2 times for 3 classes"):
        build(LOSS + "loss_param { class_weight: 1 class_weight: 2 }", (1, 3, 2, 2), (1, 1, 2, 2))


@pytest.mark.parametrize(
    "fields, words",
    [
        ("class_weighting: 1 class_weighting: 2", "counts with weight_by_label_freqs: true only"),
        ("weight_by_label_freqs: true", "asks for class_weighting, one for each class"),
        ("weight_by_label_freqs: true class_weight: 1 class_weight: 2", "in the place of class_weight"),
    ],
)
def test_class_weights_of_segnet_come_with_their_switch(fields, words):
    with pytest.raises(SchemaFault, match=words):
        build(f"type: 'SoftmaxWithLoss' bottom: 'x' bottom: 'l' top: 'y' loss_param {{ {fields} }}", (2, 2), (2,))


def test_the_gradient_grows_with_the_loss_weight():
    x, labels = normal(1, 3, 2, 2), np.zeros((1, 1, 2, 2))
    layer = build(LOSS, x.shape, labels.shape)
    layer.forward([x, labels])
    one, three = (layer.backward([np.array(weight)], [True, False])[0] for weight in (1.0, 3.0))
    np.testing.assert_allclose(three, 3 * one)


def test_the_second_top_holds_probabilities_and_passes_gradients():
    x, labels = normal(1, 3, 2, 2), np.zeros((1, 1, 2, 2))
    layer = build(LOSS + "top: 'prob'", x.shape, labels.shape)
    loss, prob = layer.forward([x, labels])
    assert loss.shape == () and prob.shape == x.shape
    np.testing.assert_allclose(prob.sum(axis=1), 1)
    dprob = normal(*x.shape, seed=1)
    through_prob = layer.backward([None, dprob], [True, False])[0]
    np.testing.assert_allclose(through_prob, prob * (dprob - (dprob * prob).sum(axis=1, keepdims=True)))


@pytest.mark.parametrize(
    "scores, labels, words",
    [
        ((1, 3, 8, 8), (1, 1, 8, 7), "take 64 labels.*one label for each item or pixel"),
        ((2, 3, 4), (1, 8), "2 images of scores, but 1 of labels"),
        ((4, 3), (1, 4), "4 images of scores, but 1 of labels"),
    ],
)
def test_labels_that_do_not_fit_the_scores_are_refused(scores, labels, words):
    with pytest.raises(ShapeFault, match=words):
        build(LOSS, scores, labels)


@pytest.mark.parametrize("shape", [(2, 1, 4, 5), (2, 4, 5), (2, 20), (2, 4, 5, 1)])
def test_labels_may_have_any_shape_of_the_right_count(shape):
    x, labels = normal(2, 3, 4, 5), np.arange(40) % 3.0
    expected = build(LOSS, x.shape, (2, 1, 4, 5)).forward([x, labels.reshape(2, 1, 4, 5)])[0]
    assert build(LOSS, x.shape, shape).forward([x, labels.reshape(shape)])[0] == expected


def test_accuracy_counts_by_class():
    x = np.array([[3, 1, 2], [3, 1, 2], [0, 1, 0], [0, 0, 0.0]])
    layer = build(ACCURACY + "top: 'classes'", x.shape, (4,))
    share, classes = layer.forward([x, np.array([0.0, 1, 1, 2])])
    assert share == 0.5  # the last row's scores are equal: wrong
    np.testing.assert_array_equal(classes, [1, 0.5, 0])
    with pytest.raises(SchemaFault, match="top_k 4 is not between 1 and the 3 classes"):
        build(ACCURACY + "accuracy_param { top_k: 4 }", x.shape, (4,))
