"""Layers of forks in Caffe's words; fields of forks that are read over."""

import numpy as np
import pytest

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import SchemaFault, SyntaxFault
from demitasse.proto.text import read_net

DATA = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'


def layer_of(text):
    net, _ = read_net(text + "\n", "n.prototxt")
    return net.layer[0]


def test_the_holes_of_deeplab_are_dilations():
    layer = layer_of(
        "layers { name: 'c' type: CONVOLUTION convolution_param { num_output: 1 kernel_size: 3 hole: 2 } }"
    )
    assert layer.type == "Convolution" and list(layer.convolution_param.dilation) == [2]
    layer = layer_of("layer { name: 'c' type: 'Convolution' convolution_param { hole_h: 2 hole_w: 4 } }")
    assert list(layer.convolution_param.dilation) == [2, 4] and not layer.convolution_param.HasField("hole_h")
    with pytest.raises(SchemaFault, match=r"n.prototxt:1:1: layer 'c' .Convolution.: dilation is given twice"):
        layer_of("layer { name: 'c' type: 'Convolution' convolution_param { hole: 2 dilation: 2 } }")


def test_the_boxes_of_c3d_are_those_of_three_axes():
    text = "kernel_size: 3 kernel_depth: 2 pad: 1 temporal_pad: 0 stride: 2"
    layer = layer_of(f"layers {{ name: 'c' type: CONVOLUTION3D convolution_param {{ num_output: 4 {text} }} }}")
    param = layer.convolution_param
    assert layer.type == "Convolution"
    assert [list(sizes) for sizes in (param.kernel_size, param.pad, param.stride)] == [[2, 3, 3], [0, 1, 1], [1, 2, 2]]
    layer = layer_of("layer { type: 'Pooling3D' pooling3d_param { kernel_size: 2 stride: 2 kernel_depth: 1 } }")
    param = layer.pooling_param
    assert layer.type == "Pooling" and not param.HasField("kernel_size")
    assert [list(shape.dim) for shape in (param.kernel_shape, param.stride_shape)] == [[1, 2, 2], [1, 2, 2]]


def test_the_axes_of_video_caffe():
    layer = layer_of("layer { type: 'NdConvolution' convolution_param { kernel_shape { dim: 3 dim: 5 } } }")
    assert layer.type == "Convolution" and list(layer.convolution_param.kernel_size) == [3, 5]


def test_senets_batch_norm_is_pspnets():
    layer = layer_of(
        "layer { type: 'CuDNNBatchNorm' cudnn_batch_norm_param { momentum: 0.95 scale_filler { value: 2 } } }"
    )
    assert layer.type == "BN" and layer.bn_param.slope_filler.value == 2
    assert layer.bn_param.HasField("frozen") and not layer.bn_param.HasField("scale_filler")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("unpool: MAX kernel_size: 2 stride: 2 unpool_size: 14", (14, 14, 2, 2)),
        ("kernel_size: 2 stride_h: 2 stride_w: 3", (0, 0, 2, 3)),
        ("unpool_h: 5 unpool_w: 6", (5, 6, 2, 2)),
    ],
)
def test_deconvnets_unpooling_is_upsampling(fields, expected):
    layer = layer_of(f"layers {{ type: UNPOOLING bottom: 'x' bottom: 'mask' unpooling_param {{ {fields} }} }}")
    param = layer.upsample_param
    assert layer.type == "Upsample" and not layer.HasField("unpooling_param")
    assert (param.upsample_h, param.upsample_w, param.scale_h, param.scale_w) == expected


def test_unpooling_without_a_mask_repeats_values():
    layer = layer_of("layer { type: 'Unpooling' bottom: 'x' unpooling_param { unpool: TILE stride: 2 } }")
    assert layer.upsample_param.scale_h == 2 and not layer.upsample_param.HasField("upsample_h")
    for fields in ("unpool: AVE", "unpool: MAX"):
        with pytest.raises(SchemaFault, match="Unpooling is read with unpool: MAX and two bottoms"):
            layer_of(f"layer {{ type: 'Unpooling' bottom: 'x' unpooling_param {{ {fields} }} }}")


