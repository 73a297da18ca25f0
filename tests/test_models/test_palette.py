import numpy as np
import pytest
from PIL import Image

from demitasse.models import palette
from demitasse.proto.files import replacing
from demitasse.solver import pictures


def test_the_first_voc_colours_and_the_ignored_one():
    colours = palette.voc_palette()
    assert colours[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert colours[15].tolist() == [192, 128, 128] and colours[255].tolist() == [224, 224, 192]
    assert len({tuple(c) for c in colours}) == 256


def test_overlay_leaves_class_0_clear():
    image = np.full((2, 2, 3), 100, np.uint8)
    mixed = palette.overlay(image, np.array([[0, 1], [2, 0]]))
    assert mixed[0, 0].tolist() == [100, 100, 100] and mixed[0, 1].tolist() == [114, 50, 50]


def test_labels_survive_a_palette_png(tmp_path):
    labels = np.array([[0, 3], [255, 20]])
    palette.save_labels(tmp_path / "x.png", labels)
    picture = Image.open(tmp_path / "x.png")
    assert picture.mode == "P" and np.asarray(picture).tolist() == labels.tolist()
    assert picture.convert("RGB").getpixel((1, 0)) == (128, 128, 0)


def test_legend_and_panels():
    assert palette.legend([0, 2], ["sky"]).size[1] > 30
    row = pictures.beside([np.zeros((4, 3, 3), np.uint8), np.zeros((2, 5, 3), np.uint8)], gap=1)
    assert row.shape == (4, 9, 3) and row[3, 5].tolist() == [255, 255, 255]


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("one")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("tw")
        raise RuntimeError
    assert path.read_text() == "one" and len(list(path.parent.iterdir())) == 1


def least_distance(colours):
    """Between the two most alike of these, to the eyes that tell them apart worst."""
    seen = pictures.seen(colours)
    first, second = np.triu_indices(len(colours), 1)
    return np.linalg.norm(seen[:, first] - seen[:, second], axis=2).min()


def test_the_pages_colours_differ_to_the_colour_blind_too():
    distinct = pictures.distinct_palette()
    assert distinct[0].tolist() == [0, 0, 0] and distinct[255].tolist() == [255, 255, 255]
    for classes, least in ((5, 0.2), (12, 0.09), (21, 0.06)):
        assert least_distance(distinct[:classes]) > least
        assert least_distance(palette.PALETTE[:classes]) < 0.03, "VOC's do not"
    assert len({tuple(colour) for colour in distinct}) == 256


def test_borders_lie_between_the_classes():
    labels = np.array([[0, 0, 1, 1]] * 3)
    drawn = pictures.outlined(np.full((3, 4, 3), 9, np.uint8), labels)
    assert drawn[:, :, 0].tolist() == [[0, 255, 0, 9]] * 3
    banded = pictures.outlined(np.full((3, 9, 3), 9, np.uint8), np.array([[0, 0, 0, 255, 255, 255, 1, 1, 1]] * 3))
    assert (banded[1, :, 0] == 255).sum() == 1, "one line for a band of no class"
    wide = pictures.outlined(np.full((600, 600, 3), 9, np.uint8), np.arange(600)[None].repeat(600, axis=0) // 300)
    assert (wide[300, :, 0] == 255).sum() == 5 and (wide[300, :, 0] == 0).sum() == 4
