"""Augmentation for segmentation: a pixel keeps its label whatever is done to the image."""

import ast
import itertools

import numpy as np
import pytest

from demitasse.models.data import voc_layers
from demitasse.models.data.augment import Augmentation, rotated, scaled
from demitasse.netdef.net import Net
from demitasse.proto.errors import SchemaFault
from tests.test_models import minis

COLOURS = np.array([[250, 10, 30], [20, 240, 60], [40, 70, 230], [200, 200, 15]], np.uint8)
FILL = (123.0, 117.0, 104.0)  # RGB
CHANGES = {
    "mirror": {"mirror": True},
    "flip": {"flip": True},
    "larger": {"scale": (1.2, 2.9)},
    "smaller": {"scale": (0.3, 0.9)},
    "rotate": {"rotate": 40},
    "all": {"mirror": True, "flip": True, "scale": (0.5, 2), "rotate": 180},
}


def painted(seed, shape=(41, 53)):
    """Labels of random rectangles, and the image in which each class has its colour."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    for _ in range(9):
        top, left = rng.integers(0, shape[0] - 4), rng.integers(0, shape[1] - 4)
        labels[top : top + rng.integers(4, 20), left : left + rng.integers(4, 20)] = rng.integers(0, 4)
    return COLOURS[labels], labels


@pytest.mark.parametrize("change", CHANGES)
def test_every_pixel_that_is_not_mixed_has_its_own_label(change):
    augment = Augmentation(**CHANGES[change], fill=FILL[::-1])
    changed = 0
    for seed in range(8):
        image, labels = painted(seed)
        new, new_labels = augment(image, labels, np.random.default_rng(seed))
        assert new.dtype == np.uint8 and new.shape == (*new_labels.shape, 3) and new_labels.dtype == np.uint8
        for c, colour in enumerate(COLOURS):
            pure = (new == colour).all(axis=2)
            assert (new_labels[pure] == c).all(), (seed, c)
        outside = new_labels == 255
        assert (new[outside] == np.array(FILL)).all()
        mixed = ~outside & (new[:, :, None] != COLOURS).any(axis=3).all(axis=2)
        assert mixed.mean() < 0.45 and not (change in ("mirror", "flip") and mixed.any())
        changed += new.shape != image.shape or not np.array_equal(new, image)
    assert changed >= (2 if change in ("mirror", "flip") else 8)


def test_right_angles_are_exact():
    image, labels = painted(1, (21, 21))
    for turns in range(4):
        new, new_labels = rotated(image, labels, 90 * turns, FILL)
        assert np.array_equal(new, np.rot90(image, turns)) and np.array_equal(new_labels, np.rot90(labels, turns))
    image, labels = painted(1)
    new, new_labels = rotated(image, labels, 180, FILL)
    assert np.array_equal(new, image[::-1, ::-1]) and np.array_equal(new_labels, labels[::-1, ::-1])


def test_a_small_turn_follows_the_formula():
    """Counter-clockwise about the middle: what lay right of it has risen."""
    labels = np.zeros((31, 31), np.uint8)
    labels[15, 25] = 1
    _, turned = rotated(COLOURS[labels], labels, 30, FILL)
    (row,), (col,) = np.nonzero(turned == 1)
    assert abs(row - (15 - 10 * np.sin(np.pi / 6))) < 1 and abs(col - (15 + 10 * np.cos(np.pi / 6))) < 1


def test_scaled_labels_lie_where_the_image_does():
    labels = np.repeat(np.arange(4, dtype=np.uint8), 3)[None].repeat(6, axis=0)  # stripes of three
    image, small = scaled(COLOURS[labels], labels, (2, 4))
    assert small.tolist() == [[0, 1, 2, 3]] * 2 and np.array_equal(image, COLOURS[small])


def test_colour_changes_no_label_and_nothing_is_drawn_that_was_not_asked_for():
    image, labels = painted(2)
    rng = np.random.default_rng(5)
    new, same = Augmentation(colour=1)(image, labels, rng)
    assert same is labels and not np.array_equal(new, image) and new.shape == image.shape
    rng = np.random.default_rng(5)
    assert Augmentation()(image, labels, rng) == (image, labels) and rng.random() == np.random.default_rng(5).random()


def blobs(folder, options, count):
    folders = f"'images': '{folder}/images', 'labels': '{folder}/labels', 'classes': 3, 'seed': 3{options}"
    layer = 'name: "data" type: "Python" top: "data" top: "label"'
    param = f'module: "folder_layers" layer: "FolderSegDataLayer" param_str: "{{{folders}}}"'
    net = Net(f"layer {{ {layer}\npython_param {{ {param} }} }}", "TRAIN", keep=["data", "label"])
    found = []
    for _ in range(count):
        net.forward()
        found.append([net.backend.to_host(net.blobs[name]).copy() for name in ("data", "label")])
    net.close()
    return found


def test_the_folder_layer_augments_in_training_alike_each_time(tmp_path):
    minis.folder(tmp_path)
    options = ", 'scale': (0.5, 2), 'rotate': 20, 'colour': 0.5, 'mirror': True, 'flip': True, 'crop': (16, 18)"
    one, again, plain = (blobs(tmp_path, text, 4) for text in (options, options, ""))
    assert all(np.array_equal(a, b) for a, b in zip(itertools.chain(*one), itertools.chain(*again), strict=True))
    assert all(data.shape == (1, 3, 16, 18) and label.shape == (1, 1, 16, 18) for data, label in one)
    assert {*np.unique([label for _, label in one])} <= {0, 1, 2, 255}
    assert plain[0][0].shape != one[0][0].shape
    for wrong in ("'scale': (2, 0.5)", "'rotate': 200", "'colour': 1.5", "'scale': 2"):
        with pytest.raises(SchemaFault, match=wrong.split("'")[1]):
            blobs(tmp_path, f", {wrong}", 1)


def test_data_in_vocs_layout_are_augmented_too(tmp_path):
    """As the folder's are: image and labels by the same draws, and nothing for a split that is no training."""
    minis.voc(tmp_path, split="train", classes=3)
    minis.voc(tmp_path, split="val", classes=3)
    found = {}
    for split, options in (("train", ""), ("train", "'flip': True, 'scale': (1.5, 2)"), ("val", "'flip': True")):
        layer = voc_layers.VOCSegDataLayer.__new__(voc_layers.VOCSegDataLayer)
        given = ast.literal_eval(f"{{{options}}}")
        defaults = {name: option.default for name, option in layer.options.items()}
        layer.split = split
        names = layer.open({**defaults, "voc_dir": str(tmp_path), "split": split, "classes": 3, **given})
        layer.random = split == "train"
        found[split, options] = layer.load(names[0], np.random.default_rng(4))
    plain, augmented, val = found.values()
    assert np.array_equal(plain[0], val[0]) and np.array_equal(plain[1], val[1])
    assert augmented[0].shape[1:] == augmented[1].shape[1:] and augmented[1].shape[1] > 1.4 * plain[1].shape[1]
