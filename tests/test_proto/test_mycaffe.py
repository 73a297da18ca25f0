"""What MyCaffe writes into its files, which is no protobuf text."""

import pytest

from demitasse.proto import text
from demitasse.proto.errors import SyntaxFault


def test_paths_of_mycaffe_keep_their_backslashes():
    net, _ = text.read_net("layer { name: '$ProgramData$\\new\\data' type: $Default$ }\n", "test.prototxt")
    assert net.layer[0].name == "$ProgramData$\\new\\data" and net.layer[0].type == "Default"
    with pytest.raises(SyntaxFault, match="names of variables are not replaced"):
        text.read_net("layer { name: ${NAME} }\n", "test.prototxt")
