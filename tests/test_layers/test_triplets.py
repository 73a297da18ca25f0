"""MyCaffe's layers of triplet nets, against loops over items."""

import numpy as np
import pytest

from demitasse.layers.layer import TEST
from demitasse.proto.errors import LabelFault, NetError
from tests.test_layers.building import build, normal


@pytest.mark.independent("TripletLoss")
def test_triplet_loss_is_the_mean_of_what_is_too_near():
    anchor, positive, negative = (normal(5, 2, 3, seed=k) for k in range(3))
    text = "type: 'TripletLoss' bottom: 'a' bottom: 'p' bottom: 'n' bottom: 'l' triplet_loss_param { alpha: 2 }"
    layer = build(text, *[anchor.shape] * 3, (5,))
    apart = [((a - p) ** 2).sum() - ((a - n) ** 2).sum() for a, p, n in zip(anchor, positive, negative, strict=True)]
    (loss,) = layer.forward([anchor, positive, negative, np.zeros(5)])
    np.testing.assert_allclose(loss, np.mean([max(0, each + 2) for each in apart]) / 2)
    assert min(apart) < -2 < max(apart)  # some count, some do not


def test_a_triplet_without_labels_has_a_margin():
    xs = [normal(5, 6, seed=k) for k in range(3)]
    apart = ((xs[0] - xs[1]) ** 2).sum(1) - ((xs[0] - xs[2]) ** 2).sum(1)
    for fields, margin in (("", 1), ("triplet_loss_param { margin: 3 }", 3)):
        layer = build(f"type: 'TripletLoss' bottom: 'a' bottom: 'p' bottom: 'n' {fields}", *[xs[0].shape] * 3)
        np.testing.assert_allclose(layer.forward(xs)[0], np.maximum(apart + margin, 0).mean() / 2)
    for fields, said in (
        ("margin: 1 alpha: 1", "alpha and margin are two words"),
        ("margin: -1", "margin -1, how much"),
    ):
        with pytest.raises(NetError, match=said):
            build(f"type: 'TripletLoss' triplet_loss_param {{ {fields} }}", *[xs[0].shape] * 3)


SEQUENCE = "type: 'DataSequence' bottom: 'x' bottom: 'l' data_sequence_param {{ label_count: 4 cache_size: 3 {} }}"


@pytest.mark.independent("DataSequence")
@pytest.mark.parametrize("k", [1, 3])
def test_positives_are_of_the_class_and_negatives_of_others(k):
    layer = build(SEQUENCE.format(f"k: {k} output_labels: true label_start: 1"), (10, 2), (10,))
    rng, seen = np.random.default_rng(0), {label: [] for label in range(1, 5)}
    for run in range(4):
        labels = rng.integers(1, 5, 10)
        x = np.stack([labels, np.arange(10) + 10 * run], axis=1).astype(float)  # its class, and a number of its own
        for item, label in zip(x, labels, strict=True):
            seen[label] = [*seen[label], item[1]][-3:]
        anchors, positives, *negatives, of_all = layer.forward([x, labels])
        assert np.array_equal(anchors, x) and np.array_equal(positives[:, 0], labels)
        assert all((negative[:, 0] != labels).all() for negative in negatives)
        assert np.array_equal(of_all, np.stack([top[:, 0] for top in (x, positives, *negatives)], axis=1))
        for top in (positives, *negatives):
            assert all(number in seen[int(label)] for label, number in top)
    assert (positives[:, 1] != x[:, 1]).mean() > 0.5


def test_pairs_alternate_where_matches_are_balanced():
    labels = np.array([0, 1, 2, 3] * 3)
    x = np.stack([labels, np.arange(12)], axis=1).astype(float)
    for text, same in (("", [False, True] * 6), ("balance_matches: false", [False] * 12)):
        _, others = build(SEQUENCE.format(text), x.shape, labels.shape).forward([x, labels])
        assert (others[:, 0] == labels).tolist() == same
    layer = build(SEQUENCE.format(""), (2, 2), (2,))
    with pytest.raises(LabelFault, match="of one class"):
        layer.forward([x[:2], np.zeros(2)])
    with pytest.raises(LabelFault, match="outside of 0 to 3"):
        layer.forward([x[:2], np.array([0, 4])])


@pytest.mark.independent("Decode", "AccuracyDecode")
def test_centres_are_means_and_then_move():
    fields = "decode_param { pregen_label_count: 2 cache_size: 1 centroid_output_iteration: 1 }"
    x, labels = normal(4, 3), np.array([[0, 9], [0, 9], [0, 9], [1, 9]])
    layer = build(f"type: 'Decode' bottom: 'x' bottom: 'l' top: 'y' top: 'c' {fields}", x.shape, labels.shape)
    for param in layer.params:
        param.data[...] = 0
    apart, centres = layer.forward([x, labels])
    means = np.stack([x[:3].mean(0), x[3]])
    np.testing.assert_allclose(apart[:, :, 0, 0], ((x[:, None] - means) ** 2).sum(2))
    assert not centres.any()
    moved = means[0]
    for k, item in enumerate([x[0], x[1]]):
        moved = moved + (item - moved) / min(4 + k, 4)
    both = np.array([[0, 9]] * 2 + [[1, 9]] * 2)
    (apart, _), two = layer.forward([x[[0, 1, 3, 3]], both]), np.stack([moved, x[3]])
    np.testing.assert_allclose(apart[:, :, 0, 0], ((x[[0, 1, 3, 3], None] - two) ** 2).sum(2), atol=1e-12)
    for _ in range(3):
        _, centres = layer.forward([x[[3, 3, 3, 0]], np.array([[1, 0]] * 3 + [[0, 0]])])
    assert centres[1, :, 0, 0] == pytest.approx(x[3])

    layer.phase = TEST
    accuracy = build("type: 'AccuracyDecode' bottom: 'y' bottom: 'l'", apart.shape, both.shape)
    (apart, _) = layer.forward([x[[3, 3, 3, 3]], both])
    np.testing.assert_allclose(accuracy.forward([apart, both])[0], 0.5)


def test_what_decode_cannot_do_is_said():
    with pytest.raises(NetError, match="CENTROID is the one"):
        build("type: 'Decode' bottom: 'x' bottom: 'l' decode_param { target: KNN }", (2, 3), (2,))
    layer = build("type: 'Decode' bottom: 'x' bottom: 'l'", (2, 3), (2,))
    with pytest.raises(LabelFault, match="pregen_label_count"):
        layer.forward([normal(2, 3), np.array([3, 10])])
