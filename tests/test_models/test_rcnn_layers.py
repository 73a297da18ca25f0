"""The Python layers of Faster R-CNN's nets: what they give, by hand, and where they are found."""

import numpy as np
import pytest

from demitasse.layers.layer import TEST, TRAIN
from demitasse.models.data.rcnn_layer import read_param_str
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal


def python_layer(module, name, param_str, tops, *shapes, phase=TRAIN):
    bottoms = "".join(f" bottom: 'b{i}'" for i in range(len(shapes)))
    tops = "".join(f" top: 't{i}'" for i in range(tops))
    param = f'python_param {{ module: "{module}" layer: "{name}" param_str: "{param_str}" }}'
    return build(f"type: 'Python'{bottoms}{tops} {param}", *shapes, phase=phase)


@pytest.mark.parametrize(
    "text, found",
    [
        ("", {}),
        ("'feat_stride': 16", {"feat_stride": 16}),
        ("{'scales': [1, 2], 'ratios':[1,]}", {"scales": [1, 2], "ratios": [1]}),
        ("'feat_stride': 16 \n'scales': !!python/tuple [4, 8]", {"feat_stride": 16, "scales": [4, 8]}),
        ("use_attr: true\nname: 'a: b'", {"use_attr": True, "name": "a: b"}),
        ("'num_classes': 21, 'voc_dir': 'a, b'", {"num_classes": 21, "voc_dir": "a, b"}),
    ],
)
def test_options_in_the_forms_of_published_nets(text, found):
    assert read_param_str(text) == found


@pytest.mark.parametrize(
    "text", ["feat_stride", "'a': __import__('os').getcwd()", "'a': !!python/object/apply:os.getcwd []", "[1, 2]", "{1"]
)
def test_options_run_nothing(text):
    with pytest.raises(SchemaFault, match="param_str"):
        read_param_str(text)


def test_an_option_that_nobody_reads_is_told():
    with pytest.warns(UserWarning, match="'feat_strid', which ProposalLayer does not know"):
        python_layer("rpn.proposal_layer", "ProposalLayer", "'feat_strid': 8", 1, (1, 18, 3, 4), (1, 36, 3, 4), (1, 3))


def test_proposals_are_those_of_the_layer_type():
    rng = np.random.default_rng(0)
    scores, deltas = rng.random((1, 18, 6, 7)), 0.2 * rng.standard_normal((1, 36, 6, 7))
    bottoms = [scores, deltas, np.array([[96.0, 112, 1]])]
    shapes = [b.shape for b in bottoms]
    ours = python_layer("rpn.proposal_layer", "ProposalLayer", "'feat_stride': 16", 2, *shapes, phase=TEST)
    text = "type: 'Proposal' bottom: 'a' bottom: 'b' bottom: 'c' top: 'r' top: 's'"
    for one, other in zip(ours.forward(bottoms), build(text, *shapes).forward(bottoms), strict=True):
        np.testing.assert_allclose(one, other)


def test_anchors_are_labelled_by_their_overlap():
    """One anchor a pixel, of 16x16, 16 apart: the box is nearly the anchor of row 1, column 2."""
    options = "{'feat_stride': 16, 'scales': [1], 'ratios': [1], 'batch_size': 1000, 'seed': 1}"
    shapes = (1, 2, 3, 4), (1, 5), (1, 3)
    layer = python_layer("rpn.anchor_target_layer", "AnchorTargetLayer", options, 4, *shapes)
    box = np.array([[34.0, 16, 47, 31, 3]])
    labels, targets, inside, outside = layer.forward([normal(*shapes[0]), box, np.array([[48.0, 60, 1]])])
    expected = np.zeros((3, 4))
    expected[:, 3] = -1  # reaches from 48 to 63, and the image ends at 59
    expected[1, 2] = 1
    assert np.array_equal(labels[0, 0], expected)
    assert targets[0, :, 1, 2] == pytest.approx([1 / 16, 0, np.log(14 / 16), 0])
    assert np.array_equal(inside[0], np.broadcast_to(expected == 1, (4, 3, 4)))
    assert np.allclose(outside[0], np.broadcast_to((expected >= 0) / 9, (4, 3, 4)))


