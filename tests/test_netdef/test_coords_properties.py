"""Coordinate maps compose as functions do; a Crop that follows them cuts where it should, in nets drawn at random."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from demitasse.netdef.coords import CoordMap, above_value, crop_offset, map_between
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import GraphFault
from tests.properties import few

numbers = st.integers(-64, 64).map(lambda n: n / 8)
scales = st.sampled_from([0.125, 0.25, 0.5, 1.0, 2.0, 4.0])
maps = st.builds(
    CoordMap,
    st.sampled_from([None, 2]),
    st.lists(scales, min_size=1, max_size=1).map(tuple),
    st.lists(numbers, min_size=1, max_size=1).map(tuple),
)


def at(coords, x):
    return coords.scale[0] * x + coords.shift[0]


@few(100)
@given(maps, maps, maps, numbers)
def test_maps_compose_as_functions_do(one, two, three, x):
    assert at(two.after(one), x) == at(two, at(one, x))
    assert at(three.after(two.after(one)), x) == at(three.after(two).after(one), x)
    assert at(one.inverse(), at(one, x)) == x == at(one, at(one.inverse(), x))


@st.composite
def fcns(draw, odd=0):
    """(text of a net that pools 1 to 3 times and upsamples by as much, the input's size, the exact offset)."""
    pad, depth = draw(st.integers(1, 60)), draw(st.integers(1, 3))
    factor = 2**depth
    kernel = 2 * factor - odd
    height, width = size = draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    text = f"""
    layer {{ name: "data" type: "Input" top: "data"
             input_param {{ shape {{ dim: 1 dim: 1 dim: {height} dim: {width} }} }} }}
    layer {{ name: "first" type: "Convolution" bottom: "data" top: "b0"
             convolution_param {{ num_output: 1 kernel_size: 3 pad: {pad} }} }}
    """
    for i in range(depth):
        text += f"""layer {{ name: "p{i}" type: "Pooling" bottom: "b{i}" top: "b{i + 1}"
                    pooling_param {{ kernel_size: 2 stride: 2 }} }}\n"""
    text += f"""layer {{ name: "up" type: "Deconvolution" bottom: "b{depth}" top: "up"
                convolution_param {{ num_output: 1 kernel_size: {kernel} stride: {factor} }} }}\n"""
    # A score lies in the middle of its `factor` pixels (the first convolution takes off pad - 1), and comes out in
    # the middle of the kernel.
    return text, size, (kernel - 1) / 2 - ((factor - 1) / 2 - pad + 1)


CROP = 'layer { name: "crop" type: "Crop" bottom: "up" bottom: "data" top: "crop" }\n'


@few(25)
@given(fcns())
def test_a_crop_puts_a_pixel_over_the_one_it_comes_from(case):
    text, size, offset = case
    plan = Plan(text, "TEST")
    up, data = plan.newest["up"], plan.newest["data"]
    assert crop_offset(map_between(up, data, above_value)) == (2, [offset])
    assume(min(n - offset - m for n, m in zip(up.shape[2:], size, strict=True)) >= 0)
    cropped = Plan(text + CROP, "TEST", auto_crop=True)
    assert cropped.newest["crop"].shape[2:] == size
    assert list(cropped.by_name["crop"].spec.crop_param.offset) == [offset]


@few(10)
@given(fcns(odd=1))
def test_half_a_pixel_is_refused(case):
    text, _, offset = case
    with pytest.raises(GraphFault, match=f"offset {offset:g}x{offset:g}, which is not a whole number"):
        Plan(text + CROP, "TEST", auto_crop=True)
