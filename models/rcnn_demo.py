"""A small Faster R-CNN and its solver on drawn scenes, the files in models/rcnn_demo/.

    python -m models write rcnn-demo models        writes them anew

Six convolutions from random weights, of whose features both halves make use: the region proposal net, and the detector
that looks at each proposal by itself.  It is trained end to end, an image at a time, with the layers that the published
nets name, and its deploy net has their blobs: rois, cls_prob and bbox_pred.
Source: "Faster R-CNN" (Ren et al., 2015), whose approximate joint training this is.
"""

from __future__ import annotations

from demitasse.models.data.scene_layers import SIZE
from demitasse.models.data.scenes import CLASSES, MEAN
from demitasse.models.demo_net import of_short_runs
from demitasse.netdef.spec import L, NetSpec
from demitasse.proto import text
from demitasse.proto.messages import NetParameter, SolverParameter

WIDTHS = (16, 32, 64)  # channels of the stages, each half the size of the one before
STRIDE, POOLED, HIDDEN = 8, 6, 128
ANCHORS = {"feat_stride": STRIDE, "base_size": 16, "scales": [1.5, 2.5, 4], "ratios": [0.5, 1, 2]}
PER_PLACE = len(ANCHORS["scales"]) * len(ANCHORS["ratios"])
PROPOSALS = {"min_size": 8, "pre_nms_topn": 600, "post_nms_topn": 100}


def net(phase: str, **data) -> NetParameter:
    """The net that is trained ("train") or used ("deploy"); data: further options of the data layer."""
    n, train = NetSpec(), phase == "train"
    if train:
        options = {"num_classes": len(CLASSES), "split": "train", "mean": MEAN, "scale": min(SIZE), "seed": 1, **data}
        n.data, n.im_info, n.gt_boxes = L.Python(
            module="scene_rois", layer="SceneRoIDataLayer", ntop=3, param_str=repr(options)
        )
    else:
        n.data = L.Input(shape={"dim": [1, 3, *SIZE]})
        n.im_info = L.Input(shape={"dim": [1, 3]})
    features = _trunk(n)
    _proposals(n, features, train)
    rois = _targets(n) if train else n.rois
    _detector(n, features, rois, train)
    message = n.to_proto()
    message.name = f"demo-rcnn-{phase}"
    return message


def _trunk(n: NetSpec):
    top = n.data
    for stage, width in enumerate(WIDTHS, 1):
        for part in "ab":
            n[f"conv{stage}{part}"] = _conv(top, width, 3, 1)
            n[f"relu{stage}{part}"] = top = L.ReLU(n[f"conv{stage}{part}"], in_place=True)
        n[f"pool{stage}"] = top = L.Pooling(top, kernel_size=2, stride=2)
    n.features = _conv(top, WIDTHS[-1], 3, 1)
    n.relu_features = top = L.ReLU(n.features, in_place=True)
    return top


def _conv(bottom, channels: int, kernel: int, pad: int, filler: dict | None = None):
    filler = filler or {"type": "msra"}
    return L.Convolution(bottom, num_output=channels, kernel_size=kernel, pad=pad, weight_filler=filler)


def _python(name: str, *bottoms, ntop: int, **options):
    """A layer of the module rpn."""
    module, layer = f"rpn.{name}_layer", f"{name.title().replace('_', '')}Layer"
    return L.Python(*bottoms, module=module, layer=layer, ntop=ntop, param_str=repr(options))


def _proposals(n: NetSpec, features, train: bool) -> None:
    n.rpn = _conv(features, WIDTHS[-1], 3, 1)
    n.rpn_relu = L.ReLU(n.rpn, in_place=True)
    small = {"type": "gaussian", "std": 0.01}
    n.rpn_cls_score = _conv(n.rpn_relu, 2 * PER_PLACE, 1, 0, small)
    n.rpn_bbox_pred = _conv(n.rpn_relu, 4 * PER_PLACE, 1, 0, small)
    n.rpn_cls_score_reshape = L.Reshape(n.rpn_cls_score, shape={"dim": [0, 2, -1, 0]})
    if train:
        n.rpn_labels, *targets = _python(
            "anchor_target", n.rpn_cls_score, n.gt_boxes, n.im_info, n.data, ntop=4, batch_size=64, seed=1, **ANCHORS
        )
        n.rpn_bbox_targets, n.rpn_inside, n.rpn_outside = targets
        n.rpn_loss_cls = L.SoftmaxWithLoss(
            n.rpn_cls_score_reshape, n.rpn_labels, propagate_down=[True, False], ignore_label=-1, loss_weight=1
        )
        n.rpn_loss_bbox = L.SmoothL1Loss(n.rpn_bbox_pred, *targets, sigma=3, loss_weight=1)
    n.rpn_cls_prob = L.Softmax(n.rpn_cls_score_reshape)
    n.rpn_cls_prob_reshape = L.Reshape(n.rpn_cls_prob, shape={"dim": [0, 2 * PER_PLACE, -1, 0]})
    bottoms = n.rpn_cls_prob_reshape, n.rpn_bbox_pred, n.im_info
    n["rpn_rois" if train else "rois"] = _python("proposal", *bottoms, ntop=1, **ANCHORS, **PROPOSALS)


def _targets(n: NetSpec):
    # Published nets divide box targets by their deviations, and their authors fold these into the weights they give.
    options = {"num_classes": len(CLASSES), "batch_size": 32, "normalize": False, "seed": 1}
    n.rois, n.labels, n.bbox_targets, n.inside, n.outside = _python(
        "proposal_target", n.rpn_rois, n.gt_boxes, ntop=5, **options
    )
    return n.rois


def _detector(n: NetSpec, features, rois, train: bool) -> None:
    n.roi_pool = top = L.ROIPooling(features, rois, pooled_h=POOLED, pooled_w=POOLED, spatial_scale=1 / STRIDE)
    for name in ("fc1", "fc2"):
        n[name] = L.InnerProduct(top, num_output=HIDDEN, weight_filler={"type": "msra"})
        n[f"{name}_relu"] = top = L.ReLU(n[name], in_place=True)
    for name, each, std in (("cls_score", 1, 0.01), ("bbox_pred", 4, 0.001)):
        filler = {"type": "gaussian", "std": std}
        n[name] = L.InnerProduct(top, num_output=each * len(CLASSES), weight_filler=filler)
    if train:
        n.loss_cls = L.SoftmaxWithLoss(n.cls_score, n.labels, propagate_down=[True, False], loss_weight=1)
        n.loss_bbox = L.SmoothL1Loss(n.bbox_pred, n.bbox_targets, n.inside, n.outside, sigma=3, loss_weight=1)
        return
    n.cls_prob = L.Softmax(n.cls_score)


def solver() -> SolverParameter:
    """Adam, four images an iteration."""
    return of_short_runs(
        SolverParameter(
            train_net="train.prototxt",
            base_lr=0.001,
            iter_size=4,
            snapshot_prefix="runs/rcnn-demo/rcnn",
        )
    )


def files() -> dict[str, str]:
    """File name -> text."""
    head = "# A small Faster R-CNN on drawn scenes.  Written by `python -m models write rcnn-demo models`.\n"
    written = {f"{phase}.prototxt": net(phase) for phase in ("train", "deploy")}
    written["solver.prototxt"] = solver()
    texts = {name: head + text.format(message) for name, message in written.items()}
    return {**texts, "classes.txt": "".join(f"{name}\n" for name in CLASSES)}
