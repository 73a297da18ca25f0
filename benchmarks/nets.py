"""The nets that are compared, as NetParameter messages: those of this file, whose inputs are "data" and, to train,
"label"; and any deploy prototxt.

A net is named by one of NETS, "conv C K ..." (see `single`), or by its file, with its input's size and its batch where
those of the file are not wanted: "PATH", "PATH@368x368", "PATH*8", "PATH@368x368*8".
"""

from __future__ import annotations

import re
from pathlib import Path

from demitasse.proto.messages import NetParameter
from demitasse.proto.text import read_net

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
ZOO = SHARED / "zoo" / "speed"
MODELS = Path(__file__).resolve().parents[1] / "models"


def _layer(name, kind, bottoms, top=None, text=""):
    ends = " ".join(f'bottom: "{b}"' for b in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}" {ends} top: "{top or name}" {text} }}\n'


def _conv(name, bottom, outputs, kernel, pad=0, stride=1, relu=True):
    text = _layer(
        name,
        "Convolution",
        [bottom],
        text=f"convolution_param {{ num_output: {outputs} "
        f'kernel_size: {kernel} pad: {pad} stride: {stride} weight_filler {{ type: "msra" }} }}',
    )
    return text + (_layer(f"{name}_relu", "ReLU", [name], name) if relu else "")


def _input(name, *shape):
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {n}" for n in shape)
        + " } } }\n"
    )


def unet(size: int = 256, width: int = 64, classes: int = 2) -> str:
    """The U-Net of Ronneberger et al. with padded convolutions, as prototxt."""
    text, bottom, skips = 'name: "U-Net"\n' + _input("data", 1, 3, size, size), "data", []
    for depth in range(5):
        for i in (1, 2):
            text += _conv(f"down{depth}_{i}", bottom, width << depth, 3, pad=1)
            bottom = f"down{depth}_{i}"
        if depth < 4:
            skips.append(bottom)
            text += _layer(f"pool{depth}", "Pooling", [bottom], text="pooling_param { kernel_size: 2 stride: 2 }")
            bottom = f"pool{depth}"
    for depth in (3, 2, 1, 0):
        text += _layer(
            f"up{depth}",
            "Deconvolution",
            [bottom],
            text="convolution_param { num_output: "
            f'{width << depth} kernel_size: 2 stride: 2 weight_filler {{ type: "msra" }} }}',
        )
        text += _layer(f"cat{depth}", "Concat", [skips[depth], f"up{depth}"])
        bottom = f"cat{depth}"
        for i in (1, 2):
            text += _conv(f"join{depth}_{i}", bottom, width << depth, 3, pad=1)
            bottom = f"join{depth}_{i}"
    return text + _conv("score", bottom, classes, 1, relu=False)


def squeezenet() -> str:
    """SqueezeNet 1.0 of Iandola et al. without its softmax, as prototxt."""
    text = 'name: "SqueezeNet"\n' + _input("data", 1, 3, 227, 227) + _conv("conv1", "data", 96, 7, stride=2)
    pool = "pooling_param { kernel_size: 3 stride: 2 }"
    text, bottom = text + _layer("pool1", "Pooling", ["conv1"], text=pool), "pool1"
    for i, width in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
        name = f"fire{i}"
        text += _conv(f"{name}_squeeze", bottom, width, 1)
        text += _conv(f"{name}_left", f"{name}_squeeze", 4 * width, 1)
        text += _conv(f"{name}_right", f"{name}_squeeze", 4 * width, 3, pad=1)
        text, bottom = text + _layer(name, "Concat", [f"{name}_left", f"{name}_right"]), name
        if i in (4, 8):
            text, bottom = text + _layer(f"pool{i}", "Pooling", [bottom], text=pool), f"pool{i}"
    text += _conv("score", bottom, 1000, 1)
    return text + _layer("pool", "Pooling", ["score"], text="pooling_param { pool: AVE global_pooling: true }")


def single(name: str) -> str:
    """One layer: "conv C K size kernel pad stride group" as prototxt."""
    c, k, size, kernel, pad, stride, group = map(int, name.split()[1:])
    return (
        f'name: "{name}"\n'
        + _input("data", 1, c, size, size)
        + _layer(
            "y",
            "Convolution",
            ["data"],
            text=f"convolution_param {{ num_output: {k} kernel_size: {kernel} pad: {pad} "
            f'stride: {stride} group: {group} weight_filler {{ type: "msra" }} }}',
        )
    )


SINGLES = [
    "conv 64 64 224 3 1 1 1",
    "conv 256 256 56 3 1 1 1",
    "conv 512 512 14 3 1 1 1",
    "conv 256 1024 14 1 0 1 1",
    "conv 3 64 224 7 3 2 1",
    "conv 128 128 56 3 1 2 1",
    "conv 192 192 56 3 1 1 192",
    "conv 64 64 56 5 2 1 1",
]
NETS = ["voc-fcn8s", "voc-fcn-alexnet", "squeezenet", "unet"]
SIZES = {"openpose_coco": "@368x368"}  # of files that leave them open
FILES = [f"{path}{SIZES.get(path.stem, '')}{batch}" for path in sorted(ZOO.glob("*.prototxt")) for batch in ("", "*8")]


def net_message(name: str, train: bool) -> NetParameter:
    """The net with Input layers; to train, also a loss over every pixel (score and label of one size)."""
    if _FILE.fullmatch(name):
        return _from_file(name)
    if name.startswith("voc"):
        folder = next(f for f in (SHARED / "reference-nets" / name, MODELS / name) if f.is_dir())
        net, _ = read_net(folder / "train.prototxt")
        size = 500
    else:
        net, _ = read_net({"unet": unet, "squeezenet": squeezenet}.get(name, lambda: single(name))() + "\n")
    kept = [layer for layer in net.layer if layer.bottom]
    if not train:
        kept = [layer for layer in kept if layer.type not in ("SoftmaxWithLoss", "Dropout")]
    head, _ = read_net(_input("data", *_data_shape(net, 500 if name.startswith("voc") else 0)))
    if train and name.startswith("voc"):
        head.MergeFrom(read_net(_input("label", 1, 1, size, size))[0])
    del net.layer[:]
    net.layer.extend([*head.layer, *kept])
    if train and not name.startswith("voc"):
        top = kept[-1].top[0]
        net.MergeFrom(
            read_net(
                _layer(
                    "loss", "SoftmaxWithLoss", [top, "label"], text="loss_param { ignore_label: 255 normalize: false }"
                )
            )[0]
        )
        label = read_net(_input("label", 1, 1, *_top_size(name)))[0].layer[0]
        net.layer.insert(0, label)
    return net


_FILE = re.compile(r"(?P<path>.+?\.prototxt)(@(?P<height>\d+)x(?P<width>\d+))?(\*(?P<batch>\d+))?")


def _from_file(name: str) -> NetParameter:
    """The net of a deploy prototxt, at the size and batch that the name may give; one image without."""
    given = _FILE.fullmatch(name)
    net, _ = read_net(given["path"])
    for layer in net.layer:
        if layer.type == "Input":
            shape = layer.input_param.shape[0]
            shape.dim[0] = int(given["batch"] or 1)
            if given["height"]:
                shape.dim[2:] = int(given["height"]), int(given["width"])
    return net


def _data_shape(net, size):
    if size:
        return 1, 3, size, size
    return tuple(next(layer for layer in net.layer if layer.type == "Input").input_param.shape[0].dim)


def _top_size(name):
    return {"unet": (256, 256), "squeezenet": (1, 1)}[name]
