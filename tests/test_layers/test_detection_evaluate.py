"""DetectionEvaluate: which boxes are right, and what it counts."""

import numpy as np
import pytest

from demitasse.proto.errors import SchemaFault, ShapeFault
from tests.test_layers.building import build

A, B, FAR = (0.1, 0.1, 0.3, 0.3), (0.5, 0.5, 0.9, 0.9), (0.0, 0.6, 0.2, 0.8)
NEAR_A = (0.1, 0.1, 0.3, 0.28)  # 0.9 of A


def evaluate(found, true, fields="", classes=3):
    text = "type: 'DetectionEvaluate' bottom: 'd' bottom: 't' top: 'e' detection_evaluate_param { num_classes: %d %s }"
    found, true = (np.asarray(rows, float).reshape(1, 1, -1, n) for rows, n in ((found, 7), (true, 8)))
    layer = build(text % (classes, fields), found.shape, true.shape)
    return layer.forward([found, true])[0][0, 0].round(6).tolist()


@pytest.mark.independent("DetectionEvaluate")
def test_rows_are_counts_by_class_then_boxes_by_image_and_class_best_first():
    found = [(1, 2, 0.5, *B), (0, 1, 0.2, *NEAR_A), (0, 1, 0.9, *A), (0, 1, 0.8, *FAR)]
    true = [(0, 1, 0, *A, 0), (1, 2, 0, *B, 0), (1, 2, 1, *FAR, 0), (-1,) * 8]
    assert evaluate(found, true) == [
        [-1, 1, 1, -1, -1],
        [-1, 2, 2, -1, -1],
        [0, 1, 0.9, 1, 0],
        [0, 1, 0.8, 0, 1],  # on nothing
        [0, 1, 0.2, 0, 1],  # claimed by a better one
        [1, 2, 0.5, 1, 0],
    ]


def test_another_class_or_image_is_wrong():
    found = [(0, 2, 0.5, *A), (1, 1, 0.5, *A)]
    assert [row[3:] for row in evaluate(found, [(0, 1, 0, *A, 0)])[2:]] == [[0, 1], [0, 1]]


def test_the_overlap_that_is_asked_for_counts():
    found, true = [(0, 1, 0.5, *NEAR_A)], [(0, 1, 0, *A, 0)]
    assert evaluate(found, true, "overlap_threshold: 0.85")[-1][3:] == [1, 0]
    assert evaluate(found, true, "overlap_threshold: 0.95")[-1][3:] == [0, 1]


def test_difficult_boxes_can_be_left_out():
    found, true = [(0, 1, 0.5, *A), (0, 1, 0.4, *B)], [(0, 1, 0, *A, 1), (0, 1, 1, *B, 0)]
    assert evaluate(found, true)[0][2] == 2
    assert evaluate(found, true, "evaluate_difficult_gt: false") == [
        [-1, 1, 1, -1, -1],
        [-1, 2, 0, -1, -1],
        [0, 1, 0.5, 0, 0],
        [0, 1, 0.4, 1, 0],
    ]


def test_nothing_found_leaves_the_counts():
    assert evaluate([(0, -1, -1, -1, -1, -1, -1)], [(0, 1, 0, *A, 0)]) == [[-1, 1, 1, -1, -1], [-1, 2, 0, -1, -1]]


def test_the_sizes_of_a_file_make_overlaps_those_of_whole_pixels(tmp_path):
    (tmp_path / "sizes.txt").write_text("a 10 10\n")
    found, true = [(0, 1, 0.5, 0, 0, 0.1, 0.1)], [(0, 1, 0, 0, 0, 0.2, 0.1, 0)]
    assert evaluate(found, true, "overlap_threshold: 0.6")[-1][3:] == [0, 1]  # one half in shares of the image
    sized = f"overlap_threshold: 0.6 name_size_file: '{tmp_path}/sizes.txt'"
    assert evaluate(found, true, sized)[-1][3:] == [1, 0]  # 2 x 2 of 3 x 2 pixels


def test_mistakes(tmp_path):
    with pytest.warns(UserWarning, match="'gone' does not exist: overlaps are measured in shares"):
        evaluate([(0, 1, 0.5, *A)], [(0, 1, 0, *A, 0)], "name_size_file: 'gone'")
    with pytest.raises(SchemaFault, match="num_classes is missing"):
        evaluate([], [], classes=0)
    with pytest.raises(SchemaFault, match="WARP alone is known"):
        evaluate([], [], "resize_param { resize_mode: FIT_SMALL_SIZE }")
    with pytest.raises(ShapeFault, match=r"bottom 0 has shape .*: \(1, 1, any, 7\) is expected"):
        build("type: 'DetectionEvaluate' bottom: 'd' bottom: 't' top: 'e' detection_evaluate_param { num_classes: 2 }",
              (1, 1, 3, 6), (1, 1, 3, 8))  # fmt: skip
