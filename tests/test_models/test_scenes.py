import numpy as np
import pytest
from PIL import Image

from demitasse.models.data import scenes
from demitasse.models.data.annotations import read_annotations
from demitasse.proto.errors import DataFault


def test_a_scene_is_the_same_every_time_and_differs_from_the_next():
    image, labels = scenes.draw(3, 7, (48, 64))
    again, labels_again = scenes.draw(3, 7, (48, 64))
    assert image.shape == (48, 64, 3) and labels.shape == (48, 64)
    assert np.array_equal(image, again) and np.array_equal(labels, labels_again)
    assert not np.array_equal(image, scenes.draw(3, 8, (48, 64))[0])


def test_every_class_occurs_and_borders_are_ignored():
    seen = np.zeros(256, int)
    for i in range(40):
        seen += np.bincount(scenes.draw(1, i, (64, 64))[1].ravel(), minlength=256)
    assert (seen[:9] > 0).all() and seen[255] > 0 and seen[9:255].sum() == 0
    assert 0.5 < seen[0] / seen.sum() < 0.9


def test_the_folder_is_voc_layout_and_made_once(tmp_path):
    folder = scenes.write(tmp_path / "d", train=3, val=2, size=(32, 40))
    assert (folder / "ImageSets/Segmentation/val.txt").read_text().split() == ["scene00003", "scene00004"]
    label = Image.open(folder / "SegmentationClass/scene00000.png")
    assert label.mode == "P" and label.size == (40, 32)
    before = (folder / "JPEGImages/scene00000.jpg").stat().st_mtime_ns
    scenes.write(folder, train=3, val=2, size=(32, 40))
    assert (folder / "JPEGImages/scene00000.jpg").stat().st_mtime_ns == before
    scenes.write(folder, train=2, val=2, size=(32, 40))
    assert len((folder / "ImageSets/Segmentation/train.txt").read_text().split()) == 2


def test_the_boxes_are_around_what_is_seen_of_each_object():
    found = 0
    for i in range(20):
        _, labels, objects = scenes.draw_objects(1, i, (64, 64))
        for kind, x1, y1, x2, y2 in objects:
            inside = labels[y1 : y2 + 1, x1 : x2 + 1]
            assert 0 <= x1 < x2 < 64 and 0 <= y1 < y2 < 64 and (inside == kind).any()
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert np.isin(edge, (kind, 255)).any()
            found += 1
    assert 30 < found < 120


def test_boxes_are_written_as_pascal_voc_has_them(tmp_path):
    folder = scenes.write(tmp_path / "d", train=2, val=1, size=(48, 64))
    _, _, objects = scenes.draw_objects(1, 2, (48, 64))
    size, found = read_annotations(folder / "Annotations/scene00002.xml")
    assert size == (48, 64) and objects
    assert [(scenes.CLASSES.index(each.name), *each.corners) for each in found] == objects
    assert f"<xmin>{objects[0][1] + 1}</xmin>" in (folder / "Annotations/scene00002.xml").read_text()
    assert (folder / "ImageSets/Main/val.txt").read_text().split() == ["scene00002"]


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "no element found"),
        ("<annotation/>", "it has no <size><height>"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>", "defines entities"),
        (
            "<annotation><size><width>9</width><height>9</height></size><object><name>car</name><bndbox><xmin>5</xmin>"
            "<ymin>1</ymin><xmax>2</xmax><ymax>3</ymax></bndbox></object></annotation>",
            "the box of a car ends before it begins",
        ),
    ],
)
def test_other_files_are_no_annotations(tmp_path, text, told):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataFault, match=told):
        read_annotations(tmp_path / "a.xml")
