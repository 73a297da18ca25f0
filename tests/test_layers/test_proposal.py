"""Proposal: the published anchors, and regions against a plain computation and against OpenCV."""

import numpy as np
import pytest

from demitasse.layers.anchors import RATIOS, SCALES, anchor_cell
from demitasse.layers.boxes import iou
from demitasse.proto.errors import ShapeFault
from tests.test_layers.building import build
from tests.test_layers.opencv import opencv_layer

# Faster R-CNN's, as its authors print them (corners of the nine anchors around the first pixel).
PUBLISHED = [
    [-84, -40, 99, 55],
    [-176, -88, 191, 103],
    [-360, -184, 375, 199],
    [-56, -56, 71, 71],
    [-120, -120, 135, 135],
    [-248, -248, 263, 263],
    [-36, -80, 51, 95],
    [-80, -168, 95, 183],
    [-168, -344, 183, 359],
]


def test_the_nine_anchors_are_the_published_ones():
    assert anchor_cell(16, RATIOS, SCALES) == PUBLISHED


def blobs(height=12, width=17, seed=0):
    rng = np.random.default_rng(seed)
    scores, deltas = rng.random((1, 18, height, width)), 0.2 * rng.standard_normal((1, 36, height, width))
    return [scores, deltas, np.array([[height * 16.0, width * 16.0, 1.5]])]


def expected(scores, deltas, info, most, threshold):
    """The definition, one anchor at a time."""
    found = []
    for y, x, a in np.ndindex(*scores.shape[2:], 9):
        x1, y1, x2, y2 = (corner + 16 * (x, y)[i % 2] for i, corner in enumerate(PUBLISHED[a]))
        w, h = x2 - x1 + 1, y2 - y1 + 1
        dx, dy, dw, dh = deltas[0, 4 * a : 4 * a + 4, y, x]
        cx, cy, w, h = x1 + w / 2 + dx * w, y1 + h / 2 + dy * h, w * np.exp(dw), h * np.exp(dh)
        corners = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
        corners = np.clip(corners, 0, [info[0, 1] - 1, info[0, 0] - 1] * 2)
        if min(corners[2:] - corners[:2] + 1) >= 16 * info[0, 2]:
            found.append((scores[0, 9 + a, y, x], corners))
    kept = []
    for score, corners in sorted(found, key=lambda each: -each[0]):
        if all(iou(np, corners[None], other[None], 1)[0, 0] <= threshold for _, other in kept):
            kept.append((score, corners))
    return kept[:most]


@pytest.mark.independent("Proposal")
def test_regions_are_those_of_the_plain_computation():
    bottoms = blobs()
    layer = build(
        "type: 'Proposal' bottom: 's' bottom: 'd' bottom: 'i' top: 'r' top: 'p' proposal_param { post_nms_topn: 40 }",
        *[b.shape for b in bottoms],
    )
    rois, scores = layer.forward(bottoms)
    kept = expected(*bottoms, 40, 0.7)
    assert scores.reshape(-1) == pytest.approx([score for score, _ in kept])
    np.testing.assert_allclose(rois, [[0, *corners] for _, corners in kept], atol=1e-9)


def test_each_image_of_a_batch_has_its_own():
    one, other = blobs(seed=1), blobs(seed=2)
    both = [np.concatenate(pair) for pair in zip(one, other, strict=True)]
    text = "type: 'Proposal' bottom: 's' bottom: 'd' bottom: 'i' top: 'r' proposal_param { post_nms_topn: 9 }"
    (rois,) = build(text, *[b.shape for b in both]).forward(both)
    (first,), (second,) = (build(text, *[b.shape for b in some]).forward(some) for some in (one, other))
    assert np.array_equal(rois[rois[:, 0] == 0], first) and np.array_equal(rois[rois[:, 0] == 1, 1:], second[:, 1:])


def test_nothing_large_enough_gives_no_region():
    bottoms = blobs()
    bottoms[2][0, 2] = 100
    layer = build("type: 'Proposal' bottom: 's' bottom: 'd' bottom: 'i' top: 'r'", *[b.shape for b in bottoms])
    assert layer.forward(bottoms)[0].shape == (0, 5)


def test_another_number_of_anchors_is_told():
    with pytest.raises(ShapeFault, match=r"bottom 0 has shape \(1, 6, 4, 4\): with 9 anchors .* \(1, 18, 4, 4\)"):
        build("type: 'Proposal' bottom: 's' bottom: 'd' bottom: 'i' top: 'r'", (1, 6, 4, 4), (1, 12, 4, 4), (1, 3))


def test_opencv_finds_the_same_regions():
    """Its suppression and its rule for small regions differ a little, so the best ones are compared."""
    scores, deltas, info = (b.astype(np.float32) for b in blobs())
    fields = "proposal_param { ratio: 0.5 ratio: 1 ratio: 2 scale: 2 scale: 4 scale: 6 min_size: 1 post_nms_topn: 30 }"
    theirs = opencv_layer(f"type: 'Proposal' top: 'p' {fields}", s=scores, d=deltas * 0.2, i=info)
    bottoms = [scores, deltas * 0.2, info]
    text = f"type: 'Proposal' bottom: 's' bottom: 'd' bottom: 'i' top: 'r' top: 'p' {fields}"
    (rois, _) = build(text, *[b.shape for b in bottoms], dtype="float32").forward(bottoms)
    np.testing.assert_allclose(rois[:10], theirs[:10], atol=1.01)
