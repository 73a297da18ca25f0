"""Boxes: overlaps and ways between them by hand, and suppression against the plain loop that defines it."""

import numpy as np
import pytest

from demitasse.layers import boxes as bx
from demitasse.layers.backend import make_backend

PLAIN = make_backend("generic", dtype="float64")


def random_boxes(count, seed=0, size=100):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, size, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(1, size / 3, (count, 2))], axis=1)


@pytest.mark.parametrize("extra, area, shared", [(0, 8, 2), (1, 15, 6)])
def test_overlap_of_two_boxes_by_hand(extra, area, shared):
    a, b = np.array([[0.0, 0, 4, 2]]), np.array([[2.0, 1, 6, 3], [9, 9, 12, 12]])
    assert bx.area(np, a, extra).tolist() == [area]
    assert bx.iou(np, a, b, extra).tolist() == [[shared / (2 * area - shared), 0]]


def test_overlap_with_itself_is_1_and_a_box_without_area_overlaps_with_nothing():
    a = random_boxes(5)
    assert np.diag(bx.iou(np, a, a)) == pytest.approx(np.ones(5))
    assert bx.iou(np, np.array([[3.0, 3, 3, 9]]), np.array([[0.0, 0, 10, 10], [3, 3, 3, 9]])).tolist() == [[0, 0]]


def test_a_target_by_hand():
    got = bx.encode(np, np.array([0.0, 0, 10, 20]), np.array([5.0, 10, 25, 20]))
    assert got == pytest.approx([1, 0.25, np.log(2), np.log(0.5)])


@pytest.mark.parametrize("extra", [0, 1])
def test_decoding_undoes_encoding(extra):
    boxes, targets = random_boxes(20, 1), random_boxes(20, 2)
    assert bx.decode(np, boxes, bx.encode(np, boxes, targets, extra), extra) == pytest.approx(targets)


def greedy(boxes, scores, threshold, extra):
    order, kept = sorted(range(len(boxes)), key=lambda i: (-scores[i], i)), []
    for i in order:
        if all(bx.iou(np, boxes[[i]], boxes[[k]], extra)[0, 0] <= threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("count, threshold, extra", [(0, 0.5, 0), (1, 0.5, 0), (60, 0.3, 1), (400, 0.2, 0)])
def test_suppression_keeps_what_the_plain_loop_keeps(count, threshold, extra):
    boxes = random_boxes(count, 3)
    scores = np.random.default_rng(4).integers(0, 50, count) / 50  # many are equal
    kept = greedy(boxes, scores, threshold, extra)
    assert bx.nms(PLAIN, boxes, scores, threshold, extra=extra).tolist() == kept
    assert bx.nms(PLAIN, boxes, scores, threshold, 7, extra).tolist() == kept[:7]


def test_suppression_along_a_chain():
    """Each box would drop the next one alone: every other box is kept."""
    left = np.arange(300.0) * 4
    chain = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=1)
    assert bx.nms(PLAIN, chain, -left, 0.3).tolist() == list(range(0, 300, 2))
