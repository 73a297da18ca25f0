"""Published nets with random weights: our outputs against OpenCV's, for each net of the archive that both can run.

The archive (../shared/zoo/nets.tar.xz) holds other people's nets and is no part of the project; without it, or without
OpenCV 4, all of this is skipped.  Weights are such that activations neither vanish nor grow from layer to layer.
"""

import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError

ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "zoo" / "nets.tar.xz"
MAX_MACS, MAX_PARAMS = 2e9, 3e7  # larger nets say nothing that smaller ones do not
LRN_K = re.compile(r"(lrn_param\s*\{[^}]*?)\bk\s*:\s*[\d.]+")
TOLERANCE = 1e-4  # of the largest output

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore")]


def published():
    if not ARCHIVE.is_file():
        return [pytest.param("", marks=pytest.mark.skip(reason=f"{ARCHIVE} is not there"))]
    with tarfile.open(ARCHIVE) as archive:
        member = next(each for each in archive if each.name.removeprefix("./") == "list.json")
        listed = json.load(archive.extractfile(member))
    return [each["net"] for each in listed if not each["inputs"]]


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "nets"


@pytest.mark.parametrize("name", published())
def test_outputs_are_opencv_s(nets, name, tmp_path):
    dnn = pytest.importorskip("cv2", reason="opencv-python-headless<5 is not installed").dnn
    path, rng = nets / name, np.random.default_rng(1)
    require_small(path)
    text = path.read_text(errors="replace")
    if LRN_K.search(text):  # which OpenCV takes as 1, whatever it is: compare what is left
        text = LRN_K.sub(r"\1", text)
        path = tmp_path / "without_k.prototxt"
        path.write_text(text)
    net = Net(path, "TEST", seed=1)
    condition(net, rng)
    net.save(tmp_path / "w.caffemodel")
    inputs = {name: rng.standard_normal(net.shapes[name]).astype(np.float32) for name in net.inputs}
    try:
        (tmp_path / "net.prototxt").write_text(as_opencv_has_it(text))
        peer = dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel"))
        for blob, value in inputs.items():
            peer.setInput(value, blob)
        makers = {top: step for step in net.plan.steps for top in step.tops}
        layers = [makers[net.plan.newest[blob]] for blob in net.outputs]
        theirs = peer.forward([step.name for step in layers])
    except Exception as error:  # cv2.error, of many kinds of unknown layers and forms
        pytest.skip(f"OpenCV cannot run it: {str(error).strip().splitlines()[-1][-120:]}")
    ours = net.forward(inputs)
    for step, blob, other in zip(layers, net.outputs, theirs, strict=True):
        agree = boxes_agree if step.layer.finds_boxes else values_agree
        agree(np.asarray(ours[blob]), other, blob)


def as_opencv_has_it(text):
    """A net's text in OpenCV's words: it has no type for depthwise convolutions, which give their group, and does not
    cut the sizes of prior boxes to whole pixels, as the forks do and so do we."""
    text = re.sub(r'"(DepthwiseConvolution|ConvolutionDepthwise)"', '"Convolution"', text)
    return re.sub(r"((?:min|max)_size: *\d+)\.\d+", r"\1", text)


def require_small(path):
    """Skip nets that we cannot build, that read data, or that are large."""
    try:
        plan = Plan(path, "TEST")
    except NetError as fault:
        pytest.skip(f"not built: {fault}")
    inputs, params = dict(plan.inputs), sum(param.count for param in plan.learnable)
    macs = sum(s.layer.macs([v.shape for v in s.bottoms], [v.shape for v in s.tops]) for s in plan.steps)
    plan.close()
    if not inputs:
        pytest.skip("it reads data")
    if macs > MAX_MACS or params > MAX_PARAMS:
        pytest.skip(f"large: {macs / 1e9:.1f} G multiply-adds, {params / 1e6:.0f} M values")


def condition(net, rng):
    """Fill the learned arrays so that each layer's output is about as large as its input."""
    for name, params in net.params.items():
        kind = net.plan.by_name[name].spec.type
        for i, param in enumerate(params):
            param.data[...] = values_for(kind, i, param.shape, rng).astype(np.float32)


def values_for(kind, i, shape, rng):
    if kind == "BatchNorm":  # mean, variance, and what both are divided by
        return (rng.normal(0, 0.1, shape), rng.uniform(0.5, 1.5, shape), np.ones(shape))[min(i, 2)]
    if kind in ("Scale", "BN") and i == 0:
        return rng.uniform(0.6, 1.4, shape)
    if kind == "Normalize":
        return rng.uniform(5, 15, shape)
    if kind == "PReLU":
        return rng.uniform(0.1, 0.4, shape)
    if i or len(shape) < 2:
        return rng.normal(0, 0.1, shape)
    fan = shape[0] * np.prod(shape[2:]) if kind == "Deconvolution" else np.prod(shape[1:])
    return rng.normal(0, np.sqrt(1.5 / fan), shape)


def values_agree(ours, theirs, blob):
    assert ours.size == theirs.size, blob
    largest = np.abs(ours).max(initial=1e-6)
    assert np.abs(ours.ravel() - theirs.ravel()).max(initial=0) <= TOLERANCE * largest, blob


def boxes_agree(ours, theirs, blob):
    """The same boxes of the same classes, corners to a tenth of a pixel of an image of 300; of boxes that random
    weights make larger than the image, to that part of their size."""
    rows = [each.reshape(-1, 7) for each in (ours, theirs)]
    rows = [each[each[:, 2] > 0] for each in rows]  # OpenCV fills its top up with rows of zeros
    rows = [each[np.lexsort((each[:, 3], each[:, 2].round(5), each[:, 1]))] for each in rows]
    assert len(rows[0]) == len(rows[1]), blob
    assert np.array_equal(rows[0][:, 1], rows[1][:, 1]), blob
    sizes = np.abs(rows[0][:, 3:]).max(axis=1, keepdims=True, initial=1)
    np.testing.assert_allclose(rows[0][:, 3:] / sizes, rows[1][:, 3:] / sizes, rtol=0, atol=0.1 / 300, err_msg=blob)
