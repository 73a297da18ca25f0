"""What forks call softmax, its losses, and those of connectionist temporal classification: today's words, in place."""

from __future__ import annotations

from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import LayerParameter


def upgrade_ctc(layer: LayerParameter) -> None:
    """ChWick's CTCLoss of three bottoms is CtcSequenceLoss; of the others blank_index is blank_label.

    SchemaFault for what is not known of them.
    """
    given, three = layer.ctc_loss_param, len(layer.bottom) == 3
    if three:
        layer.type = "CtcSequenceLoss"
    for name in ("blank_index", "ctc_merge_repeated", "preprocess_collapse_repeated", "output_delay"):
        if given.HasField(name):
            if three:
                setattr(layer.ctc_sequence_loss_param, name, getattr(given, name))
            elif name == "blank_index" and given.blank_index >= 0:
                given.blank_label = given.blank_index
            else:
                raise SchemaFault(f"{name} of ctc_loss_param is read with three bottoms: leave it out")
            given.ClearField(name)


def upgrade_softmax(layer: LayerParameter) -> None:
    """MyCaffe's Softmax by the algorithm LOG is LogSoftmax; its other algorithms give the same numbers.

    SchemaFault for fields of another type.
    """
    param = layer.softmax_param
    if layer.type in ("SoftmaxWithWeightedLoss", "SoftmaxWeightedLoss"):  # MS-CNN's; others weigh otherwise
        if len(layer.bottom) != 3:
            raise SchemaFault(f"{layer.type} is known with three bottoms: the scores, the labels and a factor for each")
        layer.type = "WeightedSoftmaxWithLoss"
    if param.HasField("normalize_type"):  # AMSoftmax's
        if param.normalize_type != "Softmax":
            raise SchemaFault(f'normalize_type "{param.normalize_type}" is not known here: leave it out')
        param.ClearField("normalize_type")
    if layer.type != "WeightedSoftmaxWithLoss" and any(map(param.HasField, ("pos_mult", "pos_cid"))):
        raise SchemaFault("softmax_param: pos_mult and pos_cid are of WeightedSoftmaxWithLoss: leave them out here")
    if layer.focal_loss_param.HasField("axis"):  # FocalLoss's
        param.axis = layer.focal_loss_param.axis
        layer.focal_loss_param.ClearField("axis")
    test = param.algorithm == param.LOG
    train = param.algorithm_train == param.LOG if param.HasField("algorithm_train") else test
    if train or test:
        if layer.type != "Softmax":
            raise SchemaFault("algorithm: LOG is of Softmax layers: leave it out here")
        layer.type = "LogSoftmax"
        layer.log_softmax_param.axis = param.axis
        layer.log_softmax_param.in_train, layer.log_softmax_param.in_test = train, test
        layer.ClearField("softmax_param")
    for name in ("algorithm", "algorithm_train"):
        if param.HasField(name):
            param.ClearField(name)
