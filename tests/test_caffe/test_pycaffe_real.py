"""Real weights through `import caffe`: what real Caffe gave for them.  Needs ../shared/weights."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from demitasse.layers.data.images import resize

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "weights"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"{WEIGHTS} is not there")


def load(name):
    return np.load(WEIGHTS / name, allow_pickle=False)


def bgr(name, height, width):
    """(3, height, width) of an image file, resized as OpenCV does."""
    with Image.open(WEIGHTS / name) as image:
        pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
    return resize(pixels, height, width).transpose(2, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    "name",
    [
        "convolution",
        "deconvolution",
        "inner_product",
        "lrn_channels",
        "lrn_spatial",
        "mvn",
        "pooling_ave",
        "pooling_max",
        "softmax",
    ],
)
def test_single_layers(name):
    folder = WEIGHTS / "caffe-layer-outputs"
    weights = folder / f"layer_{name}.caffemodel"
    given = folder / f"layer_{name}.input.npy"
    x = load(given if given.exists() else folder / "blob.npy")
    net = caffe.Net(str(folder / f"layer_{name}.prototxt"), caffe.TEST)
    if weights.exists():
        net.copy_from(str(weights))
    net.blobs[net.inputs[0]].reshape(*x.shape)
    (y,) = net.forward(**{net.inputs[0]: x}).values()
    expected = load(folder / f"layer_{name}.npy")
    np.testing.assert_allclose(y.reshape(expected.shape), expected, atol=1e-5 * np.abs(expected).max())


def test_squeezenet_sees_the_cat():
    folder = WEIGHTS / "squeezenet"
    net = caffe.Net(
        str(folder / "SqueezeNet_deploy.prototxt"), str(folder / "squeezenet_v1.0_dc_decoded.caffemodel"), caffe.TEST
    )
    data = bgr("imagenet/cat.jpg", 256, 256)[None, :, 15:242, 15:242]
    data -= np.array([104, 117, 123], np.float32)[:, None, None]
    reference = load("squeezenet/ref_opencv_cat.npz")
    assert np.abs(data - reference["data"]).max() <= 1
    net.blobs["data"].reshape(*data.shape)
    (scores,) = net.forward(data=reference["data"]).values()
    np.testing.assert_allclose(scores, reference["out"], atol=1e-4)
    (scores,) = net.forward(data=data).values()
    names = (WEIGHTS / "imagenet/synset_words.txt").read_text().splitlines()
    best = [names[i] for i in np.argsort(-scores.ravel())[:5]]
    assert [any(word in name for name in best) for word in ("kit fox", "red fox", "tabby")] == [True] * 3


def test_the_lane_net_masks_the_street():
    folder = WEIGHTS / "tusimple-lane-fcn"
    net = caffe.Net(
        str(folder / "mobilenet_yolov3_lite_deploy.prototxt"),
        caffe.TEST,
        weights=str(folder / "mobilenet_yolov3_lite_deploy_iter_50000.caffemodel"),
    )
    photo = bgr("enet-cityscapes/munich_000000_000019_leftImg8bit.png", 512, 512)
    data = ((photo - 127.5) * 0.007843)[None]
    reference = load("tusimple-lane-fcn/ref_opencv_munich.npz")
    assert np.abs(data - reference["data"]).max() < 0.01
    (mask,) = net.forward(data=reference["data"]).values()
    np.testing.assert_allclose(mask, reference["out"], atol=1e-4)
    (mask,) = net.forward(data=data).values()
    assert ((mask > 0.5) == (reference["out"] > 0.5)).mean() > 0.999
