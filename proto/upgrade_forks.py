"""What forks of Caffe call things that Caffe has too: their layers in Caffe's words, in place.

DeepLab's `hole` is `dilation`; C3D's Convolution3D, Deconvolution3D and Pooling3D, and video-caffe's NdConvolution and
NdPooling, are Convolution, Deconvolution and Pooling over the axes depth, height, width; SENet's CuDNNBatchNorm is
PSPNet's BN, whose four blobs it has; CRNN's Transpose is Permute; joyousrabbit's RandomData is Data that shuffles;
MyCaffe's SoftmaxCrossEntropy2Loss is SoftmaxWithLoss; DeconvNet's Unpooling is Upsample; Ristretto's types are those
whose arithmetic they imitate; what several forks call L2Norm or the like is Norm; MS-CNN's first Detection is
DetectionLoss; R*CNN's Sum is Eltwise. Data layers' fields are in upgrade_data.py, detectors' layers in
upgrade_detectors.py, softmax and CTC in upgrade_losses.py, what MyCaffe can switch off in upgrade_switches.py.
"""

from __future__ import annotations

from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import LayerParameter
from demitasse.proto.upgrade_data import upgrade_data
from demitasse.proto.upgrade_detectors import upgrade_detector
from demitasse.proto.upgrade_losses import upgrade_ctc, upgrade_softmax
from demitasse.proto.upgrade_switches import upgrade_switches

_TYPES = {
    "Convolution3D": "Convolution",
    "Deconvolution3D": "Deconvolution",
    "NdConvolution": "Convolution",
    "Pooling3D": "Pooling",
    "NdPooling": "Pooling",
    "CuDNNBatchNorm": "BN",
    "LstmSimple": "Lstm",
    "Transpose": "Permute",
    "RandomData": "Data",
    "SoftmaxCrossEntropy2Loss": "SoftmaxWithLoss",
    "Detection": "DetectionLoss",
    "VoxelSoftmax": "Softmax",
    "VoxelSoftmaxWithLoss": "SoftmaxWithLoss",
    "ConvolutionRistretto": "Convolution",
    "DeconvolutionRistretto": "Deconvolution",
    "FcRistretto": "InnerProduct",
    "LRNRistretto": "LRN",
    "L2Norm": "Norm",
    "L2Normalization": "Norm",
    "NormalizationL2": "Norm",
    "Normalization": "Norm",
    "SequenceAccuracy": "LabelsequenceAccuracy",
    "Sum": "Eltwise",
    "WarpCTCLoss": "CtcLoss",
    "CTCLoss": "CtcLoss",
    "FocalLoss": "SoftmaxWithFocalLoss",
    "NormL2": "Norm",
    "Normalization2": "Normalize",
    "ImageLabelListData": "ImageLabelData",
}
_OF_CUDNN = "dropout_ratio batch_first expose_hidden_input expose_hidden_output bidirectional".split()
_OF_CUDNN += ["auto_repeat_hidden_states_across_layers"]
_MESSAGES = {
    "convolution3d_param": "convolution_param",
    "pooling3d_param": "pooling_param",
    "cudnn_batch_norm_param": "bn_param",
    "lstm_simple_param": "lstm_param",
    "Sequence_accuracy_param": "labelsequence_accuracy_param",
    "detection_param": "detection_loss_param",
    "bbox_accuracy_param": "bbox_reg_param",
    "normalization2_param": "norm_param",
    "multiboxloss_param": "multibox_loss_param",
}


