"""What SSD does to an image with boxes before it is resized: colours, a larger canvas, a part cut out of it.

"SSD: Single Shot MultiBox Detector" (Liu et al., 2016), section 2.2, data augmentation, and the fields of its
distort_param, expand_param and batch_sampler.  Images are (H, W, 3) uint8 BGR, rng a numpy Generator.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.boxes import area, iou
from demitasse.layers.data.annotations import WHOLE
from demitasse.proto.errors import SchemaFault

HALF_TURN = 180  # hues from 0 to 180, as OpenCV has them in 8 bits


def distort(image: np.ndarray, fields, rng) -> np.ndarray:
    """The image (H, W, C) in other colours, as a DistortionParameter says.

    Contrast changes first or last, either one as often; 8 bits saturate after each change.
    """
    pixels = image.astype(np.float32)
    contrast_first = rng.random() < 0.5
    for change in (
        _brightness,
        *((_contrast,) if contrast_first else ()),
        _saturation,
        _hue,
        *(() if contrast_first else (_contrast,)),
        _channel_order,
    ):
        pixels = np.rint(change(pixels, fields, rng)).clip(0, 255)
    return pixels.astype(np.uint8)


def _brightness(pixels, fields, rng):
    if rng.random() >= fields.brightness_prob:
        return pixels
    return pixels + rng.uniform(-fields.brightness_delta, fields.brightness_delta)


def _contrast(pixels, fields, rng):
    if rng.random() >= fields.contrast_prob:
        return pixels
    return pixels * rng.uniform(fields.contrast_lower, fields.contrast_upper)


def _saturation(pixels, fields, rng):
    if rng.random() >= fields.saturation_prob:
        return pixels
    hue, saturation, value = to_hsv(pixels)
    factor = rng.uniform(fields.saturation_lower, fields.saturation_upper)
    return from_hsv(hue, (saturation * factor).clip(0, 1), value)


def _hue(pixels, fields, rng):
    if rng.random() >= fields.hue_prob:
        return pixels
    hue, saturation, value = to_hsv(pixels)
    return from_hsv(hue + rng.uniform(-fields.hue_delta, fields.hue_delta), saturation, value)


def _channel_order(pixels, fields, rng):
    return pixels[:, :, rng.permutation(3)] if rng.random() < fields.random_order_prob else pixels


def to_hsv(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue (0 to 180), saturation (0 to 1) and value (as the pixels) of BGR pixels (H, W, 3)."""
    blue, green, red = np.moveaxis(pixels, 2, 0)
    value = pixels.max(axis=2)
    spread = value - pixels.min(axis=2)
    safe = np.where(spread > 0, spread, 1)
    sixths = np.select(
        [value == red, value == green], [(green - blue) / safe, (blue - red) / safe + 2], (red - green) / safe + 4
    )
    return sixths * (HALF_TURN / 6) % HALF_TURN, spread / np.where(value > 0, value, 1), value


def from_hsv(hue, saturation, value) -> np.ndarray:
    """BGR pixels (H, W, 3) of a hue, saturation and value as to_hsv gives them; hues go round."""
    sixths = hue * (6 / HALF_TURN)
    # Each channel falls from the value by the saturation's share, except within two sixths of its own hue.
    away = [(first + sixths) % 6 for first in (1, 3, 5)]  # of blue, green, red
    return np.stack(
        [value * (1 - saturation * np.minimum(turn, 4 - turn).clip(0, 1)) for turn in away], axis=2, dtype=np.float32
    )


