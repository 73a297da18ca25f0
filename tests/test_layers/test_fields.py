"""Every field of every type makes a difference: one that nobody reads would be a setting that is silently ignored."""

import itertools
import warnings

import numpy as np
import pytest

from demitasse.layers.fillers import fill
from demitasse.layers.layer import layer_class
from demitasse.netdef.fields import own_fields
from demitasse.proto.errors import NetError
from demitasse.proto.messages import BlobShape, FillerParameter, is_repeated
from demitasse.proto.upgrade_forks import upgrade_fork_layer
from tests.test_layers.harness import Bench, Specimen, specimens

# These choose among Caffe's own ways to compute.
WITHOUT_EFFECT = {"engine", "force_nd_im2col", "debug_info"}
BY_TYPE = {
    "Im2col": {"num_output", "bias_term", "group", "weight_filler", "bias_filler"},  # of the convolution it prepares
    "DetectionOutput": {"visualize", "visualize_threshold", "save_file"},  # windows on a screen
    "RegionLoss": {"side", "jitter", "absolute", "random"},  # of the map, which has it; of Darknet's data
    "YoloDetectionOutput": {"side", "label_map_file"},
    "Yolov3": {"side"},
    "CtcLoss": {"blank_index", "ctc_merge_repeated", "preprocess_collapse_repeated", "output_delay"},  # upgraded
    "InfogainLoss": {"source"},  # the specimens have their matrix as a bottom
    "SegAccuracy": {"reset"},  # the same batch twice has the same shares
    "MultiStageMeanfield": {
        "compatibility_mode",  # POTTS is the only one
        "threshold",
        "spatial_filter_weight",  # what the params begin with, which here are filled
        "bilateral_filter_weight",
    },
    "GlobalLSEMargin": {"axis", "num_axes", "bias_term", "bias_filler"},  # of Scale, whose message it takes
    "Knn": {"k"},  # nothing is stored in its specimens
    "NoisyInnerProduct": {"enable_noise"},  # what made an InnerProduct one
    "InnerProduct": {"enable_noise", "sigma_init"},
    "CInnerProduct": {"enable_noise", "sigma_init"},
    "ScaleTanH": {"gamma", "power"},  # nothing was learned yet in its specimens
    "DenseBlock": {"moving_average_fraction"},  # TRAIN takes the batch's statistics, which this mixes into older ones
    "MMDLoss": {"fix_gamma"},  # the same batch twice has the same widths
    "Resize": {"type"},  # BILINEAR is the only one
    "GradientScaler": {"alpha", "max_iter", "upper_bound"},  # they tell how it grows
    "ConvolutionDepthwise": {"bias_filler"},  # its specimen has no bias
    "MultiBoxLoss": {"fl_alpha", "fl_gamma", "use_gpu"},  # of conf_loss_type FocalLoss; of an nms_param switched off
    "MultiBoxFocalLoss": {"fl_alpha", "fl_gamma", "axis", "use_gpu"},
    **dict.fromkeys(("GLU", "GateAddNorm"), {"modulation"}),  # SIGMOID is the only one
    # of those that have one box for all classes
    **dict.fromkeys(("BoxGroupOutput", "BoxOutput", "DecodeBBox"), {"cls_aware"}),
    **dict.fromkeys(("DetectionAccuracy", "DetectionGroupAccuracy"), {"cls_aware"}),
    **dict.fromkeys(("DetectionGroupLoss", "DetectionLoss"), {"cls_aware"}),
}


def outcome(specimen):
    """What comes of a specimen: its arrays as bytes, or what is said against it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = _arrays(specimen)
        except NetError as fault:
            found = [str(fault)]
    return [*found, *(str(line.message) for line in said)]


def _arrays(specimen):
    upgrade_fork_layer(specimen.spec)  # forks' fields become today's before a layer sees them
    bench = Bench(specimen)
    layer, be = bench.layer, bench.be
    be.seed(3)
    for param in layer.params:
        param.data[...] = fill(param.shape, param.filler, np.random.default_rng(3), np.float64)
    for x, given in zip(bench.xs, specimen.inputs, strict=True):
        if given.filler is None and x.size:
            x.flat[0] = 0
    with np.errstate(all="ignore"):
        ys = [*layer.forward(bench.xs), *layer.forward(bench.xs)]  # twice: statistics gather
        dys = [np.random.default_rng(4).standard_normal(y.shape) for y in ys[len(ys) // 2 :]]
        dxs = layer.backward(dys, bench.need) if any(bench.need) or bench.learned else []
    arrays = [*ys, *(dx for dx in dxs if dx is not None)]
    arrays += [array for param in layer.params for array in (param.data, param.grad) if array is not None]
    return [f"{np.shape(array)}{np.round(array, 9).tobytes()}" for array in arrays]


def changes(spec, message, field):
    """The layer with other values of a field of one of its messages."""
    for value in _values(field):
        for given in (
            [[value], [value] * max(1, len(getattr(getattr(spec, message), field.name)))]
            if is_repeated(field)
            else [value]
        ):
            changed = type(spec)()
            changed.CopyFrom(spec)
            target = getattr(changed, message)
            target.ClearField(field.name)
            if is_repeated(field):
                getattr(target, field.name).extend(given)
            elif field.message_type:
                getattr(target, field.name).CopyFrom(given)
            else:
                setattr(target, field.name, given)
            yield changed


def _values(field):
    if field.message_type:
        kind = type(field.message_type._concrete_class())
        if kind in (FillerParameter, BlobShape):
            return [FillerParameter(type="constant", value=0.77) if kind is FillerParameter else BlobShape(dim=[6, 1])]
        return [
            kind(**{part.name: value})
            for part in kind.DESCRIPTOR.fields
            if not is_repeated(part)
            for value in _values(part)
        ]
    if field.enum_type:
        return [value.number for value in field.enum_type.values]
    if field.type == field.TYPE_STRING:
        return ["other"]
    return {field.TYPE_BOOL: [True, False], field.TYPE_FLOAT: [0.3, 2.5, -1.0]}.get(field.type, [1, 2, 0, 3])


def grouped():
    by_type = itertools.groupby(sorted(specimens(), key=lambda each: each.spec.type), lambda each: each.spec.type)
    return [pytest.param(list(group), id=name) for name, group in by_type]


@pytest.mark.parametrize("group", grouped())
def test_no_field_is_ignored(group):
    name = group[0].spec.type
    before = [outcome(specimen) for specimen in group]
    unread = []
    for message in own_fields(layer_class(name)):
        for field in getattr(group[0].spec, message).DESCRIPTOR.fields:
            if field.name in WITHOUT_EFFECT | BY_TYPE.get(name, set()):
                continue
            if not any(
                outcome(Specimen("changed", spec, specimen.inputs)) != old
                for specimen, old in zip(group, before, strict=True)
                for spec in changes(specimen.spec, message, field)
            ):
                unread.append(f"{message}.{field.name}")
    assert not unread
