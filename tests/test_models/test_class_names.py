"""The names of classes: where the commands look for them, in order."""

import pytest

from demitasse.models import class_names
from demitasse.models.palette import VOC_CLASSES


@pytest.fixture
def net(tmp_path):
    (tmp_path / "classes.txt").write_text("sky\nroad\n\ncar\n")
    (tmp_path / "given.txt").write_text("one\ntwo\n")
    return tmp_path / "deploy.prototxt"


def test_a_file_that_is_given_comes_first(net):
    assert class_names.names_of(str(net.with_name("given.txt")), ["a", "b", "c"], 3, net) == ["one", "two", "class 2"]


def test_then_what_the_data_know_then_the_file_beside_the_net(net):
    assert class_names.names_of(None, ["a", "b", "c"], 3, net) == ["a", "b", "c"]
    assert class_names.names_of(None, (), 3, net) == ["sky", "road", "car"]


def test_a_file_beside_the_net_with_other_classes_is_not_its(net):
    assert class_names.names_of(None, (), 2, net) == ["class 0", "class 1"]
    assert class_names.names_of(None, (), 21, net) == list(VOC_CLASSES)