def expand(image: np.ndarray, fields, mean: np.ndarray, rng) -> tuple[np.ndarray, tuple[float, ...]]:
    """The image somewhere on a larger canvas of the mean's colour, as an ExpansionParameter says; and the box
    (x1, y1, x2, y2) that it fills, in shares of the canvas's sides.

    mean: (C,), or (C, H, W) of the size that the net takes: its mean colour fills the canvas.
    SchemaFault for a ratio below 1.
    """
    if fields.max_expand_ratio < 1:
        raise SchemaFault(f"expand_param: max_expand_ratio {fields.max_expand_ratio:g}: it must be at least 1")
    if rng.random() >= fields.prob or fields.max_expand_ratio - 1 < 0.01:
        return image, WHOLE
    rows, cols, channels = image.shape
    ratio = rng.uniform(1, fields.max_expand_ratio)
    height, width = int(rows * ratio), int(cols * ratio)
    top, left = int(rng.uniform(0, height - rows)), int(rng.uniform(0, width - cols))
    canvas = np.empty((height, width, channels), image.dtype)
    canvas[:] = np.rint(mean.reshape(len(mean), -1).mean(axis=1)) if len(mean) else 0
    canvas[top : top + rows, left : left + cols] = image
    return canvas, (left / width, top / height, (left + cols) / width, (top + rows) / height)


def sample_window(samplers, corners: np.ndarray, rng) -> tuple[float, ...] | None:
    """The window (x1, y1, x2, y2) to cut out of an image with boxes (N, 4): one of those that the BatchSamplers give,
    each as likely; None where they give none."""
    found = []
    for sampler in samplers:
        taken = 0
        for _ in range(sampler.max_trials):
            if sampler.HasField("max_sample") and taken >= sampler.max_sample:
                break
            window = _draw_window(sampler.sampler, rng)
            if _satisfies(window, corners, sampler.sample_constraint):
                found.append(window)
                taken += 1
    return found[int(rng.integers(len(found)))] if found else None


def jittered_window(jitter: float, rng) -> tuple[float, ...]:
    """A window of at least 1 - jitter of each side, anywhere in the image (darknet's)."""
    width, height = rng.uniform(1 - jitter, 1, 2)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return left, top, left + width, top + height


def check_samplers(samplers) -> None:
    """SchemaFault where a batch_sampler cannot be followed."""
    for fields in samplers:
        one = fields.sampler
        if not fields.use_original_image:
            raise SchemaFault("batch_sampler: use_original_image: false asks for nothing to cut from; remove it")
        if not 0 < one.min_scale <= one.max_scale <= 1:
            raise SchemaFault(
                f"batch_sampler: min_scale {one.min_scale:g}, max_scale {one.max_scale:g}: they must lie between 0 and "
                "1, the smaller one first"
            )
        if not 0 < one.min_aspect_ratio <= one.max_aspect_ratio:
            raise SchemaFault(
                f"batch_sampler: min_aspect_ratio {one.min_aspect_ratio:g}, max_aspect_ratio "
                f"{one.max_aspect_ratio:g}: they must be above 0, the smaller one first"
            )


def _draw_window(fields, rng):
    """A box as a Sampler says, anywhere in the unit square; its aspect ratio is held where the box fits."""
    scale = rng.uniform(fields.min_scale, fields.max_scale)
    least, most = max(fields.min_aspect_ratio, scale**2), min(fields.max_aspect_ratio, 1 / scale**2)
    ratio = rng.uniform(least, max(least, most))
    width, height = min(1.0, scale * ratio**0.5), min(1.0, scale / ratio**0.5)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return left, top, left + width, top + height


def _satisfies(window, corners, fields) -> bool:
    """Whether at least one of the boxes lies to the window as a SampleConstraint wants it."""
    if not fields.ListFields():
        return True
    box = np.array(window)
    common = area(np, np.concatenate([np.maximum(corners[:, :2], box[:2]), np.minimum(corners[:, 2:], box[2:])], 1))
    measures = {
        "jaccard_overlap": iou(np, box[None], corners)[0],
        "sample_coverage": common / area(np, box),
        "object_coverage": common / np.maximum(area(np, corners), 1e-12),
    }
    fits = np.ones(len(corners), bool)
    for name, measure in measures.items():
        if fields.HasField(f"min_{name}"):
            fits &= measure >= getattr(fields, f"min_{name}")
        if fields.HasField(f"max_{name}"):
            fits &= measure <= getattr(fields, f"max_{name}")
    return bool(fits.any())
