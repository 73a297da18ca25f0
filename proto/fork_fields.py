"""Fields of Caffe's forks that the schema does not have.

IDLE ones say nothing about the numbers: they are read over, with one warning for a file.  A field belongs there only if
leaving it out changes no value that a net computes, if it speaks to something that is refused elsewhere (MyCaffe's
image database), or if it has a net imitate what is computed here (arithmetic of 8 bits).  REFUSED ones do count: a net
with them can be read, but the layer that has them cannot be built, and inputs may stand in for it.  Whatever else a
fork has added is in caffe.proto, or is a fault.
"""

from __future__ import annotations

from typing import NamedTuple

ANY = ""  # a message of any type


class ForkFields(NamedTuple):
    """Fields of a message, the fork they come from, and why nothing is lost without them, or what to do."""

    message: str
    fields: str
    fork: str
    why: str

    def says(self, field: str) -> str:
        """The field with its fork and its reason, for a message."""
        return f"{field} ({self.fork}: {self.why})"


SEVERAL = {  # fields that forks give more than once, or as a list -> where the others go
    "device_id": "device_ids",
    "kernel_size": "kernel_sizes",  # of pooling_param, these three
    "stride": "strides",
    "pad": "pads",
}

PRECISION = "the precision is chosen by --precision"
ALGORITHM = "the backend chooses how to compute"
MEMORY = "memory is planned by the engine"
FLOATS = "all is computed in floating point, which numbers of few bits approximate"
READING = "how fast data is read, not what"
NOT_READ = "it speaks to CPMData's records, which are not read here"
IMAGE_DATABASE = "it speaks to MyCaffe's image database, which is not read here"

