"""Images that Segmenter, Detector and Classifier refuse, each with the remedy."""

import numpy as np
import pytest
from PIL import Image

from demitasse.models.image_input import check_rgb
from demitasse.proto.errors import ShapeFault

GOOD = np.full((4, 5, 3), 200, np.uint8)


@pytest.mark.parametrize("image", [GOOD, GOOD.astype(np.float32), GOOD[:, ::-1], np.zeros((4, 5, 3))])
def test_what_is_taken(image):
    check_rgb(image)
    check_rgb(image[..., 0], channels=1)


@pytest.mark.parametrize(
    "image, message",
    [
        ("photo.jpg", "the image is a str, not an array"),
        (Image.fromarray(GOOD), "the image is a Image, not an array"),
        (GOOD[..., 0], "the image is 4x5, not HxWx3"),
        (np.dstack([GOOD, GOOD[..., :1]]), "the image is 4x5x4, not HxWx3"),
        (GOOD.transpose(2, 0, 1), r"is 3x4x5, not HxWx3: .* image.transpose\(1, 2, 0\)"),
        (GOOD[:0], "the image is 0x5x3: it has no pixels"),
        (GOOD / 255, "floats up to 1, not 0 to 255"),
    ],
)
def test_what_is_refused(image, message):
    with pytest.raises(ShapeFault, match=message):
        check_rgb(image)
