"""The losses of connectionist temporal classification, against sums over all ways to say the labels."""

import itertools

import numpy as np
import pytest

from demitasse.proto.errors import NetError, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal


def said(path, blank):
    return [label for label, _ in itertools.groupby(path) if label != blank]


@pytest.mark.independent("CtcLoss")
@pytest.mark.parametrize("blank, labels", [(0, [[1, 1], [2, 0], [0, 0]]), (2, [[1, 1], [0, 2], [2, 1]])])
def test_ctc_loss_sums_over_all_ways_to_say_the_labels(blank, labels):
    x = normal(4, 3, 3)
    field = f"ctc_loss_param {{ blank_label: {blank} }}"
    layer = build(f"type: 'CtcLoss' bottom: 'x' bottom: 'l' {field}", x.shape, (3, 2))
    p = np.exp(x) / np.exp(x).sum(2, keepdims=True)
    total = 0
    for item, row in enumerate(labels):
        ways = [
            np.prod([p[t, item, label] for t, label in enumerate(path)])
            for path in itertools.product(range(3), repeat=4)
            if said(path, blank) == [label for label in row if label != blank]
        ]
        total -= np.log(sum(ways)) / 3
    np.testing.assert_allclose(layer.forward([x, np.array(labels, float)])[0], total)


def test_ctc_labels_that_the_steps_cannot_say_cost_nothing():
    layer = build("type: 'CtcLoss' bottom: 'x' bottom: 'l'", (2, 1, 3), (1, 2))
    assert layer.forward([normal(2, 1, 3), np.array([[1.0, 1]])])[0] == 0  # a blank has to stand between them
    assert not layer.backward([np.array(1.0)], [True, False])[0].any()
    with pytest.raises(NetError, match="label 3 is none of the 3 classes"):
        layer.forward([normal(2, 1, 3), np.array([[1.0, 3]])])


@pytest.mark.independent("CtcSequenceLoss")
def test_ctc_loss_of_sequences_with_lengths_of_their_own():
    x, labels = normal(4, 3, 3), np.array([[0.0, 1, 1], [0, -1, 0], [-1, -1, -1]])
    goes_on = np.array([[0.0, 0, 0], [1, 1, 1], [1, 1, 0], [1, 0, 1]])  # of 4, 3 and 2 steps
    layer = build("type: 'CtcSequenceLoss' bottom: 'x' bottom: 's' bottom: 'l'", x.shape, (4, 3), (3, 3))
    p = np.exp(x) / np.exp(x).sum(2, keepdims=True)
    total = 0
    for item, (steps, row) in enumerate([(4, [0, 0]), (3, [1]), (2, [1, 0])]):
        ways = [
            np.prod([p[t, item, label] for t, label in enumerate(path)])
            for path in itertools.product(range(3), repeat=steps)
            if said(path, 2) == row
        ]
        total -= np.log(sum(ways)) / 3
    np.testing.assert_allclose(layer.forward([x, goes_on, labels])[0], total)
    dx = layer.backward([np.array(1.0)], [True, False, False])[0]
    assert not dx[3, 1:].any() and not dx[2, 2].any() and dx[:2].all()
    with pytest.raises(ShapeFault, match="bottom 1 must have as many sequences and steps"):
        layer.infer([(4, 3, 3), (3, 3), (3, 3)])
    with pytest.raises(SchemaFault, match="without output_delay and preprocess"):
        build("type: 'CtcSequenceLoss' ctc_sequence_loss_param { output_delay: 1 }", x.shape, (4, 3), (3, 3))