def upgrade_fork_layer(layer: LayerParameter) -> None:
    """Bring a layer of a fork into Caffe's words, in place.  SchemaFault for what Caffe's words cannot say."""
    if layer.type == "SoftmaxCrossEntropy2Loss" and len(layer.top) > 1:
        raise SchemaFault(
            "the second top of SoftmaxCrossEntropy2Loss, every label's loss, is not made here: take it out"
        )
    if layer.type == "RandomData":  # joyousrabbit's
        layer.data_param.shuffle = True
    if layer.type in ("CTCLoss", "WarpCTCLoss"):
        upgrade_ctc(layer)
    of_three_axes = layer.type in ("Convolution3D", "Deconvolution3D", "Pooling3D")
    if layer.type == "CuDNNBatchNorm":
        layer.bn_param.frozen = False  # one of the fields that say it is PSPNet's form
    layer.type = _TYPES.get(layer.type, layer.type)
    for name, todays in _MESSAGES.items():
        if layer.HasField(name):
            getattr(layer, todays).MergeFrom(getattr(layer, name))
            layer.ClearField(name)
    if layer.bn_param.HasField("scale_filler") and layer.bn_param.HasField("frozen"):
        _rename(layer.bn_param, "scale_filler", "slope_filler")
    batch_norm = layer.batch_norm_param
    if batch_norm.scale_bias or batch_norm.HasField("scale_filler") or batch_norm.HasField("bias_filler"):
        for param in layer.param[:3]:  # NVIDIA's solver passes by the running statistics, whatever stands here
            param.lr_mult = param.decay_mult = 0
    if layer.type == "Permute" and layer.HasField("transpose_param"):
        layer.permute_param.order.extend(layer.transpose_param.dim)
        layer.ClearField("transpose_param")
    upgrade_softmax(layer)
    if layer.type == "Filter" and layer.HasField("filter_param"):  # channel pruning's
        layer.type = "ChannelFilter"
    if layer.type == "InnerProduct" and layer.inner_product_param.enable_noise:  # MyCaffe's
        layer.type = "NoisyInnerProduct"
    if layer.type == "Lstm" and layer.HasField("recurrent_param"):  # MyCaffe's word
        layer.type = "LSTM"
    if layer.type == "LstmAttention":
        _upgrade_lstm_attention(layer)
    upgrade_switches(layer)
    upgrade_detector(layer)
    recurrent = layer.recurrent_param
    if recurrent.num_layers != 1 or any(getattr(recurrent, name) for name in _OF_CUDNN):  # MyCaffe's by cuDNN
        if layer.type not in ("LSTM", "StackedLSTM"):
            raise SchemaFault(
                "num_layers, dropout_ratio and what else cuDNN has in recurrent_param is of LSTM layers: leave it out"
            )
        layer.type = "StackedLSTM"
    if layer.type == "ROIAlign" and layer.roi_pooling_param.HasField("pad_ratio"):  # Cascade R-CNN's
        layer.type = "ROIGrid"
    if layer.type == "EltwiseProduct":  # of the first months of 2014, and C3D's
        layer.type, layer.eltwise_param.operation = "Eltwise", layer.eltwise_param.PROD
    if layer.type == "Unpooling":
        _upgrade_unpooling(layer)
    upgrade_data(layer)
    if layer.HasField("convolution_param"):
        _upgrade_convolution(layer.convolution_param, of_three_axes)
    if layer.HasField("pooling_param"):
        _upgrade_pooling(layer.pooling_param, of_three_axes)


def _upgrade_lstm_attention(layer) -> None:
    """MyCaffe's LstmAttention without attention is the Lstm that it extends."""
    given = layer.lstm_attention_param
    for name in ("enable_attention", "enable_clockwork_forgetgate_bias", "num_output_ip"):
        if getattr(given, name):
            raise SchemaFault(f"LstmAttention is read without {name}: leave it out")
    layer.type = "Lstm"
    for name in ("num_output", "clipping_threshold"):
        if given.HasField(name):
            setattr(layer.lstm_param, name, getattr(given, name))
    for name in ("weight_filler", "bias_filler"):
        if given.HasField(name):
            getattr(layer.lstm_param, name).CopyFrom(getattr(given, name))
    layer.ClearField("lstm_attention_param")


def _upgrade_unpooling(layer) -> None:
    """DeconvNet's Unpooling by MAX puts values back where a pooling's mask, its second bottom, says; TILE repeats."""
    given, todays = layer.unpooling_param, layer.upsample_param
    stride = given.scale if given.HasField("scale") else given.stride
    strides = [getattr(given, name) if given.HasField(name) else stride for name in ("stride_h", "stride_w")]
    sizes = [
        given.unpool_h or given.output_h or given.unpool_size,
        given.unpool_w or given.output_w or given.unpool_size,
    ]
    if given.unpool == given.AVE or len(layer.bottom) == (1 if given.unpool == given.MAX else 2):
        raise SchemaFault("Unpooling is read with unpool: MAX and two bottoms, or unpool: TILE and one")
    layer.type = "Upsample"
    if all(sizes) and given.unpool == given.MAX:
        todays.upsample_h, todays.upsample_w = sizes
    else:
        todays.scale_h, todays.scale_w = strides
    layer.ClearField("unpooling_param")


def _rename(message, name: str, todays: str) -> None:
    getattr(message, todays).CopyFrom(getattr(message, name))
    message.ClearField(name)


