"""Layers that few forks have, against sums written out from the papers they come from."""

import itertools

import numpy as np
import pytest

from demitasse.layers.layer import TEST, TRAIN
from demitasse.proto.errors import LabelFault, NetError, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal


@pytest.mark.independent("MaskResize")
def test_mask_resize_samples_between_the_first_pixels():
    x = np.arange(4.0).reshape(1, 1, 1, 4)
    (smaller,) = build("type: 'MaskResize' mask_resize_param { output_height: 1 factor_width: 0.5 }", x.shape).forward(
        [x]
    )
    (larger,) = build("type: 'MaskResize' mask_resize_param { output_height: 1 output_width: 8 }", x.shape).forward([x])
    assert smaller.ravel().tolist() == [0, 2]
    assert larger.ravel().tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]  # half a pixel beyond the last one


@pytest.mark.independent("MaskPooling")
def test_mask_pooling_is_a_product_with_every_channel():
    x, mask = normal(2, 3, 4, 5), normal(2, 1, 4, 5, seed=1)
    (y,) = build("type: 'MaskPooling' bottom: 'x' bottom: 'm'", x.shape, mask.shape).forward([x, mask])
    assert np.array_equal(y, x * mask)


@pytest.mark.independent("CropCenter")
def test_crop_center_leaves_out_both_ends():
    x = normal(1, 2, 7, 6)
    layer = build("type: 'CropCenter' crop_center_param { crop_size: [0, 0, 3, 1] }", x.shape)
    assert np.array_equal(layer.forward([x])[0], x[:, :, 3:4, 1:5])
    with pytest.raises(NetError, match="leaves nothing"):
        layer.infer([(1, 2, 6, 6)])


@pytest.mark.independent("CenterLoss")
def test_centers_follow_their_items():
    x, labels = normal(5, 3), np.array([0.0, 2, 0, 2, 2])
    layer = build("type: 'CenterLoss' bottom: 'x' bottom: 'l' center_loss_param { num_output: 4 }", (5, 3), (5,))
    centers = layer.params[0].data
    apart = x - centers[labels.astype(int)]
    np.testing.assert_allclose(layer.forward([x, labels])[0], (apart**2).sum() / 10)
    dx, _ = layer.backward([np.array(1.0)], [True, False])
    np.testing.assert_allclose(dx, apart / 5)
    expected = [-apart[[0, 2]].sum(0) / 3, np.zeros(3), -apart[[1, 3, 4]].sum(0) / 4, np.zeros(3)]
    np.testing.assert_allclose(layer.params[0].grad, expected)


@pytest.mark.independent("LabelsequenceAccuracy")
def test_sequences_are_right_as_a_whole_only():
    scores = np.eye(3)[[[1, 1, 0, 2], [1, 0, 1, 2], [0, 0, 0, 0]]]  # say 12, 112 and nothing
    labels = np.array([[1.0, 2, 0], [1, 2, 0], [0, 0, 0]])
    layer = build("type: 'LabelsequenceAccuracy' bottom: 'x' bottom: 'l'", scores.shape, labels.shape)
    np.testing.assert_allclose(layer.forward([scores, labels])[0], 2 / 3)


@pytest.mark.independent("RankHardLoss")
def test_rank_hard_loss_compares_pairs_with_items_of_other_labels():
    x = normal(6, 4)
    x /= np.sqrt((x**2).sum(1, keepdims=True))
    labels = np.array([0.0, 0, 1, 1, 2, 2])
    field = "rank_param { neg_num: 6 pair_size: 2 margin: 0.5 }"
    layer = build(f"type: 'RankHardLoss' bottom: 'x' bottom: 'l' {field}", x.shape, (6,))
    total = 0
    for a, z in itertools.product((0, 2, 4), range(6)):
        nearer = 0.5 - x[a] @ x[a + 1] + x[a] @ x[z]
        if labels[z] != labels[a] and nearer > 0:
            total += nearer + max(0, 0.5 - x[a] @ x[a + 1] + x[a + 1] @ x[z])
    np.testing.assert_allclose(layer.forward([x, labels])[0], total / (6 * 6 / 2 * 2))


