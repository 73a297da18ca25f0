"""Convolution and Deconvolution beyond their goldens: sizes, the fused ReLU, diagonal weights, coordinates."""

import numpy as np
import pytest

from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.proto.errors import ShapeFault
from tests.test_layers.building import build, normal

CONV = "type: 'Convolution' bottom: 'x' top: 'y' convolution_param {{ {} }}"
DECONV = "type: 'Deconvolution' bottom: 'x' top: 'y' convolution_param {{ {} }}"
INNER = "type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param {{ {} }}"


@pytest.mark.parametrize(
    "fields, size, out",
    [
        ("kernel_size: 3 pad: 100", (500, 375), (698, 573)),
        ("kernel_size: 11 stride: 4 pad: 100", (500, 1), (173, 48)),
        ("kernel_size: 7", (22, 18), (16, 12)),
        ("kernel_size: 3 dilation: 2", (5, 6), (1, 2)),
        ("kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 1", (5, 5), (3, 3)),
    ],
)
def test_convolution_sizes_round_down(fields, size, out):
    layer = build(CONV.format(f"num_output: 2 {fields}"), (1, 3, *size))
    assert layer.infer([(4, 3, *size)]) == [(4, 2, *out)]


@pytest.mark.parametrize(
    "kernel, stride, size, out", [(64, 32, 16, 544), (16, 8, 70, 568), (4, 2, 16, 34), (63, 32, 16, 543)]
)
def test_deconvolution_sizes_are_those_of_fcn(kernel, stride, size, out):
    layer = build(DECONV.format(f"num_output: 2 kernel_size: {kernel} stride: {stride}"), (1, 2, 3, 3))
    assert layer.infer([(1, 2, size, 1)]) == [(1, 2, out, kernel)]


@pytest.mark.parametrize("form", [CONV, DECONV, INNER])
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_a_fused_relu_is_a_relu(form, slope):
    text, x = form.format("num_output: 3" + (" kernel_size: 3" if form is not INNER else "")), normal(2, 4, 5, 6)
    apart, fused = build(text, x.shape), build(text, x.shape)
    (plain,), (y,) = apart.forward([x]), fused.forward([x], relu=slope)
    np.testing.assert_allclose(y, np.where(plain > 0, plain, slope * plain), atol=1e-12)
    dy = normal(*y.shape, seed=1)
    kept = dy.copy()
    (dx,) = fused.backward([dy], [True], relu=slope)
    (expected,) = apart.backward([np.where(plain > 0, dy, slope * dy)], [True])
    np.testing.assert_allclose(dx, expected, atol=1e-12)
    for param, other in zip(fused.params, apart.params, strict=True):
        np.testing.assert_allclose(param.grad, other.grad, atol=1e-12)
    assert np.array_equal(dy, kept)


@pytest.mark.parametrize("form", [CONV, DECONV, INNER])
def test_work_is_only_done_where_it_is_needed(form, monkeypatch):
    layer = build(form.format("num_output: 3" + (" kernel_size: 3" if form is not INNER else "")), (2, 4, 5, 6))
    (y,) = layer.forward([normal(2, 4, 5, 6)])
    for param in layer.params:
        param.grad = None
    for primitive in ("conv_forward", "conv_backward_data", "conv_backward_weights", "bias_backward", "matmul"):
        monkeypatch.setattr(layer.be, primitive, lambda *args, **named: pytest.fail("needless work"))
    assert layer.backward([y], [False]) == [None]


def bilinear(channels, size=4):
    ramp = 1 - np.abs(np.arange(size) / (size / 2) - (size - 1) / size)
    weights = np.zeros((channels, channels, size, size))
    weights[range(channels), range(channels)] = np.outer(ramp, ramp)
    return weights


def test_diagonal_weights_are_computed_by_channel_as_long_as_they_are_diagonal(monkeypatch):
    text, x = DECONV.format("num_output: 3 kernel_size: 4 stride: 2 bias_term: false"), normal(2, 3, 5, 6)
    layer, dense = build(text, x.shape), build(text, x.shape)
    monkeypatch.setattr(dense.be, "is_diagonal", lambda w: False)
    used = []
    plain = layer.be.conv_backward_data
    monkeypatch.setattr(layer.be, "conv_backward_data", lambda *args: used.append(args[6]) or plain(*args))
    weights = layer.params[0].data = dense.params[0].data = bilinear(3)

    def agree():
        (y,), (expected,) = layer.forward([x]), dense.forward([x])
        np.testing.assert_allclose(y, expected, atol=1e-12)
        dy = normal(*y.shape, seed=2)
        np.testing.assert_allclose(layer.backward([dy], [True])[0], dense.backward([dy], [True])[0], atol=1e-12)
        np.testing.assert_allclose(layer.params[0].grad, dense.params[0].grad, atol=1e-12)

    agree()
    weights[0, 2, 1, 1] = 0.5  # in place, as a user's surgery does
    agree()
    weights[0, 2] = 0
    agree()
    assert used == [True, False, True]


