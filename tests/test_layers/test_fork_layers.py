"""Layers of forks against sums written out, pixel by pixel, from the papers they come from."""

import numpy as np
import pytest

from demitasse.layers.layer import TEST
from demitasse.proto import matfile
from demitasse.proto.errors import NetError
from tests.test_layers.building import build, normal

COLINEAR = "type: 'ColinearConvolution' bottom: 'x' top: 'y' colinear_convolution_param {{ num_output: 2 {} }}"
LABELS = np.array([0.0, 1, 0, 1, 2, 2])


@pytest.mark.independent("Mish")
def test_mish():
    x = np.array([-30.0, -1, 0, 2, 900])
    expected = [
        -30 * np.tanh(np.log1p(np.exp(-30))),
        -np.tanh(np.log1p(np.exp(-1))),
        0,
        2 * np.tanh(np.log1p(np.exp(2))),
    ]
    np.testing.assert_allclose(build("type: 'Mish'", x.shape).forward([x])[0], [*expected, 900])


@pytest.mark.independent("Flip", "Reverse")
def test_flip_and_reverse():
    x = normal(1, 2, 3, 4)
    assert np.array_equal(build("type: 'Flip'", x.shape).forward([x])[0], x[..., ::-1])
    both = build("type: 'Flip' flip_param { flip_height: true }", x.shape)
    assert np.array_equal(both.forward([x])[0], x[..., ::-1, ::-1])
    assert np.array_equal(build("type: 'Reverse' reverse_param { axis: 2 }", x.shape).forward([x])[0], x[:, :, ::-1])


@pytest.mark.independent("Padding")
def test_padding_adds_zeros_and_leaves_out():
    x = normal(1, 1, 4, 5)
    (y,) = build("type: 'Padding' padding_param { pad_beg: -1 pad_end: 2 }", x.shape).forward([x])
    assert y.shape == (1, 1, 5, 6) and np.array_equal(y[..., :3, :4], x[..., 1:, 1:]) and not y[..., 3:, :].any()
    with pytest.raises(NetError, match="leave nothing"):
        build("type: 'Padding' padding_param { pad_beg: -3 pad_end: -2 }", x.shape)


@pytest.mark.independent("ContinuationIndicator", "RecurrentCont")
def test_a_sequence_begins_with_the_batch():
    fields = "continuation_indicator_param { time_step: 3 batch_size: 2 }"
    (top,) = build(f"type: 'ContinuationIndicator' {fields}").forward([])
    assert top.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert build("type: 'RecurrentCont'", (2, 1, 5)).forward([normal(2, 1, 5)])[0].tolist() == [[0], [1]]


@pytest.mark.independent("ColinearConvolution")
@pytest.mark.parametrize("symmetric", [False, True])
def test_colinear_convolution_is_a_quadratic_form_of_each_window(symmetric):
    layer = build(COLINEAR.format(f"kernel_size: 2 stride: 2 pad: 1 symmetric: {str(symmetric).lower()}"), (1, 3, 4, 5))
    x = normal(1, 3, 4, 5)
    (y,) = layer.forward([x])
    bias, weight, quadratic = (param.data for param in layer.params)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for m, h, w in np.ndindex(y.shape[1:]):
        window = padded[0, :, 2 * h : 2 * h + 2, 2 * w : 2 * w + 2].reshape(-1)
        form = quadratic[0, m]
        form = np.triu(form) + np.triu(form, 1).T if symmetric else form
        expected = window @ form @ window + weight[m].reshape(-1) @ window + bias[0, 0, 0, m]
        np.testing.assert_allclose(y[0, m, h, w], expected)


@pytest.mark.independent("SigmoidCrossEntropyBalanceLoss")
def test_balanced_cross_entropy_weighs_a_class_by_the_other_ones_share():
    x, edges = normal(2, 1, 3, 4), (normal(2, 1, 3, 4, seed=1) > 0.8).astype(float)
    loss = 0.0
    for score, edge in zip(x, edges, strict=True):
        p, share = 1 / (1 + np.exp(-score)), edge.mean()
        loss -= ((1 - share) * np.log(p[edge == 1])).sum() + (share * np.log(1 - p[edge == 0])).sum()
    layer = build("type: 'SigmoidCrossEntropyBalanceLoss'", x.shape, edges.shape)
    np.testing.assert_allclose(layer.forward([x, edges])[0], loss / 2)