@pytest.mark.independent("GlobalLSEMargin")
def test_global_margin_is_the_mode_of_what_labels_lead_by():
    cosines, labels = np.zeros((4, 3)), np.array([0.0, 1, 2, 0])
    cosines[np.arange(4), labels.astype(int)] = [0.52, 0.5, 0.48, 0.9]  # the last one is alone
    layer = build("type: 'GlobalLSEMargin' bottom: 'x' bottom: 'l' top: 'y' top: 's'", (4, 3), (4,))
    layer.params[0].data[:], layer.params[1].data[:] = 10, 0
    y, statistics = layer.forward([cosines, labels])
    margin = 0.5 - np.log(2) / 10
    np.testing.assert_allclose(statistics, [10, 0.6, np.log(2) / 10, 0, margin])
    np.testing.assert_allclose(y[0], [10 * (0.52 - margin), 0, 0])


@pytest.mark.independent("ChannelFilter")
def test_channel_filter_takes_what_the_weights_select():
    x = normal(1, 4, 2)
    layer = build("type: 'ChannelFilter' filter_param { num_output: 2 }", x.shape)
    assert np.array_equal(layer.forward([x])[0], x[:, :2])
    layer.params[0].data[:] = [0, 1, 0, 1]
    assert np.array_equal(layer.forward([x])[0], x[:, [1, 3]])
    layer.params[0].data[:] = 1
    with pytest.raises(NetError, match="4 entries of the selector"):
        layer.forward([x])


@pytest.mark.independent("CConvolution", "CInnerProduct")
@pytest.mark.parametrize("kind", ["CConvolution", "CInnerProduct"])
def test_the_smallest_weights_are_left_out(kind):
    own = {
        "CConvolution": "convolution_param { num_output: 2 kernel_size: 1 bias_term: false } cconvolution_param",
        "CInnerProduct": "inner_product_param { num_output: 2 bias_term: false } cinner_product_param",
    }[kind]
    text = f"type: '{kind}' {own} {{ upper_bound: 0.5 iter_stop: 4 inter_iter: 2 }}"
    x, weights = np.ones((1, 2, 1, 1)), [3.0, -1, 2, 4]
    train, test = build(text, x.shape), build(text, x.shape, phase=TEST)
    for layer in (train, test):
        layer.params[0].data[...] = np.reshape(weights, layer.params[0].shape)
        layer.params[1].data[...] = 1
    sums = [train.forward([x])[0].ravel().tolist() for _ in range(3)]
    assert sums == [[3, 4], [3, 4], [0, 4]]  # half of the weights are left out, then log(3) / log(4) of them
    assert test.forward([x])[0].ravel().tolist() == [2, 6]
    assert train.state() == {"run": 3}


@pytest.mark.independent("NoisyInnerProduct")
def test_noise_explores_in_training_only():
    text = "type: 'NoisyInnerProduct' inner_product_param { num_output: 3 }"
    x = normal(2, 4)
    train, test = build(text, x.shape), build(text, x.shape, phase=TEST)
    for given, taken in zip(train.params, test.params, strict=True):
        taken.data[...] = given.data
    weight, bias = (param.data for param in test.params[:2])
    np.testing.assert_allclose(test.forward([x])[0], x @ weight.T + bias)
    first, second = train.forward([x])[0], train.forward([x])[0]
    largest = abs(x) @ abs(train.params[2].data).T + abs(train.params[3].data)
    assert (first != second).all() and (abs(first - x @ weight.T - bias) <= largest).all()


@pytest.mark.independent("MemoryLoss")
def test_a_program_computes_the_memory_loss():
    layer = build("type: 'MemoryLoss' bottom: 'x'", (2, 3))
    with pytest.raises(NetError, match="has no function yet"):
        layer.forward([normal(2, 3)])
    layer.loss = lambda bottoms: (bottoms[0].sum(), [np.full((2, 3), 2.0)])
    x = normal(2, 3)
    np.testing.assert_allclose(layer.forward([x])[0], x.sum())
    assert (layer.backward([np.array(0.5)], [True])[0] == 1).all()