@pytest.mark.parametrize("kernel, stride, pad", [(4, 2, 0), (4, 2, 1), (16, 8, 0), (3, 1, 1), (2, 3, 0), (63, 32, 5)])
def test_every_backend_upsamples_by_channel_as_it_does_densely(be, kernel, stride, pad):
    geometry = ConvGeometry((kernel,) * 2, (stride,) * 2, (pad,) * 2, (1, 1))
    weights, x = be.asarray(bilinear(3, kernel)), be.asarray(normal(2, 3, 5, 4))
    spatial, bias = geometry.in_size((5, 4)), be.asarray([0.5, -1, 0])
    assert be.is_diagonal(weights) or be.name == "gpu"
    dense, by_channel = (
        be.to_host(be.conv_backward_data(x, weights, geometry, spatial, bias, 0.0, diagonal))
        for diagonal in (False, True)
    )
    np.testing.assert_allclose(by_channel, dense, atol=1e-5 * np.abs(dense).max())


def test_upsampling_a_constant_keeps_it():
    layer = build(DECONV.format("num_output: 2 kernel_size: 4 stride: 2 bias_term: false"), (1, 2, 5, 5))
    layer.params[0].data = bilinear(2)
    (y,) = layer.forward([np.ones((1, 2, 5, 5))])
    np.testing.assert_allclose(y[:, :, 2:-2, 2:-2], 1)


def test_coordinates_and_cost():
    conv = build(CONV.format("num_output: 2 kernel_size: 3 stride: 2 pad: 100 dilation: 2"), (1, 3, 20, 20))
    assert conv.coords() == (2, (0.5, 0.5), (49.0, 49.0))
    deconv = build(DECONV.format("num_output: 3 kernel_h: 4 kernel_w: 3 stride: 2 bias_term: false"), (1, 3, 2, 5))
    assert deconv.coords() == (2, (2.0, 2.0), (1.5, 1.0))
    assert deconv.macs([(1, 3, 2, 5)], deconv.infer([(1, 3, 2, 5)])) == 9 * 12 * 10
    assert conv.macs([(1, 3, 20, 20)], [(1, 2, 9, 9)]) == 2 * 3 * 9 * 81


def test_sizes_may_change_from_run_to_run_but_not_channels():
    layer = build(CONV.format("num_output: 2 kernel_size: 3"), (1, 3, 8, 8))
    for size in (3, 30):
        (y,) = layer.forward([normal(2, 3, size, size)])
        assert y.shape == (2, 2, size - 2, size - 2)
    with pytest.raises(ShapeFault, match="4 channels, but the weights are for 3"):
        layer.infer([(1, 4, 8, 8)])
    with pytest.raises(ShapeFault, match="3x3 pixels does not fit into the bottom's 2x9"):
        layer.infer([(1, 3, 2, 9)])
    with pytest.raises(ShapeFault, match="4 axes expected"):
        layer.infer([(1, 3, 2)])


def test_a_deconvolution_padded_away_is_refused():
    with pytest.raises(ShapeFault, match="a bottom of 1x1 pixels gives a top of 0x0"):
        build(DECONV.format("num_output: 2 kernel_size: 2 pad: 1"), (1, 2, 1, 1))


@pytest.mark.independent("Local")
@pytest.mark.parametrize("stride, pad, out", [(1, 0, (3, 2)), (2, 1, (3, 2))])
def test_each_place_has_its_own_kernels(stride, pad, out):
    fields = f"num_output: 2 kernel_size: 3 stride: {stride} pad: {pad}"
    layer = build(f"type: 'Local' bottom: 'x' top: 'y' local_param {{ {fields} }}", (2, 3, 5, 4))
    assert [param.shape for param in layer.params] == [(2, 1, 27, 6), (1, 1, 2, 6)]
    w, b, x = normal(2, 27, 6), normal(2, 6), normal(2, 3, 5, 4)
    layer.params[0].data[...], layer.params[1].data[...] = w[:, None], b
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    (y,) = layer.forward([x])
    assert y.shape == (2, 2, *out)
    for place, (i, j) in enumerate(np.ndindex(*out)):
        window = padded[:, :, stride * i : stride * i + 3, stride * j : stride * j + 3].reshape(2, 27)
        np.testing.assert_allclose(y[:, :, i, j], window @ w[:, :, place].T + b[:, place], atol=1e-9)
    with pytest.raises(ShapeFault, match="its weights are for images of 3x5x4"):
        layer.infer([(2, 3, 6, 4)])
