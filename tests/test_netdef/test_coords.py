"""Coordinate maps between blobs, and the Crop offsets that follow from them."""

import pytest

from demitasse.netdef.coords import CoordMap, above_value, coord_map_from_to, crop, crop_offset, map_between
from demitasse.netdef.plan import Plan
from demitasse.netdef.spec import L, NetSpec
from demitasse.proto.errors import GraphFault
from tests.test_netdef.texts import blob, layer


def conv(bottom, **fields):
    return L.Convolution(bottom, num_output=1, **fields)


def deconv(bottom, **fields):
    return L.Deconvolution(bottom, num_output=1, **fields)


def spec(**fields):
    """data -> conv (kernel 3, pad 1) -> pool (2, stride 2) -> deconv (kernel 4, stride 2, pad 0), with other fields."""
    n = NetSpec()
    n.data = L.Input()
    n.conv = conv(n.data, **{"kernel_size": 3, "stride": 1, "pad": 1, **fields.get("conv", {})})
    n.pool = L.Pooling(n.conv, **{"kernel_size": 2, "stride": 2, "pad": 0, **fields.get("pool", {})})
    n.deconv = deconv(n.pool, **{"kernel_size": 4, "stride": 2, "pad": 0, **fields.get("deconv", {})})
    return n


def scale_and_shift(top_from, top_to):
    found = coord_map_from_to(top_from, top_to)
    assert len(set(found.scale)) == len(set(found.shift)) == 1
    return found.scale[0], found.shift[0]


def test_pool_and_deconv_undo_each_other():
    n = spec()
    assert scale_and_shift(n.deconv, n.data) == (1, -1)
    padded = spec(deconv=dict(pad=1))
    assert scale_and_shift(padded.deconv, padded.data) == (1, 0)
    strided = spec(conv=dict(stride=2), deconv=dict(kernel_size=8, stride=4))
    assert scale_and_shift(strided.deconv, strided.data)[0] == 1


def test_pointwise_layers_change_nothing():
    n = spec()
    expected = scale_and_shift(n.deconv, n.data)
    for wrap in (
        L.ReLU,
        L.Dropout,
        L.LRN,
        L.BatchNorm,
        L.TanH,
        lambda top: L.Split(top, ntop=2)[1],
        lambda top: L.Eltwise(top, top),
        lambda top: L.ReLU(top, in_place=True),
    ):
        assert scale_and_shift(wrap(n.deconv), n.data) == expected


def test_padding_a_convolution_adds_what_padding_a_deconvolution_takes_away():
    shift = {}
    for which in ("conv", "deconv"):
        for pad in (1, 3):
            n = spec(**{which: dict(pad=pad)})
            shift[which, pad] = scale_and_shift(n.deconv, n.data)[1]
    assert shift["conv", 3] - shift["conv", 1] == -2
    assert shift["deconv", 3] - shift["deconv", 1] == 2


def test_all_bottoms_and_tops_of_a_convolution_map_alike():
    n = spec()
    n.data2 = L.Input()
    one, two = L.Convolution(n.data, n.data2, ntop=2, kernel_size=3, num_output=1)
    assert coord_map_from_to(one, n.data) == coord_map_from_to(two, n.data2)


def test_a_map_of_unequal_axes_is_that_of_each_axis():
    square, tall = spec(conv=dict(kernel_size=3)), spec(conv=dict(kernel_size=5))
    both = spec(conv=dict(kernel_size=[3, 5]))
    (a,), (b,) = ({coord_map_from_to(n.deconv, n.data).shift[0]} for n in (square, tall))
    assert coord_map_from_to(both.deconv, both.data).shift == (a, b)


def test_more_axes_map_as_two_do():
    flat = scale_and_shift(conv(n := L.Input(), kernel_size=3, pad=2, stride=2), n)
    deep = conv(n, kernel_size=[3] * 4, pad=[2] * 4, stride=[2] * 4)
    found = coord_map_from_to(deep, n)
    assert found.scale == (flat[0],) * 4 and found.shift == (flat[1],) * 4


def test_a_crop_of_a_crop():
    n = spec()
    one = L.Crop(n.deconv, n.data, offset=3, axis=2)
    two = L.Crop(one, n.data, offset=5)
    assert scale_and_shift(two, n.deconv) == (1, 8)


