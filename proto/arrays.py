"""Messages that hold one array: BlobProto and Datum, to NumPy and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from demitasse.proto import wire
from demitasse.proto.errors import DataFault, WeightsFault
from demitasse.proto.messages import BlobProto, Datum


def blobproto_to_array(blob: BlobProto) -> np.ndarray:
    """The data of a blob, float32, in its shape (legacy blobs: four axes).  Raises WeightsFault."""
    try:
        return wire.read_blob(data := blob.SerializeToString(), 0, len(data))[0].copy()
    except wire.Damaged as error:
        raise WeightsFault(f"BlobProto: {error}") from None


def array_to_blobproto(array: ArrayLike, diff: ArrayLike | None = None) -> BlobProto:
    """A blob with the array's values as float32, and its gradient if one is given."""
    return BlobProto.FromString(b"".join(wire.blob_chunks(array, diff)))


def datum_to_array(datum: Datum) -> np.ndarray:
    """The values of a record that is not an encoded image: uint8, or float32; (channels, height, width).

    DataFault for an encoded image, and where the sizes do not fit the values.
    """
    if datum.encoded:
        raise DataFault("the record holds an encoded image, not its values: it must be decoded first")
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    shape = datum.channels, datum.height, datum.width
    if min(shape) < 0 or values.size != shape[0] * shape[1] * shape[2]:
        raise DataFault(f"a record of {shape[0]} x {shape[1]} x {shape[2]} values holds {values.size:,}")
    return values.reshape(shape).copy()


def array_to_datum(array: ArrayLike, label: int | None = None) -> Datum:
    """A record of an array (channels, height, width): bytes for uint8, floats for all else.

    DataFault for another number of axes.
    """
    array = np.asarray(array)
    if array.ndim != 3:
        raise DataFault(f"a record has the shape channels x height x width, not {array.shape}")
    datum = Datum(channels=array.shape[0], height=array.shape[1], width=array.shape[2], label=label)
    if array.dtype == np.uint8:
        datum.data = array.tobytes()
    else:
        datum.float_data.extend(array.astype(np.float32).ravel().tolist())
    return datum