def test_the_sum_of_rstarcnn_is_eltwise():
    assert layer_of("layer { type: 'Sum' bottom: 'a' bottom: 'b' }").type == "Eltwise"


def test_segnets_types_of_2014():
    layer = layer_of("layers { name: 'b' type: BN bn_param { shift_filler { value: 0.001 } bn_mode: INFERENCE } }")
    assert layer.type == "BN" and layer.bn_param.bn_mode == layer.bn_param.INFERENCE
    assert layer_of("layers { type: UPSAMPLE upsample_param { scale: 3 } }").upsample_param.scale == 3
    layer = layer_of("layers { type: DENSE_IMAGE_DATA dense_image_data_param { batch_size: 3 } }")
    assert layer.type == "DenseImageData" and layer.dense_image_data_param.batch_size == 3


def test_arithmetic_of_few_bits_is_read_over():
    fields = "convolution_param { num_output: 2 kernel_size: 3 } quantization_param { bw_params: 8 }"
    with pytest.warns(UserWarning, match=r"quantization_param \(Ristretto, Intel: all is computed in floating point"):
        layer = layer_of(f"layer {{ name: 'c' type: 'ConvolutionRistretto' {fields} }}")
    assert layer.type == "Convolution"


def test_what_detectors_and_older_forks_called_otherwise():
    layer = layer_of("layers { type: IMAGE_DATA image_data_param { images_in_color: false } }")
    assert not layer.image_data_param.is_color and not layer.image_data_param.HasField("images_in_color")
    layer = layer_of("layer { type: 'Detection' detection_param { cls_num: 5 field_h: 9 } }")
    assert layer.type == "DetectionLoss" and layer.detection_loss_param.field_h == 9
    for text in ("type: 'BboxAccuracy' bbox_accuracy_param", "type: 'ProposalTarget' proposal_target_param"):
        layer = layer_of(f"layer {{ {text} {{ bbox_mean: [0, 0, 0, 0] bbox_std: [0.5, 0.5, 1, 1] }} }}")
        assert list(layer.bbox_reg_param.bbox_std) == [0.5, 0.5, 1, 1]
    layer = layer_of("layer { type: 'SoftmaxWithLoss' top: 'loss' top: 'p' top: 'each' }")
    assert layer.type == "SoftmaxWithLossOHEM"


def test_fields_that_change_no_number_are_one_warning():
    text = (
        "default_forward_type: FLOAT16\nname: 'n'\n"
        + DATA.replace("type:", "forward_type: FLOAT type:")
        + DATA.replace('"d"', '"e"').replace("type:", "forward_type: FLOAT type:")
    )
    with pytest.warns(UserWarning) as caught:
        net, _ = read_net(text, "n.prototxt")
    assert len(net.layer) == 2 and len(caught) == 1
    said = str(caught[0].message)
    assert said.startswith("n.prototxt: without effect here: default_forward_type (NVIDIA: ") and "\n" not in said
    assert (
        "in line 1" in said and "forward_type (NVIDIA: the precision is chosen by --precision) in line 3 and 1" in said
    )


@pytest.mark.parametrize(
    "value", ["1", "-2.5", "A", '"a" "b"', "{ b: 1 c { d: [1, 2] } }", ": < b: 1 >", "[{ b: 1 }, {}]"]
)
def test_a_layer_that_is_not_built_may_have_any_fields(value):
    unknown = f'layer {{ name: "x" type: "FilmData" top: "y" include {{ phase: TRAIN }} film_param {value} }}\n'
    if value[0] not in "{:[":
        unknown = unknown.replace("film_param", "film_param:")
    with pytest.warns(UserWarning, match=r"film_param \(of 'x' \(FilmData\), whose type is not known\) in line 2"):
        assert len(Plan(DATA + unknown, "TEST").steps) == 1
    with pytest.warns(UserWarning), pytest.raises(SchemaFault, match="2:1: layer 'x' .FilmData.: unknown layer type"):
        Plan(DATA + unknown, "TRAIN")


