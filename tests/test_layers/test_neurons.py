"""The elementwise layers at the ends of the number range and at their kinks."""

import warnings

import numpy as np
import pytest

from demitasse.layers.layer import TEST
from demitasse.proto.errors import NetError, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal

FAR = np.array([[-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4]])
TYPES = ["AbsVal", "BNLL", "ELU", "Sigmoid", "Swish", "TanH"]


def values(kind, x, fields="", dtype="float64"):
    """The top and its derivative."""
    layer = build(f"type: '{kind}' bottom: 'x' top: 'y' {fields}", x.shape, dtype=dtype)
    x = x.astype(dtype)
    (y,) = layer.forward([x])
    (dx,) = layer.backward([np.ones_like(y)], [True])
    return y, dx


@pytest.mark.parametrize("name", TYPES)
def test_huge_values_neither_overflow_nor_warn(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, dx = values(name, FAR, dtype="float32")
    assert y.dtype == dx.dtype == np.float32
    assert np.isfinite(y).all() and np.isfinite(dx).all()


def test_small_tails_keep_their_digits():
    y, dx = values("Sigmoid", FAR)
    assert y[0, 2] == pytest.approx(np.exp(-20), rel=1e-8) and y[0, 4] < 1
    assert dx[0, 2] == pytest.approx(np.exp(-20), rel=1e-8)
    y, dx = values("BNLL", FAR)
    assert y[0, 2] == pytest.approx(np.exp(-20), rel=1e-8) and y[0, 6] == 1e4
    y, _ = values("ELU", np.array([[-1e-9]]))
    assert y[0, 0] == pytest.approx(-1e-9, rel=1e-8)


def test_clip_passes_the_gradient_at_its_bounds():
    y, dx = values("Clip", np.array([[-2.0, -1, 0, 2, 3]]), "clip_param { min: -1 max: 2 }")
    assert y.tolist() == [[-1, -1, 0, 2, 2]] and dx.tolist() == [[0, 1, 1, 1, 0]]


def test_prelu_takes_the_slope_at_zero():
    layer = build("type: 'PReLU' bottom: 'x' top: 'y'", (1, 2))
    layer.params[0].data[...] = [0.25, -3]
    layer.forward([np.zeros((1, 2))])
    assert layer.backward([np.ones((1, 2))], [True])[0].tolist() == [[0.25, -3]]


@pytest.mark.parametrize("power, at_zero", [(2, 0), (3, 0), (1, 1), (0, 0)])
def test_power_has_a_derivative_at_zero(power, at_zero):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, dx = values("Power", np.zeros((1, 1)), f"power_param {{ power: {power} }}")
    assert dx[0, 0] == at_zero


def test_threshold_is_strict():
    layer = build("type: 'Threshold' bottom: 'x' top: 'y' threshold_param { threshold: 0.5 }", (1, 3))
    assert layer.forward([np.array([[0.4, 0.5, 0.6]])])[0].tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    "text, words",
    [
        ("type: 'Clip' bottom: 'x' top: 'y' clip_param { min: 3 max: 2 }", "min 3 above max 2"),
        ("type: 'Exp' bottom: 'x' top: 'y' exp_param { base: 0 }", "exp_param.base is 0"),
        ("type: 'Log' bottom: 'x' top: 'y' log_param { base: 1 }", "log_param.base is 1"),
        (
            "type: 'SpatialDropout' bottom: 'x' top: 'y' spatial_dropout_param { dropout_ratio: 1 }",
            "dropout_ratio is 1",
        ),
    ],
)
def test_fields_that_make_no_function_are_refused(text, words):
    with pytest.raises(SchemaFault, match=words):
        build(text, (2, 3))


def test_channels_are_needed_and_cannot_change():
    with pytest.raises(ShapeFault, match="axis 1, which is missing"):
        build("type: 'PReLU' bottom: 'x' top: 'y'", (5,))
    with pytest.raises(ShapeFault, match=r"\(2, 4\), but there are slopes for 3 channels"):
        build("type: 'PReLU' bottom: 'x' top: 'y'", (2, 3)).infer([(2, 4)])


@pytest.mark.independent("SpatialDropout")
def test_spatial_dropout_drops_whole_channels_of_each_item():
    text = "type: 'SpatialDropout' bottom: 'x' top: 'y' spatial_dropout_param { dropout_ratio: 0.25 }"
    x = np.abs(normal(40, 50, 2, 2)) + 1
    layer = build(text, x.shape)
    (y,) = layer.forward([x])
    factor = (y / x).round(9)
    assert (factor == factor[:, :, :1, :1]).all()
    np.testing.assert_allclose(np.unique(factor), [0, 4 / 3])
    assert 0.2 < (factor[:, :, 0, 0] == 0).mean() < 0.3
    assert len({tuple(row) for row in factor[:, :, 0, 0]}) == 40
    np.testing.assert_array_equal(layer.backward([x], [True])[0], y)
    assert build(text, x.shape, phase=TEST).forward([x])[0] is x
    assert (build(text.replace("}", "sample_weights_test: true }"), x.shape, phase=TEST).forward([x])[0] == 0).any()


@pytest.mark.independent("Insanity")
def test_negative_numbers_are_divided_by_what_is_drawn():
    x = np.concatenate([np.full(2000, -1.0), [2.0]])[None]
    layer = build("type: 'Insanity' insanity_param { lb: 2 ub: 5 }", x.shape)
    (y,) = layer.forward([x])
    assert y[0, -1] == 2 and -1 / 2 <= y[0, :-1].min() < -0.45 and -0.21 < y[0, :-1].max() <= -1 / 5
    np.testing.assert_allclose(layer.backward([np.ones_like(x)], [True])[0], y / x)
    test = build("type: 'Insanity' insanity_param { lb: 2 ub: 5 }", x.shape, phase=TEST)
    np.testing.assert_allclose(test.forward([x])[0][0, :1], -1 / 3.5)
    with pytest.raises(NetError, match="0 < lb <= ub"):
        build("type: 'Insanity' insanity_param { lb: 4 ub: 3 }", x.shape)
