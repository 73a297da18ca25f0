"""Every fully convolutional net of the FCN paper and its release, from one description each.

    net = fcn(voc_train, stride=8)              three streams: the deep features and skips from pool4 and pool3
    net = fcn(voc_train, trunk="alexnet")       FCN-AlexNet
    net = fcn(voc_train.deploy(), stride=8)     no labels in the source: no loss, no dropout

The score of the deepest features is upsampled by 2 and added to the scores of a finer layer, as often as `stride`
asks for; the last upsampling brings it to the pixels.  Where each map lies over the image follows from kernels,
strides and pads: netdef/coords.py computes the offset of every Crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from demitasse.models.trunks import EITHER, LEARNED, SNUG, TRUNKS, Style, Trunk, conv_relu, max_pool, vgg
from demitasse.netdef.coords import crop
from demitasse.netdef.spec import L, NetSpec, P, Top
from demitasse.proto.errors import SchemaFault, did_you_mean

FROZEN = [dict(lr_mult=0)]
UNIT = 1 / 64  # brings pixels of +-128 to a spread near 1, as random weights (msra) expect them
NO_BIAS = dict(bias_term=False)


@dataclass(frozen=True)
class DataSource:
    """Where images and labels come from: a Python data layer, or (module "") an Input to be filled by the caller."""

    images: Sequence[str] = ("data",)  # tops that hold images ...
    labels: Sequence[str] = ()  # ... and labels
    module: str = ""
    layer: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] = (500, 500)  # of an Input

    def deploy(self) -> DataSource:
        """The same images without labels, as an Input."""
        return replace(self, module="", labels=())

    def add(self, n: NetSpec) -> None:
        """Put the data layer, or the Inputs, into a net."""
        tops = [*self.images, *self.labels]
        if self.module:
            made = L.Python(module=self.module, layer=self.layer, param_str=repr(self.options), ntop=len(tops))
            for name, top in zip(tops, made if len(tops) > 1 else [made], strict=True):
                n[name] = top
            return
        for name in tops:
            channels = 1 if name == "depth" or name in self.labels else 3
            label = "input" if len(tops) == 1 else name
            n[name] = L.Input(name=label, shape=[dict(dim=[1, channels, *self.size])])


@dataclass(frozen=True)
class Head:
    """One thing to predict for every pixel."""

    classes: int
    label: str = "label"
    loss: str = "loss"
    suffix: str = ""  # of all names of this head


def fcn(
    source: DataSource,
    heads: Sequence[Head] = (Head(21),),
    *,
    trunk: str = "vgg16",
    stride: int = 32,
    skip_scales: Sequence[float] = (),
    fusion: str = "",
    normalize: bool = False,
    width: float = 1.0,
    random: bool = False,
    snug: bool | None = None,
    fc_kernel: int = 7,
    dropout: bool = True,
):
    """A fully convolutional net as a NetParameter.

    stride: of the finest scores, 32, 16, 8, ... (SqueezeNet begins at 16); each halving adds a skip.
    skip_scales: factors on the skips' features, coarsest first, for training all streams at once.
    fusion: "early" concatenates the images for one trunk, "late" gives each image its own and averages the scores.
    normalize: divide the loss by the number of labelled pixels (VALID) instead of the batch size.
    width: multiplies all channel counts of the trunk.
    random: fillers for training from random weights, pixels brought near 1 (a Power layer "unit"), upsampling per
        class (group) from the bilinear filler; otherwise there are no fillers: weights come from a file, or from
        models/surgery.py.
    snug: False: the image gets a border of 100 pixels, so that fc6 needs none and skips are larger than what they
        are added to.  True: every layer keeps its size and the upsampled scores are the larger ones, which saves
        much work on small images.  None: as published, snug for GoogLeNet and SqueezeNet alone.
    fc_kernel: of fc6, for VGG (7, as published).  dropout: False leaves it out of train nets too.
    SchemaFault for a trunk that there is not, or not in this form.
    """
    if trunk not in TRUNKS:
        raise SchemaFault(f"no trunk '{trunk}'{did_you_mean(trunk, TRUNKS)}: there are {', '.join(TRUNKS)}")
    snug = trunk in SNUG if snug is None else snug
    if snug != (trunk in SNUG) and trunk not in EITHER:
        raise SchemaFault(f"the trunk {trunk} is {'never' if snug else 'always'} snug")
    n = NetSpec()
    source.add(n)
    style = Style(width=width, dropout=dropout and bool(source.labels), random=random, snug=snug, fc_kernel=fc_kernel)
    reference = n[source.images[0]]
    if fusion == "early":
        n.data = reference = L.Concat(*(n[name] for name in source.images))
        base = vgg(n, n.data, style, first="conv1_1_bgrd")
    elif fusion == "late":
        base = _late_fusion(n, source, heads[0], style)
    else:
        base = TRUNKS[trunk](n, _unit(n, reference) if random else reference, style)
    for head in heads:
        score = _scores(n, base, head, stride, skip_scales, style, scored=fusion == "late")
        n["score" + head.suffix] = score = crop(score, reference)
        if head.label in source.labels:
            n[head.loss] = L.SoftmaxWithLoss(
                score, n[head.label], loss_param=dict(normalize=normalize, ignore_label=255)
            )
    return n.to_proto()


def _unit(n: NetSpec, image: Top) -> Top:
    n.unit = L.Power(image, scale=UNIT)
    return n.unit


def _late_fusion(n: NetSpec, source: DataSource, head: Head, style: Style) -> Trunk:
    """A trunk and a score for each image, averaged."""
    streams = []
    for name in source.images:
        base = vgg(n, n[name], replace(style, suffix=name))
        n["score_fr" + name] = top = _score(base.features, head.classes)
        streams.append(top)
    n.score_fused = L.Eltwise(*streams, operation=P.Eltwise.SUM, coeff=[1 / len(streams)] * len(streams))
    return Trunk(n.score_fused, 32, [], odd=False)


def _scores(
    n: NetSpec, base: Trunk, head: Head, stride: int, scales: Sequence[float], style: Style, scored: bool
) -> Top:
    """The upsampled, not yet cropped scores of a head."""
    strides = [base.stride >> i for i in range(len(base.skips) + 1)]
    if stride not in strides:
        raise SchemaFault(f"no scores of stride {stride} from this trunk: there are {', '.join(map(str, strides))}")
    score = base.features
    if not scored:
        n["score_fr" + head.suffix] = score = _score(score, head.classes)
    up = "upscore2"
    for i, (name, features) in enumerate(base.skips[: strides.index(stride)]):
        n[up + head.suffix] = fine = _upsample(score, head.classes, 2, base.odd, style.random)
        if scales:
            n[f"scale_{name}{head.suffix}"] = features = L.Scale(
                features, filler=dict(type="constant", value=scales[i]), param=FROZEN
            )
        n[f"score_{name}{head.suffix}"] = skip = _score(features, head.classes)
        if style.snug:
            n[f"{up}{head.suffix}c"] = fine = crop(fine, skip)
        else:
            n[f"score_{name}{head.suffix}c"] = skip = crop(skip, fine)
        n[f"fuse_{name}{head.suffix}"] = score = L.Eltwise(fine, skip, operation=P.Eltwise.SUM)
        up = f"upscore_{name}"
    up = "upscore" if stride == base.stride else f"upscore{stride}"
    n[up + head.suffix] = score = _upsample(score, head.classes, stride, base.odd, style.random)
    return score


def _score(features: Top, classes: int) -> Top:
    """Class scores of each pixel.  Without a filler they start at zero, as in the paper."""
    return L.Convolution(features, num_output=classes, kernel_size=1, pad=0, param=LEARNED)


def _upsample(score: Top, classes: int, factor: int, odd: bool, random: bool) -> Top:
    """Fixed interpolation by a Deconvolution: its kernel is bilinear, each class on its own."""
    bilinear = dict(group=classes, weight_filler=dict(type="bilinear")) if random else {}
    return L.Deconvolution(
        score,
        convolution_param=dict(num_output=classes, kernel_size=2 * factor - odd, stride=factor, **NO_BIAS, **bilinear),
        param=FROZEN,
    )


def unet(source: DataSource, head: Head = Head(21), *, width: float = 1.0, depth: int = 4, normalize: bool = True):
    """U-Net (arXiv 1505.04597) as a NetParameter: `depth` times down and up again, features concatenated.

    width: a factor on channel counts.  Convolutions are padded, so that image and scores have one size; a learned
    Deconvolution upsamples, and a Crop takes off what ceil pooling has added, so that any size of image will do.
    Weights start at random (msra).
    """
    n, style = NetSpec(), Style(width=width, random=True)
    source.add(n)

    def double(x: Top, name: str, channels: int) -> Top:
        for i in (1, 2):
            x = conv_relu(
                n, x, (f"{name}_{i}", f"relu_{name}_{i}"), style, channels, kernel_size=3, pad=1, param=LEARNED
            )
        return x

    x, skips = _unit(n, n[source.images[0]]), []
    for level in range(depth):
        x = double(x, f"down{level + 1}", style.channels(64 << level))
        skips.append(x)
        x = max_pool(n, x, f"pool{level + 1}", style)
    x = double(x, "bottom", style.channels(64 << depth))
    for level in reversed(range(depth)):
        channels, skip = style.channels(64 << level), skips[level]
        n[f"up{level + 1}"] = x = L.Deconvolution(
            x,
            convolution_param=dict(num_output=channels, kernel_size=2, stride=2, weight_filler=dict(type="msra")),
            param=LEARNED,
        )
        n[f"up{level + 1}c"] = x = crop(x, skip)
        n[f"join{level + 1}"] = x = L.Concat(skip, x)
        x = double(x, f"join{level + 1}", channels)
    n.score = L.Convolution(x, num_output=head.classes, kernel_size=1, param=LEARNED, weight_filler=dict(type="xavier"))
    if head.label in source.labels:
        n[head.loss] = L.SoftmaxWithLoss(n.score, n[head.label], loss_param=dict(normalize=normalize, ignore_label=255))
    return n.to_proto()