def test_only_so_many_anchors_count():
    options = "{'scales': [1], 'ratios': [1], 'batch_size': 10, 'seed': 1}"
    shapes = (1, 2, 8, 8), (20, 5), (1, 3)
    layer = python_layer("rpn.anchor_target_layer", "AnchorTargetLayer", options, 4, *shapes)
    corner = np.repeat(np.arange(20.0)[:, None] % 7 * 16, 2, axis=1)
    boxes = np.concatenate([corner, corner + 15, np.ones((20, 1))], axis=1)
    labels = layer.forward([normal(*shapes[0]), boxes, np.array([[128.0, 128, 1]])])[0]
    assert (labels == 1).sum() == 5 and (labels == 0).sum() == 5


def test_an_image_without_objects_is_all_background():
    shapes = (1, 2, 3, 4), (0, 5), (1, 3)
    layer = python_layer("rpn.anchor_target_layer", "AnchorTargetLayer", "{'scales': [1], 'ratios': [1]}", 4, *shapes)
    labels, *rest = layer.forward([normal(*shapes[0]), np.zeros((0, 5)), np.array([[48.0, 64, 1]])])
    assert not labels.any() and not rest[0].any() and not rest[1].any()
    layer = python_layer("rpn.proposal_target_layer", "ProposalTargetLayer", "{'num_classes': 3}", 5, (4, 5), (0, 5))
    rois, labels, *rest = layer.forward([normal(4, 5), np.zeros((0, 5))])
    assert rois.shape == (4, 5) and not labels.any() and not any(each.any() for each in rest)


def test_regions_get_the_class_and_the_way_to_their_box():
    options = "{'num_classes': 4, 'batch_size': 4, 'fg_fraction': 0.5, 'seed': 1}"
    layer = python_layer("rpn.proposal_target_layer", "ProposalTargetLayer", options, 5, (4, 5), (1, 5))
    rois = np.array([[0, 10, 10, 29, 29], [0, 50, 50, 59, 59], [0, 70, 70, 79, 79], [0, 90, 90, 99, 99.0]])
    box = np.array([[12.0, 10, 31, 29, 2]])
    chosen, labels, targets, inside, outside = layer.forward([rois, box])
    assert sorted(labels) == [0, 0, 2, 2] and labels[:2].tolist() == [2, 2]  # the box itself is proposed too
    assert {tuple(roi) for roi in chosen[:2]} == {tuple(rois[0]), (0, *box[0, :4])}
    (moved,) = np.nonzero((chosen == rois[0]).all(axis=1))[0]
    assert targets[moved, 8:12] == pytest.approx([0.1 / 0.1, 0, 0, 0]) and not targets[:, :8].any()
    assert np.array_equal(inside, outside) and np.array_equal(inside[:, 8:12].all(axis=1), labels > 0)
    with pytest.raises(DataFault, match="gt_boxes have classes 7 to 7, num_classes is 4"):
        layer.forward([rois, np.array([[12.0, 10, 31, 29, 7]])])


def test_with_two_classes_all_objects_share_their_targets():
    options = "{'num_classes': 2, 'batch_size': -1}"
    layer = python_layer("rpn.proposal_target_layer", "ProposalTargetLayer", options, 5, (2, 5), (1, 5))
    rois = np.array([[0, 10, 10, 29, 29], [0, 50, 50, 59, 59.0]])
    _, labels, _, inside, _ = layer.forward([rois, np.array([[10.0, 10, 29, 29, 7]])])
    assert labels.tolist() == [7, 7, 0] and inside.tolist() == [[0] * 4 + [1] * 4] * 2 + [[0] * 8]


