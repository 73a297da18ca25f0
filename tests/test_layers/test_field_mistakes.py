"""Mistakes in the fields and sizes of single layers: each is one line that says what is wrong and what to do."""

import numpy as np
import pytest

from demitasse.proto.errors import NetError, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal

IMAGE, SMALL = (1, 3, 8, 8), (1, 3, 5, 5)


def conv(fields):
    return f"type: 'Convolution' bottom: 'd' top: 'c' convolution_param {{ {fields} }}"


MISTAKES = [
    # text, bottoms, fault, words
    (conv("num_output: 2"), [IMAGE], SchemaFault, "kernel_size is missing: write"),
    (conv("num_output: 2 kernel_size: 0"), [IMAGE], SchemaFault, "kernel_size must be at least 1, not 0"),
    (conv("num_output: 2 kernel_size: 3 kernel_h: 3 kernel_w: 3"), [IMAGE], SchemaFault, "both given"),
    (conv("num_output: 2 kernel_h: 3"), [IMAGE], SchemaFault, "kernel_w is missing beside kernel_h"),
    (conv("num_output: 2 kernel_size: 3 stride_h: 1"), [IMAGE], SchemaFault, "stride_w is missing beside stride_h"),
    (conv("num_output: 2 kernel_size: 3 pad: 1 pad_h: 1"), [IMAGE], SchemaFault, "pad and pad_h/pad_w are both given"),
    (conv("num_output: 2 kernel_h: 3 kernel_w: 3"), [(1, 3, 8)], SchemaFault, "are for 2 spatial axes, here are 1"),
    (conv("num_output: 2 kernel_size: 1 kernel_size: 2 kernel_size: 3"), [IMAGE], SchemaFault, "3 times for 2 spatial"),
    (conv("kernel_size: 3"), [IMAGE], SchemaFault, "num_output is missing"),
    (conv("num_output: 4 kernel_size: 3 stride: 0"), [IMAGE], SchemaFault, "stride must be at least 1"),
    (conv("num_output: 4 kernel_size: 3 dilation: 0"), [IMAGE], SchemaFault, "dilation must be at least 1"),
    (conv("num_output: 4 kernel_size: 3 group: 0"), [IMAGE], SchemaFault, "group must be at least 1"),
    (conv("num_output: 4 kernel_size: 3 group: 2"), [IMAGE], ShapeFault, "channels, 3, cannot be divided by group, 2"),
    (conv("num_output: 4 kernel_size: 3 group: 3"), [IMAGE], ShapeFault, "num_output, 4, cannot be divided"),
    (conv("num_output: 2 kernel_size: 9"), [IMAGE], ShapeFault, "9x9 pixels does not fit into the bottom's 8x8"),
    (conv("num_output: 2 kernel_size: 12"), [IMAGE], ShapeFault, "12x12 pixels does not fit"),
    (conv("num_output: 2 kernel_size: 3 axis: 3"), [IMAGE], ShapeFault, "no spatial axis"),
    (conv("num_output: 2 kernel_size: 3 axis: 4"), [IMAGE], ShapeFault, "axis 4 does not exist"),
    ("type: 'Eltwise' bottom: 'd' bottom: 'e' top: 'y'", [IMAGE, SMALL], ShapeFault, r"8, 8\).*\(1, 3, 5, 5\)"),
    (
        "type: 'Eltwise' bottom: 'd' bottom: 'd' top: 'y' eltwise_param { coeff: 1 }",
        [IMAGE] * 2,
        SchemaFault,
        "coeff is given 1 times for 2 bottoms",
    ),
    (
        "type: 'Eltwise' bottom: 'd' bottom: 'd' top: 'y' eltwise_param { operation: PROD coeff: 1 coeff: 1 }",
        [IMAGE] * 2,
        SchemaFault,
        "PROD has no coefficients",
    ),
    ("type: 'Concat' bottom: 'd' bottom: 'e' top: 'y'", [IMAGE, SMALL], ShapeFault, "may differ at axis 1 only"),
    ("type: 'Concat' bottom: 'd' top: 'y' concat_param { axis: 1 concat_dim: 1 }", [IMAGE], SchemaFault, "both given"),
    (
        "type: 'Crop' bottom: 'd' bottom: 'e' top: 'y' crop_param { offset: 4 }",
        [IMAGE, SMALL],
        ShapeFault,
        "axis 2: size 5 of bottom 1 at offset 4 exceeds the 8 of bottom 0: offset can be 0 to 3",
    ),
    ("type: 'Crop' bottom: 'd' bottom: 'e' top: 'y'", [SMALL, IMAGE], ShapeFault, "are the bottoms exchanged"),
    (
        "type: 'Crop' bottom: 'd' bottom: 'e' top: 'y' crop_param { axis: 1 offset: 0 offset: 1 }",
        [IMAGE, SMALL],
        SchemaFault,
        "2 offsets for the 3 axes from 1 on",
    ),
    ("type: 'Crop' bottom: 'd' bottom: 'e' top: 'y' crop_param { axis: 4 }", [IMAGE, SMALL], ShapeFault, "axis 4"),
    ("type: 'Crop' bottom: 'd' bottom: 'e' top: 'y'", [IMAGE, (5, 5)], ShapeFault, "as many axes expected"),
    ("type: 'Slice' bottom: 'd' top: 'a' top: 'b'", [IMAGE], ShapeFault, "size 3, which 2 tops cannot share equally"),
    ("type: 'Slice' bottom: 'd' top: 'a' top: 'b' slice_param { slice_point: 3 }", [IMAGE], ShapeFault, "must rise"),
    ("type: 'Slice' bottom: 'd' top: 'a' slice_param { slice_point: 1 }", [IMAGE], SchemaFault, "1 slice_points for 1"),
    (
        "type: 'InnerProduct' bottom: 'd' top: 'a' inner_product_param { num_output: 2 axis: 5 }",
        [IMAGE],
        ShapeFault,
        "axis 5 does not exist.*choose -4 to 3",
    ),
    ("type: 'InnerProduct' bottom: 'd' top: 'a'", [IMAGE], SchemaFault, "num_output is missing"),
    ("type: 'Softmax' bottom: 'd' top: 'a' softmax_param { axis: 4 }", [IMAGE], ShapeFault, "axis 4 does not exist"),
    ("type: 'LRN' bottom: 'd' top: 'a' lrn_param { local_size: 4 }", [IMAGE], SchemaFault, "local_size 4 is even"),
    ("type: 'LRN' bottom: 'd' top: 'a' lrn_param { norm_region: WITHIN_CHANNEL }", [(2, 3)], ShapeFault, "4 axes"),
    ("type: 'Dropout' bottom: 'd' top: 'a' dropout_param { dropout_ratio: 1 }", [IMAGE], SchemaFault, "_ratio 1"),
    ("type: 'Scale' bottom: 'd' bottom: 'e' top: 'a'", [IMAGE, (4,)], ShapeFault, r"\(3,\) is there"),
    ("type: 'Scale' bottom: 'd' top: 'a' scale_param { axis: 2 num_axes: 3 }", [IMAGE], ShapeFault, "num_axes 3"),
    ("type: 'Bias' bottom: 'd' top: 'a' bias_param { axis: -5 }", [IMAGE], ShapeFault, "axis -5 does not exist"),
    (
        "type: 'Input' top: 'a' top: 'b' top: 'c' input_param { shape { dim: 1 } shape { dim: 2 } }",
        [],
        SchemaFault,
        "2 shapes for 3 tops",
    ),
    ("type: 'Input' top: 'a'", [], SchemaFault, "0 shapes for 1 tops"),
    ("type: 'Input' top: 'a' input_param { shape { dim: -1 } }", [], SchemaFault, "negative"),
]


