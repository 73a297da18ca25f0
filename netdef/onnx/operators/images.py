"""Resizing, and normalisation across channels, as layers."""

from __future__ import annotations

import math

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator
from demitasse.netdef.onnx.operators.lines import along, resizing

COORDINATES_SAID = 11  # the opset from which on Resize says which pixels it takes
REPEATING = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}


@operator("LRN")
def _lrn(builder: Builder, node: Node, inputs: list) -> None:
    attrs = node.attrs

    def fill(spec):
        param = spec.lrn_param
        param.local_size, param.k = attrs["size"], attrs.get("bias", 1.0)
        param.alpha, param.beta = attrs.get("alpha", 1e-4), attrs.get("beta", 0.75)

    builder.layer("LRN", inputs, node.outputs[0], fill=fill)


@operator("Resize", "Upsample")
def _resize(builder: Builder, node: Node, inputs: list) -> None:
    x, *rest = inputs
    rest.append(np.asarray(node.attrs.get("scales", ()), np.float32))  # of Upsample before opset 9
    given = [value for value in rest if isinstance(value, np.ndarray) and value.size == len(x.shape)]
    if not given:
        raise Unsupported("sizes that are computed in the run")
    sizes = given[-1]
    whole = np.issubdtype(sizes.dtype, np.integer)
    out = [int(n) if whole else math.floor(n * size) for n, size in zip(sizes, x.shape, strict=True)]
    mode, older = node.attrs.get("mode", "nearest"), builder.opset < COORDINATES_SAID
    meant = mode == "linear" and builder.producer == "pytorch"  # half pixels, which old files had no word for
    usual = "asymmetric" if older and not meant else "half_pixel"
    how = node.attrs.get("coordinate_transformation_mode", usual)
    rounding = node.attrs.get("nearest_mode", "floor" if older else "round_prefer_floor")
    scales = [b / a for a, b in zip(x.shape, out, strict=True)] if whole else [float(size) for size in sizes]
    factor = int(scales[2]) if len(scales) == 4 and scales[2] == scales[3] and scales[2].is_integer() else 0
    attrs, plain = node.attrs, out[:2] == list(x.shape[:2]) and len(out) == 4
    odd = ("antialias", "exclude_outside", "axes")
    if any(attrs.get(name) for name in odd) or attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported(f"{', '.join(name for name in odd if name in attrs)} or an aspect ratio that is kept")
    if out == list(x.shape):
        builder.values[node.outputs[0]] = x
    elif plain and mode == "linear" and how == "align_corners":

        def fill(spec):
            spec.interp_param.height, spec.interp_param.width = out[2:]

        builder.layer("Interp", [x], node.outputs[0], fill=fill)
    elif plain and mode == "linear" and factor > 1 and how in ("half_pixel", "pytorch_half_pixel"):
        _half_pixel(builder, x, node.outputs[0], factor)
    elif plain and mode == "nearest" and factor > 1 and (how, rounding) in REPEATING:

        def repeat(spec):
            spec.upsample_param.scale = factor

        builder.layer("Upsample", [x], node.outputs[0], fill=repeat)
    else:
        meant = {**attrs, "mode": mode, "coordinate_transformation_mode": how, "nearest_mode": rounding}
        changed = [axis for axis in range(len(out)) if out[axis] != x.shape[axis]]
        along(
            builder,
            x,
            node.outputs[0],
            {axis: resizing(x.shape[axis], out[axis], scales[axis], meant) for axis in changed},
        )


def _half_pixel(builder: Builder, x: Blob, out: str, factor: int) -> None:
    """Bilinear upsampling whose border is the image's last pixel on: a Deconvolution, over the part of its kernel that
    lay on the image."""
    size, channels = 2 * factor - factor % 2, x.shape[1]
    line = 1 - np.abs(np.arange(size) - (size - 1) / 2) / factor
    kernel = np.broadcast_to(np.outer(line, line), (channels, 1, size, size))

    def fill(spec):
        param = spec.convolution_param
        param.num_output, param.group, param.bias_term = channels, channels, False
        param.kernel_size.append(size)
        param.stride.append(factor)
        param.pad.append(-(-(factor - 1) // 2))

    top = builder.layer("Deconvolution", [x], f"{out}/bilinear", [kernel], fill)
    shares = [_share(n, factor, line, size) for n in x.shape[2:]]

    def scale(spec):
        spec.scale_param.axis, spec.scale_param.num_axes = 2, 2

    builder.layer("Scale", [top], out, [1 / np.outer(*shares)], scale)


def _share(count: int, factor: int, line: np.ndarray, size: int) -> np.ndarray:
    """How much of the kernel lies on the image, at each pixel of a line of the top."""
    whole = np.zeros(factor * (count - 1) + size)
    for i in range(count):
        whole[i * factor : i * factor + size] += line
    pad = -(-(factor - 1) // 2)
    return whole[pad : len(whole) - pad]
