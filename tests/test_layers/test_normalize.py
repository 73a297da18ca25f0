"""Normalize: SSD's form against OpenCV, NormFace's against NumPy, and how they are told apart."""

import numpy as np
import pytest

from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault
from demitasse.proto.messages import NetParameter
from tests.test_layers.building import build, normal
from tests.test_layers.opencv import opencv_tops


def layer_of(fields, shape, tops="top: 'y'"):
    return build(f"type: 'Normalize' bottom: 'x' {tops} {fields}", shape)


@pytest.mark.parametrize("across", ["true", "false"])
def test_length_is_opencv_s(across):
    x = normal(1, 3, 4, 5)
    scales = [2.0] if across == "true" else [1.0, 2.0, 3.0]  # OpenCV's has no scale per channel for a whole item
    fields = f"norm_param {{ across_spatial: {across} channel_shared: {across} }}"
    layer = layer_of(fields, x.shape)
    layer.params[0].data[...] = scales[0] if len(scales) == 1 else scales
    net = 'input: "x" input_shape { dim: 1 dim: 3 dim: 4 dim: 5 }'
    net += f' layer {{ name: "n" type: "Normalize" bottom: "x" top: "y" {fields} }}'
    (theirs,) = opencv_tops(net, weights(scales), x=x)
    np.testing.assert_allclose(layer.forward([x])[0], theirs, atol=1e-6)


def weights(scales):
    net = NetParameter()
    blob = net.layer.add(name="n", type="Normalize").blobs.add(data=scales)
    blob.shape.dim.append(len(scales))
    return net.SerializeToString()


def test_without_norm_param_it_is_normface_s_and_learns_nothing():
    x = normal(4, 6)
    layer = layer_of("", x.shape, "top: 'y' top: 'length'")
    y, length = layer.forward([x])
    assert not layer.params
    np.testing.assert_allclose(length[:, 0], np.linalg.norm(x, axis=1), rtol=1e-9)
    np.testing.assert_allclose(y, x / length, rtol=1e-9)


def test_l1_is_the_sum_of_absolute_values():
    x = normal(2, 3, 2, 2)
    (y,) = layer_of("normalize_param { normalize_type: 'L1' }", x.shape).forward([x])
    np.testing.assert_allclose(np.abs(y).sum(1), 1, rtol=1e-8)


def test_the_second_top_s_gradient_counts_with_bp_norm_only():
    x, dlength = normal(2, 3), np.ones((2, 1))
    for fields, expected in (("", 0), ("normalize_param { bp_norm: true }", x / np.linalg.norm(x, axis=1)[:, None])):
        layer = layer_of(fields, x.shape, "top: 'y' top: 'length'")
        layer.forward([x])
        (dx,) = layer.backward([None, dlength], [True])
        np.testing.assert_allclose(dx, np.broadcast_to(expected, x.shape), rtol=1e-8)


def test_mistakes():
    with pytest.raises(GraphFault, match="write one of them"):
        layer_of("norm_param { } normalize_param { }", (2, 3))
    with pytest.raises(SchemaFault, match="L1 or L2"):
        layer_of("normalize_param { normalize_type: 'L3' }", (2, 3))


@pytest.mark.independent("GroupNorm")
def test_group_norm_knows_the_numbers_of_its_group_only():
    x = normal(2, 6, 3, 2)
    (y,) = build("type: 'GroupNorm' group_norm_param { group_num: 2 eps: 0.01 }", x.shape).forward([x])
    for item, found in zip(x, y, strict=True):
        for group in (slice(0, 3), slice(3, 6)):
            mean, variance = np.mean(item[group]), np.var(item[group])
            np.testing.assert_allclose(found[group], (item[group] - mean) / np.sqrt(variance + 0.01))
    with pytest.raises(ShapeFault, match=r"shape \(2, 6, 3, 2\): group_num 32 must divide its channels"):
        build("type: 'GroupNorm'", x.shape)
