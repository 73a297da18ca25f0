"""What Cascade R-CNN's stages are given and give: regions to learn from, hard ones, boxes found; against loops."""

import math

import numpy as np
import pytest

from demitasse.proto.errors import DataFault, GraphFault, LabelFault, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal
from tests.test_layers.test_field_boxes import overlap

MEAN, DEVIATION = (0.1, 0, -0.1, 0.2), (0.2, 0.3, 0.1, 0.4)
REGRESSION = f"bbox_mean: {list(MEAN)} bbox_std: {list(DEVIATION)}"
TOPS = "rois labels targets inside outside matched weights".split()
TRUE = np.array(
    [
        [0, 10, 10, 29, 39, 2, 0, 0],
        [1, 0, 0, 19, 19, 1, 0, 0],
        [1, 50, 50, 69, 69, 1, 1, 0],  # ignored
        [-1, 0, 0, 9, 9, 1, 0, 0],  # none
    ],
    float,
)
ROIS = np.array(
    [
        [0, 12, 10, 31, 39],  # class 2
        [0, 0, 0, 19, 19],  # overlaps with a box of the other image only
        [1, 1, 1, 20, 20],  # class 1
        [1, 51, 51, 70, 70],  # on what is ignored
        [1, 40, 0, 59, 9],
        [0, 10, 20, 29, 49],  # overlaps by a half: neither
    ],
    float,
)


def targets(text, tops=6, regression=REGRESSION, true=TRUE, rois=ROIS):
    names = " ".join(f"top: '{name}'" for name in TOPS[:tops])
    text = f"proposal_target_param {{ cls_num: 3 num_img_per_batch: 2 {text} }} bbox_reg_param {{ {regression} }}"
    layer = build(f"type: 'ProposalTarget' bottom: 'r' bottom: 'g' {names} {text}", rois.shape, true.shape)
    return [top[:, :, 0, 0] for top in layer.forward([rois, true])]


def way(roi, box):
    deltas = []
    for i in (0, 1):
        size, wanted = (each[i + 2] - each[i] + 1 for each in (roi, box))
        deltas.append(((box[i] + wanted / 2) - (roi[i] + size / 2)) / size)
    deltas += [math.log((box[i + 2] - box[i] + 1) / (roi[i + 2] - roi[i] + 1)) for i in (0, 1)]
    return [(d - m) / s for d, m, s in zip(deltas, MEAN, DEVIATION, strict=True)]


THRESHOLDS = "fg_thr: 0.7 bg_thr_hg: 0.4 bg_thr_lw: 0"


@pytest.mark.independent("ProposalTarget")
def test_all_regions_that_are_something_learn_it():
    found = targets(f"batch_size: -1 append_gtbox: false fg_fraction: 0.5 iou_weighted: true {THRESHOLDS}", 7)
    rois, labels, goals, inside, outside, matched, weights = found
    assert rois.tolist() == ROIS[[0, 2, 1, 4]].tolist() and labels.ravel().tolist() == [2, 1, 0, 0]
    expected, counts = np.zeros((4, 12)), np.zeros((4, 12))
    expected[0, 8:], expected[1, 4:8] = way(ROIS[0, 1:], TRUE[0, 1:5]), way(ROIS[2, 1:], TRUE[1, 1:5])
    counts[0, 8:] = counts[1, 4:8] = 1
    np.testing.assert_allclose(goals, expected)
    assert (inside == counts).all() and (outside == counts).all()
    overlaps = [overlap(ROIS[0, 1:], TRUE[0, 1:5], 1), overlap(ROIS[2, 1:], TRUE[1, 1:5], 1)]
    np.testing.assert_allclose(matched[:2], [[2, *TRUE[0, 1:5], overlaps[0]], [1, *TRUE[1, 1:5], overlaps[1]]])
    assert not matched[2:].any()
    np.testing.assert_allclose(weights.ravel(), [2 * n / sum(overlaps) for n in overlaps] + [1, 1])


def test_true_boxes_are_proposed_and_classes_may_share_their_boxes():
    rois, labels, goals, inside, *_ = targets(
        f"batch_size: -1 bbox_thr_hg: 0.99 {THRESHOLDS}", regression=f"{REGRESSION} cls_aware: false"
    )
    assert rois[:4].tolist() == [*ROIS[[0, 2]].tolist(), *TRUE[:2, :5].tolist()]
    assert labels.ravel().tolist() == [2, 1, 2, 1, 0, 0]
    assert goals.shape == (6, 8) and not goals[:, :4].any()
    assert inside[:, 4].tolist() == [1, 1, 0, 0, 0, 0]  # the boxes themselves overlap by more than bbox_thr_hg


