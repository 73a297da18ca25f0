"""What is linear along axes (resizing, mirrored borders, chosen entries) as InnerProducts by a matrix for each axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Unsupported

LARGEST = 2**26  # numbers in a matrix
CUBIC = -0.75  # ONNX's cubic_coeff_a, where a node does not say it


def along(builder: Builder, x: Blob, out: str, matrices: Mapping[int, np.ndarray]) -> None:
    """x with the lines along each axis times a matrix (new length, length)."""
    for axis, matrix in matrices.items():
        last = len(x.shape) - 1
        order = [*(i for i in range(last + 1) if i != axis), axis]
        if axis != last:
            x = permuted(builder, x, f"{out}/turned_{axis}", order)
        x = _times(builder, x, f"{out}/axis_{axis}", matrix)
        if axis != last:
            x = permuted(builder, x, f"{out}/back_{axis}", [order.index(i) for i in range(last + 1)])
    builder.layer("Split", [x], out)


def permuted(builder: Builder, x: Blob, out: str, order: list[int]) -> Blob:
    """x with its axes in this order."""

    def fill(spec):
        spec.permute_param.order.extend(order)

    return builder.layer("Permute", [x], out, fill=fill)


def _times(builder: Builder, x: Blob, out: str, matrix: np.ndarray) -> Blob:
    def fill(spec):
        param = spec.inner_product_param
        param.num_output, param.axis, param.bias_term = len(matrix), len(x.shape) - 1, False

    return builder.layer("InnerProduct", [x], out, [matrix], fill)


def chosen(length: int, places: Sequence[int] | np.ndarray) -> np.ndarray:
    """The matrix (number of places, length) that takes entries of a line by their places."""
    _require_small(len(places), length)
    matrix = np.zeros((len(places), length), np.float32)
    matrix[np.arange(len(places)), np.asarray(places)] = 1
    return matrix


def _require_small(rows: int, columns: int) -> None:
    """Unsupported for a matrix that no net would have."""
    if rows * columns > LARGEST:
        raise Unsupported(f"lines of {columns:,} entries that become {rows:,}: a matrix too large for an InnerProduct")


def bordered(length: int, before: int, behind: int, mode: str) -> np.ndarray:
    """The matrix (before + length + behind, length) that makes a line longer as a Pad of this mode does, or shorter
    where an end is negative.  Unsupported for a mode that ONNX has not."""
    _require_small(before + length + behind, length)
    places = np.arange(-before, length + behind)
    inside = (places >= 0) & (places < length)
    if mode == "constant":
        return np.where(inside[:, None], chosen(length, np.clip(places, 0, length - 1)), 0)
    if mode == "reflect" and length > 1:
        period = 2 * (length - 1)
        places = np.minimum(places % period, period - places % period)
    elif mode == "wrap":
        places = places % length
    elif mode not in ("edge", "reflect"):
        raise Unsupported(f"mode {mode}")
    return chosen(length, np.clip(places, 0, length - 1))


def resizing(old: int, new: int, scale: float, attrs: Mapping) -> np.ndarray:
    """The matrix (new, old) by which a Resize of these attributes makes lines of another length."""
    _require_small(new, old)
    where = _coordinates(old, new, scale, attrs["coordinate_transformation_mode"])
    if attrs["mode"] == "nearest":
        places = _ROUNDED[attrs["nearest_mode"]](where)
        return chosen(old, np.clip(places, 0, old - 1).astype(int))
    first = np.floor(where).astype(int)
    part, matrix = where - first, np.zeros((new, old))
    weights = {0: 1 - part, 1: part}
    if attrs["mode"] == "cubic":
        a = attrs.get("cubic_coeff_a", CUBIC)
        weights = {i: _cubic(np.abs(part - i), a) for i in (-1, 0, 1, 2)}
    for step, weight in weights.items():
        np.add.at(matrix, (np.arange(new), np.clip(first + step, 0, old - 1)), weight)
    return matrix


def _coordinates(old: int, new: int, scale: float, mode: str) -> np.ndarray:
    """Where the entries of a line of the new length lie in the old one."""
    index = np.arange(new, dtype=np.float64)
    if mode == "asymmetric":
        return index / scale
    if mode == "align_corners":
        return index * ((old - 1) / (new - 1) if new > 1 else 0)
    if mode == "half_pixel" or mode == "pytorch_half_pixel" and new > 1:
        return (index + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return index * 0
    raise Unsupported(f"coordinate_transformation_mode {mode}")


_ROUNDED: dict[str, Callable] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """The weight of an entry so far away (Keys, 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
