"""python -m models detect: boxes in pixels, whatever detector the net is, as pictures and as text."""

import numpy as np
import pytest
from PIL import Image

from demitasse.models.__main__ import main
from demitasse.models.detect import Detector, Found, draw_boxes
from demitasse.netdef.net import Net
from demitasse.proto.errors import GraphFault

IMAGE = np.full((60, 90, 3), 100, np.uint8)

# One pixel per cell of a 2 x 2 map says by its brightness how sure the box of its cell is of class 1.
SSD = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 20 dim: 20 } } }
layer { name: "map" type: "Pooling" bottom: "data" top: "map" pooling_param { pool: AVE kernel_size: 10 stride: 10 } }
layer { name: "loc" type: "Convolution" bottom: "map" top: "loc" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "conf" type: "Convolution" bottom: "map" top: "conf" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "locs" type: "Permute" bottom: "loc" top: "locs" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "confs" type: "Permute" bottom: "conf" top: "confs" permute_param { order: [0, 2, 3, 1] } }
layer { name: "flat" type: "Flatten" bottom: "locs" top: "flat" }
layer { name: "flats" type: "Flatten" bottom: "confs" top: "flats" }
layer { name: "priors" type: "PriorBox" bottom: "map" bottom: "data" top: "priors" prior_box_param { min_size: 10 } }
layer { name: "found" type: "DetectionOutput" bottom: "flat" bottom: "flats" bottom: "priors" top: "found"
        detection_output_param { num_classes: 2 code_type: CENTER_SIZE } }
"""
YOLO = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 20 dim: 20 } } }
layer { name: "map" type: "Pooling" bottom: "data" top: "map" pooling_param { pool: AVE kernel_size: 10 stride: 10 } }
layer { name: "conv" type: "Convolution" bottom: "map" top: "conv" convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "found" type: "Yolov3DetectionOutput" bottom: "conv" top: "found"
        yolov3_detection_output_param { num_classes: 1 num_box: 1 mask_group_num: 1 biases: 10 biases: 10
                                        anchors_scale: 10 } }
"""
RCNN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 60 dim: 60 } } }
layer { name: "info" type: "Input" top: "im_info" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "quiet" type: "Silence" bottom: "im_info" bottom: "data" }
layer { name: "rois" type: "DummyData" top: "rois"
        dummy_data_param { shape { dim: 1 dim: 5 } data_filler { type: "constant" value: 100 } } }
layer { name: "cls" type: "DummyData" top: "cls_prob"
        dummy_data_param { shape { dim: 1 dim: 2 } data_filler { type: "constant" value: 0.75 } } }
layer { name: "box" type: "DummyData" top: "bbox_pred" dummy_data_param { shape { dim: 1 dim: 8 } } }
layer { name: "use" type: "Silence" bottom: "rois" }
"""


def files(folder, text, **params):
    """(net, weights) as files; params: what learned arrays hold, by layer."""
    (folder / "deploy.prototxt").write_text(text)
    net = Net(str(folder / "deploy.prototxt"), "TEST")
    for name, arrays in params.items():
        for param, values in zip(net.params[name], arrays, strict=True):
            param.data[...] = np.asarray(values, np.float32).reshape(param.shape)
    net.save(str(folder / "w.caffemodel"))
    return str(folder / "deploy.prototxt"), str(folder / "w.caffemodel")


@pytest.fixture
def ssd(tmp_path):
    """Class 1's score is the mean of the cell over 255, less 0.2."""
    score = [[0] * 3, [1 / 3 / 255] * 3]
    return files(tmp_path, SSD, loc=([0] * 12, [0] * 4), conf=(score, [0, -0.2]))


def bright():
    image = IMAGE * 0
    image[:30, 45:] = 255  # the upper right cell
    image[30:, :45] = 230  # the lower left
    return image


