"""Nets that people have published, built as they are, or with inputs in the place of their data layers.

They are other people's, and lie beside the project where somebody has put them: without them the test is skipped.
"""

import itertools
import json
import tarfile
import warnings
from pathlib import Path

import pytest

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError

ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared" / "zoo" / "nets.tar.xz"
EACH = 12  # without DEMITASSE_FULL every twelfth net is built

# Nets whose data has other sizes than the archive's stand-ins: {net: {input: its shape}}.
RIGHT_SIZES = {
    "joyousrabbit+caffe/examples/blackpoint/blackpoint_vgg_train_PReLU": {"data": (2, 1, 224, 224), "label": (2, 5)},
}

COCOSTUFF = "nightrome+cocostuff/models/deeplab/cocostuff/config"
BOTTOM_UP = "peteanderson80+bottom-up-attention/models/vg/VGG16/faster_rcnn_end2end_attr_softmax_primed"
# Why no other net is refused: {reason: nets}.
REASONS = {
    "its text is none, in Caffe too: placeholders, two forms at once, a fragment, a solver": [
        "TheLegendAli+DeepLab-Context/voc12/config/vgg128_noup/test",
        "TheLegendAli+DeepLab-Context/voc12/config/vgg128_noup/train",
        f"{COCOSTUFF}/deeplabv2_resnet101/test",
        f"{COCOSTUFF}/deeplabv2_resnet101/train",
        f"{COCOSTUFF}/deeplabv2_vgg16/test",
        f"{COCOSTUFF}/deeplabv2_vgg16/train",
        "zlinker+DehazeNet/DehazeFcnTemplate",
        "happynear+AMSoftmax/prototxt/GNAP",
        "wy1iu+sphereface/tools/caffe-sphereface/examples/mnist/lenet_consolidated_solver",
    ],
    "its layers do not fit together, in Caffe too": [
        "charlesq34+3dcnn.torch/caffe_models/subvolume_sup/multiori_subvolume_sup_deploy",
        "charlesq34+3dcnn.torch/caffe_models/subvolume_sup/subvolume_sup_deploy",
        f"{BOTTOM_UP}/test",
        f"{BOTTOM_UP}/test_gt",
        f"{BOTTOM_UP}/train",
        "MyCaffe+MyCaffe/models/ssd/train_val_workinprogress",  # two layers make "data", beside a word without quotes
    ],
    "it has layers or words of a fork that are not read here": [
        "NVIDIA+caffe/examples/TensorRT/trt",
        "ChenYingpeng+caffe-yolov3/prototxt/yolov3-tiny",  # builds with `darknet: true` in its last pooling
    ],
}

pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="the archive of published nets is not beside the project")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """(folder, items): the nets unpacked, and for each its name and the inputs that may stand in for its data."""
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "nets", json.loads((folder / "list.json").read_text())


def builds(path, stand_ins):
    """Whether a net builds in one of its phases; what is wrong with it is one of our faults, never a crash."""
    for inputs in (None, *stand_ins):
        for phase in ("TEST", "TRAIN"):
            try:
                Plan(path, phase, inputs=inputs).close()
                return True
            except NetError as fault:
                assert "\n" not in str(fault)
            except ImportError:  # of the user's own package, where it is named as a folder of ours
                pass
    return False


def built(zoo, items):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [item["net"] for item in items if builds(zoo[0] / item["net"], item["inputs"])]


def test_some_nets_of_every_kind_build(zoo):
    items = [item for item in zoo[1] if item["built"]][::EACH]
    assert built(zoo, items) == [item["net"] for item in items]


@pytest.mark.full
def test_every_published_net_builds_or_is_refused_with_reason(zoo):
    refused = {item["net"] for item in zoo[1]} - set(built(zoo, zoo[1]))
    known = [*itertools.chain(*REASONS.values()), *RIGHT_SIZES]
    assert refused == {f"{name}.prototxt" for name in known}


@pytest.mark.full
@pytest.mark.parametrize("name", RIGHT_SIZES)
def test_nets_build_with_inputs_of_their_sizes(zoo, name):
    path = zoo[0] / f"{name}.prototxt"
    assert path.is_file() and builds(path, [RIGHT_SIZES[name]])