def test_a_map_composed_with_its_inverse_is_the_identity():
    step = CoordMap(2, (0.5, 0.25), (3.0, 1.0))
    for both in (step.after(step.inverse()), step.inverse().after(step)):
        assert both.scale == (1, 1) and both.shift == (0, 0)


def test_crop_writes_the_layer():
    n = spec()
    layer_ = crop(n.deconv, n.data).fn.message()
    assert layer_.type == "Crop" and layer_.crop_param.axis == 2 and list(layer_.crop_param.offset) == [1]
    uneven = spec(deconv=dict(kernel_size=[4, 6]))
    assert list(crop(uneven.deconv, uneven.data).fn.message().crop_param.offset) == [1, 2]


def test_blobs_that_have_nothing_to_do_with_each_other():
    n = spec()
    n.other = L.Input()
    with pytest.raises(GraphFault, match="no common ancestor"):
        coord_map_from_to(n.deconv, n.other)
    with pytest.raises(GraphFault, match="no common ancestor"):
        coord_map_from_to(L.InnerProduct(n.data, num_output=3), n.data)


def test_a_crop_cannot_change_the_scale():
    n = spec()
    with pytest.raises(GraphFault, match="scale mismatch on crop: one pixel of it is 2x2 of the reference"):
        crop(n.pool, n.data)


def test_a_crop_cannot_begin_outside():
    n = spec(deconv=dict(pad=10))
    with pytest.raises(GraphFault, match="negative offset -9x-9"):
        crop(n.deconv, n.data)


def test_a_crop_cannot_begin_between_pixels():
    n = spec(deconv=dict(kernel_size=5))
    with pytest.raises(GraphFault, match="offset 1.5x1.5, which is not a whole number"):
        crop(n.deconv, n.data)


def test_maps_of_other_axes_do_not_mix():
    with pytest.raises(GraphFault, match="coordinates from axis 1 on are not those from axis 2 on"):
        CoordMap(2, (1.0,), (0.0,)).after(CoordMap(1, (1.0,), (0.0,)))


def test_a_parsed_net():
    text = (
        blob(shape=(1, 3, 20, 20))
        + layer("Convolution", "c", "data", more="convolution_param { num_output: 2 kernel_size: 3 pad: 10 stride: 2 }")
        + layer("ReLU", "r", "c", "c")
        + layer("Deconvolution", "up", "c", more="convolution_param { num_output: 2 kernel_size: 5 stride: 2 }")
        + layer("Crop", "score", "up data", more="crop_param { offset: 7 }")
    )
    plan = Plan(text)
    blobs = plan.newest
    assert crop_offset(map_between(blobs["up"], blobs["data"], above_value)) == (2, [11])
    assert crop_offset(map_between(blobs["score"], blobs["data"], above_value)) == (2, [4])


def test_what_a_crop_only_looks_at_is_no_way_through():
    n = spec()
    n.other = L.Input()
    cropped = L.Crop(n.deconv, n.other, offset=1)
    with pytest.raises(GraphFault, match="no common ancestor"):
        coord_map_from_to(cropped, n.other)


def test_joined_and_parted_channels_stay_where_they_are():
    n = spec()
    n.joined = L.Concat(n.pool, n.pool)
    n.parted, n.rest = L.Slice(n.joined, ntop=2)
    n.up = deconv(n.parted, kernel_size=4, stride=2)
    assert scale_and_shift(n.up, n.data) == scale_and_shift(n.deconv, n.data)
    assert scale_and_shift(n.joined, n.rest) == (1, 0)


@pytest.mark.parametrize("move", [lambda top: L.Concat(top, top, axis=2), lambda top: L.Slice(top, ntop=2, axis=3)[1]])
def test_joined_and_parted_rows_move(move):
    n = spec()
    with pytest.raises(GraphFault, match="no common ancestor"):
        coord_map_from_to(move(n.deconv), n.data)


def test_a_crop_to_a_join_finds_the_join_itself():
    n = spec()
    n.other = L.Input()
    n.joined = L.Concat(n.data, n.other)
    up = deconv(L.Pooling(n.joined, kernel_size=2, stride=2), kernel_size=4, stride=2)
    assert scale_and_shift(up, n.joined) == scale_and_shift(up, n.other) == (1, -1)