IDLE = (
    ForkFields("NetParameter", "default_forward_type default_backward_type", "NVIDIA", PRECISION),
    ForkFields("NetParameter", "default_forward_math default_backward_math", "NVIDIA", PRECISION),
    ForkFields("LayerParameter", "forward_type backward_type forward_math backward_math", "NVIDIA", PRECISION),
    ForkFields("NetParameter", "default_cudnn_math_override", "NVIDIA", PRECISION),
    ForkFields("LayerParameter", "cudnn_math_override", "NVIDIA", PRECISION),
    ForkFields(
        "NetParameter", "global_grad_scale global_grad_scale_adaptive", "NVIDIA", "gradients are scaled back again"
    ),
    ForkFields("NetParameter", "eltwise_mem_sharing reduce_buckets", "NVIDIA", MEMORY),
    ForkFields("NetParameter", "mem_param", "temporal segments", MEMORY),
    ForkFields("CPMTransformationParameter", "max_rotate_degree visualize scale_prob scale_min", "OpenPose", NOT_READ),
    ForkFields("CPMTransformationParameter", "scale_max target_dist center_perterb_max", "OpenPose", NOT_READ),
    ForkFields("CPMTransformationParameter", "do_clahe np_in_lmdb", "OpenPose", NOT_READ),
    ForkFields("SolverParameter", "richness", "temporal segments", "it spreads work over processes"),
    ForkFields("NetParameter", "default_conv_algos_override", "NVIDIA", ALGORITHM),
    ForkFields("ConvolutionParameter", "conv_algos_override cudnn_convolution_algo_seeker", "NVIDIA", ALGORITHM),
    ForkFields("ConvolutionParameter", "cudnn_workspace_limit cudnn_worspace_allow_on_groups", "MyCaffe", MEMORY),
    ForkFields("RecurrentParameter", "cudnn_enable_tensor_cores use_cudnn_rnn8_if_supported", "MyCaffe", ALGORITHM),
    ForkFields(
        "LayerParameter",
        "quantization_param",
        "Ristretto, Intel",
        FLOATS,
    ),
    ForkFields("LossParameter", "weight_positive", "HAKE", "the third bottom has a factor for each number"),
    ForkFields("PairwiseParameter", "l_threshold q_threshold q_gamma", "HashNet", "nothing overflows here"),
    ForkFields(
        "ParamSpec",
        "kernel_shape_decay_mult breadth_decay_mult block_group_lasso force_mult",
        "SSL",
        "it weighs the solver's kernel_shape_decay and its kin, which are refused",
    ),
    ForkFields("NetParameter", "quantize net_quantization_param", "caffe-jacinto", FLOATS),
    ForkFields("SolverParameter", "display_sparsity snapshot_log", "caffe-jacinto", "it prints"),
    ForkFields("SolverParameter", "insert_quantization_param quantization_start_iter", "caffe-jacinto", FLOATS),
    ForkFields("ImageLabelDataParameter", "threads", "caffe-jacinto", READING),
    ForkFields("CtcLossParameter", "loss_calculation_t", "ChWick", "every step gives the same sum"),
    ForkFields("LayerParameter", "connectivity_mode", "SSL", "weights of 0 learn like all others"),
    ForkFields("ConvolutionParameter", "conv_mode", "SSL", ALGORITHM),
    ForkFields("LayerParameter", "visualise visualise_channel", "caffe-heatmap", "it opens windows"),
    ForkFields("DenseBlockParameter", "workspace_mb gpuIdx BC_ultra_space_efficient", "Tongcheng", ALGORITHM),
    ForkFields("DenseBlockParameter", "initChannel", "Tongcheng", "the bottom has as many channels as it has"),
    ForkFields(
        "DenseBlockParameter", "dropout_amount", "Tongcheng", "it speaks to use_dropout: true, which is refused"
    ),
    ForkFields("RegionLossParameter", "num_label", "caffe_yolo_v2", "the rows of objects are counted"),
    ForkFields("EntropyParameter", "ignore_label scale", "MADA", "its layer does not read them"),
    ForkFields("MMDParameter", "iter_of_epoch", "MADA", "its layer does not read it"),
    ForkFields("LayerParameter", "deletebottom deletetop", "DenseReg", MEMORY),
    ForkFields(ANY, "engine", "NVIDIA, Intel and others", ALGORITHM),
    ForkFields("LayerParameter", "strict_dim", "DeepLab", "how a weights file is matched"),
    ForkFields("V1LayerParameter", "strict_dim", "DeepLab", "how a weights file is matched"),
    ForkFields("DataParameter", "cache threads parser_threads", "NVIDIA", READING),
    ForkFields("ImageDataParameter", "cache precache threads", "NVIDIA", READING),
    ForkFields("TransformationParameter", "use_gpu_transform", "NVIDIA", ALGORITHM),
    ForkFields("MemoryDataParameter", "source share_in_parallel", "pynetbuilder", "left over from another data layer"),
    ForkFields("TransformationParameter", "debug_params", "MobileUnet", "it prints"),
    ForkFields("ImageDataParameter", "label", "DeBlurNet", "the tops say whether there are labels"),
    ForkFields("ImageDataParameter", "show_data", "C3D", "it opens a window"),
    ForkFields("TransformationParameter", "use_imagedb_mean use_image_mean color_order", "MyCaffe", IMAGE_DATABASE),
    ForkFields("TransformationParameter", "label_mapping", "MyCaffe", IMAGE_DATABASE),
    ForkFields(
        "DataParameter", "enable_random_selection enable_pair_selection display_timing", "MyCaffe", IMAGE_DATABASE
    ),
    ForkFields(
        "DataParameter", "images_per_blob output_all_labels balance_matches label_type", "MyCaffe", IMAGE_DATABASE
    ),
    ForkFields("LayerParameter", "max_bottom_count", "MyCaffe", "it holds in the phase RUN only"),
    ForkFields("SolverParameter", "snapshot_include_weights snapshot_include_state", "MyCaffe", "snapshots have both"),
    ForkFields("SolverParameter", "accuracy_average_window", "MyCaffe", "each test is shown as it is"),
    ForkFields("SolverParameter", "store_blobs_in_old_format", "NVIDIA", "files are those that Caffe reads"),
    ForkFields(
        "SolverParameter", "data_distribute_mode model_average_iter_interval", "Alibaba's PAI", "one machine trains"
    ),
    ForkFields("AccuracyParameter", "min_is_better", "AMSoftmax", "it tells its solver which snapshot to keep"),
    ForkFields("AccuracyParameter", "enable_simple_accuracy", "MyCaffe", "another way to the same number"),
    ForkFields("InnerProductParameter", "output_contains_predictions", "MyCaffe", "it tells its viewer what a blob is"),
    ForkFields("EltwiseParameter", "allow_single_batch_input", "MyCaffe", "TokenizedData repeats positions"),
    ForkFields("TransformerBlockParameter", "enable_ln_cuda_impl", "MyCaffe", ALGORITHM),
    ForkFields("NormalizeParameter", "esp", "MyCaffe", "its layer reads eps"),
    ForkFields("DistortionParameter", "use_gpu", "MyCaffe", ALGORITHM),
    ForkFields("DistortionParameter", "random_seed", "MyCaffe", "the solver's random_seed counts"),
    ForkFields("LayerNormParameter", "enable_cuda_impl", "MyCaffe", ALGORITHM),
    ForkFields("RecurrentParameter", "dropout_seed", "MyCaffe", "the solver's random_seed counts"),
    ForkFields("DecodeParameter", "output_centroids pregen_alpha k", "MyCaffe", "it is of targets that are refused"),
    ForkFields("TripletLossParameter", "pregen_label_start", "MyCaffe", "it is of targets that are refused"),
    ForkFields("TokenizedDataParameter", "debug_index_file", "MyCaffe", "it writes down what was drawn"),
    ForkFields("TokenizedDataParameter", "seed", "MyCaffe", "the solver's random_seed counts"),
    ForkFields("TokenizedDataParameter", "python_param", "MyCaffe", "vocabularies of Python are refused"),
    ForkFields("DataTemporalParameter", "drip_refresh_rate_in_sec chunk_count", "MyCaffe", READING),
    ForkFields("DataTemporalParameter", "seed", "MyCaffe", "the solver's random_seed counts"),
    ForkFields("DataTemporalParameter", "enable_debug_output debug_output_path", "MyCaffe", "it draws pictures"),
    ForkFields("VarSelNetParameter", "enable_weight_output", "MyCaffe", "its second top tells"),
    ForkFields("VarSelNetParameter", "batch_first", "MyCaffe", "its layer does not read it"),
    ForkFields("GrnParameter", "batch_first", "MyCaffe", "its layer does not read it"),
)
WITHOUT = "train without it, or let another program prepare the data"
GROUPS_DECAY = "groups of weights do not decay here: train with weight_decay alone"
OTHER_FORM = "the layer has another form there, which is not known here"
REFUSED = (
    ForkFields(
        "TransformationParameter", "img_rand_resize_lower img_rand_resize_upper allow_upscale", "NVIDIA", WITHOUT
    ),
    ForkFields("TransformationParameter", "horizontal_stretch_lower horizontal_stretch_upper", "NVIDIA", WITHOUT),
    ForkFields("TransformationParameter", "vertical_stretch_lower vertical_stretch_upper", "NVIDIA", WITHOUT),
    ForkFields("TransformationParameter", "stride", "temporal segments", WITHOUT),
    ForkFields("TransformationParameter", "scale_factors", "COCO-Stuff", WITHOUT),
    ForkFields("TransformationParameter", "max_rotation_angle max_color_shift min_contrast", "MobileUnet", WITHOUT),
    ForkFields("TransformationParameter", "max_contrast contrast_brightness_adjustment", "MobileUnet", WITHOUT),
    ForkFields("TransformationParameter", "smooth_filtering max_smooth apply_probability", "MobileUnet", WITHOUT),
    ForkFields("TransformationParameter", "noise_param", "MyCaffe", WITHOUT),
    ForkFields("BlobResizeParameter", "function_type intepolation_type resize_factor", "MobileUnet", OTHER_FORM),
    ForkFields("ImageDataParameter", "new_dim bicubic", "channel pruning", "use new_height and new_width"),
    ForkFields("ParamSpec", "decay_proto", "SSL", "train with decay_mult"),
    ForkFields(
        "SolverParameter", "kernel_shape_decay breadth_decay block_group_decay force_decay", "SSL", GROUPS_DECAY
    ),
    ForkFields("ImageLabelDataParameter", "size_min size_max label_slice padding", "caffe-jacinto", WITHOUT),
    ForkFields(
        "SolverParameter",
        "sparse_mode sparsity_target sparsity_step_factor",
        "caffe-jacinto",
        "leave it out: weights of 0 learn like others",
    ),
    ForkFields("SolverParameter", "larc_turbo", "NVIDIA", "LARC is known without it: leave it out"),
)
_IDLE, _REFUSED = (
    {(found.message, field): found for found in fields for field in found.fields.split()} for fields in (IDLE, REFUSED)
)


def idle_field(message: str, field: str) -> ForkFields | None:
    """What is known of a field that the schema lacks, if it may be read over."""
    return _IDLE.get((message, field)) or _IDLE.get((ANY, field))


def refused_field(message: str, field: str) -> ForkFields | None:
    """What is known of a field that the schema lacks, if a layer that has it is to be refused."""
    return _REFUSED.get((message, field))
