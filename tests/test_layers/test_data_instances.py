"""CvpppData and its like: objects are either in the mask, or have a box that lies on them."""

import numpy as np
import pytest
from PIL import Image

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault
from tests.test_layers.data_sets import batches, layer

SIZE = 40
OBJECTS = {3: (2, 4, 12, 10), 7: (20, 8, 36, 18), 9: (6, 24, 16, 38)}  # number: (x1, y1, x2, y2) in pixels
CHANNELS = {3: 0, 7: 1, 9: 2}  # of blue, green and red: where each object is bright


def write(folder, kind, table="{0},{1},{2},{3},{4},{5}"):
    """A scene of three rectangles on black, as a type reads it; the layer's text."""
    image, instances = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    lines = []
    for number, (x1, y1, x2, y2) in OBJECTS.items():
        image[y1:y2, x1:x2, 2 - CHANNELS[number]], instances[y1:y2, x1:x2] = 200, number
        corners = [corner / SIZE for corner in (x1, y1, x2, y2)]
        lines.append(table.format(number, 1, *corners))
    names = {
        "CvpppData": ("a_rgb.png", "a_label.bmp", "a_box.csv", "list.txt"),
        "CityscapesData": (
            "a_leftImg8bit.left.png",
            "a_gtFine_instanceIds.left.png",
            "a_gtFine_box.left.csv",
            "list.txt",
        ),
        "VocData": (
            "JPEGImages/a.jpg",
            "SegmentationObject/a.bmp",
            "SegmentationObject/a.csv",
            "ImageSets/Segmentation/list.txt",
        ),
    }[kind]
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(paths[0], quality=100)
    Image.fromarray(instances).save(paths[1])
    paths[2].write_text("\n".join(lines))
    paths[3].write_text("a\n" if kind == "VocData" else f"{folder / 'a'}\n")
    return f"type: '{kind}' data_param {{ source: '{paths[3]}' batch_size: 8 }}"


@pytest.mark.independent("CvpppData", "CityscapesData", "VocData")
@pytest.mark.parametrize("kind", ["CvpppData", "CityscapesData", "VocData"])
def test_each_object_is_found_or_has_a_box(tmp_path, kind):
    table = "{0},{2},{3},{4},{5}" if kind == "CvpppData" else "{0},{1},{2},{3},{4},{5}"
    images, rows = batches(layer(write(tmp_path, kind, table)), 1)[0]
    assert images.shape == (8, 4, 300, 300) and rows.shape[3] == 8
    counts = set()
    for item, (*colours, mask) in enumerate(images):
        boxes = {int(row[2]): row[3:7] * 300 for row in rows[0, 0] if row[0] == item}
        counts.add(len(boxes))
        for number, channel in CHANNELS.items():
            y, x = np.nonzero(colours[channel] > 100)
            if number in boxes:
                around = x.min(), y.min(), x.max() + 1, y.max() + 1
                assert np.abs(boxes[number] - around).max() < 5 and mask[y, x].mean() < 10
            else:
                assert mask[y, x].mean() > 245
    assert 0 not in counts and len(counts) > 1


def test_a_table_without_sense_is_refused_with_its_line(tmp_path):
    with pytest.raises(DataFault, match=r"a_box.csv:1: '3,1,.*' is not instance,x1,y1,x2,y2"):
        layer(write(tmp_path, "CvpppData"))
    with pytest.raises(DataFault, match="the smaller first"):
        layer(write(tmp_path, "CvpppData", "{0},{4},{3},{2},{5}"))


def test_sizes_need_no_data():
    plan = Plan("layer { type: 'VocData' name: 'd' top: 'x' top: 'y' data_param { source: 'gone' batch_size: 2 } }\n")
    assert [value.shape for value in plan.values] == [(2, 4, 300, 300), (1, 1, 2, 8)]
