import numpy as np
from PIL import Image

from demitasse.models.data import scenes


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
