"""What Segmenter, Detector and Classifier take for an image."""

from __future__ import annotations

import numpy as np

from demitasse.proto.errors import ShapeFault


def check_rgb(image, channels: int = 3) -> None:
    """ShapeFault unless it is (H, W, 3) RGB of values to 255, as Pillow has it; to a net of one channel any goes
    that Pillow can make gray."""
    if not isinstance(image, np.ndarray):
        raise ShapeFault(
            f"the image is a {type(image).__name__}, not an array: give "
            'np.asarray(PIL.Image.open("photo.jpg").convert("RGB"))'
        )
    if channels == 1:
        return
    if image.ndim != 3 or image.shape[2] != 3:
        has = "x".join(map(str, image.shape))
        if image.ndim == 3 and image.shape[0] == 3:
            raise ShapeFault(f"the image is {has}, not HxWx3: its channels come last: give image.transpose(1, 2, 0)")
        raise ShapeFault(f'the image is {has}, not HxWx3: let Pillow make it RGB by .convert("RGB")')
    if not image.size:
        raise ShapeFault(f"the image is {'x'.join(map(str, image.shape))}: it has no pixels")
    if image.dtype.kind == "f" and 0 < image.max() <= 1:
        raise ShapeFault("the image's values are floats up to 1, not 0 to 255: give (255 * image).astype(np.uint8)")
