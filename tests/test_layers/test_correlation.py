"""Correlation: FlowNet's formula, written out; its sizes; what it refuses."""

import numpy as np
import pytest

from demitasse.proto.errors import SchemaFault, ShapeFault
from tests.test_layers.building import build

TEXT = "type: 'Correlation' bottom: 'x' bottom: 'y' top: 'z' correlation_param {{ {} }}"


def expected(first, second, pad, size, most, stride_1, stride_2, compare):
    """Equation 1 of the paper, place by place, over C k^2."""
    n, channels, height, width = first.shape
    wide = [(0, 0), (0, 0), (pad, pad), (pad, pad)]
    first, second, radius = np.pad(first, wide), np.pad(second, wide), size // 2
    edge, steps = most + radius, range(-(most // stride_2) * stride_2, most + 1, stride_2)
    rows = range(edge, height + 2 * pad - edge, stride_1)
    columns = range(edge, width + 2 * pad - edge, stride_1)
    out = np.zeros((n, len(steps) ** 2, len(rows), len(columns)))
    for k, (down, right) in enumerate((dy, dx) for dy in steps for dx in steps):
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                there, here = (y + down, x + right), (y, x)
                patches = [
                    each[:, :, a - radius : a + radius + 1, b - radius : b + radius + 1]
                    for each, (a, b) in ((first, here), (second, there))
                ]
                out[:, k, i, j] = compare(*patches).mean(axis=(1, 2, 3))
    return out


@pytest.mark.independent("Correlation")
@pytest.mark.parametrize(
    "pad, size, most, strides", [(2, 1, 2, (1, 1)), (3, 3, 2, (2, 2)), (0, 1, 1, (1, 1)), (5, 3, 3, (2, 2))]
)
@pytest.mark.parametrize("kind, compare", [("MULTIPLY", np.multiply), ("SUBTRACT", lambda a, b: abs(a - b))])
def test_values_are_the_paper_s(pad, size, most, strides, kind, compare):
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((2, 3, 8, 7)) for _ in range(2)]
    fields = f"pad: {pad} kernel_size: {size} max_displacement: {most} stride_1: {strides[0]} stride_2: {strides[1]}"
    layer = build(TEXT.format(f"{fields} correlation_type: {kind}"), *(x.shape for x in xs))
    want = expected(*xs, pad, size, most, *strides, compare)
    (top,) = layer.forward(xs)
    assert layer.infer([x.shape for x in xs]) == [want.shape]
    np.testing.assert_allclose(top, want, rtol=1e-12, atol=1e-12)


def test_flownet_s_own_has_441_displacements():
    layer = build(
        TEXT.format("pad: 20 kernel_size: 1 max_displacement: 20 stride_1: 1 stride_2: 2"), *[(1, 256, 48, 64)] * 2
    )
    assert layer.infer([(1, 256, 48, 64)] * 2) == [(1, 441, 48, 64)]


@pytest.mark.parametrize("direction, columns", [(-1, slice(0, 3)), (1, slice(2, 5))])
def test_one_direction_is_a_part_of_the_middle_row(direction, columns):
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((1, 2, 4, 6)) for _ in range(2)]
    fields = "pad: 2 kernel_size: 1 max_displacement: 2"
    (every,) = build(TEXT.format(fields), *(x.shape for x in xs)).forward(xs)
    (one,) = build(TEXT.format(f"{fields} single_direction: {direction}"), *(x.shape for x in xs)).forward(xs)
    np.testing.assert_allclose(one, every.reshape(1, 5, 5, 4, 6)[:, 2, columns])


def test_what_cannot_be_is_told():
    shapes = [(1, 2, 4, 4)] * 2
    with pytest.raises(SchemaFault, match="odd"):
        build(TEXT.format("kernel_size: 2 max_displacement: 1"), *shapes)
    with pytest.raises(SchemaFault, match="single_direction: 3"):
        build(TEXT.format("kernel_size: 1 max_displacement: 1 single_direction: 3"), *shapes)
    with pytest.raises(ShapeFault, match="raise pad"):
        build(TEXT.format("kernel_size: 1 max_displacement: 2"), *shapes).infer(shapes)
    with pytest.raises(ShapeFault, match="two of the same"):
        build(TEXT.format("kernel_size: 1 max_displacement: 1"), *shapes).infer([(1, 2, 4, 4), (1, 2, 4, 5)])
