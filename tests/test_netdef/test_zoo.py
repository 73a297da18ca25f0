"""Nets that people have published, built as they are, or with inputs in the place of their data layers.

They are other people's, and lie beside the project where somebody has put them: without them the test is skipped.
"""

import json
import tarfile
import warnings
from pathlib import Path

import pytest

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError

ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared" / "zoo" / "nets.tar.xz"
LEAST = 400  # of the 488 nets
EACH = 12  # without DEMITASSE_FULL every twelfth net is built

pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="the archive of published nets is not beside the project")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """(folder, items): the nets unpacked, and for each its name and the inputs that may stand in for its data."""
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "nets", json.loads((folder / "list.json").read_text())


def builds(path, stand_ins):
    """Whether a net builds in one of its phases; what is wrong with it is one of our faults, never a crash."""
    for inputs in (None, *stand_ins):
        for phase in ("TEST", "TRAIN"):
            try:
                Plan(path, phase, inputs=inputs).close()
                return True
            except NetError as fault:
                assert "\n" not in str(fault)
            except ImportError:  # of the user's own package, where it is named as a folder of ours
                pass
    return False


def built(zoo, items):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [item["net"] for item in items if builds(zoo[0] / item["net"], item["inputs"])]


def test_some_nets_of_every_kind_build(zoo):
    items = [item for item in zoo[1] if item["built"]][::EACH]
    assert built(zoo, items) == [item["net"] for item in items]


@pytest.mark.full
def test_most_published_nets_build(zoo):
    assert len(built(zoo, zoo[1])) >= LEAST
