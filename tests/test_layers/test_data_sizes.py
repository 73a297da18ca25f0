"""Nets whose data is not there: sized where the fields tell the sizes, and refused where they are to run."""

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
def test_sizes_that_nothing_tells_are_a_fault(kind, fields):
    with pytest.raises(DataFault, match="'gone' does not exist"):
        Plan(LAYER.format(kind, f"{fields} {{ {GONE} }}"), "TRAIN")


def test_colour_is_assumed_aloud():
    with pytest.warns(UserWarning, match="taken as colour"):
        plan = Plan(LAYER.format("Data", f"data_param {{ {GONE} }} transform_param {{ crop_size: 5 }}"), "TRAIN")
    assert plan.values[0].shape == (2, 3, 5, 5)
