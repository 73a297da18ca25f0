"""The classifiers that FCNs grow from, as layers of a NetSpec: VGG16, VGG19, AlexNet, GoogLeNet, SqueezeNet.

A trunk adds its layers to the spec and returns a Trunk: the features to classify, their stride in pixels, and the
earlier features that skips may take.  Layer names are those of the published classifiers, so that their weights
load; `suffix` is appended to every name where a net holds a trunk twice.  `width` multiplies all channel counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from demitasse.netdef.spec import L, NetSpec, P, Top

LEARNED = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]  # weights, biases
RANDOM = dict(weight_filler=dict(type="msra"))


@dataclass(frozen=True)
class Trunk:
    """What a head builds on."""

    features: Top
    stride: int
    skips: list[tuple[str, Top]]  # (short name, features) of each finer stride, coarsest first: stride / 2, ...
    odd: bool  # whether an output pixel lies on an input pixel (odd kernels upsample it)


@dataclass(frozen=True)
class Style:
    """How the layers of a trunk are written."""

    width: float = 1.0
    dropout: bool = True  # False in deploy nets
    random: bool = False  # fillers for training from random weights
    snug: bool = False  # no border of 100 pixels round the image: every layer keeps its size
    fc_kernel: int = 7  # of VGG's fc6
    suffix: str = ""

    def channels(self, count: int, multiple: int = 1) -> int:
        """A layer's channels at this width, a multiple of `multiple`."""
        return max(1, round(count * self.width / multiple)) * multiple

    def fillers(self) -> dict:
        """The fillers of a layer that starts at random; {} for one whose weights are loaded."""
        return RANDOM if self.random else {}


def conv_relu(n: NetSpec, bottom: Top, names: tuple[str, str], style: Style, count: int, **shape) -> Top:
    """A convolution and its ReLU, named names[0] and names[1]."""
    conv, relu = (name + style.suffix for name in names)
    n[conv] = L.Convolution(bottom, num_output=count, **shape, **style.fillers())
    n[relu] = L.ReLU(n[conv], in_place=True)
    return n[relu]


def max_pool(n: NetSpec, bottom: Top, name: str, style: Style, kernel: int = 2, **more) -> Top:
    """Max pooling of stride 2."""
    n[name + style.suffix] = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=kernel, stride=2, **more)
    return n[name + style.suffix]


