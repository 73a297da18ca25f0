"""Mistakes around the data sets' layers: files, options, tops, data that are not there."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.models.data.folder_layers import FolderSegDataLayer
from demitasse.models.data.nyud_layers import NYUDSegDataLayer
from demitasse.models.data.siftflow_layers import SIFTFlowSegDataLayer
from demitasse.models.data.voc_layers import SBDDSegDataLayer, VOCSegDataLayer
from demitasse.netdef.net import Net
from demitasse.proto.errors import DataFault, GraphFault, LabelFault, SchemaFault
from tests.test_models import minis
from tests.test_models.data_layers import Run, Top

# Faults


def voc_step(root, **options):
    return Run(VOCSegDataLayer, **{"voc_dir": str(root), "split": "train", "randomize": False, **options}).step()


def test_faults_of_files_name_the_file(tmp_path):
    root = minis.voc(tmp_path)
    label = root / "SegmentationClass/a1.png"
    image = root / "JPEGImages/a1.jpg"
    Image.open(label).convert("RGB").save(label)
    with pytest.raises(DataFault, match="SegmentationClass/a1.png: is a picture of colours.*prepare labels"):
        voc_step(root)
    Image.fromarray(np.full((20, 24), 77, np.uint8)).save(label)
    with pytest.raises(LabelFault, match="a1.png: label 77 at row 0, column 0 is no class: there are 21"):
        voc_step(root)
    voc_step(root, classes=78)
    Image.fromarray(np.zeros((20, 23), np.uint8)).save(label)
    with pytest.raises(DataFault, match="a1: image and label differ in size: data 20x24, label 20x23"):
        voc_step(root)
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(DataFault, match="JPEGImages/a1.jpg: broken image"):
        voc_step(root)
    image.unlink()
    with pytest.raises(DataFault, match="JPEGImages/a1.jpg: no such file"):
        voc_step(root)
    with pytest.raises(DataFault, match="nowhere/.*train.txt: no such file; looked for from"):
        voc_step("nowhere")
    minis.text(root / "ImageSets/Segmentation/train.txt", [])
    with pytest.raises(DataFault, match="train.txt: is empty"):
        voc_step(root)


def test_faults_of_mat_files_name_the_file(tmp_path):
    root = minis.sbdd(tmp_path, names=("b1",))
    path = root / "cls/b1.mat"

    def step():
        return Run(SBDDSegDataLayer, sbdd_dir=str(root), split="train").step()

    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFault, match="cls/b1.mat: cannot be read as a MATLAB file"):
        step()
    path.write_bytes(b"")
    with pytest.raises(DataFault, match="cls/b1.mat"):
        step()
    minis.mat(path, other=np.zeros((2, 2)))
    with pytest.raises(DataFault, match="cls/b1.mat: has no GTcls.Segmentation"):
        step()
    path.unlink()
    with pytest.raises(DataFault, match="cls/b1.mat: no such file"):
        step()
    minis.siftflow(tmp_path / "s")
    path = tmp_path / f"s/GeoLabels/{minis.SCENES}/coast_1.mat"
    minis.mat(path, S=np.full((22, 22), 4))
    with pytest.raises(LabelFault, match="coast_1.mat: label 4 is no class: there are 3"):
        Run(SIFTFlowSegDataLayer, 3, siftflow_dir=str(tmp_path / "s"), split="test").step()


@pytest.mark.parametrize(
    "param_str, fault",
    [
        ("{'voc_dir': 'x', 'split': 'train', 'sede': 1}", "no option 'sede' .did you mean 'seed'"),
        ("{'split': 'train'}", "lacks voc_dir: 'voc_dir' is a text in quotes"),
        ("{'randomize': true}", "JSON's true, false and null are True, False and None$"),
        ("[1]", "holds a list"),
        ("__import__('os')", "param_str is no dict of Python, with numbers, .* texts in quotes, such as"),
    ],
)
def test_faults_of_param_str(param_str, fault):
    layer = VOCSegDataLayer.__new__(VOCSegDataLayer)
    layer.param_str = param_str
    with pytest.raises(SchemaFault, match=fault):
        layer.setup([], [Top(), Top()])


def test_faults_of_tops(tmp_path):
    root = str(minis.voc(tmp_path))
    with pytest.raises(GraphFault, match="has 3 tops but gives 2: data, label"):
        Run(VOCSegDataLayer, 3, voc_dir=root, split="train")
    with pytest.raises(SchemaFault, match="no top 'colour' in NYUDv2 .did you mean 'color'"):
        Run(NYUDSegDataLayer, 2, nyud_dir=root, split="train", tops=["colour", "label"])


@pytest.mark.parametrize(
    "given, words",
    [
        ({"batch_size": "2"}, "'batch_size' is '2': give a whole number from 1 to 65536, such as 2"),
        ({"batch_size": 1e9}, "'batch_size' is 1000000000.0: give a whole number"),
        ({"batch_size": 10**9}, "'batch_size' is 1000000000: give a whole number"),
        ({"mirror": "no"}, "'mirror' is 'no': give True or False, without quotes, such as False"),
        ({"mirror": 1}, "'mirror' is 1: give True or False, without quotes, such as True"),
        ({"classes": 3.0}, "'classes' is 3.0: give a whole number from 1 to 255, .*, such as 3"),
        ({"classes": True}, "'classes' is True"),
        ({"classes": 0}, "'classes' is 0"),
        ({"seed": -1}, "'seed' is -1"),
        ({"mean": 104}, r"'mean' is 104: give three numbers, \(blue, green, red\)"),
        ({"mean": (1, 2, float("1e999"))}, "param_str"),
        ({"crop": 100}, r"'crop' is 100: give \(height, width\)"),
        ({"crop": (100, 0)}, "'crop' is"),
        ({"resize": "big"}, "'resize' is 'big'"),
        ({"keep": 0}, "'keep' is 0: give a number above 0 and at most 1"),
        ({"cell": 0}, "'cell' is 0"),
        ({"ignore_label": 256}, "'ignore_label' is 256"),
        ({"images": 3}, "'images' is 3: give a text in quotes"),
        ({"miror": True}, "no option 'miror' .did you mean 'mirror'"),
    ],
)
def test_options_are_checked_like_fields(tmp_path, given, words):
    root = minis.folder(tmp_path)
    good = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3}
    Run(FolderSegDataLayer, **good)
    with pytest.raises(SchemaFault, match=words) as fault:
        Run(FolderSegDataLayer, **{**good, **given})
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("text", ["{[]: 1}", "(" * 500, "{'a': 1", "3", "", "{'a': open('x')}"])
def test_what_is_no_dict_is_one_line(text):
    layer = FolderSegDataLayer.__new__(FolderSegDataLayer)
    layer.param_str = text
    with pytest.raises(SchemaFault, match="param_str"):
        layer.setup([], [Top(), Top()])


@pytest.mark.parametrize(
    "name, words",
    [
        (
            "voc-fcn8s",
            ["data/sbdd/dataset/train.txt: no such file", "SBD, the Semantic Boundaries Dataset", "cls/*.mat"],
        ),
        ("nyud-fcn32s-color", ["NYUDv2", "segmentation/img_*.mat"]),
        ("siftflow-fcn8s", ["SIFT Flow", "GeoLabels"]),
        ("pascalcontext-fcn8s", ["context_dir", "labels.txt"]),
    ],
)
def test_data_that_are_not_there_are_described(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(__file__).resolve().parents[2] / "models" / name
    with pytest.raises(DataFault) as fault:
        Net(str(next(folder.glob("train*.prototxt"))), "TRAIN")
    assert [word for word in [*words, "docs/sources.md"] if word not in str(fault.value)] == []
