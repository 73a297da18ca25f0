"""Image files to arrays as OpenCV gives them: rows x columns x channels, 8 bits, BGR order.

Caffe's nets were trained on what `cv::imread` and `cv::resize` made of the files, so these rules are theirs:
a colour image has three channels however the file stores it (alpha is dropped, a palette looked up, grey
repeated), 16 bits keep their high byte, and resizing is bilinear without smoothing.  Where we differ: a broken
or truncated file is a DataFault (OpenCV fills what is missing with grey), and an EXIF rotation is never applied
(OpenCV 2, of Caffe's time, did not; a label image knows nothing of it).

`read_picture` and `to_array` are its two halves, for data sets that look at what lies between: Pillow's image.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from demitasse.layers.data.files import read_file
from demitasse.proto.errors import DataFault, SchemaFault, did_you_mean

ENCODINGS = {
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "png": "PNG",
    "bmp": "BMP",
    "tif": "TIFF",
    "tiff": "TIFF",
    "ppm": "PPM",
    "webp": "WEBP",
}


def read_image(path: str, color: bool, where: str) -> np.ndarray:
    """The image file as (H, W, 3) BGR, or (H, W, 1) where not `color`; `where` names it in errors."""
    return decode_image(read_file(path, where), color, where)


def decode_image(data: bytes, color: bool | None, where: str) -> np.ndarray:
    """Encoded bytes as (H, W, C) uint8: 3 channels (color), 1 (not color), or as many as are stored (None).

    DataFault, with `where`, for what is no image.
    """
    picture = open_picture(data, where, grey=color is False)
    try:
        return to_array(picture, color, where)
    except MemoryError:
        size = f"{picture.height} x {picture.width}"
        raise DataFault(f"{where}: not enough memory for an image of {size} pixels") from None


def to_array(picture: Image.Image, color: bool | None, where: str) -> np.ndarray:
    """Pillow's image as (H, W, C) uint8, colours in the order BGR; `color` as for decode_image."""
    image = _eight_bits(picture, where)
    if image.mode == "L" and color is not True:
        return np.array(image)[:, :, None]
    if color is None and (image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info):
        return np.array(image.convert("RGBA"))[:, :, [2, 1, 0, 3]]
    # Alpha is dropped, not blended: hidden pixels show their stored colour, as in OpenCV.
    image = image.convert("RGB")
    return np.array(image)[:, :, ::-1] if color is not False else np.array(image.convert("L"))[:, :, None]


def read_labels(path: str, where: str, remedy: str = "save it as a grey or a palette image") -> np.ndarray:
    """A label image (H, W) of class indices: those of a palette image, or the values of a grey one of 1 to 16 bits.

    An alpha channel that hides nothing is passed over.  remedy: what to do with a picture of colours, for errors.
    DataFault for a picture of colours.
    """
    image = read_picture(path, where)
    if image.mode == "LA":
        if np.asarray(image.getchannel("A")).min(initial=255) < 255:
            raise DataFault(f"{where}: is gray with transparency (mode LA), which a label image has not; {remedy}")
        image = image.getchannel("L")
    if image.mode not in ("P", "L", "1", "I") and not image.mode.startswith("I;16"):
        raise DataFault(
            f"{where}: is a picture of colours (mode {image.mode}), but a label image has one channel of class "
            f"indices; {remedy}"
        )
    return np.array(image)


def read_picture(path: str, where: str) -> Image.Image:
    """The image file, decoded, as Pillow's image: its mode tells what is stored."""
    return open_picture(read_file(path, where), where)


def open_picture(data: bytes, where: str, grey: bool = False) -> Image.Image:
    """Encoded bytes, decoded, as Pillow's image.  grey: a JPEG gives the luminance that it stores, as OpenCV takes
    it.  DataFault, with `where`, for what is no image."""
    if not data:
        raise DataFault(f"{where}: the file is empty")
    try:
        image = Image.open(io.BytesIO(data))
        if grey and image.format == "JPEG":
            image.draft("L", image.size)
        image.load()
    except Image.UnidentifiedImageError:
        raise DataFault(f"{where}: not an image ({len(data)} bytes that start with {data[:8]!r})") from None
    except MemoryError:
        raise DataFault(f"{where}: not enough memory to decode it ({len(data)} bytes)") from None
    except Exception as error:  # Pillow's plugins raise many kinds on broken files
        raise DataFault(f"{where}: broken image: {error}") from None
    return image


