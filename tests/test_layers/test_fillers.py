"""Fillers against the statistics of Caffe's, and the values that can be said exactly."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from demitasse.layers.fillers import fill
from demitasse.proto.errors import NetError
from demitasse.proto.messages import FillerParameter
from demitasse.proto.text import parse

STATISTICS = json.loads((Path(__file__).resolve().parents[1] / "golden" / "filler_stats.json").read_text())


def filler(text):
    return parse(text, FillerParameter)[0]


def filled(text, *shape, seed=0, dtype=np.float32):
    return fill(shape, filler(text), np.random.default_rng(seed), dtype)


@pytest.mark.parametrize("case", STATISTICS, ids=lambda case: f"{case['layer']} {case['filler'] or 'none'}")
def test_statistics_are_those_of_caffe(case):
    values = filled(case["filler"], *case["shape"]).astype(np.float64)
    assert values.shape == tuple(case["shape"])
    noise = 5 * case["std"] / math.sqrt(values.size)
    assert values.mean() == pytest.approx(case["mean"], abs=2 * noise + 1e-7)
    assert values.std() == pytest.approx(case["std"], rel=0.02, abs=1e-7)
    assert (values == 0).mean() == pytest.approx(case["zeros"], abs=0.01)
    if any(kind in case["filler"] for kind in ("uniform", "xavier", "constant", "unitball")):  # the bounds are sharp
        assert values.max() == pytest.approx(case["max"], rel=0.03, abs=1e-7)
        assert values.min() == pytest.approx(case["min"], rel=0.03, abs=1e-4)
    if "unitball" in case["filler"]:
        np.testing.assert_allclose(values.reshape(len(values), -1).sum(axis=1), 1, rtol=1e-5)


def test_no_filler_gives_zeros():
    assert not fill((2, 3), None, np.random.default_rng(0)).any()


@pytest.mark.parametrize("kind", ["constant", "uniform", "gaussian", "xavier", "msra", "positive_unitball"])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_shape_and_type_is_filled_and_repeats_with_its_seed(kind, shape, dtype):
    values = filled(f"type: '{kind}' value: 2", *shape, dtype=dtype)
    assert values.shape == shape and values.dtype == dtype and isinstance(values, np.ndarray)
    assert np.array_equal(values, filled(f"type: '{kind}' value: 2", *shape, dtype=dtype))


@pytest.mark.parametrize("size, total", [(3, 4), (4, 4), (16, 64), (32, 256), (63, 1024), (64, 1024)])
def test_bilinear_kernels_sum_to_the_square_of_the_stride_they_are_for(size, total):
    kernel = filled("type: 'bilinear'", 2, 3, size, size, dtype=np.float64)
    assert kernel[1, 2].sum() == pytest.approx(total, rel=1e-3)
    assert np.array_equal(kernel[0, 0], kernel[1, 2])  # every pair of channels
    assert np.array_equal(kernel, kernel.transpose(0, 1, 3, 2))


def test_the_4x4_bilinear_kernel():
    ramp = [0.25, 0.75, 0.75, 0.25]
    np.testing.assert_array_equal(filled("type: 'bilinear'", 1, 1, 4, 4)[0, 0], np.outer(ramp, ramp))


@pytest.mark.parametrize(
    "text, shape, words",
    [
        ("type: 'glorot'", (2, 3), "unknown filler 'glorot'"),
        ("type: 'xavierr'", (2, 3), "did you mean 'xavier'"),
        ("type: 'uniform' min: 1 max: 0", (2, 3), "min 1 above max 0"),
        ("type: 'gaussian' std: -1", (2, 3), "std -1"),
        ("type: 'xavier' sparse: 3", (2, 3), "only 'gaussian'"),
        ("type: 'bilinear'", (2, 3), "4-D"),
        ("type: 'bilinear'", (2, 3, 4, 5), "square kernel"),
        ("type: 'diagonal'", (2,), "outputs and channels"),
    ],
)
def test_what_cannot_be_filled_is_said(text, shape, words):
    with pytest.raises(NetError, match=words):
        filled(text, *shape)


def test_msra_knows_of_the_slope_that_follows():
    filler = FillerParameter(type="msra", alpha=0.5)
    plain, sloped = (fill((200, 50), each, np.random.default_rng(0)) for each in (FillerParameter(type="msra"), filler))
    np.testing.assert_allclose(sloped, plain / np.sqrt(1.25), rtol=1e-6)


def test_a_diagonal_filler_keeps_channels_apart():
    values = filled("type: 'diagonal' diag_val: 3", 2, 3, 1, 2)
    assert values.tolist() == [[[[1.5, 1.5]], [[0, 0]], [[0, 0]]], [[[0, 0]], [[0.5, 0.5]], [[0, 0]]]]
