"""ImageSegData and ImageLabelmapData: labels stay on their pixels through scale, fill, crop and mirror; their kinds."""

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.layer import layer_class
from demitasse.proto import messages
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.text import parse
from demitasse.proto.upgrade import upgrade_net
from tests.test_layers.data_sets import batches, layer

SIZES = [(30, 44), (20, 70), (50, 18)]


@pytest.fixture
def pairs(tmp_path):
    """Images whose pixels are 10 times their label, and lists of each kind."""
    rng = np.random.default_rng(0)
    for i, size in enumerate(SIZES):
        labels = np.repeat(np.repeat(rng.integers(0, 20, (size[0] // 2, size[1] // 2)), 2, 0), 2, 1).astype(np.uint8)
        Image.fromarray(np.repeat(labels[:, :, None] * np.uint8(10), 3, 2)).save(tmp_path / f"{i}.png")
        Image.fromarray(labels).save(tmp_path / f"l{i}.png")
    for kind, line in (("PIXEL", "{0}.png l{0}.png\n"), ("IMAGE", "{0}.png 7\n"), ("NONE", "{0}.png\n")):
        (tmp_path / f"{kind}.txt").write_text("".join(line.format(i) for i in range(3)))
    return tmp_path


def made(folder, kind="PIXEL", transform="crop_size: 32", phase="TRAIN", more="", tops=3):
    names = "".join(f'top: "t{i}" ' for i in range(tops))
    return layer(
        f"""type: "ImageSegData" {names} transform_param {{ {transform} }}
        image_data_param {{ source: "{folder}/{kind}.txt" root_folder: "{folder}" batch_size: 3 label_type: {kind}
            {more} }}""",
        phase,
    )


@pytest.mark.independent("ImageSegData")
@pytest.mark.parametrize("transform", ["crop_size: 32", "crop_h: 24 crop_w: 48 mirror: true mean_value: 50"])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_labels_stay_on_their_pixels(pairs, transform, phase):
    mean = 50 if "mean" in transform else 0
    data = made(pairs, transform=transform, phase=phase)
    for images, labels, seen in batches(data, 6):
        assert seen.shape == (3, 1, 1, 2)
        for image, label, (rows, cols), size in zip(images, labels[:, 0], seen[:, 0, 0], SIZES, strict=True):
            inside = label != 255
            assert (rows, cols) == (min(size[0], label.shape[0]), min(size[1], label.shape[1]))
            assert inside.sum() == rows * cols
            assert np.array_equal(image[0][inside] + mean, label[inside] * 10) and not image[:, ~inside].any()
    data.close()


def test_scales_are_drawn_while_training(pairs):
    text = "crop_size: 120 scale_factors: 1 scale_factors: 2"
    data = made(pairs, transform=text)
    found = {tuple(row) for _, _, seen in batches(data, 12) for row in seen[:, 0, 0].tolist()}
    assert found == {(rows * k, cols * k) for rows, cols in SIZES for k in (1, 2) if cols * k <= 120} | {(40, 120)}
    assert batches(made(pairs, transform=text, phase="TEST"), 1)[0][2][:, 0, 0].tolist() == [list(s) for s in SIZES]


def test_kinds_of_labels_and_a_size(pairs):
    sized = "new_height: 32 new_width: 32"
    assert (made(pairs, "IMAGE", more=sized).forward([])[1] == 7).all()
    images, labels = made(pairs, "NONE", more=f"{sized} ignore_label: 254", tops=2).forward([])
    assert images.shape == (3, 3, 32, 32) and (labels == 254).all()


@pytest.mark.parametrize("word, kind", [("true", "PIXEL"), ("false", "NONE")])
def test_the_word_of_deeplab_s_first_version(word, kind):
    text = f"layers {{ type: IMAGE_SEG_DATA top: 'a' top: 'b' image_data_param {{ has_label: {word} }} }}"
    net, marks = parse(text, messages.NetParameter)
    upgrade_net(net, marks)
    fields = net.layer[0].image_data_param
    assert net.layer[0].type == "ImageSegData" and fields.label_type == getattr(fields, kind)
    assert not fields.HasField("has_label")


def test_a_net_is_sized_without_its_data_and_mistakes_are_told(pairs):
    text = """layer { type: "ImageSegData" top: "data" top: "label" transform_param { crop_size: 9 }
        image_data_param { source: "nowhere" batch_size: 2 } }"""
    sized = layer_class("ImageSegData")(parse(text, messages.NetParameter)[0].layer[0])
    assert sized.setup([]) == [] and sized.infer([]) == [(2, 3, 9, 9), (2, 1, 9, 9)] and sized.stream() is None
    with pytest.raises(ShapeFault, match="resize or crop to one size"):
        made(pairs, transform="").forward([])
    with pytest.raises(SchemaFault, match="scale_factors must be above 0, not -1"):
        made(pairs, transform="scale_factors: -1")
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(pairs / "l0.png")
    with pytest.raises(ShapeFault, match="l0.png' .*is 3 x 4 but its image is 30 x 44"):
        made(pairs)


@pytest.mark.independent("ImageLabelmapData")
@pytest.mark.parametrize("size", ["", "new_height: 40 new_width: 40"])
def test_edges_are_pixels_of_128_and_more(tmp_path, size):
    grey = np.array([[0, 127, 128, 255]], np.uint8).repeat(20, 0).repeat(5, 1)
    Image.fromarray(grey).save(tmp_path / "map.png")
    Image.fromarray(np.repeat(grey[:, :, None], 3, 2)).save(tmp_path / "image.png")
    (tmp_path / "list.txt").write_text("image.png map.png\n")
    data = layer(
        f"""type: "ImageLabelmapData" top: "data" top: "label"
        transform_param {{ crop_size: 16 mirror: true mean_value: 9 }}
        image_data_param {{ source: "{tmp_path}/list.txt" root_folder: "{tmp_path}/" batch_size: 8 {size} }}""",
        "TRAIN",
    )
    images, labels = data.forward([])
    assert images.shape == (8, 3, 16, 16) and labels.shape == (8, 1, 16, 16)
    assert np.array_equal(labels[:, 0], images[:, 0] + 9 >= 128) and 0 < labels.mean() < 1
    data.close()


def test_a_map_of_edges_has_the_size_of_its_image(pairs):
    (pairs / "list.txt").write_text("0.png l1.png\n")
    with pytest.raises(ShapeFault, match=r"l1.png' .*list.txt:1. is 20 x 70 but its image is 30 x 44"):
        layer(
            f"""type: "ImageLabelmapData" top: "data" top: "label"
            image_data_param {{ source: "{pairs}/list.txt" root_folder: "{pairs}/" }}"""
        ).forward([])
