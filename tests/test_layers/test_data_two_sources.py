"""ImageLabelData: images and their pixels' labels from two lists or two databases stay together."""

import numpy as np
import pytest
from PIL import Image

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from tests.test_layers.data_sets import batches, layer, write_database

TOPS = 'top: "data" top: "label"'


def labels_of(count=5, height=20, width=30):
    rng = np.random.default_rng(0)
    return rng.integers(0, 20, (count, height // 5, width // 5)).repeat(5, 1).repeat(5, 2).astype(np.uint8)


@pytest.fixture(params=["lists", "databases"])
def paths(request, tmp_path, monkeypatch):
    """Images whose pixels are 10 times their label, in two lists or in two databases."""
    monkeypatch.chdir(tmp_path)
    labels = labels_of()
    if request.param == "databases":
        write_database(tmp_path / "images", labels[:, None].repeat(3, 1) * np.uint8(10), np.zeros(5, int))
        write_database(tmp_path / "labels", labels[:, None], np.zeros(5, int))
        return 'image_list_path: "images" label_list_path: "labels" backend: LMDB'
    for i, label in enumerate(labels):
        Image.fromarray(np.repeat(label[:, :, None] * np.uint8(10), 3, 2)).save(tmp_path / f"{i}.png")
        Image.fromarray(label).save(tmp_path / f"l{i}.png")
    for name, line in (("images", "{}.png\n"), ("labels", "l{}.png\n")):
        (tmp_path / f"{name}.txt").write_text("".join(map(line.format, range(5))))
    return 'image_list_path: "images.txt" label_list_path: "labels.txt"'


def made(fields, transform="crop_size: 12 mirror: true mean_value: 3", phase="TRAIN"):
    fields = f"image_label_data_param {{ {fields} batch_size: 4 }}"
    return layer(f'type: "ImageLabelData" {TOPS} transform_param {{ {transform} }} {fields}', phase)


@pytest.mark.independent("ImageLabelData")
def test_labels_stay_on_their_pixels(paths):
    data = made(f"{paths} shuffle: true")
    for images, labels in batches(data, 3):
        assert images.shape == (4, 3, 12, 12) and labels.shape == (4, 1, 12, 12)
        assert np.array_equal(images + 3, labels.repeat(3, 1) * 10)
    data.close()


def test_labels_are_resized_with_their_images(paths):
    data, widest = made(f"{paths} scale_prob: 1 scale_min: 2 scale_max: 3"), []
    for images, labels in batches(data, 3):
        agree = np.isclose((images[:, :1] + 3) / 10, labels, atol=0.06)
        assert agree.mean() > 0.4  # all but where the linear mix of two pixels lies between them
        edges = np.diff(labels[:, 0], axis=2) != 0
        widest.append(edges.sum() / edges.size)
    data.close()
    assert 0 < np.mean(widest) < 1 / 9  # an edge in 10 to 15 pixels, where there were 5
    data = made(f"{paths} scale_prob: 1 scale_min: 0.1 scale_max: 0.2", transform="crop_size: 15")
    assert data.forward([])[1].shape == (4, 1, 15, 15)  # no smaller than the crop
    data.close()


def test_what_cannot_go_together(paths, tmp_path):
    with pytest.raises(SchemaFault, match="scale_min 0 must be above 0"):
        made(f"{paths} scale_min: 0")
    (tmp_path / "few.txt").write_text("l0.png\n")
    with pytest.raises(DataFault, match="has 5 images, 'few.txt' 1 of their labels"):
        made(paths.split("label_list_path")[0] + 'label_list_path: "few.txt"')
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "small.png")
    (tmp_path / "small.txt").write_text("small.png\n" * 5)
    with pytest.raises(ShapeFault, match=r"small.txt:1\) is \(1, 3, 4\)"):
        made(paths.split("label_list_path")[0] + 'label_list_path: "small.txt"').forward([])


def test_a_net_is_sized_without_them():
    fields = 'image_label_data_param { image_list_path: "nowhere" label_list_path: "nowhere" batch_size: 4 threads: 1 }'
    with pytest.warns(UserWarning, match="threads"):
        net = f'layer {{ name: "d" type: "ImageLabelListData" {TOPS} transform_param {{ crop_size: 64 }} {fields} }}'
        plan = Plan(f"quantize: true\n{net}\n", "TRAIN")
    assert [top.shape for top in plan.steps[0].tops] == [(4, 3, 64, 64), (4, 1, 64, 64)]
