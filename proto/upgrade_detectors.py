"""What forks that detect objects call things that have another name here: their layers in these words, in place.

MS-CNN's first ProposalTarget had the fields of bbox_reg_param; Cascade R-CNN's SoftmaxWithLoss a third top; a
MultiBoxLoss of conf_loss_type FocalLoss is MultiBoxFocalLoss; eric612's first DetectionOutput is YoloDetectionOutput;
caffe-yolo's DetectionLoss is YoloLoss; what D-X-Y's Faster R-CNN has in C++ are py-faster-rcnn's Python layers; SINet's
losses of a branch are those of its rows, and its LabelSplit2 and LabelSplit3 ROIFeatureSplit.
"""

from __future__ import annotations

from demitasse.proto.messages import LayerParameter

_YOLO = "side num_class num_object object_scale noobject_scale class_scale coord_scale sqrt constriant".split()

_FRCNN = {  # types of the forks that have Faster R-CNN in C++ -> the Python layers that they rewrite
    "FrcnnRoiData": ("roi_data_layer.layer", "RoIDataLayer"),
    "FrcnnAnchorTarget": ("rpn.anchor_target_layer", "AnchorTargetLayer"),
    "FrcnnProposal": ("rpn.proposal_layer", "ProposalLayer"),
    "FrcnnProposalTarget": ("rpn.proposal_target_layer", "ProposalTargetLayer"),
}
_SPLIT = {  # SINet's losses, whose last bottom says how many rows there are -> (today's type, bottoms, messages)
    "SoftmaxWithLoss2": ("SoftmaxWithLoss", 2, "softmax_split_param", "softmax_param", "axis"),
    "SmoothL1Loss2": ("SmoothL1Loss", 4, "smooth_l1_split_param", "smooth_l1_loss_param", "sigma"),
}


def upgrade_detector(layer: LayerParameter) -> None:
    """Bring a layer of a fork that detects objects into the words that hold here, in place."""
    for name in ("bbox_mean", "bbox_std") if layer.HasField("proposal_target_param") else ():
        getattr(layer.bbox_reg_param, name).extend(getattr(layer.proposal_target_param, name))
        layer.proposal_target_param.ClearField(name)
    if layer.type == "SoftmaxWithLoss" and len(layer.top) > 2:
        layer.type = "SoftmaxWithLossOHEM"
    if layer.type in _FRCNN:
        layer.python_param.module, layer.python_param.layer = _FRCNN[layer.type]
        layer.type = "Python"
    if layer.type in ("LabelSplit2", "LabelSplit3"):
        _reorder(layer, [*layer.bottom[2:], *layer.bottom[:2]])
        layer.roi_feature_split_param.branch_num = int(layer.type[-1])
        layer.type = "ROIFeatureSplit"
    if layer.type in _SPLIT:
        layer.type, bottoms, given, todays, field = _SPLIT[layer.type]
        if getattr(layer, given).HasField(field):
            setattr(getattr(layer, todays), field, getattr(getattr(layer, given), field))
        layer.ClearField(given)
        _reorder(layer, layer.bottom[:bottoms])
    given = layer.multibox_loss_param
    if layer.type == "MultiBoxLoss" and given.conf_loss_type == given.FocalLoss:  # dreadlord1984's
        layer.type, given.conf_loss_type = "MultiBoxFocalLoss", given.SOFTMAX
        for name in ("alpha", "gamma"):
            if given.HasField("fl_" + name):
                setattr(layer.focal_loss_param, name, getattr(given, "fl_" + name))
                given.ClearField("fl_" + name)
    given = layer.detection_output_param
    if layer.type == "DetectionOutput" and (given.biases or given.HasField("coords")):  # that of eric612's first nets
        layer.type = "YoloDetectionOutput"
        todays = layer.yolo_detection_output_param
        todays.num_box = len(given.biases) // 2
        todays.biases.extend(given.biases)
        for name in ("num_classes", "coords", "confidence_threshold"):
            if given.HasField(name):
                setattr(todays, name, getattr(given, name))
        if given.nms_param.HasField("nms_threshold"):
            todays.nms_threshold = given.nms_param.nms_threshold
        layer.ClearField("detection_output_param")
    given = layer.detection_loss_param
    if layer.type == "DetectionLoss" and any(map(given.HasField, _YOLO)):  # caffe-yolo's
        layer.type = "YoloLoss"
        for name in filter(given.HasField, _YOLO):
            setattr(layer.yolo_loss_param, name, getattr(given, name))
        layer.ClearField("detection_loss_param")


def _reorder(layer, bottoms) -> None:
    """Give a layer other bottoms; which of them get gradients is then known without propagate_down."""
    bottoms = list(bottoms)
    del layer.bottom[:], layer.propagate_down[:]
    layer.bottom.extend(bottoms)