@pytest.mark.independent("LiftedStructSimilaritySoftmaxLoss")
def test_lifted_structures_are_those_of_the_paper():
    x, margin, total, pairs = normal(6, 3), 1.5, 0.0, 0
    distance = np.linalg.norm(x[:, None] - x[None], axis=2)
    for i in range(6):
        for j in range(i + 1, 6):
            if LABELS[i] == LABELS[j]:
                negatives = [margin - distance[a, k] for a in (i, j) for k in range(6) if LABELS[k] != LABELS[i]]
                total += max(0, np.log(np.exp(negatives).sum()) + distance[i, j]) ** 2
                pairs += 1
    text = "type: 'LiftedStructSimilaritySoftmaxLoss' lifted_struct_sim_softmax_loss_param { margin: 1.5 }"
    np.testing.assert_allclose(build(text, x.shape, (6,)).forward([x, LABELS])[0], total / (2 * pairs))


@pytest.mark.independent("MarginInnerProduct", "LargeMarginInnerProduct")
@pytest.mark.parametrize("m, kind", [(1, "SINGLE"), (2, "DOUBLE"), (3, "TRIPLE"), (4, "QUADRUPLE")])
@pytest.mark.parametrize("large", [False, True])
def test_a_margin_of_angles_is_that_of_the_paper(m, kind, large):
    name, field = ("LargeMarginInnerProduct", "large_") if large else ("MarginInnerProduct", "")
    fields = f"num_output: 3 type: {kind} base: 5 gamma: 0.5 power: 2 lambda_min: 0.1 iteration: 3"
    text = f"type: '{name}' top: 'y' top: 'lambda' {field}margin_inner_product_param {{ {fields} }}"
    x = normal(6, 4, seed=3)
    layer = build(text, x.shape, (6,))
    y, share = layer.forward([x, LABELS])
    assert share == pytest.approx(5 * 2.5**-2)
    w = layer.params[0].data
    w = w if large else w / np.linalg.norm(w, axis=1, keepdims=True)
    for i, j in np.ndindex(y.shape):
        size = np.linalg.norm(x[i]) * np.linalg.norm(w[j])
        angle = np.arccos(x[i] @ w[j] / size)
        k = np.floor(m * angle / np.pi)
        psi = (-1) ** k * np.cos(m * angle) - 2 * k
        value = (share[0] * np.cos(angle) + psi) / (1 + share[0]) if j == LABELS[i] else np.cos(angle)
        np.testing.assert_allclose(y[i, j], size * value, rtol=1e-9)
    assert layer.forward([x, LABELS])[1] == pytest.approx(5 * 3**-2) and layer.state() == {"iteration": 5}


@pytest.mark.independent("LabelSpecificAdd")
def test_an_additive_margin_is_taken_from_the_label_in_train_only():
    text = "type: 'LabelSpecificAdd' label_specific_add_param { bias: -0.35 }"
    x = normal(6, 3)
    expected = x - 0.35 * np.eye(3)[LABELS.astype(int)]
    np.testing.assert_allclose(build(text, x.shape, (6,)).forward([x, LABELS])[0], expected, rtol=1e-6)
    assert np.array_equal(build(text, x.shape, (6,), phase=TEST).forward([x, LABELS])[0], x)


def test_weights_of_length_one():
    layer = build("type: 'InnerProduct' inner_product_param { num_output: 2 normalize: true bias_term: false }", (3, 4))
    x, w = normal(3, 4), layer.params[0].data
    np.testing.assert_allclose(layer.forward([x])[0], x @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T)


@pytest.mark.independent("L1Loss")
def test_absolute_differences_over_the_batch():
    a, b = normal(3, 4), normal(3, 4, seed=1)
    np.testing.assert_allclose(build("type: 'L1Loss'", a.shape, b.shape).forward([a, b])[0], np.abs(a - b).sum() / 3)


@pytest.mark.independent("SegAccuracy")
def test_accuracy_of_a_segmentation():
    x, labels = normal(2, 3, 4, 5), np.random.default_rng(2).integers(0, 4, (2, 1, 4, 5)).astype(float)
    fields = "seg_accuracy_param { ignore_label: 3 reset: false }"
    layer = build(f"type: 'SegAccuracy' {fields}", x.shape, labels.shape)
    found, true = x.argmax(1)[labels[:, 0] != 3], labels[:, 0][labels[:, 0] != 3]
    recall = [np.mean(found[true == c] == c) for c in range(3)]
    overlap = [np.sum((found == c) & (true == c)) / np.sum((found == c) | (true == c)) for c in range(3)]
    expected = [np.mean(found == true), np.mean(recall), np.mean(overlap)]
    for _ in range(2):  # the same batch again: the same shares
        np.testing.assert_allclose(layer.forward([x, labels])[0].reshape(-1), expected)
    assert layer.counts.sum() == 2 * len(true)