@pytest.mark.parametrize(
    "text, shapes, fault, words", MISTAKES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_mistakes_are_one_helpful_line(text, shapes, fault, words):
    with pytest.raises(NetError, match=words) as caught:
        build(text, *shapes)
    assert caught.type is fault and "\n" not in str(caught.value)


def test_sizes_that_change_later_are_checked_again():
    inner = build("type: 'InnerProduct' bottom: 'd' top: 'a' inner_product_param { num_output: 2 }", IMAGE)
    with pytest.raises(ShapeFault, match="75 values from axis 1 on, but the weights are for 192"):
        inner.infer([SMALL])
    scale = build("type: 'Scale' bottom: 'd' top: 'a'", IMAGE)
    with pytest.raises(ShapeFault, match=r"\(4,\) is there"):
        scale.infer([(1, 4, 8, 8)])
    shift = build(
        "type: 'Scale' bottom: 'd' bottom: 'e' top: 'a' scale_param { axis: 0 bias_term: true }", (2, 3), (2, 3)
    )
    with pytest.raises(ShapeFault, match=r"of which \(2, 3\) cannot span axis 0"):
        shift.infer([(4, 3), (4, 3)])  # bottom 1 has grown too, the learned shift has not


def test_coefficients_of_max_are_ignored_with_advice():
    text = "type: 'Eltwise' bottom: 'd' bottom: 'e' top: 'y' eltwise_param { operation: MAX coeff: -1 coeff: -1 }"
    layer = build(text, (2, 3), (2, 3))
    assert layer.advice([(2, 3), (2, 3)]) == ["coeff is ignored for operation: MAX"]
    a, b = normal(2, 3), normal(2, 3, seed=1)
    np.testing.assert_array_equal(layer.forward([a, b])[0], np.maximum(a, b))


def test_equal_maxima_send_their_gradient_to_the_second_bottom():
    layer = build(
        "type: 'Eltwise' bottom: 'a' bottom: 'b' bottom: 'c' top: 'y' eltwise_param { operation: MAX }",
        (3,),
        (3,),
        (3,),
    )
    layer.forward([np.array([1.0, 2, 3]), np.array([1.0, 1, 3]), np.array([1.0, 2, 4])])
    assert [dx.tolist() for dx in layer.backward([np.ones(3)], [True] * 3)] == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


@pytest.mark.independent("Input")
def test_input_gives_zeros_of_its_shapes():
    layer = build("type: 'Input' top: 'a' top: 'b' input_param { shape { dim: 2 dim: 3 } }")
    assert [top.shape for top in layer.forward([])] == [(2, 3), (2, 3)]


def test_crop_knows_its_offset_as_coordinates():
    layer = build(
        "type: 'Crop' bottom: 'd' bottom: 'e' top: 'y' crop_param { axis: 2 offset: 1 offset: 2 }", IMAGE, SMALL
    )
    assert layer.coords() == (2, (1.0,), (-1.0, -2.0))
