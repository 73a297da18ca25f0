"""The layers of temporal fusion transformers, against the paper's formulas written out in NumPy, row by row."""

import numpy as np
import pytest

from demitasse.layers.layer import TEST
from demitasse.proto.errors import NetError
from tests.test_layers.building import build, normal


def made(text, *shapes):
    """A layer in TEST and the arrays that it has learned, random ones."""
    layer = build(text, *shapes, phase=TEST)
    for i, param in enumerate(layer.params):
        param.data = normal(*param.shape, seed=1 + i)
    return layer, [param.data for param in layer.params]


def normalised(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-10)


def gated(x, w1, b1, w2, b2):
    return (w2 @ x + b2) / (1 + np.exp(-(w1 @ x + b1)))


def network(x, params, context=None):
    """A gated residual network of a vector, equations 2 to 5; the params where the residual is mapped are two more."""
    params = list(params)
    residual = x
    if len(params) == 10 + (context is not None):
        residual = params.pop(0) @ x + params.pop(0)
    hidden = params.pop(0) @ x + params.pop(0)
    if context is not None:
        hidden = hidden + params.pop(0) @ context
    hidden = np.array([value if value > 0 else np.exp(value) - 1 for value in hidden])
    return normalised(residual + gated(params[0] @ hidden + params[1], *params[2:]))


@pytest.mark.independent("GLU")
def test_half_of_a_gated_unit_gates_the_other():
    x = normal(3, 2, 5)
    layer, params = made("type: 'GLU' glu_param { input_dim: 4 axis: 2 }", x.shape)
    (y,) = layer.forward([x])
    assert y.shape == (3, 2, 4)
    for i in np.ndindex(3, 2):
        np.testing.assert_allclose(y[i], gated(x[i], *params))


@pytest.mark.independent("GRN")
@pytest.mark.parametrize("outputs", [5, 3])
@pytest.mark.parametrize("with_context", [False, True])
def test_gated_residual_network(outputs, with_context):
    bottoms = [normal(6, 5), normal(6, 2, seed=99)][: 1 + with_context]
    text = f"type: 'GRN' grn_param {{ input_dim: 5 hidden_dim: 4 output_dim: {outputs} context_dim: 2 }}"
    layer, params = made(text, *(x.shape for x in bottoms))
    shapes = [(outputs, 5), (outputs,)] * (outputs != 5) + [(4, 5), (4,)] + [(4, 2)] * with_context
    square = [(outputs, outputs), (outputs,)]
    assert [param.shape for param in params] == [*shapes, (outputs, 4), (outputs,), *square, *square]
    (y,) = layer.forward(bottoms)
    for i in range(6):
        np.testing.assert_allclose(y[i], network(bottoms[0][i], params, *(c[i] for c in bottoms[1:])))


@pytest.mark.independent("VarSelNet")
def test_variables_are_chosen_for_each_row():
    x, context, count, size = normal(5, 6), normal(5, 2, seed=99), 3, 2
    text = "type: 'VarSelNet' top: 'y' top: 'v' varselnet_param { num_inputs: 3 input_dim: 2 hidden_dim: 2 }"
    layer, params = made(text, x.shape, context.shape)
    y, weights = layer.forward([x, context])
    choice, own = params[:11], np.reshape(np.arange(24), (3, 8)) + 11
    for i, row in enumerate(x):
        exps = np.exp(network(row, choice, context[i]))
        np.testing.assert_allclose(weights[i], exps / exps.sum())
        each = [network(row[k * size : (k + 1) * size], [params[j] for j in own[k]]) for k in range(count)]
        np.testing.assert_allclose(y[i], sum(w * part for w, part in zip(weights[i], each, strict=True)))


