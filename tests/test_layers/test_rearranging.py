"""Layers that change shapes or scales (Reshape, Interp, Upsample, SPP, ...), where the goldens do not reach."""

import numpy as np
import pytest

from demitasse.proto.errors import NetError, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal

AXPY = "type: 'Axpy' bottom: 's' bottom: 'x' bottom: 'y' top: 'z'"


def one(kind, fields=""):
    return f"type: '{kind}' bottom: 'x' top: 'y' {fields}"


@pytest.mark.parametrize(
    "fields, shape, top",
    [
        ("shape { dim: 0 dim: -1 }", (2, 3, 4), (2, 12)),
        ("shape { dim: -1 }", (2, 3, 4), (24,)),
        ("shape { }", (1, 1), ()),
        ("shape { dim: 0 dim: 0 dim: 2 dim: 2 }", (2, 3, 4), (2, 3, 2, 2)),
        ("axis: -1 num_axes: 0 shape { dim: 1 }", (2, 3), (2, 3, 1)),
        ("axis: 1 num_axes: 1 shape { dim: 2 dim: -1 }", (2, 6, 5), (2, 2, 3, 5)),
        ("axis: -2 shape { dim: -1 }", (2, 3, 4), (2, 3, 4)),
        ("shape { dim: 0 dim: -1 }", (0, 3, 4), (0, 12)),
    ],
)
def test_reshape(fields, shape, top):
    assert build(one("Reshape", f"reshape_param {{ {fields} }}"), shape).infer([shape]) == [top]


@pytest.mark.parametrize(
    "text, shapes, fault, words",
    [
        (
            one("Reshape", "reshape_param { shape { dim: 1 dim: 7 dim: -1 } }"),
            [(1, 3, 8, 8)],
            ShapeFault,
            r"\(1, 3, 8, 8\) holds 192 numbers, which do not fill the new shape \(1, 7, -1\)",
        ),
        (
            one("Reshape", "reshape_param { shape { dim: 5 } }"),
            [(2, 3)],
            ShapeFault,
            r"holds 6 numbers, which do not fill the new shape \(5,\)",
        ),
        (one("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }"), [(2, 3)], SchemaFault, "at most one -1"),
        (one("Reshape", "reshape_param { shape { dim: 0 dim: 0 dim: 0 } }"), [(2, 3)], ShapeFault, "copy axis 2"),
        (one("Reshape", "reshape_param { axis: 3 shape { dim: 1 } }"), [(2, 3)], ShapeFault, "axis 3"),
        (one("Flatten", "flatten_param { axis: 2 end_axis: 1 }"), [(2, 3, 4)], SchemaFault, "exchange them"),
        (
            one("Flatten", "flatten_param { end_axis: 3 }"),
            [(2, 3, 4)],
            ShapeFault,
            "flatten_param.end_axis 3 does not exist",
        ),
        (one("Tile"), [(2, 3)], SchemaFault, "tile_param needs tiles"),
        (one("Tile", "tile_param { axis: 2 tiles: 2 }"), [(2, 3)], ShapeFault, "tile_param.axis 2 does not exist"),
        (one("Reduction", "reduction_param { axis: 2 }"), [(2, 3)], ShapeFault, "reduction_param.axis 2"),
        (one("Permute", "permute_param { order: 0 order: 0 }"), [(2, 3)], SchemaFault, "each axis of the bottom"),
        (one("Permute", "permute_param { order: 2 }"), [(2, 3)], SchemaFault, "0 to 1"),
        ("type: 'Parameter' top: 'y'", [], SchemaFault, "give the sizes"),
        (one("SPP"), [(1, 2, 8, 8)], SchemaFault, "needs pyramid_height"),
        (one("SPP", "spp_param { pyramid_height: 1 pool: STOCHASTIC }"), [(1, 2, 8, 8)], SchemaFault, "use MAX or AVE"),
        (one("SPP", "spp_param { pyramid_height: 2 }"), [(1, 2, 8)], ShapeFault, "pools images"),
        (
            one("SPP", "spp_param { pyramid_height: 3 }"),
            [(1, 2, 5, 8)],
            ShapeFault,
            "5 x 8 cannot be pooled into 4 x 4 bins",
        ),
        (one("Im2col", "convolution_param { kernel_size: 9 }"), [(1, 3, 8, 8)], ShapeFault, "9x9 does not fit .* 8x8"),
        (one("Interp"), [(1, 2, 4, 4)], SchemaFault, "by nothing: choose"),
        (one("Interp", "interp_param { height: 4 }"), [(1, 2, 4, 4)], SchemaFault, "by height: choose"),
        (
            one("Interp", "interp_param { height: 4 width: 4 zoom_factor: 2 }"),
            [(1, 2, 4, 4)],
            SchemaFault,
            "zoom_factor, height",
        ),
        (one("Interp", "interp_param { zoom_factor: 0 }"), [(1, 2, 4, 4)], SchemaFault, "zoom_factor is 0"),
        (
            one("Interp", "interp_param { zoom_factor: 2 pad_beg: 1 }"),
            [(1, 2, 4, 4)],
            SchemaFault,
            "must be 0 or negative",
        ),
        (one("Interp", "interp_param { zoom_factor: 2 pad_beg: -4 }"), [(1, 2, 4, 4)], ShapeFault, "leave nothing"),
        (one("Upsample", "upsample_param { scale: 1 }"), [(1, 2, 4, 4)], SchemaFault, "needs scale"),
        (
            "type: 'Upsample' bottom: 'x' bottom: 'm' top: 'y'",
            [(1, 2, 4, 4), (1, 2, 4, 3)],
            ShapeFault,
            "second top of the Pool",
        ),
        (AXPY, [(2, 4), (2, 3, 4), (2, 3, 4)], ShapeFault, "one scale per"),
        (AXPY, [(2, 3), (2, 3, 4), (2, 3, 5)], ShapeFault, "must be equal"),
        (one("Normalize"), [(5,)], ShapeFault, "channels, axis 1, are missing"),
        (
            one("DepthwiseConvolution", "convolution_param { num_output: 4 kernel_size: 3 }"),
            [(1, 3, 8, 8)],
            ShapeFault,
            "group",
        ),
    ],
)
def test_mistakes_are_one_helpful_line(text, shapes, fault, words):
    with pytest.raises(NetError, match=words) as caught:
        build(text, *shapes)
    assert caught.type is fault and "\n" not in str(caught.value)


