"""Channels-last tensors: transposed there and back, scaled; primitives and whole nets that pass them on.

On a GPU with `make test-gpu`, else with the kernels run on the CPU and a stand-in for cuDNN.
"""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from demitasse.layers.backend.gpu.nhwc import NhwcTensor
from tests.test_gpu import fake_cudnn, shim
from tests.test_gpu.nhwc_cases import CONVOLUTIONS, TOLERANCE, WHOLE, generic, gpu, near, run, values

SHAPES = [
    (1, 3, 5, 7),
    (2, 33, 1, 65),
    (2, 64, 3, 1),
    (1, 1, 40, 40),
    (2, 70, 9, 11),
    (0, 3, 4, 5),
    (1, 1, 1, 1),
    (2, 21, 9, 8),
    (1, 64, 11, 13),
    (2, 65, 1, 64),
    (1, 100, 7, 7),
]


@pytest.fixture(autouse=True)
def on_a_gpu(request, monkeypatch):
    """Whether device "gpu" is one; else it is the CPU, pretending."""
    real = shim.gpu_or_pretence(request, monkeypatch, shim.CudnnRuntime)
    if not real:
        monkeypatch.setattr(fake_cudnn, "without_cores", set())
        monkeypatch.setitem(TOLERANCE, "tf32", 1e-6)  # the stand-in for cuDNN does not round
        monkeypatch.setitem(WHOLE, "tf32", 1e-5)
    elif make_backend("gpu").cudnn is None:
        pytest.skip("without cuDNN there are no such tensors: pip install 'nvidia-cudnn-frontend>=1.18,<1.24'")
    return real


def rounded(x, precision):
    return x.astype(np.float16).astype(np.float32) if precision == "fp16" else x


# -- the tensors themselves -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_tensor_transposed_back_is_what_it_was(precision, shape):
    be, x = gpu(precision), values(*shape)
    made = be.cudnn.layout.tensor(be.asarray(x))
    assert made.shape == shape and made.size == x.size and len(made) == shape[0] and made.dtype == np.float32
    lying = be.xp.asarray(made.array, dtype="float32")
    assert np.array_equal(be.to_host(lying), rounded(x, precision).transpose(0, 2, 3, 1))
    for array in (be.to_nchw(made), made.copy().to_nchw(), made.reshape(shape)):
        assert np.array_equal(be.to_host(array), rounded(x, precision))
    assert np.array_equal(be.to_host(made.reshape(-1, 1)), rounded(x, precision).reshape(-1, 1))
    assert be.to_nchw(be.asarray(x)).shape == shape  # an array is (N, C, H, W) already


@pytest.mark.parametrize("size", [1e-30, 1e-9, 0.7, 1.0, 3000, 1e20])
@pytest.mark.parametrize("target", [1.0, 2.0**-4])
def test_fp16_is_scaled_by_a_power_of_two(size, target):
    be = gpu("fp16")
    layout, x = be.cudnn.layout, values(2, 5, 6, 7)
    x *= np.float32(size / np.abs(x).max())
    for scaled in (layout.tensor(be.asarray(x), target), layout.scaled(target, be.asarray(x))):
        scale, largest = be.to_host(scaled.scale).item(), np.abs(be.to_host(scaled.array)).max()
        assert np.log2(scale).is_integer() and target / 2 <= largest <= target
        near(be.to_host(scaled), x, "fp16")
    other = layout.scaled(1.0, layout.scaled(target, be.asarray(x)))  # from one scale to another
    assert 0.5 <= np.abs(be.to_host(other.array)).max() <= 1
    near(be.to_host(other), x, "fp16")
    if 1e-3 < size < 60000:
        unscaled = layout.unscaled(other)
        assert unscaled.scale is None
        near(be.to_host(unscaled), x, "fp16")


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
def test_what_cannot_be_scaled_stays(value):
    be = gpu("fp16")
    layout, x = be.cudnn.layout, np.full((1, 2, 3, 4), value, np.float32)
    scaled = layout.scaled(1.0, layout.scaled(1.0, be.asarray(x)))
    assert be.to_host(scaled.scale).item() == 1 and np.array_equal(be.to_host(scaled), x, equal_nan=True)


def test_floats_have_no_scale():
    be = gpu("tf32")
    layout, x = be.cudnn.layout, be.asarray(values(1, 2, 3, 4))
    made = layout.tensor(x, target=1.0)
    assert made.scale is None and layout.scaled(1.0, made) is made and layout.unscaled(made) is made


# -- primitives ------------------------------------------------------------------------------------

POOLS = [
    PoolGeometry((2, 2), (2, 2), (0, 0), (4, 5)),  # Caffe's ceil: the last windows are cut
    PoolGeometry((3, 3), (2, 2), (1, 1), (4, 5)),
    PoolGeometry((7, 9), (1, 1), (0, 0), (1, 1)),
    PoolGeometry((2, 3), (3, 4), (0, 1), (3, 3)),
]


