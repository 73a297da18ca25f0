"""Caffe's Datum, the record of its databases: pixels raw (8 bits or floats) or as an encoded image, and a label."""

from __future__ import annotations

import numpy as np
from google.protobuf.message import DecodeError

from demitasse.layers.data.images import decode_image
from demitasse.proto.errors import DataFault
from demitasse.proto.messages import Datum


def parse(value: bytes, where: str):
    """The Datum message of a record's bytes.  DataFault for other bytes."""
    try:
        return Datum.FromString(value)
    except DecodeError:
        raise DataFault(
            f"{where}: not a Datum message ({len(value)} bytes); was this database made for Caffe?"
        ) from None


def pixels(datum, color: bool | None, where: str) -> np.ndarray:
    """(channels, height, width) of a Datum, uint8 or float32.

    An encoded image is decoded to BGR; color: True for 3 channels, False for 1, None for what is stored.  Raw
    pixels have the channels they have.  DataFault where sizes and bytes do not fit.
    """
    if datum.encoded:
        return decode_image(datum.data, color, where).transpose(2, 0, 1)
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.data) != shape[0] * shape[1] * shape[2] and (kind := _image_file(datum.data)):
        raise DataFault(
            f"{where}: its bytes are a {kind} file: such a Datum needs encoded: true; make the database anew"
        )
    if min(shape) < 1:
        raise DataFault(
            f"{where}: a Datum of {shape[0]} x {shape[1]} x {shape[2]} (channels x height x width) holds no pixels"
        )
    count = shape[0] * shape[1] * shape[2]
    held = len(datum.data) or len(datum.float_data)
    if held != count:
        raise DataFault(
            f"{where}: the Datum says {shape[0]} x {shape[1]} x {shape[2]} = {count} values but holds {held}"
        )
    if datum.data:
        return np.frombuffer(datum.data, np.uint8).reshape(shape)
    return np.array(datum.float_data, np.float32).reshape(shape)


def _image_file(data: bytes) -> str:
    """The type of image file that the bytes are; empty for none of those that databases hold."""
    starts = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"RIFF": "WebP"}
    return next((kind for start, kind in starts.items() if data.startswith(start)), "")


def order_hint(shape: tuple[int, ...]) -> str:
    """For a (channels, height, width) that looks like (height, width, channels): what to do; else empty."""
    channels, height, width = shape
    if width in (1, 3, 4) and channels > 4 and height > 4:
        return (
            f"the record of {channels} x {height} x {width} (channels x height x width) looks like height x width x "
            "channels: store it transposed, image.transpose(2, 0, 1)"
        )
    return ""