@pytest.mark.independent("Upsample")
def test_what_pooling_took_upsample_puts_back():
    x = normal(2, 3, 7, 6)
    pool = build("type: 'Pooling' bottom: 'x' top: 'y' top: 'm' pooling_param { kernel_size: 2 stride: 2 }", x.shape)
    y, mask = pool.forward([x])
    for fields in ("scale: 2 pad_out_h: true", "upsample_h: 7 upsample_w: 6"):
        text = f"type: 'Upsample' bottom: 'y' bottom: 'm' top: 'x' upsample_param {{ {fields} }}"
        layer = build(text, y.shape, mask.shape)
        (back,) = layer.forward([y, mask])
        assert back.shape == x.shape and (back != 0).sum() == y.size
        np.testing.assert_array_equal(back[back != 0], x[back != 0])
        np.testing.assert_array_equal(pool.forward([np.where(back, back, -9)])[0], y)
        np.testing.assert_array_equal(layer.backward([back], [True, False])[0], y)
    small = build(
        "type: 'Upsample' bottom: 'y' bottom: 'm' top: 'x' upsample_param { scale: 2 pad_out_w: true }",
        y.shape,
        mask.shape,
    )
    with pytest.raises(
        ShapeFault, match=r"the mask names pixels \d+ to 4\d, but the top's planes, 8 x 5, have 0 to 39"
    ):
        small.forward([y, mask])


def test_upsample_without_a_mask_repeats():
    layer = build(one("Upsample", "upsample_param { scale: 2 }"), (1, 1, 1, 2))
    assert layer.forward([np.array([[[[1.0, 2]]]])])[0].tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]
    assert layer.coords() == (2, (2.0, 2.0), (0.5, 0.5))


@pytest.mark.independent("Interp")
def test_interp_keeps_corners_and_straight_lines():
    ramp = (10.0 * np.arange(4)[:, None] + np.arange(5)).reshape(1, 1, 4, 5)
    layer = build(one("Interp", "interp_param { zoom_factor: 3 }"), ramp.shape)
    (y,) = layer.forward([ramp])
    expected = 10 * np.linspace(0, 3, 10)[:, None] + np.linspace(0, 4, 13)
    np.testing.assert_allclose(y[0, 0], expected, atol=1e-12)
    assert layer.coords() == (2, (3.0, 3.0), (0.0, 0.0))
    cropped = build(one("Interp", "interp_param { shrink_factor: 2 pad_beg: -1 }"), ramp.shape)
    np.testing.assert_allclose(cropped.forward([ramp])[0][0, 0], [[11, 14], [31, 34]], atol=1e-12)