def _upgrade_convolution(param, of_three_axes: bool) -> None:
    if param.HasField("hole_h") != param.HasField("hole_w"):
        raise SchemaFault("write both hole_h and hole_w, or hole for both axes")
    holes = [param.hole] if param.HasField("hole") else [param.hole_h, param.hole_w] if param.HasField("hole_h") else []
    if holes:
        _set(param, "dilation", holes)
    for short, shape in (("kernel_size", "kernel_shape"), ("stride", "stride_shape"), ("pad", "pad_shape")):
        if param.HasField(shape):
            _set(param, short, list(getattr(param, shape).dim))
    if of_three_axes or param.HasField("kernel_depth"):
        for field, depth, default in (
            ("kernel_size", "kernel_depth", 1),
            ("stride", "temporal_stride", 1),
            ("pad", "temporal_pad", 0),
            ("dilation", "temporal_dilation", 1),
        ):
            plane = _plane(param, field, default)
            del getattr(param, field)[:]
            _set(param, field, [getattr(param, depth) if param.HasField(depth) else default, *plane])
    else:
        _refuse_depth(param, "temporal_stride", "temporal_pad", "temporal_dilation")
    for name in ("hole", "hole_h", "hole_w", "kernel_shape", "stride_shape", "pad_shape"):
        param.ClearField(name)
    for name in ("kernel_depth", "temporal_stride", "temporal_pad", "temporal_dilation"):
        param.ClearField(name)


def _refuse_depth(param, *names: str) -> None:
    """SchemaFault where a window over two axes is given sizes of a third one."""
    for name in filter(param.HasField, names):
        raise SchemaFault(
            f"{name} is for windows over depth, height and width: write kernel_depth too, or leave it out"
        )


def _plane(param, field: str, default: int) -> list[int]:
    """The sizes for height and width that a convolution_param gives; its _h and _w are cleared."""
    short = "kernel" if field == "kernel_size" else field
    pair = [f"{short}_h", f"{short}_w"]
    if field != "dilation" and any(map(param.HasField, pair)):
        sizes = [getattr(param, name) for name in pair]
        for name in pair:
            param.ClearField(name)
        return sizes
    given = list(getattr(param, field)) or [default]
    return given * 2 if len(given) == 1 else given


def _set(param, field: str, values: list[int]) -> None:
    if getattr(param, field):
        raise SchemaFault(f"{field} is given twice, in Caffe's words and in those of a fork: keep one of them")
    getattr(param, field).extend(values)


def _upgrade_lists(param) -> None:
    """Sizes that ECO's nets list for each axis; one that is given alone stands for all of them."""
    names = (
        ("kernel_size", "kernel_sizes", "kernel_shape"),
        ("stride", "strides", "stride_shape"),
        ("pad", "pads", "pad_shape"),
    )
    given = [[getattr(param, one)] * param.HasField(one) + list(getattr(param, several)) for one, several, _ in names]
    axes = max(map(len, given))
    for (one, several, shape), sizes in zip(names, given, strict=True):
        if len(sizes) not in (0, 1, axes):
            raise SchemaFault(f"{one} is given for {len(sizes)} axes, but others of pooling_param for {axes}")
        if sizes and axes > 1:
            getattr(param, shape).dim.extend(sizes * axes if len(sizes) == 1 else sizes)
            param.ClearField(one)
        elif sizes:
            setattr(param, one, sizes[0])
        param.ClearField(several)


def _upgrade_pooling(param, of_three_axes: bool) -> None:
    if param.kernel_sizes or param.strides or param.pads:
        _upgrade_lists(param)
    if not of_three_axes and not param.HasField("kernel_depth"):
        _refuse_depth(param, "temporal_stride", "temporal_pad")
        return
    for short, field, depth, shape, default in (
        ("kernel", "kernel_size", "kernel_depth", "kernel_shape", 1),
        ("stride", "stride", "temporal_stride", "stride_shape", 1),
        ("pad", "pad", "temporal_pad", "pad_shape", 0),
    ):
        plane = [
            getattr(param, f"{short}_{side}" if param.HasField(f"{short}_{side}") else field) or default
            for side in "hw"
        ]
        first = getattr(param, depth) if param.HasField(depth) else default
        getattr(param, shape).dim.extend([first, *plane])
        for name in (depth, field, f"{short}_h", f"{short}_w"):
            param.ClearField(name)