def _fc6_fc7(n: NetSpec, x: Top, style: Style, kernel: int, **more) -> Top:
    """The classifier's two hidden layers as convolutions."""
    for number, size, pad in (("6", kernel, kernel // 2 if style.snug else 0), ("7", 1, 0)):
        x = conv_relu(
            n,
            x,
            (f"fc{number}", f"relu{number}"),
            style,
            style.channels(4096),
            kernel_size=size,
            stride=1,
            pad=pad,
            **more,
        )
        if style.dropout:
            name = f"drop{number}{style.suffix}"
            n[name] = L.Dropout(x, dropout_ratio=0.5, in_place=True)
            x = n[name]
    return x


def vgg(n: NetSpec, bottom: Top, style: Style, depths=(2, 2, 3, 3, 3), first="conv1_1") -> Trunk:
    """VGG16; depths (2, 2, 4, 4, 4) make VGG19.  `first` renames the first layer (for other input channels)."""
    x, pools = bottom, []
    for stage, depth in enumerate(depths, 1):
        for i in range(1, depth + 1):
            start = stage == i == 1
            x = conv_relu(
                n,
                x,
                (first if start else f"conv{stage}_{i}", f"relu{stage}_{i}"),
                style,
                style.channels(min(64 << stage - 1, 512)),
                kernel_size=3,
                stride=1,
                pad=100 if start and not style.snug else 1,
                param=LEARNED,
            )
        x = max_pool(n, x, f"pool{stage}", style)
        pools.append((f"pool{stage}", x))
    x = _fc6_fc7(n, x, style, style.fc_kernel, param=LEARNED)
    return Trunk(x, 32, pools[-2::-1], odd=False)


def vgg19(n: NetSpec, bottom: Top, style: Style) -> Trunk:
    """VGG19: a convolution more in each of the last three stages."""
    return vgg(n, bottom, style, depths=(2, 2, 4, 4, 4))


def alexnet(n: NetSpec, bottom: Top, style: Style) -> Trunk:
    """CaffeNet: pooling before normalization, two groups; every parameter at rate 1, as in the published FCN."""
    x = bottom
    for stage, count, kernel, stride, pad, group in (
        (1, 96, 11, 4, 100, 1),
        (2, 256, 5, 1, 2, 2),
        (3, 384, 3, 1, 1, 1),
        (4, 384, 3, 1, 1, 2),
        (5, 256, 3, 1, 1, 2),
    ):
        x = conv_relu(
            n,
            x,
            (f"conv{stage}", f"relu{stage}"),
            style,
            style.channels(count, 2),
            kernel_size=kernel,
            stride=stride,
            pad=pad,
            group=group,
        )
        if stage in (1, 2, 5):
            x = max_pool(n, x, f"pool{stage}", style, 3)
        if stage in (1, 2):
            name = f"norm{stage}{style.suffix}"
            n[name] = L.LRN(x, local_size=5, alpha=1e-4, beta=0.75)
            x = n[name]
    x = _fc6_fc7(n, x, style, 6, group=1)
    return Trunk(x, 32, [], odd=True)


# The six branch widths of each inception module: 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection.
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(n: NetSpec, bottom: Top, style: Style) -> Trunk:
    """GoogLeNet up to its last inception module; the two auxiliary classifiers are left out."""

    def conv(x, name, count, kernel, stride=1, pad=0):
        folder, _, leaf = name.rpartition("/")
        return conv_relu(
            n,
            x,
            (name, f"{folder}/relu_{leaf}"),
            style,
            style.channels(count),
            kernel_size=kernel,
            stride=stride,
            pad=pad,
            param=LEARNED,
        )

    def norm(x, name):
        n[name + style.suffix] = L.LRN(x, local_size=5, alpha=1e-4, beta=0.75)
        return n[name + style.suffix]

    def inception(x, module):
        name, (one, three_in, three, five_in, five, projection) = f"inception_{module}", INCEPTION[module]
        pool = max_pool_1(x, f"{name}/pool")
        branches = [
            conv(x, f"{name}/1x1", one, 1),
            conv(conv(x, f"{name}/3x3_reduce", three_in, 1), f"{name}/3x3", three, 3, pad=1),
            conv(conv(x, f"{name}/5x5_reduce", five_in, 1), f"{name}/5x5", five, 5, pad=2),
            conv(pool, f"{name}/pool_proj", projection, 1),
        ]
        n[f"{name}/output{style.suffix}"] = L.Concat(*branches)
        return n[f"{name}/output{style.suffix}"]

    def max_pool_1(x, name):
        n[name + style.suffix] = L.Pooling(x, pool=P.Pooling.MAX, kernel_size=3, stride=1, pad=1)
        return n[name + style.suffix]

    x = conv(bottom, "conv1/7x7_s2", 64, 7, stride=2, pad=3)
    x = norm(max_pool(n, x, "pool1/3x3_s2", style, 3), "pool1/norm1")
    x = conv(conv(x, "conv2/3x3_reduce", 64, 1), "conv2/3x3", 192, 3, pad=1)
    x = pool2 = max_pool(n, norm(x, "conv2/norm2"), "pool2/3x3_s2", style, 3)
    for module in ("3a", "3b"):
        x = inception(x, module)
    skips = [("pool2", pool2)]
    x = pool3 = max_pool(n, x, "pool3/3x3_s2", style, 3)
    skips.insert(0, ("pool3", pool3))
    for module in ("4a", "4b", "4c", "4d", "4e"):
        x = inception(x, module)
    x = max_pool(n, x, "pool4/3x3_s2", style, 3)
    for module in ("5a", "5b"):
        x = inception(x, module)
    return Trunk(x, 32, skips, odd=True)


def squeezenet(n: NetSpec, bottom: Top, style: Style) -> Trunk:
    """SqueezeNet 1.0 up to fire9, with the layer names of its published weights."""
    x = conv_relu(
        n, bottom, ("conv1", "relu_conv1"), style, style.channels(96), kernel_size=7, stride=2, pad=3, param=LEARNED
    )
    x = max_pool(n, x, "pool1", style, 3)
    skips = []
    for module, squeeze, expand in (
        (2, 16, 64),
        (3, 16, 64),
        (4, 32, 128),
        (5, 32, 128),
        (6, 48, 192),
        (7, 48, 192),
        (8, 64, 256),
        (9, 64, 256),
    ):

        def conv(x, leaf, count, kernel, pad=0, fire=f"fire{module}"):
            return conv_relu(
                n,
                x,
                (f"{fire}/{leaf}", f"{fire}/relu_{leaf}"),
                style,
                style.channels(count),
                kernel_size=kernel,
                pad=pad,
                param=LEARNED,
            )

        squeezed = conv(x, "conv1x1_1", squeeze, 1)
        name = f"fire{module}/concat{style.suffix}"
        n[name] = L.Concat(conv(squeezed, "conv1x1_2", expand, 1), conv(squeezed, "conv3x3_2", expand, 3, 1))
        x = n[name]
        if module in (4, 8):
            skips.insert(0, (f"fire{module}", x))
            x = max_pool(n, x, f"pool{module}", style, 3)
    if style.dropout:
        n["drop9" + style.suffix] = L.Dropout(x, dropout_ratio=0.5, in_place=True)
        x = n["drop9" + style.suffix]
    return Trunk(x, 16, skips, odd=True)


TRUNKS = {"vgg16": vgg, "vgg19": vgg19, "alexnet": alexnet, "googlenet": googlenet, "squeezenet": squeezenet}
SNUG = {"googlenet", "squeezenet"}  # trunks that are always snug; AlexNet never is
EITHER = {"vgg16", "vgg19"}