@pytest.mark.parametrize("channels", [5, 12, 16])
@pytest.mark.parametrize("given", ["tensor", "array"])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_primitives_between_convolutions(precision, given, channels):
    """Gradients may come as channels-last tensors, with a scale, or as arrays."""
    be = gpu(precision)
    layout = be.cudnn.layout
    x, dy = (values(2, channels, 7, 9, seed=seed) for seed in (3, 4))
    x, dy = rounded(x, precision), dy * np.float32(1e-9)
    made = layout.tensor(be.asarray(x))

    def sent(gradient):
        gradient = be.asarray(gradient)
        return layout.tensor(gradient, target=1.0) if given == "tensor" else gradient

    def agrees(got, expected):
        assert isinstance(got, NhwcTensor)
        near(be.to_host(got), expected, precision)

    for slope in (0.0, 0.25, -0.5):
        y = be.relu_forward(made, slope)
        agrees(y, generic.relu_forward(x, slope))
        kept, expected = (y, generic.relu_forward(x, slope)) if slope >= 0 else (made, x)
        agrees(be.relu_backward(sent(dy), kept, slope), generic.relu_backward(dy, expected, slope))
    y, mask = be.dropout_forward(made, 0.3)
    on = be.to_host(mask.array).transpose(0, 3, 1, 2)
    assert 0.5 < on.mean() < 0.9
    agrees(y, np.where(on, x / np.float32(0.7), 0))
    agrees(be.dropout_backward(sent(dy), mask, 0.3), np.where(on, dy / np.float32(0.7), 0))
    for geometry in POOLS:
        out = values(2, channels, *geometry.out, seed=6) * np.float32(1e-9)
        (y, index), (expected, places) = (b.max_pool_forward(a, geometry) for b, a in ((be, made), (generic, x)))
        agrees(y, expected)
        agrees(be.max_pool(made, geometry), expected)
        assert np.array_equal(be.to_host(index.array).transpose(0, 3, 1, 2), places)
        agrees(
            be.max_pool_backward(sent(out), index, geometry, (7, 9)),
            generic.max_pool_backward(out, places, geometry, (7, 9)),
        )
        agrees(be.ave_pool_forward(made, geometry), generic.ave_pool_forward(x, geometry))
        back = be.ave_pool_backward(sent(out), geometry, (7, 9))  # which keeps nothing: the form of what came
        assert isinstance(back, NhwcTensor) == (given == "tensor" and precision == "tf32")
        near(be.to_host(back), generic.ave_pool_backward(out, geometry, (7, 9)), precision)


@pytest.mark.parametrize("channels", [6, 16])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_what_passes_tensors_on_at_inference(precision, channels):
    """Sums, in which an array among the terms makes an array; LRN; channels shuffled, and last for everybody."""
    be = gpu(precision)
    layout, xs = be.cudnn.layout, [rounded(values(2, channels, 7, 9, seed=seed), precision) for seed in (3, 4, 5)]
    made = [layout.tensor(be.asarray(x)) for x in xs]
    for count, weights, relu in ((2, [1, 1], 0.0), (2, [0.5, -2.0], None), (3, [1, -1, 0.25], 0.1), (1, [3.0], None)):
        got = be.weighted_sum(made[:count], weights, relu)
        assert isinstance(got, NhwcTensor)
        near(be.to_host(got), generic.weighted_sum(xs[:count], weights, relu), precision)
    mixed = be.weighted_sum([made[0], be.asarray(xs[1])], [1, 2])
    assert not isinstance(mixed, NhwcTensor)
    near(be.to_host(mixed), generic.weighted_sum(xs[:2], [1, 2]), precision)
    for size in (3, 5):
        (y, scale), expected = (b.lrn_forward(a, size, 2.0, 0.75, 1.5) for b, a in ((be, made[0]), (generic, xs[0])))
        assert isinstance(y, NhwcTensor)
        near(be.to_host(y), expected[0], precision)
        near(be.to_host(scale.array).transpose(0, 3, 1, 2), expected[1], precision)
    for order in ((0, 2, 3, 1), (0, 3, 1, 2)):
        permuted = be.permute(made[0], order)
        assert not isinstance(permuted, NhwcTensor) and permuted.dtype == np.float32
        assert np.array_equal(be.to_host(permuted), xs[0].transpose(order))
    for rows in (2, 3) if channels == 6 else (4,):
        got = be.interleave(made[0], rows)
        assert isinstance(got, NhwcTensor) and np.array_equal(be.to_host(got), generic.interleave(xs[0], rows))
        assert np.array_equal(be.to_host(be.interleave(be.asarray(xs[0]), rows)), generic.interleave(xs[0], rows))


