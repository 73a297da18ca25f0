"""Layers that look between pixels: against sums written out, pixel by pixel, from the papers they come from."""

import math

import numpy as np
import pytest

from demitasse.proto.errors import NetError
from tests.test_layers.building import build, normal


def bilinear(plane, row, column):
    """The sample of a plane (H, W) at a point, zeros outside."""
    total = 0.0
    for r in (math.floor(row), math.floor(row) + 1):
        for c in (math.floor(column), math.floor(column) + 1):
            if 0 <= r < plane.shape[0] and 0 <= c < plane.shape[1]:
                total += plane[r, c] * (1 - abs(row - r)) * (1 - abs(column - c))
    return total


def transformer(fields, *shapes):
    return build(f"type: 'SpatialTransformer' bottom: 'x' bottom: 't' st_param {{ {fields} }}", *shapes)


@pytest.mark.independent("SpatialTransformer")
def test_an_affine_map_of_an_image():
    x, theta = normal(2, 2, 4, 6), 0.5 * normal(2, 6, seed=1)
    (y,) = transformer("output_H: 3 output_W: 5", x.shape, theta.shape).forward([x, theta])
    for n in range(2):
        for i in range(3):
            for j in range(5):
                at = np.array([i / 3 * 2 - 1, j / 5 * 2 - 1, 1])
                row, column = (theta[n].reshape(2, 3) @ at + 1) / 2 * (4, 6)
                expected = [bilinear(plane, row, column) for plane in x[n]]
                np.testing.assert_allclose(y[n, :, i, j], expected, atol=1e-12)


def test_a_map_that_moves_nothing_and_one_of_whole_pixels():
    x = normal(1, 3, 4, 6)
    given = "theta_1_1: 1 theta_1_2: 0 theta_2_1: 0 theta_2_2: 1"
    shift = transformer(given, x.shape, (1, 2))
    assert np.allclose(shift.forward([x, np.zeros((1, 2))])[0], x, atol=1e-12)
    (y,) = shift.forward([x, np.array([[2 / 4, -4 / 6]])])  # one row down, two columns to the left
    np.testing.assert_allclose(y[:, :, :3, 2:], x[:, :, 1:, :4], atol=1e-12)
    assert not y[:, :, 3].any() and not y[:, :, :, :2].any()
    with pytest.raises(NetError, match=r"shape \(1, 6\): the map takes 2 numbers for each of 1 images, 6 less the 4"):
        transformer(given, x.shape, (1, 6))
    with pytest.raises(NetError, match='transform_type "tps" is not known'):
        transformer("transform_type: 'tps'", x.shape, (1, 6))


@pytest.mark.independent("ROIWarping")
def test_regions_are_resized_without_rounding():
    x, rois = normal(2, 2, 6, 7), np.array([[1, 2.0, 4.0, 9.0, 11.0], [0, -3.0, 1.0, 2.0, 1.2]])
    fields = "roi_warping_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.5 }"
    (y,) = build(f"type: 'ROIWarping' bottom: 'x' bottom: 'r' {fields}", x.shape, rois.shape).forward([x, rois])
    for r, (image, x1, y1, x2, y2) in enumerate(rois):
        width, height = max((x2 - x1) / 2, 1), max((y2 - y1) / 2, 1)
        for i in range(3):
            for j in range(4):
                at = y1 / 2 + i / 3 * height, x1 / 2 + j / 4 * width
                expected = [bilinear(plane, *at) for plane in x[int(image)]]
                np.testing.assert_allclose(y[r, :, i, j], expected, atol=1e-12)


CONVOLUTION = "num_output: 4 kernel_size: 3 pad: 2 stride: 2 dilation: 2 group: 2"


@pytest.mark.independent("DeformableConvolution")
def test_a_window_with_pixels_anywhere():
    x, offsets = normal(2, 4, 5, 6), 0.8 * normal(2, 36, 3, 3, seed=1)
    text = f"deformable_convolution_param {{ {CONVOLUTION} deformable_group: 2 }}"
    layer = build(f"type: 'DeformableConvolution' bottom: 'x' bottom: 'o' {text}", x.shape, offsets.shape)
    weights, bias = (param.data for param in layer.params)
    (y,) = layer.forward([x, offsets])
    assert y.shape == (2, 4, 3, 3)
    moved = offsets.reshape(2, 2, 3, 3, 2, 3, 3)
    for n, o, i, j in np.ndindex(*y.shape):
        total = bias[o]
        for c, u, v in np.ndindex(2, 3, 3):
            channel = 2 * (o // 2) + c
            down, across = moved[n, channel // 2, u, v, :, i, j]
            at = i * 2 - 2 + u * 2 + down, j * 2 - 2 + v * 2 + across
            total += weights[o, c, u, v] * bilinear(x[n, channel], *at)
        np.testing.assert_allclose(y[n, o, i, j], total, atol=1e-10)


def test_a_window_that_is_not_moved_is_a_convolution():
    x = normal(2, 4, 5, 6)
    text = f"deformable_convolution_param {{ {CONVOLUTION} }}"
    layer = build(f"type: 'DeformableConvolution' bottom: 'x' bottom: 'o' {text}", x.shape, (2, 18, 3, 3))
    plain = build(f"type: 'Convolution' bottom: 'x' convolution_param {{ {CONVOLUTION} }}", x.shape)
    for own, other in zip(layer.params, plain.params, strict=True):
        other.data[...] = own.data
    np.testing.assert_allclose(
        layer.forward([x, np.zeros((2, 18, 3, 3))])[0], plain.forward([x])[0], rtol=1e-9, atol=1e-9
    )
    with pytest.raises(NetError, match=r"offsets have shape \(2, 9, 3, 3\), not \(2, 18, 3, 3\): two numbers for each"):
        build(f"type: 'DeformableConvolution' bottom: 'x' bottom: 'o' {text}", x.shape, (2, 9, 3, 3))