@pytest.mark.independent("Knn")
def test_the_nearest_class_is_that_of_stored_items():
    text = "type: 'Knn' bottom: 'x' bottom: 'l' knn_param { num_output: 3 k: 2 max_stored_batches: 2 }"
    train, test = (build(text, (3, 1), (3,), phase=phase) for phase in (TRAIN, TEST))
    for param, taken in zip(train.params, test.params, strict=True):
        param.data[...] = 0
        taken.data = param.data
    x, labels = np.array([[0.0], [5], [9]]), np.array([0.0, 0, 2])
    assert not test.forward([x, labels])[0].any()  # nothing is stored
    for batch in ([[7.0], [7], [7]], [[0.0], [1], [10]], [[0.0], [3], [8]]):  # the third takes the first one's place
        assert not train.forward([np.array(batch), labels])[0].any()
    near = test.forward([x, labels])[0]
    assert near.shape == (3, 3, 1, 1)
    np.testing.assert_allclose(near[:, :, 0, 0], [[1, 0, 0], [1, 0, 0], [0, 0, 1]])


@pytest.mark.independent("BitsData")
def test_bits_of_numbers_and_of_their_sum():
    layer = build("type: 'BitsData' top: 'x' top: 'y' data_param { batch_size: 50 }")
    both, total = layer.forward([])
    numbers, sums = (np.tensordot(2 ** np.arange(8), bits, 1)[..., 0] for bits in (both, total))
    assert numbers.max() > 100 and (numbers.sum(1) == sums[:, 0]).all() and set(np.unique(both)) == {0, 1}


@pytest.mark.independent("SVX", "CosinAddm")
def test_margins_of_angles():
    cosines, labels = np.cos(np.linspace(0.1, 3.1, 20)).reshape(4, 5), np.array([0.0, 2, 3, 4])
    for text, f in (
        (
            "type: 'SVX' sv_x_param { m1: 1.2 m2: 0.1 m3: 0.2 t: 1.3 }",
            lambda angle: np.cos(1.2 * angle + 0.2) - 0.1,
        ),
        (
            "type: 'CosinAddm' cosin_add_m_param { m: 0.5 t: 1.3 }",
            lambda angle: np.cos(angle + 0.5) if angle + 0.5 <= np.pi else np.cos(angle) - 0.5 * np.sin(0.5),
        ),
    ):
        (y,) = build(f"{text} bottom: 'c' bottom: 'l'", (4, 5), (4,)).forward([cosines, labels])
        for row, label, found in zip(cosines, labels.astype(int), y, strict=True):
            own = f(np.arccos(row[label]))
            expected = [own if k == label else 1.3 * c + 0.3 if c > own else c for k, c in enumerate(row)]
            np.testing.assert_allclose(found, expected, atol=1e-6)
        tested = build(f"{text} bottom: 'c' bottom: 'l'", (4, 5), (4,), phase=TEST)
        assert np.array_equal(tested.forward([cosines, labels])[0], cosines)
    assert np.arccos(cosines[3, 4]) + 0.5 > np.pi  # the last one is beyond


@pytest.mark.independent("MIL")
def test_of_contexts_the_best_counts():
    x = normal(6, 4)
    (y,) = build("type: 'MIL' mil_param { context_per_roi: 3 }", x.shape).forward([x])
    assert np.array_equal(y, [x[:3].max(0), x[3:].max(0)])
    with pytest.raises(NetError, match="context_per_roi 4 must divide"):
        build("type: 'MIL' mil_param { context_per_roi: 4 }", x.shape)