def test_interp_to_one_pixel_takes_the_corner():
    x = normal(1, 2, 3, 4)
    (y,) = build(one("Interp", "interp_param { height: 1 width: 1 }"), x.shape).forward([x])
    np.testing.assert_allclose(y, x[:, :, :1, :1])


@pytest.mark.independent("Normalize")
def test_normalize_gives_each_pixel_its_length():
    x = normal(2, 5, 3, 4)
    layer = build(one("Normalize", "norm_param { across_spatial: false channel_shared: false }"), x.shape)
    layer.params[0].data[...] = 20
    (y,) = layer.forward([x])
    np.testing.assert_allclose(np.sqrt((y**2).sum(1)), 20)
    assert not np.isnan(layer.forward([np.zeros_like(x)])[0]).any()


def test_mvn_of_a_constant_plane_is_zero():
    x = np.full((1, 2, 3, 4), 7.0)
    layer = build(one("MVN"), x.shape)
    assert not layer.forward([x])[0].any() and np.isfinite(layer.backward([x], [True])[0]).all()


def test_spp_gives_a_vector_of_one_length_for_all_sizes():
    layer = build(one("SPP", "spp_param { pyramid_height: 3 }"), (1, 2, 8, 8))
    for size in [(4, 4), (7, 9), (8, 8), (31, 17)]:
        x = normal(1, 2, *size)
        assert layer.infer([x.shape]) == [(1, 2 * 21)]
        (y,) = layer.forward([x])
        np.testing.assert_array_equal(y[0, :2], x.max((2, 3))[0])
        assert y.min() > -9


@pytest.mark.independent("DepthwiseConvolution", "ConvolutionDepthwise")
def test_depthwise_weights_are_one_kernel_per_channel():
    text = one("{}", "convolution_param {{ num_output: 4 kernel_size: 3 {} }}")
    depthwise, plain = (
        build(text.format(kind, fields), (1, 4, 6, 6))
        for kind, fields in (("DepthwiseConvolution", ""), ("Convolution", "group: 4"))
    )
    assert depthwise.params[0].shape == plain.params[0].shape == (4, 1, 3, 3)
    x = normal(1, 4, 6, 6)
    np.testing.assert_array_equal(depthwise.forward([x])[0], plain.forward([x])[0])


def test_a_parameter_is_a_top_that_keeps_its_value():
    layer = build("type: 'Parameter' top: 'y' parameter_param { shape { dim: 2 dim: 3 } }")
    (y,) = layer.forward([])
    before = y.copy()
    layer.backward([np.ones((2, 3))], [])
    layer.params[0].data -= layer.params[0].grad
    np.testing.assert_array_equal(y, before)
    np.testing.assert_allclose(layer.forward([])[0], before - 1)


@pytest.mark.independent("Tiling")
def test_channels_become_pixels():
    x = normal(2, 12, 2, 3)
    (y,) = build("type: 'Tiling' bottom: 'x' top: 'y' tiling_param { tile_dim: 2 }", x.shape).forward([x])
    assert y.shape == (2, 3, 4, 6)
    for n, c, i, j in np.ndindex(y.shape):
        assert y[n, c, i, j] == x[n, 4 * c + 2 * (i % 2) + j % 2, i // 2, j // 2]
    with pytest.raises(ShapeFault, match="2.2 divides"):
        build("type: 'Tiling' bottom: 'x' top: 'y' tiling_param { tile_dim: 2 }", (2, 6, 2, 3))


@pytest.mark.independent("Resize")
@pytest.mark.parametrize("fields, out", [("height: 7 width: 3", (7, 3)), ("", (2, 8))])
def test_resizing_sees_zero_beyond_the_last_pixel(fields, out):
    x = normal(1, 2, 5, 4)
    fields = fields or "is_pyramid_test: true out_height_scale: 0.5 out_width_scale: 2"
    (y,) = build(f"type: 'Resize' bottom: 'x' top: 'y' resize_param {{ {fields} }}", x.shape).forward([x])
    assert y.shape == (1, 2, *out)
    beyond = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))
    for i, j in np.ndindex(*out):
        r, c = i * 5 / out[0], j * 4 / out[1]
        top, left = int(r), int(c)
        weights = np.outer([top + 1 - r, r - top], [left + 1 - c, c - left])
        expected = (beyond[0, :, top : top + 2, left : left + 2] * weights).sum((1, 2))
        np.testing.assert_allclose(y[0, :, i, j], expected, atol=1e-9)
    with pytest.raises(SchemaFault, match="give height and width, above 0"):
        build("type: 'Resize' bottom: 'x' top: 'y' resize_param { height: 3 }", x.shape)
