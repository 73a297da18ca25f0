"""OpenCV 4's own reading of a Caffe net, as a peer to compare with; OpenCV 5 has no Caffe importer."""

import numpy as np
import pytest

from demitasse.netdef.net import Net


def dnn():
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless<5 is not installed")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV has no Caffe importer: install opencv-python-headless<5")
    return cv2.dnn


def opencv_tops(text, weights=b"", /, **inputs):
    """The outputs of OpenCV for prototxt text and the bytes of a .caffemodel."""
    net = dnn().readNetFromCaffe(np.frombuffer(text.encode(), np.uint8), np.frombuffer(weights, np.uint8))
    for name, value in inputs.items():
        net.setInput(np.ascontiguousarray(value, np.float32), name)
    return net.forward(net.getUnconnectedOutLayersNames())


def our_tops(text, **inputs):
    net = Net(text + "\n", "TEST", seed=1)
    return list(net.forward(inputs).values())


def opencv_layer(text, /, **bottoms):
    """The first top of the layer that `text` (the inside of layer { }, its bottoms aside) describes."""
    inputs = " ".join(
        f"input: '{name}' input_shape {{ {' '.join(f'dim: {n}' for n in values.shape)} }}"
        for name, values in bottoms.items()
    )
    names = " ".join(f"bottom: '{name}'" for name in bottoms)
    return opencv_tops(f"{inputs} layer {{ name: 'L' {names} top: 'y' {text} }}", **bottoms)[0]
