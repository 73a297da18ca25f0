"""PriorBox: its boxes against those that OpenCV makes, and against the forks' own descriptions."""

import numpy as np
import pytest

from demitasse.proto.errors import SchemaFault, ShapeFault
from tests.test_layers.building import build
from tests.test_layers.opencv import opencv_tops, our_tops

NET = """
input: "image" input_shape { dim: 1 dim: 3 dim: 60 dim: 50 }
input: "map" input_shape { dim: 1 dim: 4 dim: 3 dim: 2 }
layer { name: "p" type: "PriorBox" bottom: "map" bottom: "image" top: "p" prior_box_param { %s clip: %s } }
"""
FOUR = "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.3"


@pytest.mark.independent("PriorBox")
@pytest.mark.parametrize(
    "fields",
    [
        f"min_size: 10 {FOUR}",
        f"min_size: 10 max_size: 20 aspect_ratio: 2 aspect_ratio: 3 flip: true {FOUR}",
        "min_size: 10 max_size: 20 aspect_ratio: 2 flip: false variance: 0.1",
        f"min_size: 10 min_size: 20 max_size: 15 max_size: 30 aspect_ratio: 2 aspect_ratio: 1 {FOUR}",
        f"min_size: 30 aspect_ratio: 2 step: 16 offset: 0.25 {FOUR}",
        f"min_size: 30 step_h: 16 step_w: 20 {FOUR}",
    ],
)
@pytest.mark.parametrize("clip", ["true", "false"])  # always given: left out, OpenCV clips and Caffe does not
def test_boxes_are_those_of_opencv(fields, clip):
    rng = np.random.default_rng(0)
    inputs = {"image": rng.standard_normal((1, 3, 60, 50)), "map": rng.standard_normal((1, 4, 3, 2))}
    (theirs,), (ours,) = (tops(NET % (fields, clip), **inputs) for tops in (opencv_tops, our_tops))
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def prior_box(fields, size=(1, 1), image=(100, 200)):
    text = f"type: 'PriorBox' bottom: 'm' bottom: 'i' top: 'y' prior_box_param {{ {fields} }}"
    layer = build(text, (1, 4, *size), (1, 3, *image))
    boxes, variances = layer.forward([np.zeros((1, 4, *size)), np.zeros((1, 3, *image))])[0][0].reshape(2, -1, 4)
    return boxes * [image[1], image[0], image[1], image[0]], variances


def test_sizes_are_cut_to_whole_pixels():
    boxes, _ = prior_box("min_size: 20.9 max_size: 45.6")
    assert np.allclose(boxes[:, 2] - boxes[:, 0], [20, 30])


def test_variance_is_a_tenth_where_none_is_given():
    assert np.allclose(prior_box("min_size: 20")[1], 0.1)


def test_textboxes_doubles_each_box_half_a_step_lower():
    boxes, _ = prior_box("min_size: 20 aspect_ratio: 4 flip: false denser_prior_boxes: true step: 10")
    assert np.allclose(boxes, [[-5, -5, 15, 15], [-5, 0, 15, 20], [-15, 0, 25, 10], [-15, 5, 25, 15]])


def test_faceboxes_places_small_squares_densely():
    boxes, _ = prior_box("min_size: 32 min_size: 64 min_size: 128 step: 32 densify: true", image=(1024, 1024))
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2] - boxes[:, 0]
    assert sides.round(9).tolist() == [31] * 16 + [63] * 4 + [127]
    assert centres[:4].round(9).tolist() == [[0, 0], [8, 0], [16, 0], [24, 0]]
    assert centres[16:].round(9).tolist() == [[0, 0], [16, 0], [0, 16], [16, 16], [16, 16]]


def test_published_nets_of_the_forks_are_told_by_their_sizes_and_ratios():
    ratios = " ".join(f"aspect_ratio: {ratio}" for ratio in (2, 3, 5, 7, 10))
    with pytest.warns(UserWarning, match="TextBoxes"):
        boxes, _ = prior_box(f"min_size: 30 {ratios} flip: false")
    assert len(boxes) == 12
    with pytest.warns(UserWarning, match="FaceBoxes"):
        boxes, _ = prior_box("min_size: 32 min_size: 64 min_size: 128 step: 32")
    assert len(boxes) == 21
    assert len(prior_box("min_size: 32 min_size: 64 min_size: 128 step: 32 densify: false")[0]) == 3


@pytest.mark.parametrize(
    "fields, words",
    [
        ("aspect_ratio: 2", "give one or more sides"),
        ("min_size: 3 max_size: 2", "max_size 2 must be greater than its min_size 3"),
        ("min_size: 3 max_size: 4 max_size: 5", "max_size is given 2 times for 1 min_size"),
        ("min_size: 3 variance: 0.1 variance: 0.2", "give one number above 0, or one for each"),
        ("min_size: 3 aspect_ratio: 0", "aspect_ratio 0 must be greater than 0"),
        ("min_size: 3 step: 2 step_h: 2 step_w: 2", "step and step_h/step_w are both given"),
        ("min_size: 3 img_h: 2", "write both img_h and img_w"),
        ("min_size: 3 step: -1", "step must be greater than 0"),
    ],
)
def test_mistakes(fields, words):
    with pytest.raises(SchemaFault, match=words):
        prior_box(fields)


def test_bottoms_are_a_map_and_an_image():
    with pytest.raises(ShapeFault, match="a feature map and an image"):
        build("type: 'PriorBox' bottom: 'm' bottom: 'i' top: 'y' prior_box_param { min_size: 2 }", (1, 4), (1, 3, 5, 5))
