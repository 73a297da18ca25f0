"""How SSD's data layers change an image and its boxes: windows, interpolations, colours, ways to a size."""

import numpy as np
import pytest

from demitasse.layers.data import annotations, augmentation
from demitasse.layers.data.resampling import Resizer, resize_by
from demitasse.proto import messages
from demitasse.proto.messages import ResizeParameter
from demitasse.proto.text import parse

BRIGHT = 230


def fields(kind, text):
    """A message of a prototxt's words."""
    return parse(text, getattr(messages, kind))[0]


def test_what_is_emitted_where_a_part_is_cut_out():
    rows = np.zeros((3, 8), np.float32)
    rows[:, annotations.CORNERS] = [[0.1, 0.1, 0.3, 0.3], [0.4, 0.4, 0.8, 0.8], [0.45, 0.45, 0.55, 0.55]]
    window = (0.0, 0.0, 0.5, 0.5)

    def kept(emit):
        return annotations.project(rows, window, emit and fields("EmitConstraint", emit))[:, annotations.CORNERS]

    assert np.allclose(kept(None), [[0.2, 0.2, 0.6, 0.6], [0.8, 0.8, 1, 1], [0.9, 0.9, 1, 1]], atol=1e-6)
    assert len(kept("emit_type: CENTER\n")) == 2
    assert np.allclose(kept("emit_type: MIN_OVERLAP emit_overlap: 0.5\n"), [[0.2, 0.2, 0.6, 0.6]], atol=1e-6)


def test_windows_meet_their_constraints():
    corners = np.array([[0.2, 0.3, 0.5, 0.7]])
    text = """sampler { min_scale: 0.3 max_scale: 0.9 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }
        sample_constraint { min_jaccard_overlap: 0.5 min_object_coverage: 0.7 } max_sample: 1 max_trials: 500"""
    rng, found = np.random.default_rng(1), []
    for _ in range(40):
        found.append(augmentation.sample_window([fields("BatchSampler", text)], corners, rng))
    for x1, y1, x2, y2 in filter(None, found):
        assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 and 0.3 <= ((x2 - x1) * (y2 - y1)) ** 0.5 <= 0.9
        common = (min(x2, 0.5) - max(x1, 0.2)) * (min(y2, 0.7) - max(y1, 0.3))
        assert common / 0.12 >= 0.7 and common / (0.12 + (x2 - x1) * (y2 - y1) - common) >= 0.5
    assert sum(window is not None for window in found) > 30
    never = fields("BatchSampler", "sampler { min_scale: 0.1 max_scale: 0.1 } " + text[text.index("sample_c") :])
    assert augmentation.sample_window([never], corners, rng) is None


@pytest.mark.parametrize("kind", ["AREA", "CUBIC", "LANCZOS4", "LINEAR", "NEAREST"])
@pytest.mark.parametrize("size", [(20, 31), (70, 90), (20, 90), (5, 7)])
def test_interpolations_are_opencv_s(kind, size):
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(1).integers(0, 256, (37, 53, 3)).astype(np.uint8)
    theirs = cv2.resize(image, size[::-1], interpolation=getattr(cv2, f"INTER_{kind}"))
    ours = resize_by(image, *size, getattr(ResizeParameter, kind))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_hues_are_opencv_s():
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(1).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    theirs = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(float)
    hue, saturation, value = augmentation.to_hsv(image.astype(np.float32))
    turned = np.abs(hue - theirs[..., 0])
    assert np.minimum(turned, 180 - turned).max() <= 1 and np.abs(saturation * 255 - theirs[..., 1]).max() <= 1
    assert np.array_equal(value, theirs[..., 2])
    assert np.abs(augmentation.from_hsv(hue, saturation, value) - image).max() < 1e-3


@pytest.mark.parametrize(
    "mode, size, filled",
    [
        ("WARP", (50, 60), (0, 0, 1, 1)),
        ("FIT_SMALL_SIZE", (50, 100), (0, 0, 1, 1)),
        ("FIT_LARGE_SIZE_AND_PAD", (50, 60), (0, 0.2, 1, 0.8)),
    ],
)
@pytest.mark.parametrize("pad_mode", ["CONSTANT", "MIRRORED", "REPEAT_NEAREST"])
def test_three_ways_to_a_size(mode, size, filled, pad_mode):
    text = f"height: 50 width: 60 resize_mode: {mode} pad_mode: {pad_mode} pad_value: 7\n"
    image, found = Resizer(fields("ResizeParameter", text))(np.full((40, 80, 3), BRIGHT, np.uint8), None)
    assert image.shape[:2] == size and np.allclose(found, filled)
    assert (image[0] == (7 if found[1] and pad_mode == "CONSTANT" else BRIGHT)).all()
    assert (image[len(image) // 2] == BRIGHT).all()