@pytest.mark.independent("GateAddNorm")
def test_what_is_gated_is_added_to_the_last_steps():
    x, residual = normal(2, 3, 4), normal(2, 5, 4, seed=99)
    fields = "glu_param { input_dim: 4 axis: 2 } gateaddnorm_param { residual_channel_offset: 2 }"
    layer, params = made(f"type: 'GateAddNorm' {fields}", x.shape, residual.shape)
    (y,) = layer.forward([x, residual])
    for n, t in np.ndindex(2, 3):
        np.testing.assert_allclose(y[n, t], normalised(gated(x[n, t], *params) + residual[n, t + 2]))
    with pytest.raises(NetError, match=r"the second is to be \(2, 5, 4\)"):
        made(f"type: 'GateAddNorm' {fields}", x.shape, x.shape)


@pytest.mark.independent("MultiheadAttentionInterp")
@pytest.mark.parametrize("past, future", [(4, 2), (6, 0)])
def test_heads_share_their_values(past, future):
    x, size, heads = normal(2, 6, 3), 4, 2
    fields = f"num_historical_steps: {past} num_future_steps: {future} embed_dim: {size} num_heads: {heads}"
    text = (
        f"type: 'MultiheadAttentionInterp' top: 'y' top: 'a' top: 'w' multihead_attention_interp_param {{ {fields} }}"
    )
    layer, (wq, bq, wk, bk, wv, bv, wo, bo) = made(text, x.shape)
    assert (wq.shape, wk.shape, wv.shape, wo.shape) == ((8, 3), (8, 3), (4, 3), (4, 4))
    y, attended, weights = layer.forward([x])
    asking = range(past, 6) if future else range(6)
    assert y.shape == attended.shape == (2, len(asking), size) and weights.shape == (2, len(asking), 6)
    for n in range(2):
        for row, t in enumerate(asking):
            mean = np.zeros(6)
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                query = (wq @ x[n, t] + bq)[part]
                exps = np.exp([query @ (wk @ x[n, s] + bk)[part] / np.sqrt(size) for s in range(t + 1)])
                mean[: t + 1] += exps / exps.sum() / heads
            np.testing.assert_allclose(weights[n, row], mean, atol=1e-12)
            np.testing.assert_allclose(
                attended[n, row], sum(m * (wv @ z + bv) for m, z in zip(mean, x[n], strict=True))
            )
            np.testing.assert_allclose(y[n, row], wo @ attended[n, row] + bo)


def test_a_mask_says_what_may_not_be_asked():
    query, key = normal(2, 2, 3), normal(2, 4, 3, seed=99)
    mask = np.array([[0, 1, 0, 1], [0, 0, 0, 1]])
    fields = "enable_self_attention: false embed_dim: 4 num_heads: 2"
    text = (
        f"type: 'MultiheadAttentionInterp' top: 'y' top: 'a' top: 'w' multihead_attention_interp_param {{ {fields} }}"
    )
    layer, _ = made(text, query.shape, key.shape, key.shape, mask.shape)
    weights = layer.forward([query, key, key, mask])[2]
    assert np.array_equal(weights[0] == 0, mask == 1) and np.allclose(weights.sum(2), 1)


@pytest.mark.independent("ReshapeTemporal")
def test_steps_become_items_and_come_back():
    x, context = normal(2, 3, 4), normal(2, 5)
    before = build("type: 'ReshapeTemporal' bottom: 'x' bottom: 'c' top: 'y' top: 'd'", x.shape, context.shape)
    y, wide = before.forward([x, context])
    for n, t in np.ndindex(2, 3):
        np.testing.assert_array_equal(y[3 * n + t], x[n, t])
        np.testing.assert_array_equal(wide[3 * n + t], context[n])
    fields = "reshape_temporal_param { mode: AFTER steps_of_last: true enable_clip_output: true }"
    after = build(f"type: 'ReshapeTemporal' bottom: 'y' bottom: 'x' {fields}", y.shape, x.shape)
    back, ones = after.forward([y, x])
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(ones, np.ones((2, 3)))
    with pytest.raises(NetError, match="comes from no ReshapeTemporal layer of mode BEFORE"):
        build("type: 'ReshapeTemporal' bottom: 'y' reshape_temporal_param { mode: AFTER }", y.shape)


