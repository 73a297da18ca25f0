"""MultiBoxLoss: against SSD's rules written out prior by prior, and the mistakes it tells."""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.matching import IGNORED, UNMATCHED, hardest, match
from demitasse.proto.errors import LabelFault, NetError, SchemaFault, ShapeFault
from tests.test_layers.building import build

P, CLASSES = 40, 4


def inputs(images=2, seed=3):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.7, (P, 2))
    priors = np.concatenate([corner, corner + rng.uniform(0.1, 0.3, (P, 2))], axis=1)
    variances = np.tile([0.1, 0.1, 0.2, 0.2], (P, 1))
    objects = [
        (i, rng.integers(1, CLASSES), 0, *(priors[rng.integers(P)] + rng.normal(0, 0.02, 4)), 0)
        for i in range(images)
        for _ in range(3)
    ]
    return [
        rng.standard_normal((images, P * 4)),
        rng.standard_normal((images, P * CLASSES)),
        np.stack([priors.ravel(), variances.ravel()])[None],
        np.asarray(objects, float).reshape(1, 1, -1, 8),
    ]


def loss(fields, xs, more="", kind="MultiBoxLoss"):
    bottoms = " ".join(f"bottom: 'b{i}'" for i in range(len(xs)))
    text = f"type: '{kind}' {bottoms} top: 'l' multibox_loss_param {{ num_classes: {CLASSES} {fields} }} {more}"
    layer = build(text, *(x.shape for x in xs))
    return layer, float(layer.forward(xs)[0])


def overlap(a, b):
    width, height = (min(a[2 + k], b[2 + k]) - max(a[k], b[k]) for k in (0, 1))
    common = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return common / (areas - common)


def by_the_rules(xs, threshold=0.5, ratio=3, neg_overlap=0.5, focus=lambda loss: loss):
    """(loss, matches) with CENTER_SIZE, SMOOTH_L1, SOFTMAX and MAX_NEGATIVE; focus: of the class losses."""
    locations, scores = xs[0].reshape(-1, P, 4), xs[1].reshape(-1, P, CLASSES)
    priors, variances = xs[2].reshape(2, P, 4)
    total, matches = 0.0, 0
    for i in range(len(locations)):
        objects = [row for row in xs[3].reshape(-1, 8) if row[0] == i]
        common = {(p, g): overlap(priors[p], row[3:7]) for p in range(P) for g, row in enumerate(objects)}
        owner, free = {}, set(range(len(objects)))
        while free:
            p, g = max(((p, g) for p, g in common if g in free and p not in owner), key=common.get)
            owner[p] = g
            free.remove(g)
        for p in range(P):
            best = max(range(len(objects)), key=lambda g: common[p, g])
            if p not in owner and common[p, best] >= threshold:
                owner[p] = best
        label = {p: int(objects[owner[p]][1]) if p in owner else 0 for p in range(P)}
        class_loss = {p: focus(np.log(np.exp(scores[i, p]).sum()) - scores[i, p, label[p]]) for p in range(P)}
        rest = [p for p in range(P) if p not in owner and max(common[p, g] for g in range(len(objects))) < neg_overlap]
        worst = sorted(rest, key=class_loss.get, reverse=True)[: int(len(owner) * ratio)]
        total += sum(class_loss[p] for p in [*owner, *worst])
        for p, g in owner.items():
            (px, py), size = (priors[p, :2] + priors[p, 2:]) / 2, priors[p, 2:] - priors[p, :2]
            box = objects[g][3:7]
            centre, wanted = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
            target = np.concatenate([(centre - (px, py)) / size, np.log(wanted / size)]) / variances[p]
            off = np.abs(locations[i, p] - target)
            total += np.where(off < 1, off**2 / 2, off - 0.5).sum()
        matches += len(owner)
    return total, matches


@pytest.mark.independent("MultiBoxLoss")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold, ratio", [(0.5, 3), (0.2, 1.5)])
def test_loss_is_that_of_the_rules(seed, threshold, ratio):
    xs = inputs(seed=seed)
    fields = f"code_type: CENTER_SIZE overlap_threshold: {threshold} neg_pos_ratio: {ratio}"
    total, matches = by_the_rules(xs, threshold, ratio)
    assert matches > 6 or threshold == 0.5
    assert loss(fields, xs)[1] == pytest.approx(total / matches)
    assert loss(fields, xs, "loss_param { normalization: BATCH_SIZE }")[1] == pytest.approx(total / 2)
    assert loss(fields, xs, "loss_param { normalization: NONE }")[1] == pytest.approx(total)


@pytest.mark.independent("MultiBoxFocalLoss")
@pytest.mark.parametrize("seed", range(2))
def test_focal_loss_is_that_of_the_paper(seed):
    def focus(loss):
        return 0.4 * (1 - np.exp(-loss)) ** 1.5 * loss

    xs, more = inputs(seed=seed), "focal_loss_param { alpha: 0.4 gamma: 1.5 }"
    total, matches = by_the_rules(xs, 0.2, focus=focus)
    fields = "code_type: CENTER_SIZE overlap_threshold: 0.2"
    assert loss(fields, xs, more, "MultiBoxFocalLoss")[1] == pytest.approx(total / matches)
    plain = loss(fields, xs, "focal_loss_param { alpha: 1 gamma: 0 }", "MultiBoxFocalLoss")[1]
    assert plain == pytest.approx(loss(fields, xs)[1])
    for field, more, said in (
        ("", "focal_loss_param { alpha: 0 }", "gamma is 0 or more, alpha above 0"),
        ("conf_loss_type: LOGISTIC", "", "LOGISTIC has no focal form"),
    ):
        with pytest.raises(SchemaFault, match=said):
            loss(field, xs, more, "MultiBoxFocalLoss")