def _eight_bits(image, where: str):
    """The image with 8 bits per channel; 16-bit grey keeps the high byte."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataFault(
            f"{where}: the image has 32-bit pixels; save it with 8 or 16 bits, or put such values into HDF5Data"
        )
    return image


def encode_image(image: np.ndarray, encoding: str) -> bytes:
    """(H, W, 1 or 3) uint8 BGR as a file of that type ("png", "jpg", ...; JPEG at OpenCV's quality 95).

    SchemaFault for another type.
    """
    kind = ENCODINGS.get(encoding.lower().lstrip("."))
    if kind is None:
        raise SchemaFault(
            f"encode_type '{encoding}' is not known{did_you_mean(encoding, ENCODINGS)}; "
            f"choose one of {', '.join(ENCODINGS)}"
        )
    pixels = image[:, :, 0] if image.shape[2] == 1 else np.ascontiguousarray(image[:, :, ::-1])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, C) uint8 to (height, width, C), bilinear in OpenCV's fixed-point arithmetic.

    Only the four neighbours of a pixel count, also when shrinking: Pillow's filter would average more.
    """
    rows, cols = image.shape[:2]
    if (rows, cols) == (height, width):
        return image
    if (rows, cols) == (2 * height, 2 * width):  # OpenCV takes the mean of each 2 x 2 block
        blocks = image.reshape(height, 2, width, 2, -1).astype(np.uint16)
        return ((blocks.sum(axis=(1, 3), dtype=np.uint16) + 2) >> 2).astype(np.uint8)
    channels = image.shape[2]
    left, right, near, far = _neighbours(cols, width, stop=True)
    left, right = (np.add.outer(index * channels, np.arange(channels)).ravel() for index in (left, right))
    top, bottom, upper, lower = _neighbours(rows, height, stop=False)
    used, inverse = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    lines = image.reshape(rows, cols * channels)[used]
    # Along the columns with 11 fraction bits, of which 7 are kept; then along the rows.
    across = _mix(lines.take(left, axis=1), lines.take(right, axis=1), near.repeat(channels), far.repeat(channels), 0)
    across >>= 4
    across = across.take(inverse, axis=0)
    total = _mix(across[:height], across[height:], upper[:, None], lower[:, None], 16)
    return ((total + 2) >> 2).astype(np.uint8).reshape(height, width, channels)


def _mix(first, second, near, far, shift: int):
    """first * near + second * far in int32, each product shifted down."""
    total = first * near >> shift
    total += second * far >> shift
    return total


def _neighbours(old: int, new: int, stop: bool):
    """For each new pixel: the two old ones beside its centre, and their weights in 1/2048.

    Beyond the border both are the border's pixel; where `stop`, the first then takes the whole weight, which OpenCV
    does along the columns only (the other way rounds differently).
    """
    centre = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(centre).astype(np.intp)
    weight = centre - first.astype(np.float32)
    if stop:
        weight[(first < 0) | (first >= old - 1)] = 0
    far = np.rint(weight * 2048).astype(np.int32)
    near = np.rint((1 - weight) * 2048).astype(np.int32)
    return first.clip(0, old - 1), (first + 1).clip(0, old - 1), near, far


def resize_nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, ...) to (height, width, ...) without mixing values: OpenCV's nearest neighbour."""
    rows, cols = labels.shape[:2]
    pick_rows = np.minimum((np.arange(height) * (1 / (height / rows))).astype(np.intp), rows - 1)
    pick_cols = np.minimum((np.arange(width) * (1 / (width / cols))).astype(np.intp), cols - 1)
    return labels[pick_rows][:, pick_cols]