def test_ssd_s_boxes_are_scaled_to_the_image_best_first(ssd):
    found = Detector(*ssd, mean=[0])(bright())
    assert [(each.label, round(each.score, 3)) for each in found] == [(1, 0.8), (1, round(230 / 255 - 0.2, 3))]
    np.testing.assert_allclose([each.box for each in found], [(45, 0, 90, 30), (0, 30, 45, 60)], atol=1e-3)
    assert len(Detector(*ssd, mean=[0], threshold=0.75)(bright())) == 1


def test_yolo_s_boxes_too(tmp_path):
    weights = [[0] * 3] * 4 + [[2 / 255] * 3, [2 / 255] * 3]
    net = files(tmp_path, YOLO, conv=(weights, [0, 0, 0, 0, -3, 0]))
    (found,) = [each for each in Detector(*net, mean=[0])(bright()) if each.score > 0.93]
    assert found.label == 1
    np.testing.assert_allclose(found.box, (45, 0, 90, 30), atol=1e-3)


def test_an_r_cnn_s_regions_are_brought_back_to_the_image(tmp_path):
    (found,) = Detector(*files(tmp_path, RCNN))(IMAGE)
    assert found.label == 1 and found.score == 0.75
    scale = 10  # 60 to 600
    np.testing.assert_allclose(found.box, (100 / scale, 100 / scale, 100 / scale + 1, 100 / scale + 1))


def test_the_command_writes_pictures_and_a_text(ssd, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for name, image in (("a.png", bright()), ("b.png", IMAGE * 0)):
        Image.fromarray(image).save(tmp_path / "images" / name)
    (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    labels = tmp_path / "labels.prototxt"
    labels.write_text('item { name: "none" label: 0 } item { name: "n1" label: 1 display_name: "lamp" }')
    out = tmp_path / "out"
    options = ["--mean", "0", "--out", str(out), "--classes", str(labels)]
    assert main(["detect", *ssd, str(tmp_path / "images"), *options]) == 1
    said = capsys.readouterr()
    assert "2 objects in 2 of 3 images" in said.out and "broken.png" in said.err
    assert sorted(path.name for path in out.iterdir()) == ["a.jpg", "b.jpg", "detections.txt"]
    lines = [line.split("\t") for line in (out / "detections.txt").read_text().splitlines()]
    assert [line[1:3] for line in lines] == [["lamp", "0.8000"], ["lamp", "0.7020"]]
    assert lines[0][3:] == ["45.0", "0.0", "90.0", "30.0"]


def test_boxes_are_drawn_where_they_are_and_the_image_stays():
    image = IMAGE.copy()
    drawn = draw_boxes(image, [Found(1, 0.9, (10, 20, 50, 55))], ["", "lamp"])
    changed = (drawn != image).any(axis=2)
    assert changed[20:56, 10:51].any() and changed[55, 10:51].all()
    assert not changed[:7].any() and not changed[57:].any() and np.array_equal(image, IMAGE)


def test_a_net_without_boxes_or_an_image_is_told(tmp_path):
    text = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: %d dim: 9 dim: 9 } } }\n'
    relu = 'layer { name: "r" type: "ReLU" bottom: "d" top: "r" }\n'
    with pytest.raises(GraphFault, match="no output holds boxes: a DetectionOutput"):
        Detector(*files(tmp_path, text % 3 + relu))
    with pytest.raises(GraphFault, match="takes a net with one image as Input .1, 3, H, W.; its inputs: d"):
        Detector(*files(tmp_path, text % 7 + relu))


def test_what_cannot_be_looked_at_is_told_once_and_files_of_names_before_the_first_image(ssd, tmp_path, capsys):
    out = ["--out", str(tmp_path / "found")]
    assert main(["detect", *ssd, str(tmp_path / "gone.jpg"), *out]) == 1
    line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("passed over"))
    assert line.startswith(f"passed over: {tmp_path}/gone.jpg: no such file") and line.count("gone.jpg") == 1
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    assert main(["detect", *ssd, str(tmp_path / "a.png"), "--classes", "gone.txt", *out]) == 2
    assert "no file 'gone.txt'" in capsys.readouterr().err and not (tmp_path / "found/a.jpg").exists()
