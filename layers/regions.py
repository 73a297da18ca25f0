"""What layers that pool regions of interest have in common: the bottom that names them, and how they are cut.

Bottom 1, the rois (R, 5), holds a region a row: the index of its image in the batch, and its corners x1, y1, x2, y2 in
pixels of the net's input.  `spatial_scale` leads from there to pixels of bottom 0.
"""

from __future__ import annotations

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault


class RegionLayer(Layer):
    """The base of layers whose bottoms are images (N, C, H, W) and rois (R, 5), and whose top is (R, ...)."""

    bottoms = (2, 2)
    never_differentiable = (1,)

    def cells_of(self, param, field: str) -> tuple[int, int]:
        """(rows, columns) of cells that the message `field` asks for; SchemaFault where one, or the scale, is 0."""
        if min(param.pooled_h, param.pooled_w) < 1 or param.spatial_scale <= 0:
            raise SchemaFault(
                f"pooled_h {param.pooled_h}, pooled_w {param.pooled_w} and spatial_scale {param.spatial_scale:g} must "
                f"be above 0: write, say, {field} {{ pooled_h: 7 pooled_w: 7 spatial_scale: 0.0625 }}"
            )
        return param.pooled_h, param.pooled_w

    def widened(self, corners, ratio: float):
        """Corners (R, 4), in pixels, of regions that grow at each end of a side by `ratio` of its length."""
        grown = (corners[:, 2:] - corners[:, :2] + 1) * ratio
        return corners + self.xp.concatenate([-grown, grown], axis=1)

    def check_regions(self, shapes) -> int:
        """R; ShapeFault where the bottoms are no images and rois."""
        images, rois = shapes
        if len(images) != 4:
            raise ShapeFault(f"bottom 0 has shape {images}: {self.type} takes 4 axes (N, C, height, width)")
        if len(rois) < 2 or math.prod(rois[1:]) != 5:
            exchanged = len(images) == 4 and math.prod(images[1:]) == 5
            raise ShapeFault(
                f"bottom 1 has shape {rois}: it names the regions, five numbers a row (image, x1, y1, x2, y2), shape "
                f"(R, 5){': are the bottoms exchanged?' if exchanged else ''}"
            )
        if rois[0] and not math.prod(images):
            raise ShapeFault(f"{rois[0]} regions are to be cut from images of shape {images}, which have no pixels")
        return rois[0]

    def position_sensitive(self, shapes, param) -> tuple[int, int, int, int]:
        """The top's shape where each cell has maps of its own; ShapeFault where there are not that many."""
        regions, wanted = self.check_regions(shapes), param.output_dim * param.group_size**2
        if shapes[0][1] != wanted:
            raise ShapeFault(
                f"bottom 0 has {shapes[0][1]} channels (shape {shapes[0]}), but output_dim {param.output_dim} with a "
                f"map for each of {param.group_size}x{param.group_size} cells makes {wanted}"
            )
        return regions, param.output_dim, param.group_size, param.group_size

    def regions(self, rois, images: int):
        """(image (R,) int32, corners (R, 4)) of the rois; LabelFault for a region of an image that is not there."""
        rois = self.xp.nan_to_num(rois.reshape(-1, 5))
        image = rois[:, 0].astype("int32")
        outside = (image < 0) | (image >= images)
        if outside.any():
            row = int(outside.argmax())
            raise LabelFault(
                f"region {row} of bottom 1 is of image {int(image[row])}: the batch has images 0 to {images - 1}"
            )
        return image, rois[:, 1:]

    def cells(self, start, length, count: int):
        """Where `count` equal cells of regions from `start` (R,) on begin and end, relative to it: (R, count) each."""
        size, number = length / count, self.xp.arange(count, dtype=start.dtype)
        return number * size[:, None], (number + 1) * size[:, None]

    def clipped(self, first, end, size: int):
        """Windows (R, count, 2), int32, from the first pixel to the one before `end`, as far as they lie in `size`."""
        bounds = self.xp.stack([first, end], axis=-1)
        return self.xp.clip(self.xp.nan_to_num(bounds), 0, size).astype("int32")


def onnx_rounded(graph, x):
    """`rounded` in a graph, whose Round has half to even."""
    size = graph.node("Abs", x)
    whole = graph.node("Floor", size)
    return graph.where((size - whole).equals(0.5), (whole + 1.0) * graph.node("Sign", x), graph.node("Round", x))


def rounded(xp, x):
    """Half away from zero, as C's round has it, and not half to even."""
    whole = xp.trunc(x)
    return xp.where(abs(x - whole) == 0.5, whole + xp.sign(x), xp.rint(x))
