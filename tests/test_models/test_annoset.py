"""convert_annoset: PASCAL VOC's folders to a database, and what AnnotatedData reads of it."""

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data import annotations
from demitasse.layers.data.database import open_database
from demitasse.models.__main__ import main
from demitasse.models.data.annotations import Annotation, write_annotations
from tests.test_layers.data_sets import layer

pytest.importorskip("lmdb")  # which convert_annoset writes with
SIZE = 40, 60  # height, width


@pytest.fixture
def voc(tmp_path):
    """Three images with boxes, in PASCAL VOC's layout."""
    root = tmp_path / "VOC"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    objects = {
        "a": [
            Annotation("dog", (0, 0, 29, 19)),
            Annotation("cat", (6, 10, 59, 39), True),
            Annotation("dog", (1, 2, 3, 4)),
        ],
        "b": [],
        "c": [Annotation("person", (5, 5, 70, 90))],
    }
    for name, each in objects.items():
        Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(root / f"JPEGImages/{name}.jpg")
        write_annotations(root / f"Annotations/{name}.xml", f"{name}.jpg", SIZE, each)
    (root / "ImageSets/Main/trainval.txt").write_text("a\nb\nc\n")
    return root


def rows(database):
    with open_database(str(database), "db") as reader:
        return [annotations.parse(value, "")[1] for _, value in reader]


def test_a_split_of_voc(voc, tmp_path, capsys):
    assert main(["convert_annoset", str(voc), "trainval", str(tmp_path / "db")]) == 0
    assert "Processed 3 files; wrote" in capsys.readouterr().out
    first, second, third = rows(tmp_path / "db")
    assert first[:, [1, 2, 7]].tolist() == [[12, 0, 0], [12, 1, 0], [8, 0, 1]]  # by class: two dogs, a difficult cat
    corners = first[:, annotations.CORNERS] * [60, 40, 60, 40]
    assert np.allclose(corners, [[0, 0, 30, 20], [1, 2, 4, 5], [6, 10, 60, 40]], atol=1e-4)
    assert len(second) == 0 and third[0, 5:7].tolist() == [1, 1]  # cut at the image's border
    data = layer(f"""type: "AnnotatedData" top: "data" top: "label"
        data_param {{ source: "{tmp_path / "db"}" batch_size: 3 }}""")
    images, labels = data.forward([])
    assert images.shape == (3, 3, *SIZE) and labels[0, 0, :, 0].tolist() == [0, 0, 0, 2]
    data.close()


def test_a_list_of_pairs_other_classes_and_another_size(voc, tmp_path):
    (tmp_path / "list.txt").write_text("JPEGImages/a.jpg Annotations/a.xml\n")
    (tmp_path / "map.prototxt").write_text(
        "".join(f'item {{ name: "{n}" label: {i} }}\n' for i, n in ((1, "dog"), (2, "cat")))
    )
    words = ["-label_map_file", str(tmp_path / "map.prototxt"), "--resize_height=20", "--resize_width", "24"]
    assert main(["convert_annoset", *words, f"{voc}/", str(tmp_path / "list.txt"), str(tmp_path / "db")]) == 0
    (found,) = rows(tmp_path / "db")
    assert found[:, 1].tolist() == [1, 1, 2] and np.allclose(found[0, 3:7], [0, 0, 0.5, 0.5])


def test_what_cannot_be_used_is_left_out_with_the_reason(voc, tmp_path, capsys):
    (voc / "Annotations/a.xml").write_text("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><annotation/>")
    write_annotations(voc / "Annotations/c.xml", "c.jpg", SIZE, [Annotation("persn", (0, 0, 3, 3))])
    assert main(["convert_annoset", str(voc), "trainval", str(tmp_path / "db")]) == 0
    said = capsys.readouterr().out
    assert "left out" in said and "a.xml is no annotation of PASCAL VOC" in said
    assert "c.xml: an object is a 'persn', which is no class (did you mean 'person'?); --label_map_file FILE" in said
    assert "Processed 1 files, 2 left out" in said
    write_annotations(voc / "Annotations/b.xml", "b.jpg", (80, 120), [])
    assert main(["convert_annoset", str(voc), "trainval", str(tmp_path / "other")]) == 2
    shown = capsys.readouterr()
    assert "is 40 x 60 (height x width), but" in shown.out and "none of the 3 images" in shown.err
    assert not (tmp_path / "other").exists()