@pytest.mark.parametrize("pick, count", [("true", 5), ("false", 4)])
def test_a_batch_is_filled_with_what_is_neither(pick, count):
    text = f"batch_size: 6 append_gtbox: false pickup_discard: {pick} {THRESHOLDS}"
    rois, labels, *_ = targets(text)
    assert len(rois) == count and labels.ravel().tolist() == [2, 1, 0, 0, 0][:count]
    rois, labels, *_ = targets(text.replace("batch_size: 6", "batch_size: 2"))
    assert len(rois) == 2 and labels[0] > 0 and labels[1] == 0  # a quarter of 2, rounded, are objects


def test_where_there_is_no_region_one_is_drawn():
    text = "batch_size: -1 append_gtbox: false fg_thr: 0.99 bg_thr_hg: 0.01 bg_thr_lw: 0.005"
    rois, labels, *_ = targets(f"{text} img_width: 100 img_height: 80")
    assert rois.shape == (1, 5) and labels.tolist() == [[0]] and rois[0, 3] < 100 and rois[0, 4] < 80
    assert rois[0, 3] - rois[0, 1] >= 31
    with pytest.raises(DataFault, match="give img_width and img_height"):
        targets(text)


def test_mistakes_of_targets_are_told():
    with pytest.raises(LabelFault, match="a class that is not of 1 to 2"):
        targets(THRESHOLDS, true=TRUE + [0, 0, 0, 0, 0, 1, 0, 0])
    with pytest.raises(DataFault, match="a region is of image 2, but num_img_per_batch is 2"):
        targets(THRESHOLDS, rois=ROIS + [1, 0, 0, 0, 0])
    with pytest.raises(SchemaFault, match="fg_thr 0.3 is below bg_thr_hg 0.5"):
        targets("fg_thr: 0.3")


@pytest.mark.independent("HardMining")
def test_the_worst_regions_of_each_image_stay():
    losses = np.array([5, 1, 4, 3, 9, 2, 8], float)
    images = np.array([0, 0, 0, 0, 1, 0, 1], float)
    rois = np.concatenate([images[:, None], np.arange(28).reshape(7, 4)], axis=1)
    text = "type: 'HardMining' bottom: 'l' bottom: 'r' bottom: 'x' top: 'rois' top: 'y' "
    layer = build(text + "hard_mining_param { num_roi_per_image: 2 num_image: 2 }", (7,), (7, 5), (7, 3))
    x = normal(7, 3)
    for found, given in zip(layer.forward([losses, rois, x]), (rois, x), strict=True):
        assert found.tolist() == given[[0, 2, 4, 6]].tolist()
    layer = build(text + "hard_mining_param { num_roi_per_image: 3 num_image: 2 }", (7,), (7, 5), (7, 3))
    assert (
        layer.forward([losses, rois, x])[1].tolist() == x[[0, 2, 3, 4, 5, 6]].tolist()
    )  # 5 takes image 1's free place
    with pytest.raises(DataFault, match="of image 2, but num_image is 2"):
        layer.forward([losses, rois + [1, 0, 0, 0, 0], x])
    with pytest.raises(GraphFault, match="a top for each bottom but the first"):
        build("type: 'HardMining' bottom: 'l' bottom: 'r' bottom: 'x' top: 'rois'", (7,), (7, 5), (7, 3))


def moved(roi, deltas):
    d = [delta * s + m for delta, s, m in zip(deltas, DEVIATION, MEAN, strict=True)]
    sides = [roi[i + 2] - roi[i] + 1 for i in (0, 1)]
    centre = [roi[i] + sides[i] / 2 + d[i] * sides[i] for i in (0, 1)]
    sizes = [sides[i] * math.exp(d[i + 2]) for i in (0, 1)]
    return [centre[i] - sizes[i] / 2 for i in (0, 1)] + [centre[i] + sizes[i] / 2 - 1 for i in (0, 1)]


@pytest.mark.independent("BboxAccuracy")
def test_overlaps_of_predicted_boxes_and_of_regions_are_means():
    deltas = normal(4, 12)
    rois = ROIS[[0, 2, 3, 1]]
    matched = np.array([[2, *TRUE[0, 1:5], 0.8], [1, *TRUE[1, 1:5], 0.7], [1, *TRUE[2, 1:5], 0.98], [0] * 6])
    text = "type: 'BboxAccuracy' bottom: 'p' bottom: 'r' bottom: 'm' top: 'y' top: 'z' "
    layer = build(f"{text} bbox_reg_param {{ {REGRESSION} }}", deltas.shape, rois.shape, matched.shape)
    pairs = [(0, 8), (1, 4)]
    before = [overlap(rois[i, 1:], matched[i, 1:5], 1) for i, _ in pairs]
    after = [overlap(moved(rois[i, 1:], deltas[i, at : at + 4]), matched[i, 1:5], 1) for i, at in pairs]
    found = layer.forward([deltas, rois, matched])
    np.testing.assert_allclose([top.item() for top in found], [np.mean(after), np.mean(before)])
    assert [top.item() for top in layer.forward([deltas, rois, matched * 0])] == [-1, -1]
    with pytest.raises(ShapeFault, match=r"predictions \(R, 8\)"):
        build(f"{text} bbox_reg_param {{ cls_aware: false }}", (4, 12), (4, 5), (4, 6))


