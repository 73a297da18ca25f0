"""The fault that reading a file gives."""

import pytest

from demitasse.proto.errors import WeightsFault


def fault_of(read, path, content=None):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsFault) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message
