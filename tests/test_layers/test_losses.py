"""The losses beside SoftmaxWithLoss: labels and targets at their limits, and how the losses agree with one another."""

import warnings

import numpy as np
import pytest

from demitasse.proto.errors import DataFault, GraphFault, LabelFault, NetError, SchemaFault, ShapeFault
from demitasse.proto.messages import BlobProto
from tests.test_layers.building import build, normal

TWO = "type: '{}' bottom: 'x' bottom: 'label' top: 'loss' {}"
INFOGAIN = "type: 'InfogainLoss' bottom: 'x' bottom: 'label' bottom: 'h' top: 'loss' "
CONTRASTIVE = "type: 'ContrastiveLoss' bottom: 'a' bottom: 'b' bottom: 's' top: 'l' "
ONE = np.array(1.0)


@pytest.mark.independent("SoftmaxCrossEntropyLoss")
def test_the_cross_entropy_of_soft_labels():
    x, targets = normal(4, 5, 3), np.random.default_rng(0).dirichlet([0.5] * 5, (4, 3)).transpose(0, 2, 1)
    expected = 0.0
    for i, j in np.ndindex(4, 3):
        p = np.exp(x[i, :, j]) / np.exp(x[i, :, j]).sum()
        expected -= (targets[i, :, j] * np.log(p)).sum()
    for fields, divisor in (("", 4), ("loss_param { normalization: FULL }", 12)):
        layer = build(TWO.format("SoftmaxCrossEntropyLoss", fields), x.shape, x.shape)
        np.testing.assert_allclose(layer.forward([x, targets])[0], expected / divisor)
    hard = np.eye(5)[[0, 3, 1, 1]]
    layer = build(TWO.format("SoftmaxCrossEntropyLoss", ""), (4, 5), (4, 5))
    plain = build(TWO.format("SoftmaxWithLoss", ""), (4, 5), (4,))
    np.testing.assert_allclose(
        layer.forward([x[..., 0], hard])[0], plain.forward([x[..., 0], np.array([0.0, 3, 1, 1])])[0]
    )
    with pytest.raises(ShapeFault, match="SoftmaxWithLoss takes numbers of classes"):
        build(TWO.format("SoftmaxCrossEntropyLoss", ""), (4, 5), (4,))
    with pytest.raises(SchemaFault, match="loss_param.ignore_label is not read"):
        build(TWO.format("SoftmaxCrossEntropyLoss", "loss_param { ignore_label: 1 }"), (4, 5), (4, 5))


@pytest.mark.parametrize("name", ["HingeLoss", "MultinomialLogisticLoss"])
@pytest.mark.parametrize("label", [5, -1])
def test_a_label_outside_the_classes_is_an_error(name, label):
    with pytest.raises(LabelFault, match=rf"label {label} at index \(2,\) is not one of the 5 classes"):
        build(TWO.format(name, ""), (3, 5), (3,)).forward([normal(3, 5), np.array([0.0, 1, label])])


def test_a_label_that_is_no_whole_number_is_told_as_it_is():
    fields = "top: 'y' margin_inner_product_param { num_output: 5 }"
    layer = build(f"type: 'MarginInnerProduct' bottom: 'x' bottom: 'l' {fields}", (2, 3), (2,))
    with pytest.raises(LabelFault, match=r"label -0.3 at index \(0,\) is not one of the 5 classes"):
        layer.forward([normal(2, 3), np.array([-0.3, 1])])


