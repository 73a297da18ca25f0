"""Fields of Caffe's forks that say nothing about the numbers: they are read over, with one warning for a file.

A field belongs here only if leaving it out changes no value that a net computes, or if it speaks to something that is
refused elsewhere (MyCaffe's image database).  Whatever else a fork has added is in caffe.proto, or is a fault.
"""

from __future__ import annotations

from typing import NamedTuple

ANY = ""  # a message of any type


class Idle(NamedTuple):
    """Fields of a message, the fork they come from, and why nothing is lost without them."""

    message: str
    fields: str
    fork: str
    why: str


PRECISION = "the precision is chosen by --precision"
ALGORITHM = "the backend chooses how to compute"
MEMORY = "memory is planned by the engine"
READING = "how fast data is read, not what"
IMAGE_DATABASE = "it speaks to MyCaffe's image database, which is not read here"

IDLE = (
    Idle("NetParameter", "default_forward_type default_backward_type", "NVIDIA", PRECISION),
    Idle("NetParameter", "default_forward_math default_backward_math", "NVIDIA", PRECISION),
    Idle("LayerParameter", "forward_type backward_type forward_math backward_math", "NVIDIA", PRECISION),
    Idle("NetParameter", "default_cudnn_math_override", "NVIDIA", PRECISION),
    Idle("LayerParameter", "cudnn_math_override", "NVIDIA", PRECISION),
    Idle("NetParameter", "global_grad_scale global_grad_scale_adaptive", "NVIDIA", "gradients are scaled back again"),
    Idle("NetParameter", "eltwise_mem_sharing reduce_buckets", "NVIDIA", MEMORY),
    Idle("NetParameter", "default_conv_algos_override", "NVIDIA", ALGORITHM),
    Idle("ConvolutionParameter", "conv_algos_override cudnn_convolution_algo_seeker", "NVIDIA", ALGORITHM),
    Idle("ConvolutionParameter", "cudnn_workspace_limit cudnn_worspace_allow_on_groups", "MyCaffe", MEMORY),
    Idle("RecurrentParameter", "cudnn_enable_tensor_cores use_cudnn_rnn8_if_supported", "MyCaffe", ALGORITHM),
    Idle(ANY, "engine", "NVIDIA, Intel and others", ALGORITHM),
    Idle("LayerParameter", "strict_dim", "DeepLab", "how a weights file is matched"),
    Idle("V1LayerParameter", "strict_dim", "DeepLab", "how a weights file is matched"),
    Idle("DataParameter", "cache threads parser_threads", "NVIDIA", READING),
    Idle("ImageDataParameter", "cache precache threads", "NVIDIA", READING),
    Idle("TransformationParameter", "use_gpu_transform", "NVIDIA", ALGORITHM),
    Idle("MemoryDataParameter", "source share_in_parallel", "pynetbuilder", "left over from another data layer"),
    Idle("ImageDataParameter", "show_data", "C3D", "it opens a window"),
    Idle("TransformationParameter", "use_imagedb_mean use_image_mean color_order", "MyCaffe", IMAGE_DATABASE),
    Idle("TransformationParameter", "label_mapping", "MyCaffe", IMAGE_DATABASE),
    Idle("DataParameter", "enable_random_selection enable_pair_selection display_timing", "MyCaffe", IMAGE_DATABASE),
    Idle("DataParameter", "images_per_blob output_all_labels balance_matches label_type", "MyCaffe", IMAGE_DATABASE),
    Idle("LayerParameter", "max_bottom_count", "MyCaffe", "it holds in the phase RUN only"),
    Idle("AccuracyParameter", "min_is_better", "AMSoftmax", "it tells its solver which snapshot to keep"),
    Idle("AccuracyParameter", "enable_simple_accuracy", "MyCaffe", "another way to the same number"),
)
_FOUND = {(idle.message, field): idle for idle in IDLE for field in idle.fields.split()}


def idle_field(message: str, field: str) -> Idle | None:
    """What is known of a field that the schema lacks, if it may be read over."""
    return _FOUND.get((message, field)) or _FOUND.get((ANY, field))