def test_hard_anchors_are_chosen_by_their_probability():
    options = "{'scales': [1], 'ratios': [1], 'batch_size': 4, 'fg_fraction': 0.25, 'seed': 1}"
    shapes = (1, 2, 2, 4), (0, 5), (1, 3), (1, 3, 32, 64), (1, 2, 2, 4)
    layer = python_layer("SSH.layers.anchor_target_layer", "AnchorTargetLayer", options, 4, *shapes)
    probabilities = np.arange(16.0).reshape(1, 2, 2, 4)
    bottoms = [normal(*shapes[0]), np.zeros((0, 5)), np.array([[32.0, 64, 1]]), normal(*shapes[3]), probabilities]
    assert layer.forward(bottoms)[0][0, 0].tolist() == [[-1] * 4, [0] * 4]


def test_detections_of_a_module_are_not_suppressed():
    shapes = (1, 2, 4, 4), (1, 4, 4, 4), (1, 3)
    layer = python_layer(
        "SSH.layers.proposal_layer", "ProposalLayer", "{'scales': [4], 'ratios': [1]}", 2, *shapes, phase=TEST
    )
    scores = np.random.default_rng(0).random(shapes[0])
    boxes, best = layer.forward([scores, np.zeros(shapes[1]), np.array([[64.0, 64, 1]])])
    assert boxes.shape == (16, 5) and np.array_equal(best[:, 0], np.sort(scores[0, 1].reshape(-1))[::-1])


def test_another_number_of_anchors_is_told():
    with pytest.raises(ShapeFault, match=r"9 anchors a place \(3 ratios times 3 scales\) make 18 channels"):
        python_layer("rpn.proposal_layer", "ProposalLayer", "", 1, (1, 12, 3, 4), (1, 24, 3, 4), (1, 3))


def test_images_and_boxes_of_a_folder(tmp_path):
    from demitasse.models.data import scenes

    folder = scenes.write(tmp_path / "d", train=6, val=0, size=(48, 64))
    options = f"{{'num_classes': 9, 'voc_dir': '{folder}', 'split': 'train', 'scale': 96, 'mirror': False, 'seed': 1}}"
    layer = python_layer("roi_data_layer.layer", "RoIDataLayer", options, 3)
    seen = []
    for _ in range(6):
        data, info, boxes = layer.forward([])
        seen.append(boxes.tolist())
        assert data.shape == (1, 3, 96, 128) and info.tolist() == [[96, 128, 2]]
        layer.infer([])
    drawn = [scenes.draw_objects(1, i, (48, 64))[2] for i in range(6)]
    assert sorted(seen) == sorted([[2 * c for c in corners] + [kind] for kind, *corners in each] for each in drawn)
    state = layer.state()
    after = layer.forward([])
    layer.load_state(state)
    for one, other in zip(layer.forward([]), after, strict=True):
        assert np.array_equal(one, other)


def test_a_published_net_s_data_layer_asks_for_its_data():
    layer = python_layer("roi_data_layer.layer", "RoIDataLayer", "'num_classes': 21", 3)
    assert layer.infer([]) == [(1, 3, 600, 1000), (1, 3), (1, 5)]
    with pytest.raises(DataFault, match="add 'voc_dir'"):
        layer.forward([])


def test_the_user_s_module_comes_before_ours(tmp_path, monkeypatch):
    (tmp_path / "rpn").mkdir()
    (tmp_path / "rpn" / "__init__.py").write_text("")
    (tmp_path / "rpn" / "proposal_layer.py").write_text(
        "import caffe\nclass ProposalLayer(caffe.Layer):\n"
        "    def reshape(self, bottom, top): top[0].reshape(7)\n    def forward(self, bottom, top): pass\n"
    )
    for name in ("rpn", "rpn.proposal_layer"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    shapes = (1, 18, 3, 4), (1, 36, 3, 4), (1, 3)
    assert python_layer("rpn.proposal_layer", "ProposalLayer", "", 1, *shapes).infer(list(shapes)) == [(7,)]
    targets = (1, 18, 3, 4), (1, 5), (1, 3)
    layer = python_layer("rpn.anchor_target_layer", "AnchorTargetLayer", "", 4, *targets)  # theirs has none
    assert layer.infer(list(targets))[0] == (1, 1, 27, 4)
    for name in ("rpn", "rpn.proposal_layer"):
        __import__("sys").modules.pop(name, None)
