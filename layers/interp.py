"""Interp (DeepLab, PSPNet): bilinear resizing in which the corners of the images coincide.

The bottom (N, C, H, W) first loses -pad_beg rows and columns at its beginning and -pad_end at its end.  The size that
remains is n; the top has n + (n - 1) * (zoom_factor - 1) after (n - 1) / shrink_factor + 1, or height x width, or the
size of a second bottom.  Resizing is linear, so it is a matrix from the left (rows) and one from the right (columns).

Source: the prototxts of DeepLab and PSPNet.
"""

from demitasse.layers.separable import SeparableResize
from demitasse.proto.errors import SchemaFault, ShapeFault


class Interp(SeparableResize):
    type = "Interp"

    def setup(self, shapes):
        field = self.spec.interp_param
        factors, sizes = (
            [name for name in names if field.HasField(name)]
            for names in (("zoom_factor", "shrink_factor"), ("height", "width"))
        )
        ways = [factors, sizes, ["a second bottom"] if len(shapes) == 2 else []]
        if sum(map(bool, ways)) != 1 or len(sizes) == 1:
            raise SchemaFault(
                f"interp_param gives the size by {', '.join(sum(ways, [])) or 'nothing'}: choose "
                "zoom_factor and shrink_factor, or height and width, or a second bottom"
            )
        if field.pad_beg > 0 or field.pad_end > 0:
            raise SchemaFault(
                f"interp_param has pad_beg {field.pad_beg} and pad_end {field.pad_end}: they crop, "
                "and must be 0 or negative"
            )
        for name in ways[0] + ways[1]:
            if getattr(field, name) < 1:
                raise SchemaFault(f"interp_param.{name} is {getattr(field, name)}: it must be 1 or more")
        self.first_shapes = shapes
        return []

    def infer(self, shapes):
        shape, field = shapes[0], self.spec.interp_param
        if any(len(s) != 4 for s in shapes):
            raise ShapeFault(f"the bottoms have shapes {shapes}: Interp takes images, (N, C, H, W)")
        used, out = self._sizes(shapes)
        if min(used) < 1:
            raise ShapeFault(f"pad_beg {field.pad_beg} and pad_end {field.pad_end} leave nothing of the bottom {shape}")
        return [(*shape[:2], *out)]

    def _sizes(self, shapes):
        """How many rows and columns of the bottom are used, and how many the top has."""
        field = self.spec.interp_param
        used = [n + field.pad_beg + field.pad_end for n in shapes[0][2:]]
        if len(shapes) == 2:
            return used, shapes[1][2:]
        if field.HasField("height"):
            return used, (field.height, field.width)
        return used, tuple(((n - 1) // field.shrink_factor) * field.zoom_factor + 1 for n in used)

    def matrices(self, shapes):
        """Of rows (out, H) and of columns (out, W)."""
        return [self.matrix(*each) for each in zip(*self._sizes(shapes), shapes[0][2:], strict=True)]

    def matrix(self, used, out, size):
        """(out, size): the part of each pixel of the bottom in each of the top, along an axis."""
        xp = self.xp
        position = xp.arange(out) * ((used - 1) / max(out - 1, 1)) - self.spec.interp_param.pad_beg
        return xp.maximum(1 - xp.abs(position[:, None] - xp.arange(size)), 0)

    def to_onnx(self, graph, xs):
        x, field = xs[0], self.spec.interp_param
        used = [n + (field.pad_beg + field.pad_end) for n in graph.sizes(x)[2:]]
        if field.pad_beg or field.pad_end:
            ends = [n - field.pad_beg for n in used]
            x = graph.slice(x, [-field.pad_beg] * 2, ends, [2, 3])
        if len(xs) == 2:
            out = graph.sizes(xs[1])[2:]
        elif field.HasField("height"):
            out = field.height, field.width
        else:
            out = [((n - 1) // field.shrink_factor) * field.zoom_factor + 1 for n in used]
        return [graph.resize(x, [*graph.sizes(xs[0])[:2], *out], "linear", "align_corners")]

    def coords(self):
        used, out = self._sizes(self.first_shapes)
        scale = tuple((after - 1) / max(n - 1, 1) for after, n in zip(out, used, strict=True))
        return 2, scale, tuple(self.spec.interp_param.pad_beg * s for s in scale)
