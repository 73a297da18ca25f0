"""Written by netdef/spec_stub.py from the schema: what L and P of netdef/spec.py take."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from typing_extensions import Unpack

from demitasse.netdef.spec import Top

class LayerFields(TypedDict, total=False):
    name: str
    phase: int | str
    loss_weight: float | Sequence[float]
    param: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    freeze_learning: bool
    propagate_down: bool | Sequence[bool]
    include: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    exclude: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    transform_param: Mapping[str, Any]
    loss_param: Mapping[str, Any]
    accuracy_param: Mapping[str, Any]
    annotated_data_param: Mapping[str, Any]
    argmax_param: Mapping[str, Any]
    batch_norm_param: Mapping[str, Any]
    bias_param: Mapping[str, Any]
    bn_param: Mapping[str, Any]
    box_annotator_ohem_param: Mapping[str, Any]
    clip_param: Mapping[str, Any]
    colinear_convolution_param: Mapping[str, Any]
    concat_param: Mapping[str, Any]
    continuation_indicator_param: Mapping[str, Any]
    contrastive_loss_param: Mapping[str, Any]
    convolution_param: Mapping[str, Any]
    convolution3d_param: Mapping[str, Any]
    cudnn_batch_norm_param: Mapping[str, Any]
    crop_param: Mapping[str, Any]
    data_param: Mapping[str, Any]
    dense_image_data_param: Mapping[str, Any]
    detection_evaluate_param: Mapping[str, Any]
    detection_output_param: Mapping[str, Any]
    dropout_param: Mapping[str, Any]
    dummy_data_param: Mapping[str, Any]
    eltwise_param: Mapping[str, Any]
    elu_param: Mapping[str, Any]
    embed_param: Mapping[str, Any]
    exp_param: Mapping[str, Any]
    flatten_param: Mapping[str, Any]
    flip_param: Mapping[str, Any]
    hdf5_data_param: Mapping[str, Any]
    hdf5_output_param: Mapping[str, Any]
    hinge_loss_param: Mapping[str, Any]
    image_data_param: Mapping[str, Any]
    infogain_loss_param: Mapping[str, Any]
    inner_product_param: Mapping[str, Any]
    input_param: Mapping[str, Any]
    interp_param: Mapping[str, Any]
    label_specific_add_param: Mapping[str, Any]
    large_margin_inner_product_param: Mapping[str, Any]
    lifted_struct_sim_softmax_loss_param: Mapping[str, Any]
    log_param: Mapping[str, Any]
    lrn_param: Mapping[str, Any]
    lstm_param: Mapping[str, Any]
    lstm_simple_param: Mapping[str, Any]
    margin_inner_product_param: Mapping[str, Any]
    mat_write_param: Mapping[str, Any]
    memory_data_param: Mapping[str, Any]
    multibox_loss_param: Mapping[str, Any]
    multiboxloss_param: Mapping[str, Any]
    multi_stage_meanfield_param: Mapping[str, Any]
    mvn_param: Mapping[str, Any]
    norm_param: Mapping[str, Any]
    normalization2_param: Mapping[str, Any]
    normalize_param: Mapping[str, Any]
    padding_param: Mapping[str, Any]
    parameter_param: Mapping[str, Any]
    permute_param: Mapping[str, Any]
    pooling_param: Mapping[str, Any]
    pooling3d_param: Mapping[str, Any]
    power_param: Mapping[str, Any]
    prelu_param: Mapping[str, Any]
    prior_box_param: Mapping[str, Any]
    proposal_param: Mapping[str, Any]
    psroi_pooling_param: Mapping[str, Any]
    python_param: Mapping[str, Any]
    recurrent_param: Mapping[str, Any]
    reduction_param: Mapping[str, Any]
    region_loss_param: Mapping[str, Any]
    relu_param: Mapping[str, Any]
    reorg_param: Mapping[str, Any]
    reshape_param: Mapping[str, Any]
    roi_align_param: Mapping[str, Any]
    roi_pooling_param: Mapping[str, Any]
    reverse_param: Mapping[str, Any]
    scale_param: Mapping[str, Any]
    shuffle_channel_param: Mapping[str, Any]
    sigmoid_param: Mapping[str, Any]
    seg_accuracy_param: Mapping[str, Any]
    softmax_param: Mapping[str, Any]
    spp_param: Mapping[str, Any]
    slice_param: Mapping[str, Any]
    smooth_l1_loss_param: Mapping[str, Any]
    spatial_dropout_param: Mapping[str, Any]
    swish_param: Mapping[str, Any]
    tanh_param: Mapping[str, Any]
    threshold_param: Mapping[str, Any]
    tile_param: Mapping[str, Any]
    transpose_param: Mapping[str, Any]
    video_data_param: Mapping[str, Any]
    upsample_param: Mapping[str, Any]
    window_data_param: Mapping[str, Any]
    yolo_detection_output_param: Mapping[str, Any]
    yolov3_detection_output_param: Mapping[str, Any]
    yolov3_param: Mapping[str, Any]
    yolo_seg_param: Mapping[str, Any]
    segmentation_evaluate_param: Mapping[str, Any]
    mask_resize_param: Mapping[str, Any]
    crop_center_param: Mapping[str, Any]
    focal_loss_param: Mapping[str, Any]
    center_loss_param: Mapping[str, Any]
    ctc_loss_param: Mapping[str, Any]
    labelsequence_accuracy_param: Mapping[str, Any]
    rank_param: Mapping[str, Any]
    filter_param: Mapping[str, Any]
    cconvolution_param: Mapping[str, Any]
    cinner_product_param: Mapping[str, Any]
    knn_param: Mapping[str, Any]
    layer_norm_param: Mapping[str, Any]
    transformer_block_param: Mapping[str, Any]
    tokenized_data_param: Mapping[str, Any]
    log_softmax_param: Mapping[str, Any]
    nll_loss_param: Mapping[str, Any]
    lstm_attention_param: Mapping[str, Any]
    triplet_loss_param: Mapping[str, Any]
    data_sequence_param: Mapping[str, Any]
    decode_param: Mapping[str, Any]
    box_output_param: Mapping[str, Any]
    box_group_output_param: Mapping[str, Any]
    bbox_reg_param: Mapping[str, Any]
    decode_bbox_param: Mapping[str, Any]
    scale_route_param: Mapping[str, Any]
    correlation_param: Mapping[str, Any]
    group_norm_param: Mapping[str, Any]
    scale_tanh_param: Mapping[str, Any]
    pairwise_param: Mapping[str, Any]
    roi_warping_param: Mapping[str, Any]
    st_param: Mapping[str, Any]
    deformable_convolution_param: Mapping[str, Any]
    lstm_conv_param: Mapping[str, Any]
    lstm_debug_param: Mapping[str, Any]
    sv_x_param: Mapping[str, Any]
    cosin_add_m_param: Mapping[str, Any]
    mil_param: Mapping[str, Any]
    unpooling_param: Mapping[str, Any]
    Sequence_accuracy_param: Mapping[str, Any]
    detection_data_param: Mapping[str, Any]
    eval_data_param: Mapping[str, Any]
    image_gt_data_param: Mapping[str, Any]
    detection_loss_param: Mapping[str, Any]
    detection_param: Mapping[str, Any]
    detection_accuracy_param: Mapping[str, Any]
    detection_group_loss_param: Mapping[str, Any]
    detection_group_accuracy_param: Mapping[str, Any]
    proposal_target_param: Mapping[str, Any]
    hard_mining_param: Mapping[str, Any]
    frcnn_output_param: Mapping[str, Any]
    bbox_accuracy_param: Mapping[str, Any]
    gradient_scaler_param: Mapping[str, Any]
    mmd_param: Mapping[str, Any]
    cpm_transform_param: Mapping[str, Any]
    assisted_excitation_param: Mapping[str, Any]
    entropy_param: Mapping[str, Any]
    yolo_loss_param: Mapping[str, Any]
    eval_detection_param: Mapping[str, Any]
    denseblock_param: Mapping[str, Any]
    insanity_param: Mapping[str, Any]
    tiling_param: Mapping[str, Any]
    psroi_align_param: Mapping[str, Any]
    seggt_param: Mapping[str, Any]
    resize_param: Mapping[str, Any]
    writer_param: Mapping[str, Any]
    l1_loss_param: Mapping[str, Any]
    mean_param: Mapping[str, Any]
    resample_param: Mapping[str, Any]
    downsample_param: Mapping[str, Any]
    flow_warp_param: Mapping[str, Any]
    local_param: Mapping[str, Any]
    roipair_pooling_param: Mapping[str, Any]
    roi_split_param: Mapping[str, Any]
    roi_feature_split_param: Mapping[str, Any]
    caroi_pooling_param: Mapping[str, Any]
    softmax_split_param: Mapping[str, Any]
    smooth_l1_split_param: Mapping[str, Any]
    image_label_data_param: Mapping[str, Any]
    ctc_sequence_loss_param: Mapping[str, Any]
    blackpoint_data_param: Mapping[str, Any]
    data_temporal_param: Mapping[str, Any]
    numeric_trans_param: Mapping[str, Any]
    categorical_trans_param: Mapping[str, Any]
    glu_param: Mapping[str, Any]
    grn_param: Mapping[str, Any]
    varselnet_param: Mapping[str, Any]
    gateaddnorm_param: Mapping[str, Any]
    multihead_attention_interp_param: Mapping[str, Any]
    reshape_temporal_param: Mapping[str, Any]
    quantile_loss_param: Mapping[str, Any]
    quantile_accuracy_param: Mapping[str, Any]
    ntop: int  # how many tops it makes
    in_place: bool  # its top is its bottom

class Layers:
    """L: a method for each layer type; it gives the layer's top, or its `ntop` tops."""

    def AbsVal(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def Accuracy(self, *bottoms: Top, top_k: int = ..., axis: int = ..., ignore_label: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def AccuracyDecode(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def AnnotatedData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., batch_sampler: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., label_map_file: str = ..., anno_type: int | str = ..., yolo_data_type: int = ..., yolo_data_jitter: float = ..., train_diffcult: bool = ..., single_class: bool = ..., seg_scales: int = ..., seg_resize_width: int = ..., seg_resize_height: int = ..., **fields: Any) -> Any: ...
    def ArgMax(self, *bottoms: Top, out_max_val: bool = ..., top_k: int = ..., axis: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def AssistedExcitation(self, *bottoms: Top, max_iter: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Axpy(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def BN(self, *bottoms: Top, scale_filler: Mapping[str, Any] = ..., shift_filler: Mapping[str, Any] = ..., bn_mode: int | str = ..., scale: float = ..., shift: float = ..., slope_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., momentum: float = ..., eps: float = ..., frozen: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def BNLL(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def BatchNorm(self, *bottoms: Top, use_global_stats: bool = ..., moving_average_fraction: float = ..., eps: float = ..., scale_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., scale_bias: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def BatchReindex(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def BboxAccuracy(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def BestmatchLoss(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def Bias(self, *bottoms: Top, axis: int = ..., num_axes: int = ..., filler: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def BitsData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def BlackpointData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., circles: int = ..., corners: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def BoxAnnotatorOHEM(self, *bottoms: Top, roi_per_img: int = ..., ignore_label: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def BoxGroupOutput(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., fg_thr: float = ..., iou_thr: float = ..., nms_type: str = ..., box_group_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., field_whr: float = ..., field_xyr: float = ..., max_nms_num: int = ..., max_post_nms_num: int = ..., min_size: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def BoxOutput(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., fg_thr: float = ..., iou_thr: float = ..., nms_type: str = ..., field_h: int | Sequence[int] = ..., field_w: int | Sequence[int] = ..., downsample_rate: int | Sequence[int] = ..., field_whr: float = ..., field_xyr: float = ..., max_nms_num: int = ..., max_post_nms_num: int = ..., min_size: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CAROIPooling(self, *bottoms: Top, pooled_h: int = ..., pooled_w: int = ..., spatial_scale: float = ..., pad_ratio: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CConvolution(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., pad: int | Sequence[int] = ..., kernel_size: int | Sequence[int] = ..., stride: int | Sequence[int] = ..., dilation: int | Sequence[int] = ..., pad_h: int = ..., pad_w: int = ..., kernel_h: int = ..., kernel_w: int = ..., stride_h: int = ..., stride_w: int = ..., group: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., engine: int | str = ..., axis: int = ..., force_nd_im2col: bool = ..., hole: int = ..., hole_h: int = ..., hole_w: int = ..., kernel_depth: int = ..., temporal_stride: int = ..., temporal_pad: int = ..., temporal_dilation: int = ..., kernel_shape: Mapping[str, Any] = ..., stride_shape: Mapping[str, Any] = ..., pad_shape: Mapping[str, Any] = ..., weight_mask_filler: Mapping[str, Any] = ..., upper_bound: float = ..., iter_stop: int = ..., inter_iter: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CInnerProduct(self, *bottoms: Top, weight_mask_filler: Mapping[str, Any] = ..., upper_bound: float = ..., iter_stop: int = ..., inter_iter: int = ..., num_output: int = ..., bias_term: bool = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., axis: int = ..., transpose: bool = ..., normalize: bool = ..., min_top_axes: int = ..., enable_noise: bool = ..., sigma_init: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CPMData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., stride: int = ..., crop_size_x: int = ..., crop_size_y: int = ..., num_parts: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CTCGreedyDecoder(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def CategoricalTransformation(self, *bottoms: Top, num_input: int = ..., state_size: int = ..., cardinality: int | Sequence[int] = ..., bias_term: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CenterLoss(self, *bottoms: Top, num_output: int = ..., center_filler: Mapping[str, Any] = ..., axis: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ChannelEmbedding(self, *bottoms: Top, num_input: int = ..., state_size: int = ..., cardinality: int | Sequence[int] = ..., bias_term: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ChannelFilter(self, *bottoms: Top, num_output: int = ..., axis: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ChannelNorm(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def ChannelScale(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def CityscapesData(self, *bottoms: Top, batch_sampler: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., label_map_file: str = ..., anno_type: int | str = ..., yolo_data_type: int = ..., yolo_data_jitter: float = ..., train_diffcult: bool = ..., single_class: bool = ..., seg_scales: int = ..., seg_resize_width: int = ..., seg_resize_height: int = ..., scale: float = ..., mirror: bool = ..., crop_size: int = ..., mean_file: str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., **fields: Any) -> Any: ...
    def Clip(self, *bottoms: Top, min: float = ..., max: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ColinearConvolution(self, *bottoms: Top, num_output: int = ..., pad: int = ..., kernel_size: int = ..., group: int = ..., stride: int = ..., bias_term: bool = ..., linear_term: bool = ..., quadratic_term: bool = ..., symmetric: bool = ..., bias_filler: Mapping[str, Any] = ..., linear_weight_filler: Mapping[str, Any] = ..., quadratic_weight_filler: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Concat(self, *bottoms: Top, axis: int = ..., concat_dim: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ContinuationIndicator(self, *bottoms: Top, time_step: int = ..., batch_size: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ContrastiveLoss(self, *bottoms: Top, margin: float = ..., legacy_version: bool = ..., output_matches: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ConvLSTM(self, *bottoms: Top, axis_hadamard: int = ..., num_axes_hadamard: int = ..., num_output: int = ..., pad: int = ..., kernel_size: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., dilation: int = ..., debug_info: bool = ..., expose_hidden: bool = ..., num_layers: int = ..., dropout_ratio: float = ..., batch_first: bool = ..., expose_hidden_input: bool = ..., expose_hidden_output: bool = ..., auto_repeat_hidden_states_across_layers: bool = ..., bidirectional: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Convolution(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., pad: int | Sequence[int] = ..., kernel_size: int | Sequence[int] = ..., stride: int | Sequence[int] = ..., dilation: int | Sequence[int] = ..., pad_h: int = ..., pad_w: int = ..., kernel_h: int = ..., kernel_w: int = ..., stride_h: int = ..., stride_w: int = ..., group: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., engine: int | str = ..., axis: int = ..., force_nd_im2col: bool = ..., hole: int = ..., hole_h: int = ..., hole_w: int = ..., kernel_depth: int = ..., temporal_stride: int = ..., temporal_pad: int = ..., temporal_dilation: int = ..., kernel_shape: Mapping[str, Any] = ..., stride_shape: Mapping[str, Any] = ..., pad_shape: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ConvolutionDepthwise(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., pad: int | Sequence[int] = ..., kernel_size: int | Sequence[int] = ..., stride: int | Sequence[int] = ..., dilation: int | Sequence[int] = ..., pad_h: int = ..., pad_w: int = ..., kernel_h: int = ..., kernel_w: int = ..., stride_h: int = ..., stride_w: int = ..., group: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., engine: int | str = ..., axis: int = ..., force_nd_im2col: bool = ..., hole: int = ..., hole_h: int = ..., hole_w: int = ..., kernel_depth: int = ..., temporal_stride: int = ..., temporal_pad: int = ..., temporal_dilation: int = ..., kernel_shape: Mapping[str, Any] = ..., stride_shape: Mapping[str, Any] = ..., pad_shape: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Correlation(self, *bottoms: Top, pad: int = ..., kernel_size: int = ..., max_displacement: int = ..., stride_1: int = ..., stride_2: int = ..., do_abs: bool = ..., single_direction: int = ..., correlation_type: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CosinAddm(self, *bottoms: Top, m: float = ..., t: float = ..., transform_test: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Crop(self, *bottoms: Top, axis: int = ..., offset: int | Sequence[int] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CropCenter(self, *bottoms: Top, crop_size: int | Sequence[int] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CtcLoss(self, *bottoms: Top, blank_label: int = ..., alphabet_size: int = ..., time_step: int = ..., blank_index: int = ..., ctc_merge_repeated: bool = ..., preprocess_collapse_repeated: bool = ..., output_delay: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CtcSequenceLoss(self, *bottoms: Top, blank_index: int = ..., ctc_merge_repeated: bool = ..., preprocess_collapse_repeated: bool = ..., output_delay: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def CvpppData(self, *bottoms: Top, batch_sampler: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., label_map_file: str = ..., anno_type: int | str = ..., yolo_data_type: int = ..., yolo_data_jitter: float = ..., train_diffcult: bool = ..., single_class: bool = ..., seg_scales: int = ..., seg_resize_width: int = ..., seg_resize_height: int = ..., scale: float = ..., mirror: bool = ..., crop_size: int = ..., mean_file: str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., **fields: Any) -> Any: ...
    def Data(self, *bottoms: Top, scale: float = ..., mirror: bool = ..., crop_size: int = ..., mean_file: str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., **fields: Any) -> Any: ...
    def DataSequence(self, *bottoms: Top, cache_size: int = ..., k: int = ..., output_labels: bool = ..., label_count: int = ..., label_start: int = ..., balance_matches: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DataTemporal(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., source_type: int | str = ..., num_historical_steps: int = ..., num_future_steps: int = ..., max_load_percent: float = ..., shuffle_data: bool = ..., shuffle_item_data: bool = ..., shuffle_value_data: bool = ..., output_target_historical: bool = ..., forced_phase: int | str = ..., output_time: bool = ..., output_mask: bool = ..., enable_column_major_ordering: bool = ..., target_source: int | str = ..., features: int | Sequence[int] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Decode(self, *bottoms: Top, centroid_output_iteration: int = ..., enable_centroid_update: bool = ..., cache_size: int = ..., target: int | str = ..., pregen_label_count: int = ..., ignore_label: int | Sequence[int] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DecodeBBox(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., gt_iou_thr: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Deconvolution(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., pad: int | Sequence[int] = ..., kernel_size: int | Sequence[int] = ..., stride: int | Sequence[int] = ..., dilation: int | Sequence[int] = ..., pad_h: int = ..., pad_w: int = ..., kernel_h: int = ..., kernel_w: int = ..., stride_h: int = ..., stride_w: int = ..., group: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., engine: int | str = ..., axis: int = ..., force_nd_im2col: bool = ..., hole: int = ..., hole_h: int = ..., hole_w: int = ..., kernel_depth: int = ..., temporal_stride: int = ..., temporal_pad: int = ..., temporal_dilation: int = ..., kernel_shape: Mapping[str, Any] = ..., stride_shape: Mapping[str, Any] = ..., pad_shape: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DeformableConvolution(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., pad: int = ..., kernel_size: int = ..., stride: int = ..., group: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., dilation: int = ..., deformable_group: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DenseBlock(self, *bottoms: Top, numTransition: int = ..., growthRate: int = ..., Filter_Filler: Mapping[str, Any] = ..., BN_Scaler_Filler: Mapping[str, Any] = ..., BN_Bias_Filler: Mapping[str, Any] = ..., use_dropout: bool = ..., moving_average_fraction: float = ..., use_BC: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DenseImageData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., new_height: int = ..., new_width: int = ..., is_color: bool = ..., root_folder: str = ..., label_divide_factor: int = ..., **fields: Any) -> Any: ...
    def DepthwiseConvolution(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., pad: int | Sequence[int] = ..., kernel_size: int | Sequence[int] = ..., stride: int | Sequence[int] = ..., dilation: int | Sequence[int] = ..., pad_h: int = ..., pad_w: int = ..., kernel_h: int = ..., kernel_w: int = ..., stride_h: int = ..., stride_w: int = ..., group: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., engine: int | str = ..., axis: int = ..., force_nd_im2col: bool = ..., hole: int = ..., hole_h: int = ..., hole_w: int = ..., kernel_depth: int = ..., temporal_stride: int = ..., temporal_pad: int = ..., temporal_dilation: int = ..., kernel_shape: Mapping[str, Any] = ..., stride_shape: Mapping[str, Any] = ..., pad_shape: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DetectionAccuracy(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., cls_num: int = ..., coord_num: int = ..., field_h: int = ..., field_w: int = ..., downsample_rate: int = ..., top_k: int = ..., field_whr: float = ..., field_xyr: float = ..., bg_threshold: float = ..., objectness: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DetectionData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: str = ..., cursor: int | str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., coord_num: int = ..., stride: int | Sequence[int] = ..., field_h: int | Sequence[int] = ..., field_w: int | Sequence[int] = ..., fg_threshold: float = ..., ignore_fg_threshold: float = ..., resize_width: int = ..., resize_height: int = ..., resize_ratio: float = ..., short_size: int = ..., long_size: int = ..., crop_short_size: int = ..., crop_long_size: int = ..., template_ratio: float | Sequence[float] = ..., multiscale_prob: float = ..., min_scale: float = ..., max_scale: float = ..., low_scale_ratio: float = ..., high_scale_ratio: float = ..., min_whaspect: float = ..., max_whaspect: float = ..., min_gt_width: float = ..., min_gt_height: float = ..., anchor_ignore_margin_ratio: float = ..., anchor_ignore_iou_thr: float = ..., pickup_iou_thr: float = ..., mix_group_size: int = ..., output_gt_boxes: bool = ..., cache_images: bool = ..., root_folder: str = ..., **fields: Any) -> Any: ...
    def DetectionEvaluate(self, *bottoms: Top, num_classes: int = ..., background_label_id: int = ..., overlap_threshold: float = ..., evaluate_difficult_gt: bool = ..., name_size_file: str = ..., resize_param: Mapping[str, Any] = ..., **fields: Any) -> Any: ...
    def DetectionGroupAccuracy(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., cls_num: int = ..., field_h: int | Sequence[int] = ..., field_w: int | Sequence[int] = ..., stride: int = ..., field_whr: float = ..., field_xyr: float = ..., bg_threshold: float = ..., objectness: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DetectionGroupLoss(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., cls_num: int = ..., field_h: int | Sequence[int] = ..., field_w: int | Sequence[int] = ..., stride: int = ..., field_whr: float = ..., field_xyr: float = ..., bg_threshold: float = ..., bg_multiple: int = ..., neg_mining_type: str = ..., neg_ranking_type: str = ..., min_num_neg: int = ..., objectness: bool = ..., batch_size: int = ..., pos_neg_weighted: bool = ..., bbox_loss_type: str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DetectionLoss(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., cls_num: int = ..., coord_num: int = ..., field_h: int = ..., field_w: int = ..., downsample_rate: int = ..., bb_smooth: bool = ..., field_whr: float = ..., field_xyr: float = ..., bg_threshold: float = ..., bg_multiple: int = ..., sample_mode: str = ..., objectness: bool = ..., iou_weighted: bool = ..., pos_neg_weighted: bool = ..., side: int = ..., num_class: int = ..., num_object: int = ..., object_scale: float = ..., noobject_scale: float = ..., class_scale: float = ..., coord_scale: float = ..., sqrt: bool = ..., constriant: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DetectionOutput(self, *bottoms: Top, num_classes: int = ..., share_location: bool = ..., background_label_id: int = ..., nms_param: Mapping[str, Any] = ..., save_output_param: Mapping[str, Any] = ..., code_type: int | str = ..., keep_top_k: int = ..., variance_encoded_in_target: bool = ..., confidence_threshold: float = ..., visualize: bool = ..., visualize_threshold: float = ..., save_file: str = ..., coords: int = ..., biases: float | Sequence[float] = ..., use_polygon: bool = ..., objectness_score: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Downsample(self, *bottoms: Top, top_height: int = ..., top_width: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Dropout(self, *bottoms: Top, dropout_ratio: float = ..., sample_weights_test: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def DummyData(self, *bottoms: Top, data_filler: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., shape: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., num: int | Sequence[int] = ..., channels: int | Sequence[int] = ..., height: int | Sequence[int] = ..., width: int | Sequence[int] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ELU(self, *bottoms: Top, alpha: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Eltwise(self, *bottoms: Top, operation: int | str = ..., coeff: float | Sequence[float] = ..., stable_prod_grad: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Embed(self, *bottoms: Top, num_output: int = ..., input_dim: int = ..., bias_term: bool = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def EntropyLoss(self, *bottoms: Top, threshold: float = ..., prob_pow: float = ..., iterations_num: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def EuclideanLoss(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def EuclideanLossHeatmap(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def EvalData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., resize_width: int = ..., resize_height: int = ..., short_size: int = ..., long_size: int = ..., root_folder: str = ..., **fields: Any) -> Any: ...
    def EvalDetection(self, *bottoms: Top, side: int = ..., num_class: int = ..., num_object: int = ..., sqrt: bool = ..., constriant: bool = ..., threshold: float = ..., score_type: int | str = ..., nms: float = ..., biases: float | Sequence[float] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Exp(self, *bottoms: Top, base: float = ..., scale: float = ..., shift: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def FLOWriter(self, *bottoms: Top, file: str = ..., folder: str = ..., prefix: str = ..., suffix: str = ..., scale: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Filter(self, *bottoms: Top, num_output: int = ..., axis: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Flatten(self, *bottoms: Top, axis: int = ..., end_axis: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Flip(self, *bottoms: Top, flip_width: bool = ..., flip_height: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def FloData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., new_height: int = ..., new_width: int = ..., is_color: bool = ..., images_in_color: bool = ..., root_folder: str = ..., label_type: int | str = ..., label_dim: int = ..., pair_size: int = ..., has_label: bool = ..., ignore_label: int = ..., new_length: int = ..., use_image: bool = ..., use_temporal_jitter: bool = ..., num_truth_channels: int = ..., use_byte_input: bool = ..., is_flow: bool = ..., truth_scale: float = ..., clip_min: float = ..., clip_max: float = ..., mean_value: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def FlowWarp(self, *bottoms: Top, fill_value: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def FrcnnOutput(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., conf_thr: float = ..., iou_thr: float = ..., nms_type: str = ..., max_det_num: int = ..., save_output_param: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def GLU(self, *bottoms: Top, modulation: int | str = ..., input_dim: int = ..., bias_term: bool = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., axis: int = ..., enable_noise: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def GRN(self, *bottoms: Top, input_dim: int = ..., hidden_dim: int = ..., output_dim: int = ..., context_dim: int = ..., dropout_ratio: float = ..., dropout: float = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., axis: int = ..., activation: int | str = ..., enable_noise: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def GateAddNorm(self, *bottoms: Top, epsilon: float = ..., dropout_ratio: float = ..., sample_weights_test: bool = ..., modulation: int | str = ..., input_dim: int = ..., bias_term: bool = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., axis: int = ..., enable_noise: bool = ..., residual_channel_offset: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Gather(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def GlobalLSEMargin(self, *bottoms: Top, axis: int = ..., num_axes: int = ..., filler: Mapping[str, Any] = ..., bias_term: bool = ..., bias_filler: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def GradientScaler(self, *bottoms: Top, lower_bound: float = ..., upper_bound: float = ..., alpha: float = ..., max_iter: float = ..., threshold_iter: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def GroupNorm(self, *bottoms: Top, group_num: int = ..., eps: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def HDF5Data(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def HDF5Output(self, *bottoms: Top, file_name: str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def HardMining(self, *bottoms: Top, num_roi_per_image: int = ..., num_image: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def HingeLoss(self, *bottoms: Top, norm: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Im2col(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., pad: int | Sequence[int] = ..., kernel_size: int | Sequence[int] = ..., stride: int | Sequence[int] = ..., dilation: int | Sequence[int] = ..., pad_h: int = ..., pad_w: int = ..., kernel_h: int = ..., kernel_w: int = ..., stride_h: int = ..., stride_w: int = ..., group: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., engine: int | str = ..., axis: int = ..., force_nd_im2col: bool = ..., hole: int = ..., hole_h: int = ..., hole_w: int = ..., kernel_depth: int = ..., temporal_stride: int = ..., temporal_pad: int = ..., temporal_dilation: int = ..., kernel_shape: Mapping[str, Any] = ..., stride_shape: Mapping[str, Any] = ..., pad_shape: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ImageData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., new_height: int = ..., new_width: int = ..., is_color: bool = ..., images_in_color: bool = ..., root_folder: str = ..., label_type: int | str = ..., label_dim: int = ..., pair_size: int = ..., has_label: bool = ..., ignore_label: int = ..., new_length: int = ..., use_image: bool = ..., use_temporal_jitter: bool = ..., num_truth_channels: int = ..., use_byte_input: bool = ..., truth_scale: float = ..., clip_min: float = ..., clip_max: float = ..., **fields: Any) -> Any: ...
    def ImageGtData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., downsample_rate: int | Sequence[int] = ..., coord_num: int = ..., field_h: int | Sequence[int] = ..., field_w: int | Sequence[int] = ..., fg_threshold: float = ..., resize_width: int = ..., resize_height: int = ..., do_multiple_scale: bool = ..., min_scale: int = ..., max_scale: int = ..., min_whaspect: float = ..., max_whaspect: float = ..., min_gt_width: float = ..., min_gt_height: float = ..., output_gt_boxes: bool = ..., fg_img_multiple: int = ..., cache_images: bool = ..., root_folder: str = ..., **fields: Any) -> Any: ...
    def ImageLabelData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., image_list_path: str = ..., label_list_path: str = ..., scale_prob: float = ..., scale_min: float = ..., scale_max: float = ..., **fields: Any) -> Any: ...
    def ImageLabelmapData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., new_height: int = ..., new_width: int = ..., is_color: bool = ..., images_in_color: bool = ..., root_folder: str = ..., label_type: int | str = ..., label_dim: int = ..., pair_size: int = ..., has_label: bool = ..., ignore_label: int = ..., new_length: int = ..., use_image: bool = ..., use_temporal_jitter: bool = ..., num_truth_channels: int = ..., use_byte_input: bool = ..., truth_scale: float = ..., clip_min: float = ..., clip_max: float = ..., **fields: Any) -> Any: ...
    def ImageSegData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., new_height: int = ..., new_width: int = ..., is_color: bool = ..., images_in_color: bool = ..., root_folder: str = ..., label_type: int | str = ..., label_dim: int = ..., pair_size: int = ..., has_label: bool = ..., ignore_label: int = ..., new_length: int = ..., use_image: bool = ..., use_temporal_jitter: bool = ..., num_truth_channels: int = ..., use_byte_input: bool = ..., truth_scale: float = ..., clip_min: float = ..., clip_max: float = ..., **fields: Any) -> Any: ...
    def InfogainLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., source: str = ..., axis: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def InnerProduct(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., axis: int = ..., transpose: bool = ..., normalize: bool = ..., min_top_axes: int = ..., enable_noise: bool = ..., sigma_init: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Input(self, *bottoms: Top, shape: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Insanity(self, *bottoms: Top, lb: float = ..., ub: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Interp(self, *bottoms: Top, height: int = ..., width: int = ..., zoom_factor: int = ..., shrink_factor: int = ..., pad_beg: int = ..., pad_end: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def K1_EuclideanLoss(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def K2_EuclideanLoss(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def Knn(self, *bottoms: Top, num_output: int = ..., k: int = ..., max_stored_batches: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def L1Loss(self, *bottoms: Top, l2_per_location: bool = ..., l2_prescale_by_channels: bool = ..., normalize_by_num_entries: bool = ..., epsilon: float = ..., plateau: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def LRN(self, *bottoms: Top, local_size: int = ..., alpha: float = ..., beta: float = ..., norm_region: int | str = ..., k: float = ..., engine: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def LSTM(self, *bottoms: Top, num_output: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., debug_info: bool = ..., expose_hidden: bool = ..., num_layers: int = ..., dropout_ratio: float = ..., batch_first: bool = ..., expose_hidden_input: bool = ..., expose_hidden_output: bool = ..., auto_repeat_hidden_states_across_layers: bool = ..., bidirectional: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def LSTMUnit(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def LabelSpecificAdd(self, *bottoms: Top, bias: float = ..., transform_test: bool = ..., bias_base: float = ..., bias_gamma: float = ..., bias_power: float = ..., bias_min: float = ..., bias_max: float = ..., iteration: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def LabelsequenceAccuracy(self, *bottoms: Top, blank_label: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def LaneData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., batch_sampler: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., label_map_file: str = ..., anno_type: int | str = ..., yolo_data_type: int = ..., yolo_data_jitter: float = ..., train_diffcult: bool = ..., single_class: bool = ..., seg_scales: int = ..., seg_resize_width: int = ..., seg_resize_height: int = ..., **fields: Any) -> Any: ...
    def LargeMarginInnerProduct(self, *bottoms: Top, num_output: int = ..., type: int | str = ..., weight_filler: Mapping[str, Any] = ..., axis: int = ..., base: float = ..., gamma: float = ..., power: float = ..., iteration: int = ..., lambda_min: float = ..., **fields: Any) -> Any: ...
    def LayerNorm(self, *bottoms: Top, epsilon: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def LiftedStructSimilaritySoftmaxLoss(self, *bottoms: Top, margin: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Local(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., pad: int = ..., kernel_size: int = ..., stride: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Log(self, *bottoms: Top, base: float = ..., scale: float = ..., shift: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def LogSoftmax(self, *bottoms: Top, axis: int = ..., in_train: bool = ..., in_test: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Lstm(self, *bottoms: Top, num_output: int = ..., clipping_threshold: float = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., batch_size: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MIL(self, *bottoms: Top, context_per_roi: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MMDLoss(self, *bottoms: Top, kernel_num: int = ..., kernel_mul: float = ..., fix_gamma: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MVN(self, *bottoms: Top, normalize_variance: bool = ..., across_channels: bool = ..., eps: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MarginInnerProduct(self, *bottoms: Top, num_output: int = ..., type: int | str = ..., weight_filler: Mapping[str, Any] = ..., axis: int = ..., base: float = ..., gamma: float = ..., power: float = ..., iteration: int = ..., lambda_min: float = ..., **fields: Any) -> Any: ...
    def MaskPooling(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def MaskResize(self, *bottoms: Top, output_height: int = ..., output_width: int = ..., factor_height: float = ..., factor_width: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MatWrite(self, *bottoms: Top, prefix: str = ..., source: str = ..., strip: int = ..., period: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Mean(self, *bottoms: Top, operation: int | str = ..., file: str = ..., value: float | Sequence[float] = ..., mean_scale: float = ..., input_scale: float = ..., output_scale: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MemoryData(self, *bottoms: Top, scale: float = ..., mirror: bool = ..., crop_size: int = ..., mean_file: str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., batch_size: int = ..., channels: int = ..., height: int = ..., width: int = ..., label_type: int | str = ..., label_channels: int = ..., label_height: int = ..., label_width: int = ..., **fields: Any) -> Any: ...
    def MemoryLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Mish(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def MultiBoxFocalLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., alpha: float = ..., gamma: float = ..., axis: int = ..., loc_loss_type: int | str = ..., conf_loss_type: int | str = ..., loc_weight: float = ..., num_classes: int = ..., share_location: bool = ..., match_type: int | str = ..., overlap_threshold: float = ..., use_prior_for_matching: bool = ..., background_label_id: int = ..., use_difficult_gt: bool = ..., do_neg_mining: bool = ..., neg_pos_ratio: float = ..., neg_overlap: float = ..., code_type: int | str = ..., encode_variance_in_target: bool = ..., map_object_to_agnostic: bool = ..., ignore_cross_boundary_bbox: bool = ..., bp_inside: bool = ..., mining_type: int | str = ..., nms_param: Mapping[str, Any] = ..., sample_size: int = ..., use_prior_for_nms: bool = ..., objectness_score: float = ..., fl_alpha: float = ..., fl_gamma: float = ..., use_gpu: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MultiBoxLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., loc_loss_type: int | str = ..., conf_loss_type: int | str = ..., loc_weight: float = ..., num_classes: int = ..., share_location: bool = ..., match_type: int | str = ..., overlap_threshold: float = ..., use_prior_for_matching: bool = ..., background_label_id: int = ..., use_difficult_gt: bool = ..., do_neg_mining: bool = ..., neg_pos_ratio: float = ..., neg_overlap: float = ..., code_type: int | str = ..., encode_variance_in_target: bool = ..., map_object_to_agnostic: bool = ..., ignore_cross_boundary_bbox: bool = ..., bp_inside: bool = ..., mining_type: int | str = ..., nms_param: Mapping[str, Any] = ..., sample_size: int = ..., use_prior_for_nms: bool = ..., objectness_score: float = ..., fl_alpha: float = ..., fl_gamma: float = ..., use_gpu: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MultiLabelAccuracy(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def MultiLabelLoss(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def MultiStageMeanfield(self, *bottoms: Top, compatibility_mode: int | str = ..., threshold: float = ..., theta_alpha: float = ..., theta_beta: float = ..., theta_gamma: float = ..., num_iterations: int = ..., spatial_filter_weight: float = ..., bilateral_filter_weight: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MultiboxLoss(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def MultiheadAttentionInterp(self, *bottoms: Top, enable_self_attention: bool = ..., num_historical_steps: int = ..., num_future_steps: int = ..., embed_dim: int = ..., num_heads: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., enable_noise: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def MultinomialLogisticLoss(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def NLLLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., axis: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def NoisyInnerProduct(self, *bottoms: Top, num_output: int = ..., bias_term: bool = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., axis: int = ..., transpose: bool = ..., normalize: bool = ..., min_top_axes: int = ..., enable_noise: bool = ..., sigma_init: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Norm(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def Normalize(self, *bottoms: Top, normalize_type: str = ..., bp_norm: bool = ..., across_spatial: bool = ..., scale_filler: Mapping[str, Any] = ..., channel_shared: bool = ..., eps: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def NumericTransformation(self, *bottoms: Top, num_input: int = ..., state_size: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def OuterProduct(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def PReLU(self, *bottoms: Top, filler: Mapping[str, Any] = ..., channel_shared: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def PSROIAlign(self, *bottoms: Top, spatial_scale: float = ..., output_dim: int = ..., group_size: int = ..., sample_num: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def PSROIPooling(self, *bottoms: Top, spatial_scale: float = ..., output_dim: int = ..., group_size: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Padding(self, *bottoms: Top, pad_beg: int = ..., pad_end: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def PairwiseLoss(self, *bottoms: Top, class_num: float = ..., l_lambda: float = ..., sigmoid_param: float = ..., continous_similarity: bool = ..., **fields: Any) -> Any: ...
    def Parameter(self, *bottoms: Top, shape: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Permute(self, *bottoms: Top, order: int | Sequence[int] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Pooling(self, *bottoms: Top, pool: int | str = ..., pad: int = ..., pad_h: int = ..., pad_w: int = ..., kernel_size: int = ..., kernel_h: int = ..., kernel_w: int = ..., stride: int = ..., stride_h: int = ..., stride_w: int = ..., engine: int | str = ..., global_pooling: bool = ..., round_mode: int | str = ..., darknet: bool = ..., ceil_mode: bool = ..., kernel_shape: Mapping[str, Any] = ..., stride_shape: Mapping[str, Any] = ..., pad_shape: Mapping[str, Any] = ..., kernel_sizes: int | Sequence[int] = ..., strides: int | Sequence[int] = ..., pads: int | Sequence[int] = ..., kernel_depth: int = ..., temporal_stride: int = ..., temporal_pad: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Power(self, *bottoms: Top, power: float = ..., scale: float = ..., shift: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def PriorBox(self, *bottoms: Top, min_size: float | Sequence[float] = ..., max_size: float | Sequence[float] = ..., aspect_ratio: float | Sequence[float] = ..., flip: bool = ..., clip: bool = ..., variance: float | Sequence[float] = ..., img_size: int = ..., img_h: int = ..., img_w: int = ..., step: float = ..., step_h: float = ..., step_w: float = ..., offset: float = ..., denser_prior_boxes: bool = ..., densify: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Proposal(self, *bottoms: Top, feat_stride: int = ..., base_size: int = ..., min_size: int = ..., ratio: float | Sequence[float] = ..., scale: float | Sequence[float] = ..., pre_nms_topn: int = ..., post_nms_topn: int = ..., nms_thresh: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ProposalTarget(self, *bottoms: Top, bbox_mean: float | Sequence[float] = ..., bbox_std: float | Sequence[float] = ..., cls_aware: bool = ..., cls_num: int = ..., batch_size: int = ..., fg_fraction: float = ..., num_img_per_batch: int = ..., fg_thr: float = ..., bg_thr_hg: float = ..., bg_thr_lw: float = ..., img_width: int = ..., img_height: int = ..., iou_weighted: bool = ..., bbox_thr_lw: float = ..., bbox_thr_hg: float = ..., pickup_discard: bool = ..., append_gtbox: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Python(self, *bottoms: Top, module: str = ..., layer: str = ..., param_str: str = ..., share_in_parallel: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def QuantileAccuracy(self, *bottoms: Top, accuracy_range: float | Sequence[float] = ..., average_period: int = ..., accuracy_type: int | str = ..., direction_item_count: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def QuantileLoss(self, *bottoms: Top, desired_quantile: float | Sequence[float] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def RNN(self, *bottoms: Top, num_output: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., debug_info: bool = ..., expose_hidden: bool = ..., num_layers: int = ..., dropout_ratio: float = ..., batch_first: bool = ..., expose_hidden_input: bool = ..., expose_hidden_output: bool = ..., auto_repeat_hidden_states_across_layers: bool = ..., bidirectional: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ROIAlign(self, *bottoms: Top, pooled_h: int = ..., pooled_w: int = ..., spatial_scale: float = ..., pad_ratio: float = ..., sampling_ratio: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ROIFeatureSplit(self, *bottoms: Top, branch_num: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ROIGrid(self, *bottoms: Top, pooled_h: int = ..., pooled_w: int = ..., spatial_scale: float = ..., pad_ratio: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ROIPairPooling(self, *bottoms: Top, pooled_h: int = ..., pooled_w: int = ..., spatial_scale: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ROIPooling(self, *bottoms: Top, pooled_h: int = ..., pooled_w: int = ..., spatial_scale: float = ..., pad_ratio: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ROISplit(self, *bottoms: Top, branch_num: int = ..., split_area1: int = ..., split_area2: int = ..., fluctuation_range_large: int = ..., fluctuation_range_small: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ROIWarping(self, *bottoms: Top, pooled_h: int = ..., pooled_w: int = ..., spatial_scale: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def RankHardLoss(self, *bottoms: Top, neg_num: int = ..., pair_size: int = ..., hard_ratio: float = ..., rand_ratio: float = ..., margin: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ReLU(self, *bottoms: Top, negative_slope: float = ..., engine: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ReLU6(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def RecurrentCont(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def Reduction(self, *bottoms: Top, operation: int | str = ..., axis: int = ..., coeff: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def RegionLoss(self, *bottoms: Top, side: int = ..., num_class: int = ..., bias_match: int = ..., coords: int = ..., num: int = ..., softmax: int = ..., jitter: float = ..., rescore: int = ..., object_scale: float = ..., class_scale: float = ..., noobject_scale: float = ..., coord_scale: float = ..., absolute: int = ..., thresh: float = ..., random: int = ..., biases: float | Sequence[float] = ..., softmax_tree: str = ..., class_map: str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Reorg(self, *bottoms: Top, stride: int = ..., reverse: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Resample(self, *bottoms: Top, width: int = ..., height: int = ..., type: int | str = ..., antialias: bool = ..., **fields: Any) -> Any: ...
    def Reshape(self, *bottoms: Top, shape: Mapping[str, Any] = ..., axis: int = ..., num_axes: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ReshapeTemporal(self, *bottoms: Top, mode: int | str = ..., enable_clip_output: bool = ..., enable_weight_output: bool = ..., forced_repeat_count: int = ..., steps_of_last: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Resize(self, *bottoms: Top, is_pyramid_test: bool = ..., height: int = ..., width: int = ..., out_height_scale: float = ..., out_width_scale: float = ..., type: int | str = ..., **fields: Any) -> Any: ...
    def Reverse(self, *bottoms: Top, axis: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SPP(self, *bottoms: Top, pyramid_height: int = ..., pool: int | str = ..., engine: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SVX(self, *bottoms: Top, m1: float = ..., m2: float = ..., m3: float = ..., t: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Scale(self, *bottoms: Top, axis: int = ..., num_axes: int = ..., filler: Mapping[str, Any] = ..., bias_term: bool = ..., bias_filler: Mapping[str, Any] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ScaleRoute(self, *bottoms: Top, low_scale: float = ..., high_scale: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ScaleTanH(self, *bottoms: Top, init_scale: float = ..., step_size: int = ..., gamma: float = ..., power: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SegAccuracy(self, *bottoms: Top, ignore_label: int | Sequence[int] = ..., reset: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SegGt(self, *bottoms: Top, background_label_id: int = ..., use_difficult_gt: bool = ..., non_exclusive: bool = ..., num_class: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SegmentationEvaluate(self, *bottoms: Top, num_classes: int = ..., threshold: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def ShuffleChannel(self, *bottoms: Top, group: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Sigmoid(self, *bottoms: Top, engine: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SigmoidCrossEntropyBalanceLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SigmoidCrossEntropyLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Silence(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def Slice(self, *bottoms: Top, axis: int = ..., slice_point: int | Sequence[int] = ..., slice_dim: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SmoothL1Loss(self, *bottoms: Top, sigma: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SmoothL1LossOHEM(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Softmax(self, *bottoms: Top, engine: int | str = ..., axis: int = ..., normalize_type: str = ..., algorithm: int | str = ..., algorithm_train: int | str = ..., pos_mult: float = ..., pos_cid: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SoftmaxCrossEntropyLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., engine: int | str = ..., axis: int = ..., normalize_type: str = ..., algorithm: int | str = ..., algorithm_train: int | str = ..., pos_mult: float = ..., pos_cid: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SoftmaxWithFocalLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., engine: int | str = ..., axis: int = ..., normalize_type: str = ..., algorithm: int | str = ..., algorithm_train: int | str = ..., pos_mult: float = ..., pos_cid: int = ..., alpha: float = ..., gamma: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SoftmaxWithLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., engine: int | str = ..., axis: int = ..., normalize_type: str = ..., algorithm: int | str = ..., algorithm_train: int | str = ..., pos_mult: float = ..., pos_cid: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SoftmaxWithLossOHEM(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., engine: int | str = ..., axis: int = ..., normalize_type: str = ..., algorithm: int | str = ..., algorithm_train: int | str = ..., pos_mult: float = ..., pos_cid: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SpatialDropout(self, *bottoms: Top, dropout_ratio: float = ..., sample_weights_test: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def SpatialTransformer(self, *bottoms: Top, transform_type: str = ..., sampler_type: str = ..., output_H: int = ..., output_W: int = ..., to_compute_dU: bool = ..., theta_1_1: float = ..., theta_1_2: float = ..., theta_1_3: float = ..., theta_2_1: float = ..., theta_2_2: float = ..., theta_2_3: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Split(self, *bottoms: Top, **fields: Unpack[LayerFields]) -> Any: ...
    def StackedLSTM(self, *bottoms: Top, num_output: int = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., debug_info: bool = ..., expose_hidden: bool = ..., num_layers: int = ..., dropout_ratio: float = ..., batch_first: bool = ..., expose_hidden_input: bool = ..., expose_hidden_output: bool = ..., auto_repeat_hidden_states_across_layers: bool = ..., bidirectional: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Swish(self, *bottoms: Top, beta: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def TanH(self, *bottoms: Top, engine: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Threshold(self, *bottoms: Top, threshold: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Tile(self, *bottoms: Top, axis: int = ..., tiles: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Tiling(self, *bottoms: Top, tile_dim: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def TokenizedData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., input_type: int | str = ..., block_size: int = ..., vocabulary_type: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def TransformerBlock(self, *bottoms: Top, layers: int = ..., heads: int = ..., embed: int = ..., block_size: int = ..., attn_dropout: float = ..., resid_dropout: float = ..., activation: int | str = ..., block_type: int | str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def TripletLoss(self, *bottoms: Top, alpha: float = ..., margin: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Upsample(self, *bottoms: Top, scale: int = ..., scale_h: int = ..., scale_w: int = ..., pad_out_h: bool = ..., pad_out_w: bool = ..., upsample_h: int = ..., upsample_w: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def VarSelNet(self, *bottoms: Top, input_dim: int = ..., hidden_dim: int = ..., num_inputs: int = ..., context_dim: int = ..., dropout_ratio: float = ..., weight_filler: Mapping[str, Any] = ..., bias_filler: Mapping[str, Any] = ..., axis: int = ..., enable_noise: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def VideoData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., new_height: int = ..., new_width: int = ..., new_length: int = ..., num_segments: int = ..., modality: int | str = ..., name_pattern: str = ..., root_folder: str = ..., is_color: bool = ..., use_image: bool = ..., use_temporal_jitter: bool = ..., show_data: bool = ..., sampling_rate: int = ..., **fields: Any) -> Any: ...
    def VideoSegmentationData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., new_height: int = ..., new_width: int = ..., is_color: bool = ..., images_in_color: bool = ..., root_folder: str = ..., label_type: int | str = ..., label_dim: int = ..., pair_size: int = ..., has_label: bool = ..., ignore_label: int = ..., new_length: int = ..., use_image: bool = ..., use_temporal_jitter: bool = ..., num_truth_channels: int = ..., use_byte_input: bool = ..., truth_scale: float = ..., clip_min: float = ..., clip_max: float = ..., **fields: Any) -> Any: ...
    def VideoWithVoxelTruthData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., new_height: int = ..., new_width: int = ..., is_color: bool = ..., images_in_color: bool = ..., root_folder: str = ..., label_type: int | str = ..., label_dim: int = ..., pair_size: int = ..., has_label: bool = ..., ignore_label: int = ..., new_length: int = ..., use_image: bool = ..., use_temporal_jitter: bool = ..., num_truth_channels: int = ..., use_byte_input: bool = ..., truth_scale: float = ..., clip_min: float = ..., clip_max: float = ..., **fields: Any) -> Any: ...
    def VocData(self, *bottoms: Top, batch_sampler: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., label_map_file: str = ..., anno_type: int | str = ..., yolo_data_type: int = ..., yolo_data_jitter: float = ..., train_diffcult: bool = ..., single_class: bool = ..., seg_scales: int = ..., seg_resize_width: int = ..., seg_resize_height: int = ..., scale: float = ..., mirror: bool = ..., crop_size: int = ..., mean_file: str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., **fields: Any) -> Any: ...
    def WeightedSoftmaxWithLoss(self, *bottoms: Top, ignore_label: int = ..., normalization: int | str = ..., normalize: bool = ..., pre_fixed_normalizer: float = ..., class_weight: float | Sequence[float] = ..., weight_by_label_freqs: bool = ..., class_weighting: float | Sequence[float] = ..., engine: int | str = ..., axis: int = ..., normalize_type: str = ..., algorithm: int | str = ..., algorithm_train: int | str = ..., pos_mult: float = ..., pos_cid: int = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def WindowData(self, *bottoms: Top, source: str = ..., batch_size: int = ..., rand_skip: int = ..., backend: int | str = ..., scale: float = ..., mean_file: str = ..., crop_size: int = ..., mirror: bool = ..., force_encoded_color: bool = ..., prefetch: int = ..., shuffle: bool = ..., cursor: int | str = ..., mean_value: float | Sequence[float] = ..., force_color: bool = ..., force_gray: bool = ..., scale_factors: float | Sequence[float] = ..., is_flow: bool = ..., multi_scale: bool = ..., fix_crop: bool = ..., more_fix_crop: bool = ..., max_distort: int = ..., scale_ratios: float | Sequence[float] = ..., resize_param: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ..., emit_constraint: Mapping[str, Any] = ..., crop_h: int = ..., crop_w: int = ..., crop_height: int = ..., crop_width: int = ..., crop_size_h: int = ..., crop_size_w: int = ..., distort_param: Mapping[str, Any] = ..., expand_param: Mapping[str, Any] = ..., distortion_param: Mapping[str, Any] = ..., expansion_param: Mapping[str, Any] = ..., mask_param: Mapping[str, Any] = ..., fg_threshold: float = ..., bg_threshold: float = ..., fg_fraction: float = ..., context_pad: int = ..., crop_mode: str = ..., cache_images: bool = ..., root_folder: str = ..., const_mean: float | Sequence[float] = ..., **fields: Any) -> Any: ...
    def YoloDetectionOutput(self, *bottoms: Top, side: int = ..., num_classes: int = ..., num_box: int = ..., coords: int = ..., confidence_threshold: float = ..., nms_threshold: float = ..., biases: float | Sequence[float] = ..., label_map_file: str = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def YoloLoss(self, *bottoms: Top, side: int = ..., num_class: int = ..., num_object: int = ..., object_scale: float = ..., noobject_scale: float = ..., class_scale: float = ..., coord_scale: float = ..., sqrt: bool = ..., constriant: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def YoloSeg(self, *bottoms: Top, object_scale: float = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Yolov3(self, *bottoms: Top, side: int = ..., num_class: int = ..., num: int = ..., object_scale: float = ..., class_scale: float = ..., noobject_scale: float = ..., coord_scale: float = ..., thresh: float = ..., anchors_scale: int = ..., biases: float | Sequence[float] = ..., mask: int | Sequence[int] = ..., use_logic_gradient: bool = ..., **fields: Unpack[LayerFields]) -> Any: ...
    def Yolov3DetectionOutput(self, *bottoms: Top, num_classes: int = ..., num_box: int = ..., confidence_threshold: float = ..., nms_threshold: float = ..., biases: float | Sequence[float] = ..., anchors_scale: int | Sequence[int] = ..., mask_group_num: int = ..., mask: int | Sequence[int] = ..., **fields: Unpack[LayerFields]) -> Any: ...

class _BN:
    LEARN: int
    INFERENCE: int

class _BlobResize:
    BILINEAR: int

class _Convolution:
    DEFAULT: int
    CAFFE: int
    CUDNN: int

class _Correlation:
    MULTIPLY: int
    SUBTRACT: int

class _Data:
    LEVELDB: int
    LMDB: int
    IMAGEDB: int
    SEQUENTIAL: int
    SHUFFLING: int

class _DataTemporal:
    PATH_NPY_FILE: int
    SQL_DB: int
    DIRECT: int
    FUTURE: int
    HISTORICAL: int

class _Decode:
    CENTROID: int
    PREGEN: int
    KNN: int

class _Eltwise:
    PROD: int
    SUM: int
    MAX: int

class _EvalDetection:
    OBJ: int
    PROB: int
    MULTIPLY: int

class _Filler:
    FAN_IN: int
    FAN_OUT: int
    AVERAGE: int

class _FlowWarp:
    ZERO: int
    NOT_A_NUMBER: int

class _Glu:
    SIGMOID: int

class _Grn:
    ELU: int
    RELU: int

class _HingeLoss:
    L1: int
    L2: int

class _ImageData:
    NONE: int
    IMAGE: int
    PIXEL: int

class _LRN:
    ACROSS_CHANNELS: int
    WITHIN_CHANNEL: int
    DEFAULT: int
    CAFFE: int
    CUDNN: int

class _Loss:
    FULL: int
    VALID: int
    BATCH_SIZE: int
    NONE: int
    PRE_FIXED: int

class _MarginInnerProduct:
    SINGLE: int
    DOUBLE: int
    TRIPLE: int
    QUADRUPLE: int

class _Mean:
    ADD: int
    SUBTRACT: int

class _MemoryData:
    NONE: int
    SINGLE: int
    MULTIPLE: int

class _MultiBoxLoss:
    L2: int
    SMOOTH_L1: int
    SOFTMAX: int
    LOGISTIC: int
    FocalLoss: int
    BIPARTITE: int
    PER_PREDICTION: int
    NONE: int
    MAX_NEGATIVE: int
    HARD_EXAMPLE: int

class _MultiStageMeanfield:
    POTTS: int

class _Pooling:
    MAX: int
    AVE: int
    STOCHASTIC: int
    DEFAULT: int
    CAFFE: int
    CUDNN: int
    CEIL: int
    FLOOR: int

class _PriorBox:
    CORNER: int
    CENTER_SIZE: int
    CORNER_SIZE: int

class _QuantileAccuracy:
    QUANTILE: int
    DIRECTION: int

class _ReLU:
    DEFAULT: int
    CAFFE: int
    CUDNN: int

class _Reduction:
    SUM: int
    ASUM: int
    SUMSQ: int
    MEAN: int

class _Resample:
    NEAREST: int
    LINEAR: int
    CUBIC: int
    AREA: int

class _ReshapeTemporal:
    BEFORE: int
    AFTER: int

class _Resize:
    WARP: int
    FIT_SMALL_SIZE: int
    FIT_LARGE_SIZE_AND_PAD: int
    CONSTANT: int
    MIRRORED: int
    REPEAT_NEAREST: int
    LINEAR: int
    AREA: int
    NEAREST: int
    CUBIC: int
    LANCZOS4: int

class _SPP:
    MAX: int
    AVE: int
    STOCHASTIC: int
    DEFAULT: int
    CAFFE: int
    CUDNN: int

class _Sigmoid:
    DEFAULT: int
    CAFFE: int
    CUDNN: int

class _Softmax:
    DEFAULT: int
    CAFFE: int
    CUDNN: int
    FAST: int
    ACCURATE: int
    LOG: int

class _Solver:
    HDF5: int
    BINARYPROTO: int
    CPU: int
    GPU: int
    SGD: int
    NESTEROV: int
    ADAGRAD: int
    RMSPROP: int
    ADADELTA: int
    ADAM: int

class _TanH:
    DEFAULT: int
    CAFFE: int
    CUDNN: int

class _TokenizedData:
    TEXT_FILE: int
    CHARACTER: int
    WORD: int

class _TransformerBlock:
    RELU: int
    GELU: int
    GELU_BERT: int
    CAUSAL_SELF_ATTENTION: int
    ENCODER: int
    DECODER: int

class _Unpooling:
    MAX: int
    AVE: int
    TILE: int

class _V0Layer:
    MAX: int
    AVE: int
    STOCHASTIC: int

class _V1Layer:
    NONE: int
    ABSVAL: int
    ACCURACY: int
    ARGMAX: int
    BNLL: int
    CONCAT: int
    CONTRASTIVE_LOSS: int
    CONVOLUTION: int
    DATA: int
    DECONVOLUTION: int
    DROPOUT: int
    DUMMY_DATA: int
    EUCLIDEAN_LOSS: int
    ELTWISE: int
    EXP: int
    FLATTEN: int
    HDF5_DATA: int
    HDF5_OUTPUT: int
    HINGE_LOSS: int
    IM2COL: int
    IMAGE_DATA: int
    INFOGAIN_LOSS: int
    INNER_PRODUCT: int
    LRN: int
    MEMORY_DATA: int
    MULTINOMIAL_LOGISTIC_LOSS: int
    MVN: int
    POOLING: int
    POWER: int
    RELU: int
    SIGMOID: int
    SIGMOID_CROSS_ENTROPY_LOSS: int
    SILENCE: int
    SOFTMAX: int
    SOFTMAX_LOSS: int
    SPLIT: int
    SLICE: int
    TANH: int
    WINDOW_DATA: int
    THRESHOLD: int
    CONVOLUTION3D: int
    DECONVOLUTION3D: int
    POOLING3D: int
    VIDEO_DATA: int
    VIDEO_WITH_VOXEL_TRUTH_DATA: int
    VIDEO_SEGMENTATION_DATA: int
    VOXEL_SOFTMAX: int
    VOXEL_SOFTMAX_LOSS: int
    IMAGE_SEG_DATA: int
    INTERP: int
    PADDING: int
    SEG_ACCURACY: int
    MAT_WRITE: int
    CROP: int
    MULTI_STAGE_MEANFIELD: int
    COLINEAR_CONVOLUTION: int
    BN: int
    UPSAMPLE: int
    DENSE_IMAGE_DATA: int
    UNPOOLING: int
    K1_EUCLIDEAN_LOSS: int
    K2_EUCLIDEAN_LOSS: int
    LOCAL: int
    MULTI_LABEL_LOSS: int
    MULTI_LABEL_ACCURACY: int
    ELTWISE_PRODUCT: int
    STRICT: int
    PERMISSIVE: int

class _VideoData:
    RGB: int
    FLOW: int

class Params:
    """P: the enum values of the layers' messages."""

    BN: _BN
    BlobResize: _BlobResize
    Convolution: _Convolution
    Correlation: _Correlation
    Data: _Data
    DataTemporal: _DataTemporal
    Decode: _Decode
    Eltwise: _Eltwise
    EvalDetection: _EvalDetection
    Filler: _Filler
    FlowWarp: _FlowWarp
    Glu: _Glu
    Grn: _Grn
    HingeLoss: _HingeLoss
    ImageData: _ImageData
    LRN: _LRN
    Loss: _Loss
    MarginInnerProduct: _MarginInnerProduct
    Mean: _Mean
    MemoryData: _MemoryData
    MultiBoxLoss: _MultiBoxLoss
    MultiStageMeanfield: _MultiStageMeanfield
    Pooling: _Pooling
    PriorBox: _PriorBox
    QuantileAccuracy: _QuantileAccuracy
    ReLU: _ReLU
    Reduction: _Reduction
    Resample: _Resample
    ReshapeTemporal: _ReshapeTemporal
    Resize: _Resize
    SPP: _SPP
    Sigmoid: _Sigmoid
    Softmax: _Softmax
    Solver: _Solver
    TanH: _TanH
    TokenizedData: _TokenizedData
    TransformerBlock: _TransformerBlock
    Unpooling: _Unpooling
    V0Layer: _V0Layer
    V1Layer: _V1Layer
    VideoData: _VideoData