def test_fields_that_count_are_refused_where_their_layer_is_built():
    fields = 'transform_param { img_rand_resize_lower: 256 } data_param { source: "x" batch_size: 1 }'
    text = f'layer {{ name: "x" type: "Data" top: "x" {fields} }}\n'
    with pytest.raises(SchemaFault) as caught:
        Plan(text, "TRAIN")
    assert str(caught.value).startswith(
        "1:59: layer 'x' (Data): TransformationParameter has no field img_rand_resize_l"
    )
    assert "(NVIDIA: train without it" in str(caught.value)
    assert Plan(text, "TRAIN", inputs={"x": (1, 3, 8, 8)}).steps


@pytest.mark.parametrize(
    "text, error, says",
    [
        ("layer { type: 'FilmData' film_param { a: 1 ", SyntaxFault, "the '{' of film_param .line 1. is not closed"),
        ("layer { type: 'ReLU' film_param { a: 1 } }", SchemaFault, "LayerParameter has no field 'film_param'"),
        ("layer { type: 'FilmData' }\nfilm: 1", SchemaFault, "NetParameter has no field 'film'"),
    ],
)
def test_other_unknown_fields_are_faults(text, error, says):
    with pytest.raises(error, match=says):
        read_net(text + "\n")


def test_words_of_2013_and_of_domain_adaptation():
    layer = layer_of("layers { layer { name: 'l' type: 'K1_euclidean_loss' } bottom: 'x' bottom: 'x' }")
    assert layer.type == "K1_EuclideanLoss"
    assert layer_of("layer { type: 'Data' data_param { cursor: SHUFFLING } }").data_param.shuffle


def test_what_caffe_yolo_and_caffe_ocr_call_otherwise():
    layer = layer_of("layer { type: 'DetectionLoss' detection_loss_param { side: 5 constriant: true } }")
    assert (layer.type, layer.yolo_loss_param.side, layer.yolo_loss_param.constriant) == ("YoloLoss", 5, True)
    assert layer_of("layer { type: 'DetectionLoss' detection_loss_param { cls_num: 5 } }").type == "DetectionLoss"
    fields = "num_classes: 9 coords: 4 confidence_threshold: 0.05 biases: [1, 2, 3, 4]"
    layer = layer_of(f"layer {{ type: 'DetectionOutput' detection_output_param {{ {fields} }} }}")
    param = layer.yolo_detection_output_param
    assert (layer.type, param.num_classes, param.num_box) == ("YoloDetectionOutput", 9, 2)
    assert list(param.biases) == [1, 2, 3, 4] and np.isclose(param.confidence_threshold, 0.05)
    assert layer_of("layer { type: 'WarpCTCLoss' }").type == "CtcLoss"
    layer = layer_of("layer { type: 'FocalLoss' focal_loss_param { axis: 2 gamma: 1 } }")
    assert (layer.type, layer.softmax_param.axis, layer.focal_loss_param.gamma) == ("SoftmaxWithFocalLoss", 2, 1)


def test_ctc_losses_by_their_bottoms():
    two = "bottom: 'x' bottom: 'l'"
    layer = layer_of(f"layer {{ type: 'CTCLoss' {two} bottom: 's' ctc_loss_param {{ blank_index: 3 }} }}")
    assert layer.type == "CtcSequenceLoss" and layer.ctc_sequence_loss_param.blank_index == 3
    layer = layer_of(f"layer {{ type: 'WarpCTCLoss' {two} ctc_loss_param {{ blank_index: 3 }} }}")
    assert layer.type == "CtcLoss" and layer.ctc_loss_param.blank_label == 3
    with pytest.raises(SchemaFault, match="output_delay of ctc_loss_param is read with three bottoms"):
        layer_of(f"layer {{ type: 'CTCLoss' {two} ctc_loss_param {{ output_delay: 1 }} }}")