def test_only_matches_and_chosen_negatives_get_a_gradient():
    xs = inputs()
    layer, _ = loss("code_type: CENTER_SIZE neg_pos_ratio: 1", xs)
    dloc, dconf, *rest = layer.backward([np.ones(())], [True, True, False, False])
    matches = by_the_rules(xs)[1]
    assert rest == [None, None]
    assert (dloc.reshape(-1, 4) != 0).any(axis=1).sum() == matches
    assert (dconf.reshape(-1, CLASSES) != 0).any(axis=1).sum() == 2 * matches


def test_an_image_without_objects_has_no_loss_and_rows_of_image_minus_one_are_none():
    xs = inputs()
    xs[3] = np.full((1, 1, 1, 8), -1.0)
    layer, value = loss("code_type: CENTER_SIZE", xs)
    assert value == 0
    assert not any(grad.any() for grad in layer.backward([np.ones(())], [True, True, False, False])[:2])


def test_difficult_objects_can_be_left_out():
    xs = inputs()
    without = [*xs[:3], xs[3][:, :, 1:]]
    xs[3][0, 0, 0, 7] = 1
    fields = "code_type: CENTER_SIZE use_difficult_gt: false"
    assert loss(fields, xs)[1] == pytest.approx(loss(fields, without)[1])
    assert loss("code_type: CENTER_SIZE", xs)[1] != pytest.approx(loss(fields, without)[1])


def test_a_part_that_does_not_propagate_down_is_not_in_the_loss():
    xs = inputs()
    whole = loss("code_type: CENTER_SIZE", xs)[1]
    flags = "propagate_down: %s propagate_down: %s propagate_down: false propagate_down: false"
    parts = [loss("code_type: CENTER_SIZE", xs, flags % pair)[1] for pair in (("true", "false"), ("false", "true"))]
    assert sum(parts) == pytest.approx(whole) and all(parts)


def test_hard_examples_are_the_worst_of_all():
    xs = inputs(images=1)
    layer, _ = loss("code_type: CENTER_SIZE mining_type: HARD_EXAMPLE sample_size: 7", xs)
    _, dconf, *_ = layer.backward([np.ones(())], [True, True, False, False])
    assert (dconf.reshape(-1, CLASSES) != 0).any(axis=1).sum() == 7


def test_each_object_is_given_a_box_before_boxes_choose():
    overlaps = np.asarray([[0.9, 0.8], [0.7, 0.1], [0.0, 0.0], [0.6, 0.3]])
    index, greatest = match(np, overlaps, 0.5)
    assert index.tolist() == [0, 0, UNMATCHED, 1]
    assert greatest[3] == 0.3  # object 1's best box was taken
    assert match(np, overlaps, None)[0].tolist() == [0, UNMATCHED, UNMATCHED, 1]
    assert match(np, overlaps, 0.5, np.asarray([True, False, False, False]))[0].tolist() == [IGNORED, 0, UNMATCHED, 1]
    assert match(np, np.zeros((3, 2)), 0.5)[0].tolist() == [UNMATCHED] * 3


def test_the_hardest_are_sorted_by_loss_and_no_more_than_eligible():
    losses = np.asarray([1.0, 5, 3, 4])
    assert hardest(make_backend("generic"), np.asarray([True, False, True, True]), losses, 2).tolist() == [3, 2]
    assert hardest(make_backend("generic"), np.zeros(4, bool), losses, 2).tolist() == []


@pytest.mark.parametrize(
    "fields, more, fault, words",
    [
        ("do_neg_mining: false", "", SchemaFault, "contradicts mining_type: MAX_NEGATIVE"),
        ("background_label_id: 9", "", SchemaFault, "9 is none of 4 classes"),
        ("map_object_to_agnostic: true", "", SchemaFault, "leaves 2 classes, but num_classes is 4"),
        ("mining_type: HARD_EXAMPLE sample_size: 0", "", SchemaFault, "needs 1 or more"),
        ("", "loss_param { ignore_label: 1 }", SchemaFault, "reads normalization only"),
        ("background_label_id: 1", "", LabelFault, "but for the background, 1"),
    ],
)
def test_mistakes(fields, more, fault, words):
    with pytest.raises(fault, match=words):
        loss(fields, inputs(), more)


def test_mistakes_of_shapes_and_labels():
    xs = inputs()
    with pytest.raises(ShapeFault, match="the objects, .1, 1, G, 8., are expected"):
        loss("", [*xs[:3], np.zeros((1, 1, 3, 7))])
    with pytest.raises(NetError, match="share_location: false goes with"):
        loss("share_location: false", [np.zeros((2, P * 4 * CLASSES)), *xs[1:]])
    xs[3][0, 0, 0, 1] = CLASSES
    with pytest.raises(LabelFault, match="an object of class 4 in image 0: classes are 0 to 3"):
        loss("", xs)