def test_infogain_names_the_pixel_of_a_bad_label():
    labels = np.zeros((1, 1, 4, 5))
    labels[0, 0, 3, 2] = 3
    with pytest.raises(LabelFault, match=r"label 3 at \(n, y, x\) \(0, 3, 2\)"):
        build(INFOGAIN, (1, 3, 4, 5), labels.shape, (3, 3)).forward([normal(1, 3, 4, 5), labels, np.eye(3)])


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "loss_param { ignore_label: 1 }",
        "loss_param { normalization: NONE class_weight: 1 class_weight: 2 class_weight: 0.5 }",
        "loss_param { weight_by_label_freqs: true class_weighting: 3 class_weighting: 1 class_weighting: 1 }",
    ],
)
def test_infogain_with_the_identity_is_softmax_loss(fields):
    x, labels = normal(2, 3, 2, 2), np.array([0.0, 1, 2, 2, 1, 0, 0, 2]).reshape(2, 1, 2, 2)
    infogain = build(INFOGAIN + fields, x.shape, labels.shape, (1, 1, 3, 3))
    softmax = build(TWO.format("SoftmaxWithLoss", fields), x.shape, labels.shape)
    np.testing.assert_allclose(infogain.forward([x, labels, np.eye(3)])[0], softmax.forward([x, labels])[0])
    np.testing.assert_allclose(
        infogain.backward([ONE], [True, False, False])[0], softmax.backward([ONE], [True, False])[0]
    )


def test_infogain_reads_its_matrix_from_a_file(tmp_path):
    x, labels, matrix = normal(4, 3), np.array([0.0, 1, 2, 1]), np.abs(normal(3, 3, seed=1)).astype(np.float32)
    (expected,) = build(INFOGAIN, x.shape, labels.shape, (3, 3)).forward([x, labels, matrix.astype(float)])
    blob = BlobProto(num=1, channels=1, height=3, width=3, data=matrix.ravel())
    (tmp_path / "h.binaryproto").write_bytes(blob.SerializeToString())
    np.save(tmp_path / "h.npy", matrix)
    for name in ("h.binaryproto", "h.npy"):
        text = TWO.format("InfogainLoss", f"infogain_loss_param {{ source: '{tmp_path / name}' }}")
        np.testing.assert_allclose(build(text, x.shape, labels.shape).forward([x, labels])[0], expected)
    with pytest.raises(ShapeFault, match=r"\(1, 1, 3, 3\): 4 classes need 4 x 4"):
        text = TWO.format("InfogainLoss", f"infogain_loss_param {{ source: '{tmp_path / 'h.binaryproto'}' }}")
        build(text, (4, 4), (4,))
    with pytest.raises(DataFault, match="'missing.npy' does not exist"):
        build(TWO.format("InfogainLoss", "infogain_loss_param { source: 'missing.npy' }"), (4, 4), (4,))


