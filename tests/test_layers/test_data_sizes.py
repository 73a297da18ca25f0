"""Nets whose data is not there: sized by what their fields tell, or so that they fit; refused where they are to run."""

import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault

LAYER = "layer {{ name: 'd' type: '{}' top: 'data' top: 'label' {} }}\n"
GONE = "source: 'gone' batch_size: 2"
TOLD = {
    "crop": ("Data", f"data_param {{ {GONE} }} transform_param {{ crop_size: 5 mean_value: 1 }}", (2, 1, 5, 5), (2,)),
    "grey": (
        "Data",
        f"data_param {{ {GONE} }} transform_param {{ crop_size: 5 force_gray: true }}",
        (2, 1, 5, 5),
        (2,),
    ),
    "list": ("ImageData", f"image_data_param {{ {GONE} new_height: 4 new_width: 6 }}", (2, 3, 4, 6), (2,)),
    "mean": (
        "ImageData",
        f"image_data_param {{ {GONE} is_color: false }} transform_param {{ crop_size: 5 mean_file: 'gone' }}",
        (2, 1, 5, 5),
        (2,),
    ),
    "dense": (
        "DenseImageData",
        f"dense_image_data_param {{ {GONE} new_height: 9 new_width: 16 label_divide_factor: 8 }}",
        (2, 3, 9, 16),
        (2, 1, 2, 2),
    ),
    "windows": ("WindowData", f"window_data_param {{ {GONE} }} transform_param {{ crop_size: 7 }}", (2, 3, 7, 7), (2,)),
}


@pytest.mark.parametrize("kind, fields, data, label", TOLD.values(), ids=TOLD)
def test_sizes_are_those_that_the_fields_tell(kind, fields, data, label):
    text = LAYER.format(kind, fields)
    plan = Plan(text, "TRAIN")
    assert [value.shape for value in plan.values] == [data, label]
    assert plan.steps[0].layer.stream() is None
    plan.close()
    with pytest.raises(DataFault, match="'gone' does not exist"):
        Net(text, "TRAIN")


@pytest.mark.parametrize("kind, fields", [("Data", "data_param"), ("ImageData", "image_data_param")])
def test_sizes_that_nothing_tells_are_assumed_aloud(kind, fields):
    text = LAYER.format(kind, f"{fields} {{ {GONE} }}")
    with pytest.warns(UserWarning, match="'gone' is not there: .* data 2x3x224x224, label 2; .* --input data=2x3x224"):
        assert [value.shape for value in Plan(text, "TRAIN").values] == [(2, 3, 224, 224), (2,)]
    with pytest.raises(DataFault, match="'gone' does not exist"):
        Net(text, "TRAIN")


IMAGES = (
    "layer { name: 'd' type: 'HDF5Data' top: 'data' top: 'label' hdf5_data_param { source: 'gone' batch_size: 2 } }"
)
SCORE = """layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c'
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: 'i' type: 'InnerProduct' bottom: 'c' top: 'i' inner_product_param { num_output: 5 } }"""
ASSUMED = {
    "a pair in two channels": (
        """layer { name: 's' type: 'Slice' bottom: 'data' top: 'a' top: 'b' slice_param { slice_point: 1 } }
        layer { name: 'e' type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'e' }""",
        ((2, 2, 224, 224), (2,)),
    ),
    "targets": (
        SCORE + "layer { name: 'l' type: 'EuclideanLoss' bottom: 'i' bottom: 'label' }",
        ((2, 3, 224, 224), (2, 5)),
    ),
    "label maps": (
        SCORE + "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'c' bottom: 'label' }",
        ((2, 3, 224, 224), (2, 1, 222, 222)),
    ),
    "what a Reshape holds": (
        SCORE + "layer { name: 'r' type: 'Reshape' bottom: 'c' top: 'r' reshape_param { shape { dim: 2 dim: 400 } } }",
        ((2, 3, 12, 12), (2,)),
    ),
}


@pytest.mark.parametrize("layers, shapes", ASSUMED.values(), ids=ASSUMED)
def test_assumed_sizes_fit_the_net(layers, shapes):
    with pytest.warns(UserWarning, match="the net is sized as if its data were"):
        plan = Plan(IMAGES + layers, "TRAIN")
    assert tuple(value.shape for value in plan.values[:2]) == shapes


@pytest.mark.parametrize(
    "layers",
    [
        SCORE + "layer { name: 'r' type: 'Reshape' bottom: 'i' top: 'r' reshape_param { shape { dim: 7 } } }",
        SCORE + "layer { name: 'k' type: 'Concat' bottom: 'i' bottom: 'i' top: 'k' concat_param { axis: 9 } }",
    ],
    ids=["no size", "another fault"],
)
def test_where_no_size_fits_the_data_is_what_is_missing(layers):
    with pytest.raises(DataFault, match="'d' .HDF5Data.: .*'gone' does not exist"):
        Plan(IMAGES + layers, "TRAIN")


def test_colour_is_assumed_aloud():
    with pytest.warns(UserWarning, match="taken as colour"):
        plan = Plan(LAYER.format("Data", f"data_param {{ {GONE} }} transform_param {{ crop_size: 5 }}"), "TRAIN")
    assert plan.values[0].shape == (2, 3, 5, 5)
