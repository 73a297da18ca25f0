"""BatchNorm and the BN of the forks: running statistics, phases, and their agreement with each other."""

import numpy as np
import pytest

from demitasse.layers.layer import TEST, TRAIN
from demitasse.proto.errors import SchemaFault, ShapeFault
from tests.test_layers.building import build, normal

NORM = "type: 'BatchNorm' bottom: 'x' top: 'y' batch_norm_param {{ {} }}"
BN = "type: 'BN' bottom: 'x' top: 'y' bn_param {{ {} }}"
X = 3 * normal(4, 3, 5, 6) + np.array([1.0, -2, 0]).reshape(1, 3, 1, 1)


def clear(layer):
    for param in layer.params:
        param.data[...] = 0
    return layer


def test_running_sums_are_caffes():
    layer = clear(build(NORM.format("moving_average_fraction: 0.9"), X.shape))
    mean, variance, factor = np.zeros(3), np.zeros(3), 0.0
    for step in range(4):
        x = X + step
        layer.forward([x])
        n = x.size / 3
        mean, factor = 0.9 * mean + x.mean((0, 2, 3)), 0.9 * factor + 1
        variance = 0.9 * variance + x.var((0, 2, 3)) * n / (n - 1)
    for param, expected in zip(layer.params, (mean, variance, [factor]), strict=True):
        np.testing.assert_allclose(param.data, expected, rtol=1e-6)
    test = build(NORM.format(""), X.shape, phase=TEST)
    for param, other in zip(test.params, layer.params, strict=True):
        param.data = other.data
    (y,) = test.forward([X])
    column = (1, 3, 1, 1)
    expected = (X - (mean / factor).reshape(column)) / np.sqrt((variance / factor).reshape(column) + 1e-5)
    np.testing.assert_allclose(y, expected, atol=1e-6)
    (dx,) = test.backward([X], [True])
    np.testing.assert_allclose(dx, X / np.sqrt((variance / factor).reshape(column) + 1e-5), rtol=1e-5)


def test_statistics_are_not_learned():
    layer = build(NORM.format(""), X.shape)
    assert [(p.shape, p.lr_mult, p.decay_mult) for p in layer.params] == [((3,), 0, 0), ((3,), 0, 0), ((1,), 0, 0)]


def test_use_global_stats_beats_the_phase():
    x = normal(2, 3)
    assert np.allclose(build(NORM.format("use_global_stats: false"), x.shape, phase=TEST).forward([x])[0].mean(0), 0)
    frozen = clear(build(NORM.format("use_global_stats: true"), x.shape, phase=TRAIN))
    np.testing.assert_allclose(frozen.forward([x])[0], x / np.sqrt(1e-5), rtol=1e-6)  # scale factor 0: no statistics
    assert not any(param.data.any() for param in frozen.params)


def test_a_large_mean_leaves_the_variance_its_digits():
    x = (normal(4, 3, 20, 20) + 1e4).astype(np.float32)
    (y,) = build(NORM.format(""), x.shape, dtype="float32").forward([x])
    np.testing.assert_allclose(y.std((0, 2, 3)), 1, rtol=1e-3)


def test_channels_cannot_change():
    with pytest.raises(ShapeFault, match="4 channels .* made for 3"):
        build(NORM.format(""), (2, 3, 4)).infer([(2, 4, 4)])


@pytest.mark.independent("BN")
def test_segnet_normalises_by_the_batch_in_both_phases_and_hands_out_its_statistics():
    text = BN.format("scale_filler { value: 2 } shift_filler { value: 0.5 }").replace(
        "top: 'y'", "top: 'y' top: 'mean' top: 'variance'"
    )
    for phase in (TRAIN, TEST):
        layer = build(text, X.shape, phase=phase)
        layer.params[0].data[...], layer.params[1].data[...] = 2, 0.5
        y, mean, variance = layer.forward([X])
        np.testing.assert_allclose(mean.ravel(), X.mean((0, 2, 3)))
        np.testing.assert_allclose(variance.ravel(), X.var((0, 2, 3)))
        np.testing.assert_allclose(y, 2 * (X - mean) / np.sqrt(variance) + 0.5, rtol=1e-6)
    merged = build(BN.format("bn_mode: INFERENCE"), X.shape)  # as SegNet's script merges them
    merged.params[0].data = 2 / np.sqrt(variance)
    merged.params[1].data = 0.5 - mean * merged.params[0].data
    np.testing.assert_allclose(merged.forward([X])[0], y, rtol=1e-6)
    assert [param.shape for param in merged.params] == [(1, 3, 1, 1)] * 2


def test_pspnet_runs_on_moving_averages_in_test():
    fields = "slope_filler { value: 1 } momentum: 0.5"
    train, test = (build(BN.format(fields), X.shape, phase=phase) for phase in (TRAIN, TEST))
    clear(train).forward([X])
    for param, half in zip(train.params[2:], (X.mean((0, 2, 3)) / 2, X.var((0, 2, 3)) / 2), strict=True):
        np.testing.assert_allclose(param.data.ravel(), half)
        assert param.lr_mult == 0
    for param, value in zip(test.params, (3.0, 1.0, 2.0, 4.0), strict=True):
        param.data[...] = value
    np.testing.assert_allclose(test.forward([X])[0], 3 * (X - 2) / np.sqrt(4 + 1e-5) + 1)