@pytest.mark.parametrize("precision", TOLERANCE)
def test_parts_of_small_tensors_are_arrays_of_their_own(precision):
    """Of 1x1 pixels they would lie in one piece with the others, at addresses that no kernel or engine takes."""
    layers = """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 2 dim: 2 } } }"""
    for name, channels in (("a", 21), ("b", 24)):
        layers += f"""
        layer {{ name: "{name}" type: "Convolution" bottom: "data" top: "{name}"
                 convolution_param {{ num_output: {channels} kernel_size: 2 weight_filler {{ type: "msra" }} }} }}
        layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}"""
    layers += """
        layer { name: "join" type: "Concat" bottom: "a" bottom: "b" top: "join" }
        layer { name: "top" type: "Convolution" bottom: "join" top: "top"
                convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "msra" } } }
        layer { name: "loss" type: "Reduction" bottom: "top" top: "loss" loss_weight: 1 }"""
    inputs = {"data": values(1, 3, 2, 2)}
    expected = run(layers, inputs, generic, "needed")
    for name, array in run(layers, inputs, gpu(precision), "needed").items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=5 * TOLERANCE[precision])


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 40, 40, 37), (3, 33, 2, 2), (2, 4, 0, 3)])
def test_bias_gradients_of_tensors_are_added(precision, shape):
    be, db, dy = gpu(precision), values(shape[1], seed=1), values(*shape)
    ours = be.asarray(db)
    be.bias_backward(be.cudnn.layout.tensor(be.asarray(dy), target=1.0), ours)
    near(be.to_host(ours), db + dy.sum(axis=(0, 2, 3)), precision)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_tensors(precision, name):
    be = gpu(precision)
    layout, (geometry, shape, k) = be.cudnn.layout, CONVOLUTIONS[name]
    out = geometry.out_size(shape[2:])
    x, w, b = values(*shape), values(k, shape[1] // geometry.group, *geometry.kernel, seed=4), values(k, seed=5)
    dy, dw = values(shape[0], k, *out, seed=6) * np.float32(1e-9), np.zeros_like(w)
    gw, gdw, made = be.asarray(w), be.zeros(w.shape), layout.tensor(be.asarray(x))
    gradient = layout.tensor(be.asarray(dy), target=1.0)
    for bias, relu in ((b, None), (b, 0.0), (None, 0.0), (None, None), (b, 0.25)):
        y = be.conv_forward(made, gw, None if bias is None else be.asarray(bias), geometry, relu)
        assert isinstance(y, NhwcTensor)
        near(be.to_host(y), generic.conv_forward(x, w, bias, geometry, relu), precision)
    dx = be.conv_backward(made, gradient, gw, geometry, gdw, True)
    generic.conv_backward_weights(x, dy, geometry, dw)
    near(be.to_host(dx), generic.conv_backward_data(dy, w, geometry, shape[2:]), precision)
    near(be.to_host(gdw), dw, precision)
    # as a Deconvolution's forward and backward: gradients far below fp16's smallest value
    up = be.conv_backward_data(be.asarray(dy), gw, geometry, shape[2:], be.asarray(values(shape[1])), 0.1)
    near(be.to_host(up), generic.conv_backward_data(dy, w, geometry, shape[2:], values(shape[1]), 0.1), precision)
    small = x * np.float32(1e-9)
    for form in (be.asarray(small), layout.tensor(be.asarray(small), target=1.0)):
        back = be.conv_forward(form, gw, None, geometry)
        near(be.to_host(back), generic.conv_forward(small, w, None, geometry), precision)
        near(
            be.to_host(be.conv_forward(form, gw, be.asarray(b), geometry, 0.0)),
            generic.conv_forward(small, w, b, geometry, 0.0),
            precision,
        )


@pytest.mark.parametrize("precision", TOLERANCE)
def test_bias_and_relu_stay_out_where_they_would_cost_the_tensor_cores(precision, on_a_gpu):
    if on_a_gpu:
        pytest.skip("of cuDNN's stand-in")
    be, geometry = gpu(precision), ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
    x, w, b = values(1, 32, 6, 5), values(40, 32, 3, 3, seed=4) / 10, values(40, seed=5)
    fake_cudnn.without_cores.update({(1, 40, 6, 5), (1, 40, 6, 6)})
    arrays = [be.asarray(array) for array in (x, w, b)]
    for relu in (None, 0.0, 0.25):
        near(
            be.to_host(be.conv_forward(*arrays, geometry, relu)),
            generic.conv_forward(x, w, b, geometry, relu),
            precision,
        )
    plans = be.cudnn.planner.plans.values()
    assert plans and all(plan.spec == plan.spec.unfused for plan in plans)
    wider = values(1, 32, 6, 6)  # a new size asks no heuristics
    fake_cudnn.counts.heuristics = 0
    near(
        be.to_host(be.conv_forward(be.asarray(wider), *arrays[1:], geometry, 0.0)),
        generic.conv_forward(wider, w, b, geometry, 0.0),
        precision,
    )
    assert fake_cudnn.counts.heuristics == 0
