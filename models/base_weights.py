"""The weights that FCNs start from: an ImageNet classifier's, made convolutional.

The release names vgg16-fcn and alexnet-fcn but holds neither: they are VGG16 and CaffeNet with fc6 as a 7x7 (6x6)
and fc7 as a 1x1 convolution and without fc8.  A fully connected layer and the convolution over the whole map that
it saw have the same weights in the same order, so only the shape changes (FCN paper, section 3.1).
"""

from __future__ import annotations

from pathlib import Path

from demitasse.models.fcn import DataSource, fcn
from demitasse.models.surgery import Shapes, TransplantReport, Weights, param_shapes, transplant
from demitasse.proto.errors import SchemaFault, WeightsFault, did_you_mean
from demitasse.proto.weights import read_weights

# name -> (trunk of models/trunks.py, the classifier)
BASES = {
    "vgg16-fcn": ("vgg16", "VGG16"),
    "vgg19-fcn": ("vgg19", "VGG19"),
    "alexnet-fcn": ("alexnet", "CaffeNet"),
    "googlenet": ("googlenet", "GoogLeNet"),
    "squeezenet": ("squeezenet", "SqueezeNet 1.0"),
}
# SqueezeNet's weights are known under two sets of names.
SQUEEZENET = {
    f"fire{i}/{old}": f"fire{i}/{new}"
    for i in range(2, 10)
    for old, new in (("squeeze1x1", "conv1x1_1"), ("expand1x1", "conv1x1_2"), ("expand3x3", "conv3x3_2"))
}


def trunk_shapes(name: str, width: float = 1.0) -> Shapes:
    """Shapes of a base's params: those of the trunk, without any score.  width: a factor on its channel counts.

    SchemaFault for a base that there is not.
    """
    if name not in BASES:
        raise SchemaFault(f"no base '{name}'{did_you_mean(name, BASES)}: there are {', '.join(BASES)}")
    trunk = BASES[name][0]
    stride = 16 if trunk == "squeezenet" else 32
    shapes = param_shapes(fcn(DataSource(size=(64, 64)), trunk=trunk, stride=stride, width=width))
    return {layer: arrays for layer, arrays in shapes.items() if "score" not in layer}


def make_base(name: str, classifier: str | Path, width: float = 1.0) -> tuple[Weights, TransplantReport]:
    """A base's weights from those of its classifier (any format, or a base already), and what became of each layer.

    width: the factor on channel counts that the classifier has.  Raises WeightsFault where counts differ or a layer of
    the trunk is missing.
    """
    shapes = trunk_shapes(name, width)
    if not Path(classifier).exists():
        raise WeightsFault(
            f"{classifier}: no such file: docs/sources.md (Weights) says where those of {BASES[name][1]} are"
        )
    rename = SQUEEZENET if name == "squeezenet" else None
    try:
        taken, report = transplant(read_weights(classifier), shapes, rename=rename)
    except WeightsFault as fault:
        raise WeightsFault(f"{classifier}: {fault}; are these the weights of {BASES[name][1]}?") from fault
    if report.missing:
        raise WeightsFault(
            f"{classifier}: lacks {', '.join(report.missing)} of {name}; are these the weights of {BASES[name][1]}?"
        )
    short = [layer for layer, arrays in taken.items() if len(arrays) < len(shapes[layer])]
    if short:
        raise WeightsFault(
            f"{classifier}: layer '{short[0]}' has {len(taken[short[0]])} arrays, but {name} needs "
            f"{len(shapes[short[0]])} (weights and biases)"
        )
    return taken, report