def test_frozen_learns_nothing_and_keeps_its_averages():
    layer = build(BN.format("frozen: true"), X.shape)
    before = [param.data.copy() for param in layer.params]
    layer.params[3].data[...] = before[3] = np.full((1, 3, 1, 1), 2.0)
    layer.forward([X])
    assert all(np.array_equal(param.data, old) for param, old in zip(layer.params, before, strict=True))
    assert [param.lr_mult for param in layer.params] == [0, 0, 0, 0]


def test_bn_of_two_forks_at_once_is_refused():
    with pytest.raises(SchemaFault, match="has shift_filler, of SegNet's BN, and eps, of PSPNet's"):
        build("type: 'BN' bottom: 'x' top: 'y' bn_param { shift_filler { } eps: 1e-3 }", (2, 3))


def test_statistics_of_the_batch_come_from_learn_only():
    with pytest.raises(SchemaFault, match="only bn_mode LEARN hands out"):
        build("type: 'BN' bottom: 'x' top: 'y' top: 'm' bn_param { bn_mode: INFERENCE }", (2, 3))
    with pytest.raises(ShapeFault, match="scales for 3 channels"):
        build(BN.format(""), (2, 3)).infer([(2, 4)])


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_nvidias_scale_and_bias_are_those_of_a_scale_layer(phase):
    plain = build(NORM.format(""), X.shape, phase=phase)
    layer = build(NORM.format("scale_bias: true"), X.shape, phase=phase)
    assert [param.lr_mult for param in layer.params] == [0, 0, 0, 1, 1]
    for param, other in zip(layer.params, plain.params, strict=False):
        param.data[...] = other.data[...] = 2
    gamma, beta = (param.data.reshape(1, 3, 1, 1) for param in layer.params[3:])
    unit, dy = plain.forward([X])[0], normal(*X.shape, seed=4)
    np.testing.assert_allclose(layer.forward([X])[0], gamma * unit + beta)
    (dx,) = layer.backward([dy], [True])
    np.testing.assert_allclose(dx, plain.backward([dy * gamma], [True])[0])
    np.testing.assert_allclose(layer.params[3].grad, (dy * unit).sum((0, 2, 3)))
    np.testing.assert_allclose(layer.params[4].grad, dy.sum((0, 2, 3)))


def dense_block(x, arrays, steps, narrow, statistics=None):
    """DenseNet's block by loops over steps; arrays: params in their order; statistics: mean and variance of all."""

    def normalised(x, at):
        mean, variance = statistics or (x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True))
        scale, shift = arrays[at], arrays[at + steps]
        return np.maximum((x - mean) / np.sqrt(variance + 1e-5) * scale + shift, 0)

    def convolved(x, w):
        pad, (height, width) = w.shape[2] // 2, x.shape[2:]
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        sides = [(i, j) for i in range(w.shape[2]) for j in range(w.shape[3])]
        return sum(np.einsum("nchw,kc->nkhw", x[:, :, i : i + height, j : j + width], w[:, :, i, j]) for i, j in sides)

    for t in range(steps):
        hidden = normalised(x, steps + t)
        if narrow:
            hidden = normalised(convolved(hidden, arrays[5 * steps + t]), 6 * steps + t)
        x = np.concatenate([x, convolved(hidden, arrays[t])], 1)
    return x


@pytest.mark.independent("DenseBlock")
@pytest.mark.parametrize("narrow", [False, True])
def test_a_dense_block_is_its_steps(narrow):
    fields = f"numTransition: 2 growthRate: 2 use_BC: {str(narrow).lower()} moving_average_fraction: 0.5"
    text = f"type: 'DenseBlock' bottom: 'x' top: 'y' denseblock_param {{ {fields} }}"
    layer = build(text, X.shape)
    for param in (each for each in layer.params if not each.lr_mult):
        param.data[...] = 0
    arrays = [param.data.copy() for param in layer.params]
    np.testing.assert_allclose(layer.forward([X])[0], dense_block(X, arrays, 2, narrow), atol=1e-9)
    assert layer.params[-1].data == 1 and not layer.params[0].shape == layer.params[2].shape
    np.testing.assert_allclose(layer.params[6].data, X.mean((0, 2, 3), keepdims=True))  # the first running mean
    test = build(text, X.shape, phase=TEST)
    for own, param in zip(test.params, layer.params, strict=True):
        own.data = param.data
    for own in (each for each in test.params[:-1] if not each.lr_mult):
        own.data = np.full_like(own.data, 2.0)
    test.params[-1].data = np.array([4.0])  # by which the statistics are divided
    expected = dense_block(X, arrays, 2, narrow, (0.5, 0.5))
    np.testing.assert_allclose(test.forward([X])[0], expected, atol=1e-9)
    with pytest.raises(SchemaFault, match="use_dropout"):
        build(text.replace("use_BC", "use_dropout: true use_BC"), X.shape)