@pytest.mark.independent("NumericTransformation", "CategoricalTransformation", "ChannelEmbedding")
def test_features_become_vectors_side_by_side():
    numbers, classes = normal(2, 3, 2), np.arange(6).reshape(2, 3, 1) % 4
    half = "{} {{ num_input: {} state_size: 3 {} }}"
    fields = half.format("numeric_trans_param", 2, ""), half.format("categorical_trans_param", 1, "cardinality: 4")
    layer, params = made(f"type: 'ChannelEmbedding' {' '.join(fields)}", numbers.shape, classes.shape)
    w1, b1, w2, b2, table = params
    assert [param.shape for param in params] == [(3, 1), (3,), (3, 1), (3,), (4, 3)]
    (y,) = layer.forward([numbers, classes])
    for n, t in np.ndindex(2, 3):
        first, second = numbers[n, t]
        expected = [w1[:, 0] * first + b1, w2[:, 0] * second + b2, table[classes[n, t, 0]]]
        np.testing.assert_allclose(y[n, t], np.concatenate(expected))
    halves = ((numbers, "Numeric", 2, fields[0], params[:4]), (classes, "Categorical", 1, fields[1], params[4:]))
    tops = []
    for x, kind, count, text, values in halves:
        tops_of = "".join(f"top: '{i}' " for i in range(count))
        half, _ = made(f"type: '{kind}Transformation' {tops_of} {text}", x.shape)
        for param, value in zip(half.params, values, strict=True):
            param.data = value
        tops += half.forward([x])
    np.testing.assert_allclose(np.concatenate(tops, 1), y.reshape(6, 9))
    with pytest.raises(NetError, match="categorical feature 1 is 4 somewhere: its cardinality 4 means 0 to 3"):
        layer.forward([numbers, classes + 1])


@pytest.mark.independent("QuantileLoss")
def test_quantiles_cost_more_on_one_side():
    said, targets, wanted = normal(2, 3, 3), normal(2, 3, 1, seed=99), (0.1, 0.5, 0.9)
    quantiles = " ".join(f"desired_quantile: {q}" for q in wanted)
    text = f"type: 'QuantileLoss' top: 'l' top: 'risk' quantile_loss_param {{ {quantiles} }}"
    loss, risk = build(text, said.shape, targets.shape).forward([said, targets])
    costs = np.zeros((2, 3))
    for n, t, i in np.ndindex(2, 3, 3):
        apart = targets[n, t, 0] - said[n, t, i]
        costs[n, t] += wanted[i] * apart if apart > 0 else (wanted[i] - 1) * apart
    np.testing.assert_allclose(loss, costs.mean(), rtol=1e-6)
    np.testing.assert_allclose(risk, 2 * costs.sum(0) / np.abs(targets).sum(), rtol=1e-6)


@pytest.mark.independent("QuantileAccuracy")
def test_targets_near_the_middle_quantile():
    said = np.array([[[-1.0, 0, 2]] * 4])
    targets = np.array([[[1.0], [1.3], [-0.4], [-0.7]]])
    ranges = "accuracy_range: 0.6 accuracy_range: 1 average_period: 2"
    text = f"type: 'QuantileAccuracy' quantile_accuracy_param {{ {ranges} }} "
    layer = build(text + "top: 'a' top: 'b'", said.shape, targets.shape)
    assert [float(top) for top in layer.forward([said, targets])] == [0.5, 1]
    assert [float(top) for top in layer.forward([said, targets + 9])] == [0.25, 0.5]
    assert [float(top) for top in layer.forward([said, targets + 9])] == [0, 0]
    direction = "quantile_accuracy_param { accuracy_type: DIRECTION direction_item_count: 3 }"
    layer = build(f"type: 'QuantileAccuracy' top: 'a' {direction}", said.shape, targets.shape)
    (share,) = layer.forward([said + 1, targets])
    assert np.isclose(float(share), 2 / 3)
