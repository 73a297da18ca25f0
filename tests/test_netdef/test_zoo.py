"""Nets that people have published, built as they are, or with inputs in the place of their data layers.

They are other people's, and lie beside the project where somebody has put them: without them the test is skipped.
"""

import json
import tarfile
import warnings
from pathlib import Path

import pytest

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError

ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared" / "zoo" / "nets.tar.xz"
LEAST = 400  # of the 488 nets
EACH = 12  # without DEMITASSE_FULL every twelfth net is built

# Nets whose data has other sizes than the archive's stand-ins: {net: {input: its shape}}.
CLIP, SSD = (1, 3, 16, 112, 112), {"data": (2, 3, 300, 300), "label": (1, 1, 2, 8)}
PAIRS, BITS = {"pair_data": (2, 2, 28, 28), "sim": (2,)}, {"data": (8, 4, 2, 1), "label": (8, 4, 1, 1)}
C3D = "facebook+C3D/C3D-v1.0/examples/v2v"
RIGHT_SIZES = {
    "cunjian+face_alignment/Model_68Point/vanilla_train": {"data": (2, 3, 40, 40), "landmarks": (2, 136)},
    "wangxuewen99+Super-Resolution/ESPCN/ESPCN_net": {"data": (2, 1, 17, 17), "label": (2, 9, 9, 9)},
    "wangxuewen99+Super-Resolution/FSRCNN/fsrcnn_net": {"data": (2, 1, 11, 11), "label": (2, 1, 31, 31)},
    "huangzehao+caffe-vdsr/Train/VDSR_net": {"data": (2, 1, 41, 41), "label": (2, 1, 41, 41)},
    "everpeace+caffe/examples/siamese/mnist_siamese_train_test": PAIRS,
    "wy1iu+sphereface/tools/caffe-sphereface/examples/siamese/mnist_siamese_train_test": PAIRS,
    "joyousrabbit+caffe/examples/cifar10/cifar10_googlenet_train_test": {"data": (2, 3, 224, 224), "label": (2,)},
    "yalecyu+crnn.caffe/examples/crnn/crnn": {"data": (523, 1, 32, 128), "label": (523, 5)},
    "ZheC+Realtime_Multi-Person_Pose_Estimation/training/example_proto/pose_train_test": {
        "data": (2, 4, 368, 368),
        "label": (2, 114, 46, 46),
    },
    f"{C3D}/ucf101_optical_flow/deconv3d_ucf101_brox": {"data": CLIP, "truth": (1, 2, 16, 112, 112)},
    f"{C3D}/ucf101_optical_flow/deconv3d_ucf101_brox_test": {"data": CLIP, "truth": (1, 2, 16, 112, 112)},
    f"{C3D}/video_segmentation_gatech/deconv3d_gatech": {"data": CLIP, "truth": (1, 1, 16, 112, 112)},
    f"{C3D}/video_segmentation_gatech/deconv3d_gatech_test": {"data": CLIP, "truth": (1, 1, 16, 112, 112)},
    "joyousrabbit+caffe/examples/CITYSCAPES/train": SSD,
    "joyousrabbit+caffe/examples/VOC/train": SSD,
    "joyousrabbit+caffe/examples/CVPPP/SSD_300x300_googlenet_CVPPP/train": SSD,
    "joyousrabbit+caffe/examples/lstm/lstm_bits_train": BITS,
    "joyousrabbit+caffe/examples/lstm/lstm_ex_bits_train": BITS,
    "joyousrabbit+caffe/examples/blackpoint/blackpoint_vgg_train_PReLU": {"data": (2, 1, 224, 224), "label": (2, 5)},
    "joyousrabbit+caffe/examples/blackpoint/blackpoint_lstm_train": {"data": (2, 3, 224, 224), "label": (2, 5, 2)},
    "eric612+MobileNet-YOLO/models/tusimple/mobilenet_yolov3_lite_train": {
        "data": (2, 3, 512, 512),
        "label": (2, 1, 1, 1),
        "seg_label": (2, 1, 128, 128),
    },
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
def test_most_published_nets_build(zoo):
    assert len(built(zoo, zoo[1])) >= LEAST


@pytest.mark.full
@pytest.mark.parametrize("name", RIGHT_SIZES)
def test_nets_build_with_inputs_of_their_sizes(zoo, name):
    path = zoo[0] / f"{name}.prototxt"
    assert path.is_file() and builds(path, [RIGHT_SIZES[name]])