@pytest.mark.independent("SegGt")
def test_boxes_become_a_map_of_classes():
    rows = np.array(
        [
            [0, 3, 0, 0, 0, 1, 1, 0],  # all of the image, under
            [0, 5, 0, 0.25, 0.4, 0.8, 0.99, 0],  # this: columns 1 and 2, rows 2 and 3
            [0, 7, 1, 0.5, 0.4, 1, 0.6, 1],  # and this: columns 2 and 3, row 2
            [1, 2, 0, 0.3, 0, 0.7, 0.2, 0],
            [-1, 1, 0, 0, 0, 1, 1, 0],
        ]
    ).reshape(1, 1, 5, 8)
    text, shape = "type: 'SegGt' bottom: 'label' bottom: 'x' top: 'y' seggt_param {{ {} }}", (2, 6, 5, 4)
    y = build(text.format(""), rows.shape, shape).forward([rows, np.zeros(shape)])[0]
    first = [[3, 3, 3, 3], [3, 3, 3, 3], [3, 5, 7, 7], [3, 5, 5, 3], [3, 3, 3, 3]]
    second = [[0, 2, 0, 0]] + [[0] * 4] * 4
    assert y.tolist() == [[first], [second]]
    y = build(text.format("use_difficult_gt: false background_label_id: 3"), rows.shape, shape).forward(
        [rows, np.zeros(shape)]
    )[0]
    assert y[0, 0].tolist() == [[0] * 4, [0] * 4, [0, 5, 5, 0], [0, 5, 5, 0], [0] * 4]
    y = build(text.format("non_exclusive: true num_class: 8"), rows.shape, shape).forward([rows, np.zeros(shape)])[0]
    assert y.shape == (2, 8, 5, 4) and y[0, 0].sum() == 0 and y[0, 3].sum() == 20
    assert (y[0, [3, 5, 7], 2, 2] == 1).all() and y[1, 0].sum() == 19
    with pytest.raises(LabelFault, match="an object of class 7 in image 0: classes are 0 to 6, images 0 to 1"):
        build(text.format("non_exclusive: true num_class: 7"), rows.shape, shape).forward([rows, np.zeros(shape)])
    with pytest.raises(SchemaFault, match="non_exclusive needs num_class"):
        build(text.format("non_exclusive: true"), rows.shape, shape)
    with pytest.raises(ShapeFault, match=r"\(1, 1, M, 8\) and"):
        build(text.format(""), (1, 1, 3, 7), shape)


@pytest.mark.independent("MultiLabelLoss", "MultiLabelAccuracy")
def test_several_labels_an_image_of_which_some_are_not_known():
    x, label = normal(3, 5), np.random.default_rng(2).integers(-1, 2, (3, 5)).astype(float)
    expected, counts = 0.0, dict.fromkeys(itertools.product((True, False), repeat=2), 0)
    for score, said in zip(x.flat, label.flat, strict=True):
        if said:
            p = 1 / (1 + np.exp(-score))
            expected -= np.log(p if said > 0 else 1 - p)
            counts[said > 0, score >= 0] += 1
    loss, prob = build("type: 'MultiLabelLoss' bottom: 'x' bottom: 'l' top: 'y' top: 'p'", x.shape, x.shape).forward(
        [x, label]
    )
    np.testing.assert_allclose(loss, expected / 3)
    np.testing.assert_allclose(prob, 1 / (1 + np.exp(-x)))
    (shares,) = build("type: 'MultiLabelAccuracy' bottom: 'x' bottom: 'l' top: 'y'", x.shape, x.shape).forward(
        [x, label]
    )
    tp, fn, fp, tn = (counts[key] for key in itertools.product((True, False), repeat=2))
    recall, specificity, precision = tp / (tp + fn), tn / (tn + fp), tp / (tp + fp)
    expected = [recall, specificity, 2 / (1 / recall + 1 / specificity), precision, 2 * tp / (2 * tp + fp + fn)]
    np.testing.assert_allclose(shares.reshape(5), expected)
    (nothing,) = build("type: 'MultiLabelAccuracy' bottom: 'x' bottom: 'l' top: 'y'", (2, 3), (2, 3)).forward(
        [np.ones((2, 3)), np.zeros((2, 3))]
    )
    assert not nothing.any()