def test_a_focal_loss_of_ssds_is_a_type_of_its_own():
    fields = "conf_loss_type: FocalLoss fl_alpha: 0.75 num_classes: 2"
    layer = layer_of(f"layer {{ type: 'MultiBoxLoss' multibox_loss_param {{ {fields} }} }}")
    assert (layer.type, layer.focal_loss_param.alpha, layer.focal_loss_param.gamma) == ("MultiBoxFocalLoss", 0.75, 2)
    assert layer.multibox_loss_param.conf_loss_type == layer.multibox_loss_param.SOFTMAX


def test_faster_rcnn_in_cpp_is_the_one_in_python():
    layer = layer_of("layer { type: 'FrcnnProposal' bottom: 'p' bottom: 'd' bottom: 'i' top: 'rois' }")
    assert (layer.type, layer.python_param.module) == ("Python", "rpn.proposal_layer")


def test_the_lists_of_eco_are_sizes_of_axes():
    layer = layer_of("layer { type: 'Pooling' pooling_param { pool: AVE kernel_size: [4, 7, 7] stride: 1 pad: [0] } }")
    param = layer.pooling_param
    assert list(param.kernel_shape.dim) == [4, 7, 7] and list(param.stride_shape.dim) == [1, 1, 1]
    assert list(param.pad_shape.dim) == [0, 0, 0] and not param.kernel_sizes
    assert layer_of("layer { type: 'Pooling' pooling_param { kernel_size: [3] } }").pooling_param.kernel_size == 3
    twice = "layer { type: 'Pooling' pooling_param { kernel_size: 2 kernel_size: 3 } }"
    assert list(layer_of(twice).pooling_param.kernel_shape.dim) == [2, 3]
    with pytest.raises(SchemaFault, match="stride is given for 2 axes"):
        layer_of("layer { type: 'Pooling' pooling_param { kernel_size: [4, 7, 7] stride: [1, 2] } }")


def test_a_constant_mean_of_2014_is_the_transformations():
    net, _ = read_net(
        'layers { name: "d" type: WINDOW_DATA top: "d" top: "l" window_data_param { const_mean: [100, 108, 115] } }\n'
        'layers { name: "c" type: LOCAL bottom: "d" top: "c" local_param { num_output: 3 kernel_size: 5 } }\n'
    )
    data, local = net.layer
    assert list(data.transform_param.mean_value) == [100, 108, 115] and not data.window_data_param.const_mean
    assert local.type == "Local" and local.local_param.num_output == 3


def test_a_product_of_2014_and_fusenets_unpooling():
    net, _ = read_net(
        'layers { name: "e" type: ELTWISE_PRODUCT bottom: "a" bottom: "b" top: "c" }\n'
        'layers { name: "u" type: UNPOOLING bottom: "c" bottom: "m" top: "u"'
        " unpooling_param { output_h: 15 output_w: 20 } }\n"
        'layers { name: "v" type: UNPOOLING bottom: "c" bottom: "m" top: "v" unpooling_param { scale: 3 } }\n'
    )
    product, sized, scaled = net.layer
    assert (product.type, product.eltwise_param.operation) == ("Eltwise", product.eltwise_param.PROD)
    assert (sized.type, sized.upsample_param.upsample_h, sized.upsample_param.upsample_w) == ("Upsample", 15, 20)
    assert (scaled.upsample_param.scale_h, scaled.upsample_param.scale_w) == (3, 3)


def test_ms_cnns_weighted_softmax_and_words_for_a_crop():
    text = "layer {{ type: '{}' bottom: 's' bottom: 'l' {} top: 'x' }}"
    for name in ("SoftmaxWithWeightedLoss", "SoftmaxWeightedLoss"):
        assert layer_of(text.format(name, "bottom: 'w'")).type == "WeightedSoftmaxWithLoss"
        with pytest.raises(SchemaFault, match=f"{name} is known with three bottoms"):
            layer_of(text.format(name, ""))
    for height, width in (("crop_height", "crop_width"), ("crop_size_h", "crop_size_w")):
        fields = f"crop_size: 9 {height}: 160 {width}: 60"
        transform = layer_of(f"layer {{ type: 'ImageData' transform_param {{ {fields} }} }}").transform_param
        assert (transform.crop_h, transform.crop_w, transform.HasField("crop_size")) == (160, 60, False)
