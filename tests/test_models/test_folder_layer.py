"""FolderSegDataLayer: images and labels of any kind in two folders, cut, resized and mirrored together."""

import numpy as np
import pytest
from PIL import Image

from demitasse.models.data.folder_layers import FolderSegDataLayer
from demitasse.proto.errors import DataFault, LabelFault
from tests.test_models import minis
from tests.test_models.data_layers import Run


def test_folder_with_gray_and_rgba_images(tmp_path):
    root = minis.folder(tmp_path)
    minis.picture(root / "images/q.png", (20, 24), 5, "L")
    minis.picture(root / "images/r.png", (20, 24), 6, "RGBA")
    minis.picture(root / "images/unlabelled.png", (20, 24), 6)
    with pytest.warns(UserWarning, match="images without a label in .* are left out: 1 of 4, the first unlabelled.png"):
        run = Run(
            FolderSegDataLayer,
            images=str(root / "images"),
            labels=str(root / "labels"),
            classes=str(root / "classes.txt"),
            randomize=False,
            mean=(0, 0, 0),
        )
    assert run.names(3) == ["p.jpg", "q.png", "r.png"]
    data, _ = run.step()
    run.step()
    gray = run.tops[0].data
    assert data.shape == (1, 3, 20, 24) and np.array_equal(gray[0, 0], gray[0, 2])


def test_folder_with_photos_of_a_turned_camera(tmp_path):
    """The label is of the picture as it is shown, or, where only that fits, as it is stored."""
    root = minis.folder(tmp_path, names=("p.png",))
    where = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3, "mean": (0, 0, 0)}
    stored = np.zeros((20, 24, 3), np.uint8)
    stored[0] = 200
    note = Image.Exif()
    for orientation, shown in ((6, np.rot90(stored, -1)), (8, np.rot90(stored)), (3, stored[::-1, ::-1])):
        note[0x112] = orientation
        Image.fromarray(stored).save(root / "images/p.png", exif=note)
        Image.fromarray(np.zeros(shown.shape[:2], np.uint8)).save(root / "labels/p.png")
        data, _ = Run(FolderSegDataLayer, **where).step()
        assert np.array_equal(data[0].transpose(1, 2, 0), shown)
    note[0x112] = 6
    Image.fromarray(stored).save(root / "images/p.png", exif=note)
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(root / "labels/p.png")
    data, _ = Run(FolderSegDataLayer, **where).step()
    assert np.array_equal(data[0].transpose(1, 2, 0), stored)


def test_folder_with_labels_of_16_bits(tmp_path):
    root = minis.folder(tmp_path, names=("p.png",))
    where = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3}
    wide = np.arange(480, dtype=np.uint16).reshape(20, 24) % 3
    wide[0, 0] = 255
    Image.fromarray(wide).save(root / "labels/p.png")
    assert np.array_equal(Run(FolderSegDataLayer, **where).step()[1][0, 0], wide)
    wide[3, 4] = 300
    Image.fromarray(wide).save(root / "labels/p.png")
    with pytest.raises(LabelFault, match="p.png: label 300 is no class"):
        Run(FolderSegDataLayer, **where).step()


def test_folder_resize_crop_mirror_and_sampling_keep_image_and_label_together(tmp_path):
    root = minis.folder(tmp_path, names=("p.png",))
    label = np.zeros((20, 24), np.uint8)
    label[:, 12:] = 1
    label[0, 0] = 2
    Image.fromarray(label).save(root / "labels/p.png")
    Image.fromarray(np.repeat((label == 1)[..., None] * np.uint8(200), 3, axis=2)).save(root / "images/p.png")
    where = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3, "mean": (0, 0, 0)}
    run = Run(FolderSegDataLayer, **where, mirror=True, crop=(16, 30), seed=4)
    flipped = set()
    for _ in range(20):
        data, labels = run.step()
        assert data.shape == (1, 3, 16, 30) and (labels[..., 24:] == 255).all()
        assert np.array_equal(data[0, 0, :, :24] == 200, labels[0, 0, :, :24] == 1)
        flipped.add(bool(labels[0, 0, 5, 0] == 1))
    assert flipped == {True, False}
    run = Run(FolderSegDataLayer, **where, resize=(10, 12), randomize=False)
    assert run.step()[0].shape == (1, 3, 10, 12)
    _, labels = Run(FolderSegDataLayer, **where, balance=True, keep=0.5, seed=1).step()
    assert (labels == 255).mean() > 0.3


def test_a_split_file_names_images_with_or_without_suffix(tmp_path):
    root = minis.folder(tmp_path / "train-data")
    minis.text(tmp_path / "val.txt", ["q", "p.jpg"])
    where = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3}
    run = Run(FolderSegDataLayer, **where, split=str(tmp_path / "val.txt"))
    assert run.names(2) == ["q.png", "p.jpg"]
    minis.text(tmp_path / "val.txt", ["nope"])
    with pytest.raises(DataFault, match="no image 'nope'"):
        Run(FolderSegDataLayer, **where, split=str(tmp_path / "val.txt"))
