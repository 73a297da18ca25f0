"""ROIPooling, PSROIPooling and ROIAlign: against their papers' definitions, a cell at a time, and against OpenCV."""

import numpy as np
import pytest

from demitasse.layers.layer import TEST
from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal
from tests.test_layers.opencv import opencv_layer

SCALE = 1 / 16


def some_rois(count=20, height=160, width=240, images=2, seed=0):
    """Regions of two images, some beyond the borders, one of a single pixel, one between pixels of a map."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-30, [width, height], (count, 2))
    rois = np.concatenate(
        [rng.integers(0, images, (count, 1)), corner, corner + rng.uniform(0, 150, (count, 2))], axis=1
    )
    rois[0, 1:], rois[1, 1:] = (33, 47, 33, 47), (8, 24, 72, 104)
    return rois.astype(np.float32)


def c_round(value):
    return int(np.floor(abs(value) + 0.5) * np.sign(value))


def cell(first, last, size):
    return slice(max(0, min(size, int(np.floor(first)))), max(0, min(size, int(np.ceil(last)))))


def roi_pooling(x, rois, cells):
    y = np.zeros((len(rois), x.shape[1], *cells))
    for r, (n, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (c_round(c * SCALE) for c in corners)
        height, width = max(y2 - y1 + 1, 1) / cells[0], max(x2 - x1 + 1, 1) / cells[1]
        for p, q in np.ndindex(*cells):
            rows = cell(y1 + np.floor(p * height), y1 + np.ceil((p + 1) * height), x.shape[2])
            columns = cell(x1 + np.floor(q * width), x1 + np.ceil((q + 1) * width), x.shape[3])
            window = x[int(n)][:, rows, columns]
            y[r, :, p, q] = window.max(axis=(1, 2)) if window.size else 0
    return y


def psroi_pooling(x, rois, numbers, group):
    y = np.zeros((len(rois), numbers, group, group))
    for r, (n, *corners) in enumerate(rois):
        x1, y1 = (c_round(c) * SCALE for c in corners[:2])
        x2, y2 = ((c_round(c) + 1) * SCALE for c in corners[2:])
        height, width = max(y2 - y1, 0.1) / group, max(x2 - x1, 0.1) / group
        for d, p, q in np.ndindex(numbers, group, group):
            rows = cell(y1 + p * height, y1 + (p + 1) * height, x.shape[2])
            columns = cell(x1 + q * width, x1 + (q + 1) * width, x.shape[3])
            window = x[int(n), (d * group + p) * group + q, rows, columns]
            y[r, d, p, q] = window.mean() if window.size else 0
    return y


def sample(plane, y, x):
    """(C,) of the planes (C, H, W) between four pixels."""
    height, width = plane.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    above = plane[:, top, left] * (1 - (x - left)) + plane[:, top, right] * (x - left)
    below = plane[:, bottom, left] * (1 - (x - left)) + plane[:, bottom, right] * (x - left)
    return above * (1 - (y - top)) + below * (y - top)


def roi_align(x, rois, cells, samples):
    y = np.zeros((len(rois), x.shape[1], *cells))
    for r, (n, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (c * SCALE for c in corners)
        height, width = max(y2 - y1, 1) / cells[0], max(x2 - x1, 1) / cells[1]
        rows, columns = (samples or int(np.ceil(size)) for size in (height, width))
        for p, q in np.ndindex(*cells):
            for i, j in np.ndindex(rows, columns):
                at = y1 + (p + (i + 0.5) / rows) * height, x1 + (q + (j + 0.5) / columns) * width
                y[r, :, p, q] += sample(x[int(n)], *at) / (rows * columns)
    return y


@pytest.mark.independent("ROIPooling")
def test_the_largest_pixel_of_each_cell():
    x, rois = normal(2, 5, 10, 15), some_rois().astype(float)
    layer = build(
        "type: 'ROIPooling' bottom: 'x' bottom: 'r' top: 'y' roi_pooling_param "
        f"{{ pooled_h: 3 pooled_w: 4 spatial_scale: {SCALE} }}",
        x.shape,
        rois.shape,
    )
    np.testing.assert_allclose(layer.forward([x, rois])[0], roi_pooling(x, rois, (3, 4)))


def roi_pair_pooling(x, rois, others, cells):
    corners = np.array(
        [[[c_round(c * SCALE) for c in roi[1:]] for roi in both] for both in zip(rois, others, strict=True)]
    )
    around = np.concatenate([corners[:, :, :2].min(1), corners[:, :, 2:].max(1)], axis=1) / SCALE
    seen = np.zeros((len(rois), *x.shape[1:]))
    for r, pair in enumerate(corners):
        for x1, y1, x2, y2 in pair:
            inside = np.s_[:, max(y1 + 1, 0) : max(y2, 0), max(x1 + 1, 0) : max(x2, 0)]
            seen[r][inside] = x[int(rois[r, 0])][inside]
    rows = np.concatenate([np.arange(len(rois))[:, None], around], axis=1)
    return np.maximum(roi_pooling(seen, rows, cells), 0)


@pytest.mark.independent("ROIPairPooling")
def test_a_pair_of_regions_sees_nothing_beside_them():
    x, rois, others = normal(2, 5, 10, 15), some_rois().astype(float), some_rois(seed=1).astype(float)
    layer = build(
        "type: 'ROIPairPooling' bottom: 'x' bottom: 'r' bottom: 'o' top: 'y' roipair_pooling_param "
        f"{{ pooled_h: 3 pooled_w: 4 spatial_scale: {SCALE} }}",
        x.shape,
        rois.shape,
        others.shape,
    )
    np.testing.assert_allclose(layer.forward([x, rois, others])[0], roi_pair_pooling(x, rois, others, (3, 4)))
    with pytest.raises(ShapeFault, match="bottom 1 has 20 regions and bottom 2 19"):
        layer.infer([x.shape, (20, 5), (19, 5)])


def test_a_corner_between_two_pixels_goes_away_from_zero():
    x = np.arange(8.0).reshape(1, 1, 1, 8)
    layer = build(
        "type: 'ROIPooling' bottom: 'x' bottom: 'r' top: 'y' roi_pooling_param { pooled_h: 1 pooled_w: 1 }",
        x.shape,
        (3, 5),
    )
    rois = np.array([[0, 0, 0, 2.5, 0], [0, 0, 0, 3.5, 0], [0, 0, 0, 3.49, 0]])
    assert layer.forward([x, rois])[0].reshape(-1).tolist() == [3, 4, 3]


@pytest.mark.independent("PSROIPooling")
def test_means_of_position_sensitive_maps():
    x, rois = normal(2, 18, 10, 15), some_rois().astype(float)
    layer = build(
        "type: 'PSROIPooling' bottom: 'x' bottom: 'r' top: 'y' psroi_pooling_param "
        f"{{ output_dim: 2 group_size: 3 spatial_scale: {SCALE} }}",
        x.shape,
        rois.shape,
    )
    np.testing.assert_allclose(layer.forward([x, rois])[0], psroi_pooling(x, rois, 2, 3), atol=1e-12)


@pytest.mark.independent("ROIAlign")
@pytest.mark.parametrize("samples", [0, 2])
def test_bilinear_samples(samples, monkeypatch):
    monkeypatch.setattr("demitasse.layers.backend.reference.regions.ELEMENTS", 1000)  # several portions
    x, rois = normal(2, 5, 10, 15), some_rois().astype(float)
    layer = build(
        "type: 'ROIAlign' bottom: 'x' bottom: 'r' top: 'y' roi_align_param "
        f"{{ pooled_h: 3 pooled_w: 4 spatial_scale: {SCALE} sampling_ratio: {samples} }}",
        x.shape,
        rois.shape,
    )
    np.testing.assert_allclose(layer.forward([x, rois])[0], roi_align(x, rois, (3, 4), samples), atol=1e-12)


@pytest.mark.parametrize(
    "text, channels",
    [
        ("type: 'ROIPooling' roi_pooling_param { pooled_h: 7 pooled_w: 7 spatial_scale: 0.0625 }", 4),
        ("type: 'PSROIPooling' psroi_pooling_param { output_dim: 3 group_size: 3 spatial_scale: 0.0625 }", 27),
    ],
)
def test_opencv_gives_the_same(text, channels):
    x, rois = normal(1, channels, 24, 31).astype(np.float32), some_rois(60, 384, 496, images=1)
    layer = build(f"bottom: 'x' bottom: 'r' top: 'y' {text}", x.shape, rois.shape, phase=TEST, dtype="float32")
    np.testing.assert_allclose(layer.forward([x, rois])[0], opencv_layer(text, x=x, r=rois), atol=1e-6)


def test_mistakes_name_both_sides():
    text = "type: 'ROIPooling' bottom: 'x' bottom: 'r' top: 'y' roi_pooling_param { pooled_h: 2 pooled_w: 2 }"
    with pytest.raises(ShapeFault, match=r"bottom 1 has shape \(4, 3, 8, 8\).*\(R, 5\)"):
        build(text, (2, 3, 8, 8), (4, 3, 8, 8))
    with pytest.raises(SchemaFault, match="pooled_h 0"):
        build("type: 'ROIPooling' bottom: 'x' bottom: 'r' top: 'y'", (1, 3, 8, 8), (4, 5))
    with pytest.raises(LabelFault, match="region 1 of bottom 1 is of image 2: the batch has images 0 to 1"):
        build(text, (2, 3, 8, 8), (2, 5)).forward([normal(2, 3, 8, 8), np.array([[0.0] * 5, [2.0] * 5])])
    with pytest.raises(ShapeFault, match=r"12 channels .* output_dim 2 with a map for each of 3x3 cells makes 18"):
        build(
            "type: 'PSROIPooling' bottom: 'x' bottom: 'r' top: 'y' psroi_pooling_param { output_dim: 2 group_size: 3 }",
            (1, 12, 8, 8),
            (4, 5),
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("kind", ["ROIPooling", "ROIAlign", "PSROIPooling"])
def test_regions_without_sense_read_no_memory_beyond_the_image(kind, value, be):
    fields = {
        "ROIPooling": "roi_pooling_param { pooled_h: 2 pooled_w: 2 }",
        "ROIAlign": "roi_align_param { pooled_h: 2 pooled_w: 2 }",
        "PSROIPooling": "psroi_pooling_param { output_dim: 1 group_size: 2 }",
    }[kind]
    layer = build(f"type: '{kind}' bottom: 'x' bottom: 'r' top: 'y' {fields}", (1, 4, 5, 5), (2, 5), dtype="float32")
    layer.be = be
    rois = np.array([[0, value, 0, 4, value], [0, 1, -value, value, 4]], np.float32)
    with np.errstate(all="ignore"):
        y = layer.forward([be.asarray(normal(1, 4, 5, 5)), be.asarray(rois)])[0]
        dx = layer.backward([y], [True, False])[0]
    assert dx.shape == (1, 4, 5, 5)


def bilinear(image, y, x):
    """The value of an image (H, W) between its pixels."""
    rows, columns = (np.maximum(1 - abs(at - np.arange(size)), 0) for at, size in zip((y, x), image.shape, strict=True))
    return rows @ image @ columns


@pytest.mark.independent("PSROIAlign")
def test_samples_of_cells_that_have_channels_of_their_own():
    x, scale, cells, samples = normal(2, 8, 6, 7), 0.5, 2, 2
    rois = np.array([[0, 2.0, 1, 9, 7], [1, 6, 4, 13, 30], [1, 3, 3, 3, 3], [0, 20, 20, 22, 22]])
    fields = "output_dim: 2 group_size: 2 sample_num: 2 spatial_scale: 0.5"
    layer = build(
        f"type: 'PSROIAlign' bottom: 'x' bottom: 'r' top: 'y' psroi_align_param {{ {fields} }}", x.shape, (4, 5)
    )
    (y,) = layer.forward([x, rois])
    for r, d, i, j in np.ndindex(y.shape):
        places, ends = [], []
        for corner, cell, size in ((2, i, 6), (1, j, 7)):
            start = rois[r, corner] * scale
            part = max((rois[r, corner + 2] + 1) * scale - start, 0.1) / cells
            begin, end = (min(max(start + k * part, 0), size - 1) for k in (cell, cell + 1))
            places.append([begin + part * k / (samples + 1) for k in (1, 2)])
            ends.append(end)
        image = x[int(rois[r, 0]), (d * cells + i) * cells + j]
        values = [bilinear(image, a, b) for a in places[0] for b in places[1] if a < ends[0] and b < ends[1]]
        assert np.isclose(y[r, d, i, j], sum(values) / samples**2)
    assert not y[3].any() and y[0].all()
    with pytest.raises(ShapeFault, match="makes 8"):
        build(
            f"type: 'PSROIAlign' bottom: 'x' bottom: 'r' top: 'y' psroi_align_param {{ {fields} }}",
            (1, 9, 6, 7),
            (4, 5),
        )
