"""Nets that forks of Caffe were written for, with the weights people trained: ENet (BN, Upsample) and a lane net
(DepthwiseConvolution).  Needs ../shared/weights."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data.images import resize
from demitasse.netdef.net import Net

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "weights"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"{WEIGHTS} is not there")


def test_enet_sees_what_its_author_saw():
    folder = WEIGHTS / "enet-cityscapes"
    net = Net(folder / "enet_deploy_final.prototxt")
    report = net.load(folder / "cityscapes_weights.caffemodel")
    assert not report.missing and not report.coerced
    photo = Image.open(folder / "munich_000000_000019_leftImg8bit.png").convert("RGB")
    bgr = resize(np.asarray(photo)[:, :, ::-1], 512, 1024).astype(np.float32)
    (scores,) = net.forward({"data": np.ascontiguousarray(bgr.transpose(2, 0, 1)[None])}).values()
    labels = np.asarray(scores)[0].argmax(0)
    with np.load(folder / "ref_opencv_munich_argmax.npz", allow_pickle=False) as reference:
        assert (labels == reference["argmax"]).mean() > 0.999
    colours = np.asarray(Image.open(folder / "cityscapes19.png"))[0, :19, ::-1]  # blue first, as OpenCV keeps colours
    published = np.asarray(Image.open(folder / "munich_000000_000019_leftImg8bit_enet.png").convert("RGB"))
    assert (colours[labels] == published).all(2).mean() > 0.98


def test_depthwise_lane_net():
    folder = WEIGHTS / "tusimple-lane-fcn"
    net = Net(folder / "mobilenet_yolov3_lite_deploy.prototxt")
    report = net.load(folder / "mobilenet_yolov3_lite_deploy_iter_50000.caffemodel")
    assert not report.missing and not report.unused
    with np.load(folder / "ref_opencv_munich.npz", allow_pickle=False) as reference:
        (lanes,) = net.forward({"data": reference["data"]}).values()
        np.testing.assert_allclose(lanes, reference["out"], atol=1e-4)


def test_mvn_of_a_real_blob():
    folder = WEIGHTS / "caffe-layer-outputs"
    x, expected = (np.load(folder / name, allow_pickle=False) for name in ("blob.npy", "layer_mvn.npy"))
    (y,) = Net(folder / "layer_mvn.prototxt", inputs={"input": x.shape}).forward({"input": x}).values()
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())
