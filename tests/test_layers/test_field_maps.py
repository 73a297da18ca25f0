"""What the places of maps learn from the objects of an image, against loops over places."""

import numpy as np
import pytest

from demitasse.layers.data.field_maps import Field, Objects, Rules, field_maps
from tests.test_layers.test_field_boxes import overlap


@pytest.mark.independent("DetectionData", "ImageGtData")
@pytest.mark.parametrize("extra", [0.0, 1.0])
def test_each_place_learns_the_object_that_its_field_overlaps_most_with(extra):
    corners = np.array([[4.0, 4, 17, 19], [20, 2, 35, 30], [50, 30, 52, 32]])
    classes, ignored = np.array([3, 1, 2]), np.array([False, True, False])
    fields, size = [Field(16, 16, 8), Field(16, 32, 16)], (40, 64)
    rules = Rules(0.4, 0.01, 0.5, extra, regions_first=extra == 0)
    regions = np.array([[44.0, 0, 64, 20]])
    maps = field_maps(Objects(corners, classes, ignored, regions), fields, size, (8, 0, 48, 40), rules)
    middle = {}
    for index, (answer, field) in enumerate(zip(maps, fields, strict=True)):
        rows, cols = round(size[0] / field.stride + 1e-9), size[1] // field.stride
        assert answer.shape == (6, 3 if field.stride == 16 else rows, cols)
        for row, col in np.ndindex(answer.shape[1:]):
            x, y = ((n + 0.5) * field.stride for n in (col, row))
            box = x - field.width / 2, y - field.height / 2, x + field.width / 2, y + field.height / 2
            overlaps = [overlap(box, other, extra) for other in corners]
            first, last = (int(n / field.stride + 0.5) for n in (8, 48))
            outside = not (first <= col < first + last and row < int(40 / field.stride + 0.5))
            sides = [min(box[i + 2], regions[0, i + 2]) - max(box[i], regions[0, i]) + extra for i in (0, 1)]
            own = (field.width + extra) * (field.height + extra)
            dull = min(sides) > 0 and sides[0] * sides[1] / own >= 0.5
            best = int(np.argmax(overlaps))
            if outside or (dull and extra == 0):
                expected = [0, 0, 0, 0, 0, 1]
            elif overlaps[best] > 0.4:
                left, top, right, bottom = corners[best]
                numbers = (left + right) / 2, (top + bottom) / 2, right - left + extra, bottom - top + extra
                expected = [0 if ignored[best] else classes[best], *numbers, overlaps[best]]
            else:
                expected = [0, 0, 0, 0, 0, 1 if dull else overlaps[best]]
            if index == 0 and (row, col) == (3, 6):  # the small object, which no field overlaps enough with
                middle = {"found": answer[:, row, col].tolist(), "overlap": expected[5]}
                continue
            np.testing.assert_allclose(answer[:, row, col], expected, rtol=1e-6)
    wide = 2 + extra
    assert middle["found"][:5] == [2, 51, 31, wide, wide]


def test_fields_that_reach_out_of_the_image_are_ignored():
    nothing = Objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, bool), np.zeros((0, 4)))
    inner, corners = np.ones((5, 5)), np.ones((5, 5))
    inner[[0, -1]] = inner[:, [0, -1]] = 0
    corners[[0, 0, -1, -1], [0, -1, 0, -1]] = 0  # of whose fields 9/16 lie inside, of the others at the border 3/4
    for rule, counts in (({"margin": 0.6}, corners * 0 + 1), ({"margin": 0.4}, inner), ({"inside": 0.75}, corners)):
        rules = Rules(0.5, 0.2, 0.4, 0.0, False, **rule)
        (answer,) = field_maps(nothing, [Field(16, 16, 8)], (40, 40), (0, 0, 40, 40), rules)
        assert (answer[5] == 1 - counts).all()