def test_sigmoid_cross_entropy_of_huge_scores_is_finite():
    x, target = np.array([[-1e4, 1e4, -1e4, 1e4]]), np.array([[0.0, 1, 1, 0]])
    layer = build(TWO.format("SigmoidCrossEntropyLoss", ""), x.shape, x.shape, dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (loss,) = layer.forward([x.astype(np.float32), target.astype(np.float32)])
    assert loss == 2e4 and layer.backward([ONE], [True, False])[0].tolist() == [[0, 0, -1, 1]]


def test_sigmoid_cross_entropy_ignores_by_the_whole_part_of_the_target():
    layer = build(
        TWO.format("SigmoidCrossEntropyLoss", "loss_param { ignore_label: -1 normalization: VALID }"), (1, 3), (1, 3)
    )
    (loss,) = layer.forward([np.zeros((1, 3)), np.array([[-1.0, 0.0, 0.9]])])
    assert loss == pytest.approx(np.log(2))
    assert layer.backward([ONE], [True, False])[0].tolist() == [[0, 0.25, pytest.approx(-0.2)]]


def test_sigmoid_cross_entropy_with_a_factor_for_each_score():
    x, target, factor = normal(2, 3), np.array([[1.0, 0, -1], [0, 1, 1]]), np.array([[3.0, 0, 5], [0.5, 1, 2]])
    text = (
        "type: 'SigmoidCrossEntropyLoss' bottom: 'x' bottom: 't' bottom: 'w' top: 'l' loss_param { ignore_label: -1 }"
    )
    layer = build(text, (2, 3), (2, 3), (2, 3))
    losses = -np.log(np.where(target == 1, 1, 0) + np.where(target == 1, -1, 1) * (1 - 1 / (1 + np.exp(-x))))
    counts = (target != -1) * factor
    np.testing.assert_allclose(layer.forward([x, target, factor])[0], (losses * counts).sum() / 2)
    dx = layer.backward([np.array(1.0)], [True, False, False])[0]
    np.testing.assert_allclose(dx, (1 / (1 + np.exp(-x)) - target) * counts / 2)
    with pytest.raises(ShapeFault, match="one factor per score"):
        layer.infer([(2, 3), (2, 3), (2,)])


@pytest.mark.parametrize("name", ["SigmoidCrossEntropyLoss", "InfogainLoss"])
def test_with_everything_ignored_loss_and_gradient_are_zero(name):
    x, labels = normal(2, 3), np.full((2, 3) if name.startswith("S") else (2,), 1.0)
    text = (INFOGAIN if name.startswith("I") else TWO.format(name, "")) + "loss_param { ignore_label: 1 }"
    bottoms = [x, labels] + ([np.ones((3, 3))] if name.startswith("I") else [])
    layer = build(text, *(b.shape for b in bottoms))
    assert layer.forward(bottoms)[0] == 0
    assert not layer.backward([ONE], [True] + [False] * (len(bottoms) - 1))[0].any()


def test_equal_contrastive_pairs_have_a_finite_gradient():
    layer, a = (
        build(CONTRASTIVE, (2, 3), (2, 3), (2,)),
        normal(2, 3),
    )
    (loss,) = layer.forward([a, a, np.zeros(2)])
    assert loss == 0.5 and not layer.backward([ONE], [True, True, False])[0].any()


def test_contrastive_loss_pushes_pairs_apart_up_to_the_margin():
    layer, a, b = (
        build(CONTRASTIVE + "contrastive_loss_param { margin: 2 }", (3, 1), (3, 1), (3,)),
        np.array([[0.0], [0], [0]]),
        np.array([[1.0], [1], [3]]),
    )
    (loss,) = layer.forward([a, b, np.array([1.0, 0, 0])])
    assert loss == pytest.approx((1 + (2 - 1) ** 2 + 0) / 6)
    da, db, _ = layer.backward([ONE], [True, True, False])
    np.testing.assert_allclose(da, [[-1 / 3], [1 / 3], [0]], rtol=2e-4)  # Caffe's guard against distance 0: 1e-4
    np.testing.assert_array_equal(db, -da)


@pytest.mark.parametrize(
    "text, shapes, fault, words",
    [
        (TWO.format("EuclideanLoss", ""), [(2, 3), (2, 4)], ShapeFault, r"\(2, 3\) and \(2, 4\): batch size and count"),
        (TWO.format("EuclideanLoss", ""), [(2, 3), (3, 2)], ShapeFault, "batch size and count"),
        (TWO.format("HingeLoss", ""), [(2, 3), (3,)], ShapeFault, "one label per item"),
        (TWO.format("MultinomialLogisticLoss", ""), [(2, 3), (2, 3)], ShapeFault, "one label per item"),
        (TWO.format("SigmoidCrossEntropyLoss", ""), [(2, 3), (2,)], ShapeFault, "one target per score"),
        (TWO.format("InfogainLoss", ""), [(2, 3), (2,)], SchemaFault, "no infogain matrix: give it as third bottom"),
        (INFOGAIN, [(2, 3), (3,), (3, 3)], ShapeFault, "one label for each item or pixel expected"),
        (INFOGAIN, [(2, 3), (2,), (3, 2)], ShapeFault, "3 classes need 3 x 3"),
        (INFOGAIN + "loss_param { class_weight: 1 }", [(2, 3), (2,), (3, 3)], SchemaFault, "1 times for 3 classes"),
        (CONTRASTIVE, [(2, 3), (2, 4), (2,)], ShapeFault, "equal"),
        (CONTRASTIVE, [(2, 3), (2, 3), (2, 3)], ShapeFault, "per pair"),
    ],
)
def test_sides_that_do_not_fit(text, shapes, fault, words):
    with pytest.raises(NetError, match=words) as caught:
        build(text, *shapes)
    assert caught.type is fault and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "labels, told",
    [((2, 1, 6, 5), False), ((2, 6, 5), False), ((60,), False), ((2, 1, 5, 6), True), ((2, 5, 6, 1), True)],
)
def test_labels_with_height_and_width_exchanged_are_told(labels, told):
    lines = build("type: 'Accuracy'", (2, 11, 6, 5), labels).advice([(2, 11, 6, 5), labels])
    assert ["height and width look exchanged" in line for line in lines] == [True] * told


