"""What other frameworks, and forks of Caffe, call things: for a hint where such a word stands in a prototxt."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from demitasse.proto.errors import did_you_mean

_TYPES = {  # layer types in small letters without underscores -> Caffe's
    "conv conv2d conv2 convolution2d convlayer": "Convolution",
    "convtranspose convtranspose2d conv2dtranspose deconv deconv2d transposedconvolution": "Deconvolution",
    "depthwiseconv2d depthwiseconv separableconv2d": "Convolution with group: its number of channels",
    "linear dense fc fullyconnected gemm innerproductlayer affine": "InnerProduct",
    "maxpool maxpool2d maxpooling maxpooling2d": "Pooling with pool: MAX",
    "avgpool avgpool2d averagepool averagepooling averagepooling2d meanpool": "Pooling with pool: AVE",
    "globalaveragepooling2d globalaveragepool globalavgpool adaptiveavgpool2d": "Pooling with pool: AVE and "
    "global_pooling: true",
    "batchnorm2d batchnormalization batchnorm1d syncbatchnorm": "BatchNorm, followed by Scale with bias_term: true",
    "crossentropyloss crossentropy nllloss softmaxloss softmaxcrossentropy softmaxwithcrossentropy "
    "softmaxoutput logsoftmaxloss": "SoftmaxWithLoss",
    "bceloss bcewithlogitsloss binarycrossentropy sigmoidloss": "SigmoidCrossEntropyLoss",
    "mseloss mse l2loss meansquarederror regressionloss": "EuclideanLoss",
    "leakyrelu": "ReLU with relu_param { negative_slope: 0.1 }",
    "add sum eltwiseadd elementwisesum elementwise": "Eltwise with operation: SUM",
    "mul multiply eltwiseproduct": "Eltwise with operation: PROD",
    "cat concatenate merge": "Concat",
    "logsoftmax": "Softmax, followed by Log",
    "localresponsenormalization localresponsenorm responsenorm": "LRN",
    "zeropadding2d zeropad2d pad padding": "pad in the layer that follows",
    "transpose": "Permute",
    "view": "Reshape",
    "resize interpolate bilinearupsampling upsamplingbilinear2d": "Interp, or Deconvolution with a bilinear filler",
    "cropping2d centercrop": "Crop",
    "imagefolder imagedatalayer": "ImageData",
    "silu": "Swish",
}
_CAFFES = {word: caffes for words, caffes in _TYPES.items() for word in words.split()}

_FIELDS = {  # other frameworks' fields -> Caffe's, where the message has that
    "filters out_channels units num_filter nout": "num_output",
    "padding": "pad",
    "strides": "stride",
    "size ksize kernel": "kernel_size",
    "bias use_bias": "bias_term",
    "dropout rate p": "dropout_ratio",
    "lr learning_rate": "base_lr",
    "lr lr_multiplier": "lr_mult",
    "wd weight_decay decay": "decay_mult",
    "momentum beta1": "momentum",
    "beta2": "momentum2",
    "wd l2": "weight_decay",
    "optimizer": "type",
    "iterations num_iter max_iterations": "max_iter",
    "eps epsilon": "eps",
    "ignore_index": "ignore_label",
}
_FORK_TYPES = {  # layer types that only a fork has, and that are not known here
    "MyCaffe": "AccuracyEncoding Debug UnPooling",
    "NVIDIA": "DetectNetTransformation TRT",
    "joyousrabbit's fork": "CityscapesSegData CvpppSegData VocSegData",
    "MS-CNN": "WindowPedData",
    "FlowNet": "BlackAugmentation CustomData DataAugmentation FlowAugmentation GenerateAugmentationParameters Lpq",
}
_FORK_OF = {name: fork for fork, names in _FORK_TYPES.items() for name in names.split()}

_OWN_LAYER = ("activation", "relu", "non_linearity", "act")

_CHARACTERS = {  # what no prototxt has outside strings -> what to write
    "=": 'a value follows a colon, as in name: "conv1"',
    "(": "several values are written one by one (dim: 1 dim: 3), or in brackets ([1, 3])",
    "*": "a comment begins with #",
    "%": "write the number itself, as 0.5",
    "^": "powers of ten are written 1e-3",
    "\u201c": 'quotes are straight (")',
    "\u201d": 'quotes are straight (")',
    "\u2018": 'quotes are straight (")',
    "\u2019": 'quotes are straight (")',
    "\u2013": "a minus is -",
    "\u2014": "a minus is -",
    "\u2212": "a minus is -",
    "\xa0": "a no-break space, as web pages have it: write a plain one",
    "\uff1a": "a colon is :",
    "\uff0c": "a comma is ,",
    "$": "names of variables are not replaced: write the value",
    "+": "a number has no +",
}

_NET_WORDS = {  # what nets of other frameworks can do -> how it is done here
    "eval train": 'a net is built for its phase: Net(prototxt, "TEST"), and trained by a solver',
    "to cuda gpu": 'a net is built on its device: Net(prototxt, backend=make_backend("gpu"))',
    "parameters named_parameters weights": "what is learned is in net.params: {layer: [weights, bias]}",
    "state_dict": "net.save(file) writes the weights; net.params holds them",
    "load_state_dict load_weights copy_from restore": "Net(prototxt, weights=file) loads weights, net.load(file) too",
    "zero_grad": "a solver clears gradients before each iteration",
    "summary": "`demitasse show net.prototxt` prints every size",
    "predict call": 'net.forward({"data": array}) gives {blob: array}',
    "fit step optimizer": "a solver trains a net: `demitasse train solver.prototxt`",
}


class NetHints:
    """What is a net, and tells those who look for what nets of other frameworks can do how it is done here."""

    if not TYPE_CHECKING:  # which else takes every name for one that is there

        def __getattr__(self, name):
            for words, how in _NET_WORDS.items():
                if name in words.split():
                    raise AttributeError(f"a net has no '{name}': {how}")
            return object.__getattribute__(self, name)  # which says what Python says


def fork_hint(name: str) -> str:
    """ " (of MyCaffe)" for a layer type that only a fork has; may be empty."""
    return f" (of {_FORK_OF[name]})" if name in _FORK_OF else ""


def type_hint(name: str, known: Iterable[str]) -> str:
    """A hint at what an unknown layer type may be meant to be; may be empty."""
    if hint := fork_hint(name):
        return hint
    caffes = _CAFFES.get(name.lower().replace("_", ""))
    return f" (Caffe's word is {caffes})" if caffes else did_you_mean(name, known)


def other_field(field: str, known: Iterable[str]) -> str:
    """What Caffe calls another framework's field; empty where none of `known` is meant."""
    if field in _OWN_LAYER:
        return 'an activation is a layer of its own: type: "ReLU", with bottom and top the top of this one'
    if "max_iter" in known and field in ("epochs", "num_epochs", "max_epoch"):
        return "training is counted in iterations: max_iter is the epochs times the images by the batch"
    if "max_iter" in known and field in ("batch_size", "batchsize"):
        return "it belongs to the net's data layer"
    for words, caffes in _FIELDS.items():
        if field in words.split() and caffes in known:
            return f"Caffe's word is {caffes}"
    return ""


def character_hint(character: str) -> str:
    """ ": a comment begins with #" for a character that does not belong in a prototxt; may be empty."""
    if character in _CHARACTERS:
        return f": {_CHARACTERS[character]}"
    plain = unicodedata.normalize("NFKC", character)
    return f": write {plain}" if plain != character and plain.isascii() and plain.isprintable() else ""