@pytest.mark.independent("MatWrite")
def test_items_go_to_matlab_files_of_their_names(tmp_path):
    (tmp_path / "list.txt").write_text("one.jpg\ntwo.jpg\nthree.jpg\n")
    fields = f'prefix: "{tmp_path}/out/" source: "{tmp_path}/list.txt" strip: 4'
    layer = build(f"type: 'MatWrite' mat_write_param {{ {fields} }}", (2, 3, 4, 5))
    x = normal(2, 3, 4, 5)
    layer.forward([x])
    layer.forward([-x])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"{name}_blob_0.mat" for name in ("one", "three", "two")
    ]
    data = matfile.read((tmp_path / "out" / "two_blob_0.mat").read_bytes())["data"]
    assert np.array_equal(data.reshape(5, 4, 3), x[1].transpose(2, 1, 0))


def test_without_the_list_of_names_nothing_is_written():
    with pytest.warns(UserWarning, match="nothing is written: source 'gone', the items' names, does not exist"):
        layer = build("type: 'MatWrite' mat_write_param { prefix: 'gone/' source: 'gone' }", (2, 3, 4, 5))
    assert layer.forward([normal(2, 3, 4, 5)]) == []


@pytest.mark.independent("Lstm")
def test_lstm_over_items_is_lstm_with_its_params_in_another_order():
    x = normal(6, 4, seed=5)
    layer = build("type: 'Lstm' lstm_param { num_output: 3 batch_size: 2 clipping_threshold: 0.1 }", x.shape)
    caffes = build("type: 'LSTM' top: 'y' recurrent_param { num_output: 3 }", (3, 2, 4), (3, 2))
    for mine, other in zip(caffes.params, (0, 2, 1), strict=True):
        mine.data = layer.params[other].data
    cont = np.array([[0.0, 0], [1, 1], [1, 1]])
    (y,) = layer.forward([x])
    np.testing.assert_allclose(y.reshape(3, 2, 3), caffes.forward([x.reshape(3, 2, 4), cont])[0])
    (dx,) = layer.backward([100 * normal(6, 3)], [True])
    assert np.abs(dx).max() <= 0.1 * np.abs(layer.params[0].data).sum(0).max()


@pytest.mark.independent("Axpy", "ChannelScale")
def test_a_number_for_each_channel_or_for_each_pixel():
    x, y, channels, pixels = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1), normal(2, 3, seed=2), normal(2, 1, 4, 5)
    axpy = build("type: 'Axpy' bottom: 's' bottom: 'x' bottom: 'y'", channels.shape, x.shape, y.shape)
    (sums,) = axpy.forward([channels, x, y])
    (scaled,) = build("type: 'ChannelScale'", x.shape, pixels.shape).forward([x, pixels])
    (items,) = build("type: 'ChannelScale'", x.shape, (2,)).forward([x, channels[:, 0]])
    for n, c, h, w in np.ndindex(x.shape):
        assert sums[n, c, h, w] == channels[n, c] * x[n, c, h, w] + y[n, c, h, w]
        assert scaled[n, c, h, w] == x[n, c, h, w] * pixels[n, 0, h, w]
        assert items[n, c, h, w] == x[n, c, h, w] * channels[n, 0]


@pytest.mark.independent("Permute", "Gather")
def test_axes_change_places_and_nothing_else_does():
    x = normal(2, 3, 4, 5)
    (y,) = build("type: 'Permute' permute_param { order: 0 order: 2 order: 3 order: 1 }", x.shape).forward([x])
    assert all(y[n, h, w, c] == x[n, c, h, w] for n, c, h, w in np.ndindex(x.shape)) and y.shape == (2, 4, 5, 3)
    assert np.array_equal(build("type: 'Gather'", x.shape).forward([x])[0], x)


@pytest.mark.independent("Norm", "ReLU6")
def test_lengths_are_one_and_values_stay_below_six():
    x = normal(3, 2, 4)
    x[1] = 0
    (y,) = build("type: 'Norm'", x.shape).forward([x])
    np.testing.assert_allclose([np.linalg.norm(item) for item in y], [1, 0, 1])
    np.testing.assert_allclose(y[2] * np.linalg.norm(x[2]), x[2])
    assert build("type: 'ReLU6'", (1, 5)).forward([np.array([[-1.0, 0, 5.5, 6, 7]])])[0].tolist() == [[0, 0, 5.5, 6, 6]]