@pytest.mark.independent("FrcnnOutput")
def test_boxes_found_are_cut_and_suppressed_class_by_class():
    scores, deltas = np.random.default_rng(0).random((6, 3)), normal(6, 12)
    rois, size = ROIS * [0, 1, 1, 1, 1], np.array([[60.0, 50.0]])
    text = "frcnn_output_param { conf_thr: 0.2 iou_thr: 0.1 max_det_num: 4 }"
    bottoms = "bottom: 'p' bottom: 'b' bottom: 'r' bottom: 's' top: 'y'"
    shapes = scores.shape, deltas.shape, rois.shape, size.shape
    layer = build(f"type: 'FrcnnOutput' {bottoms} {text} bbox_reg_param {{ {REGRESSION} }}", *shapes)
    rows = []
    for label in (1, 2):
        kept = []
        for i in sorted(range(6), key=lambda i: -scores[i, label]):
            box = moved(rois[i, 1:], deltas[i, 4 * label : 4 * label + 4])
            box = [max(box[0], 0), max(box[1], 0), min(box[2], 50), min(box[3], 60)]
            if scores[i, label] >= 0.2 and all(overlap(box, other[1:5], 1) <= 0.1 for other in kept):
                kept.append([0, *box, label, scores[i, label]])
        rows += kept
    assert len(rows) > 4
    least = sorted(row[6] for row in rows)[-4]
    expected = [[0, *[-1] * 6], *(row for row in rows if row[6] >= least)]
    np.testing.assert_allclose(layer.forward([scores, deltas, rois, size])[0][:, :, 0, 0], expected, rtol=1e-5)
    with pytest.raises(DataFault, match="regions are of several images"):
        layer.forward([scores, deltas, ROIS, size])


def test_results_are_written_as_ssds_are(tmp_path):
    (tmp_path / "names").write_text("photo 120 100\n")
    (tmp_path / "map").write_text('item { name: "cup" label: 1 display_name: "cup" }\n')
    files = f"label_map_file: '{tmp_path}/map' name_size_file: '{tmp_path}/names'"
    save = f"output_directory: '{tmp_path}/out' output_format: 'VOC' output_name_prefix: 'r_' {files}"
    text = (
        f"frcnn_output_param {{ conf_thr: 0.5 save_output_param {{ {save} }} }} bbox_reg_param {{ cls_aware: false }}"
    )
    shapes = (1, 2), (1, 8), (1, 5), (1, 2)
    bottoms = "bottom: 'p' bottom: 'b' bottom: 'r' bottom: 's' top: 'y'"
    layer = build(f"type: 'FrcnnOutput' {bottoms} {text}", *shapes)
    roi = np.array([[0.0, 5, 10, 24, 29]])
    layer.forward([np.array([[0.1, 0.9]]), np.zeros((1, 8)), roi, np.array([[60.0, 50.0]])])
    assert (tmp_path / "out/r_cup.txt").read_text() == "photo 0.900000 10.000 20.000 48.000 58.000\n"


@pytest.mark.parametrize("named, right", [(False, 0), (True, 1)])
def test_cascade_rcnns_boxes_are_judged_in_the_pixels_of_the_image(tmp_path, named, right):
    """Seen 40 pixels high two boxes overlap by 20 of 30 rows, in the image's own 4 by 2.9 of 3.9."""
    (tmp_path / "sizes").write_text("photo 4 100\n")
    named = f"name_size_file: '{tmp_path}/sizes'" * named
    text = f"detection_evaluate_param {{ num_classes: 3 overlap_threshold: 0.7 {named} }}"
    bottoms = "bottom: 'f' bottom: 't' bottom: 's' top: 'y'"
    layer = build(f"type: 'DetectionEvaluate' {bottoms} {text}", (3, 7, 1, 1), (2, 8, 1, 1), (1, 2, 1, 1))
    found = [[0, *[-1] * 6], [0, 0, 0, 99, 19, 2, 0.9], [0, 0, 0, 9, 9, 1, 0.4]]
    true = [[0, 0, 0, 99, 29, 2, 0, 0], [0, 60, 0, 69, 9, 2, 0, 0]]
    xs = [np.array(each, float).reshape(len(each), -1, 1, 1) for each in (found, true, [[40, 100]])]
    expected = [[-1, 1, 0, -1, -1], [-1, 2, 2, -1, -1], [0, 1, 0.4, 0, 1], [0, 2, 0.9, right, 1 - right]]
    np.testing.assert_allclose(layer.forward(xs)[0][0, 0], expected)