def test_contrastive_pairs_that_are_on_their_side_of_the_margin_are_told():
    shapes = [(4, 2), (4, 2), (4,)]
    fields = "top: 'm' contrastive_loss_param { margin: 5 output_matches: true }"
    layer = build(CONTRASTIVE + fields, *shapes)
    a, b = np.zeros((4, 2)), np.array([[3.0, 4], [3, 4.1], [1, 1], [6, 8]])
    assert layer.forward([a, b, np.array([1.0, 1, 0, 0])])[1].ravel().tolist() == [1, 0, 0, 1]
    with pytest.raises(GraphFault, match="needs output_matches: true"):
        build(CONTRASTIVE + "top: 'm'", *shapes)


@pytest.mark.independent("EuclideanLossHeatmap")
def test_maps_of_heat_are_compared_without_a_divisor():
    a, b = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    layer = build("type: 'EuclideanLossHeatmap' bottom: 'a' bottom: 'b' top: 'l'", a.shape, b.shape)
    assert np.isclose(layer.forward([a, b])[0], sum((x - y) ** 2 for x, y in zip(a.flat, b.flat, strict=True)) / 2)
    assert np.array_equal(layer.backward([ONE], [True, False])[0], a - b)


@pytest.mark.independent("WeightedSoftmaxWithLoss")
def test_labels_and_pixels_count_by_their_factors():
    x, labels = normal(2, 3, 4), np.array([[0, 1, 2, 9], [1, 1, 0, 2]])
    factors = np.random.default_rng(1).uniform(0.5, 2, (2, 4))
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    losses = np.array([[0 if c == 9 else -log_p[n, c, i] for i, c in enumerate(row)] for n, row in enumerate(labels)])
    shapes = x.shape, labels.shape
    fields = "softmax_param { pos_mult: 3 pos_cid: 2 } loss_param { ignore_label: 9 }"
    layer = build(TWO.format("WeightedSoftmaxWithLoss", fields), *shapes)
    expected = (losses * np.where(labels == 2, 3, 1)).sum() / 7
    np.testing.assert_allclose(layer.forward([x, labels.astype(float)])[0], expected)
    text = (
        "type: 'WeightedSoftmaxWithLoss' bottom: 'x' bottom: 'label' bottom: 'factor' top: 'loss' loss_param {{ {} }}"
    )
    for fields, divisor in (("ignore_label: 9", 7), ("ignore_label: 9 normalization: BATCH_SIZE", 2)):
        layer = build(text.format(fields), *shapes, factors.shape)
        expected = (losses * factors).sum() / divisor
        np.testing.assert_allclose(layer.forward([x, labels.astype(float), factors])[0], expected)
    with pytest.raises(ShapeFault, match="as many factors as labels"):
        build(text.format(""), *shapes, (2, 3))
    with pytest.raises(SchemaFault, match="pos_cid 3 is none of the 3 classes"):
        build(TWO.format("WeightedSoftmaxWithLoss", "softmax_param { pos_mult: 3 pos_cid: 3 }"), *shapes)
    with pytest.raises(SchemaFault, match="pos_mult and pos_cid are of WeightedSoftmaxWithLoss"):
        build(TWO.format("SoftmaxWithLoss", "softmax_param { pos_mult: 3 }"), *shapes)
