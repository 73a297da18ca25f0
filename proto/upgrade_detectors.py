"""What forks that detect objects call things that have another name here: their layers in these words, in place.

MS-CNN's first ProposalTarget had the fields of bbox_reg_param; Cascade R-CNN's SoftmaxWithLoss a third top; a
MultiBoxLoss of conf_loss_type FocalLoss is MultiBoxFocalLoss; eric612's first DetectionOutput is YoloDetectionOutput;
caffe-yolo's DetectionLoss is YoloLoss; what D-X-Y's Faster R-CNN has in C++ are py-faster-rcnn's Python layers.
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
