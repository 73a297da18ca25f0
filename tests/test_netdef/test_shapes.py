"""Every blob of every published FCN net at many sizes, to the pixel as Caffe has them."""

import pytest

from demitasse.netdef.plan import Plan
from demitasse.netdef.report import crops, totals
from tests.test_netdef import goldens

NETS = goldens.table("net_shapes")
SOURCES = {"models": goldens.ROOT / "models", "reference": goldens.REFERENCE}


def plan_of(folder, key, height, width):
    path = SOURCES[folder] / key
    if not path.exists():
        pytest.skip(f"needs {path}")
    channels = dict(NETS[key]["inputs"])
    return Plan(path, inputs={top: (1, count, height, width) for top, count in channels.items()})


def resize(plan, key, height, width):
    plan.resize({top: (1, count, height, width) for top, count in NETS[key]["inputs"]})


def shapes_of(plan, blobs):
    return [list(plan.newest[blob].shape) for blob in blobs]


@pytest.mark.parametrize("folder", SOURCES)
@pytest.mark.parametrize("key", NETS)
def test_every_blob_at_every_size(folder, key):
    golden, expected = NETS[key], goldens.arrays("net_shapes")[key]
    plan = plan_of(folder, key, 64, 64)
    for size, row in zip(golden["sizes"], expected, strict=True):
        resize(plan, key, *map(int, size.split("x")))
        assert shapes_of(plan, golden["blobs"]) == [[n for n in shape if n >= 0] for shape in row.tolist()], size
    assert plan.outputs == golden["outputs"]
    assert {name: [list(param.shape) for param in params] for name, params in plan.params.items()} == golden["params"]
    assert all(crop.fits for crop in crops(plan)) and crops(plan)


@pytest.mark.parametrize("key", [key for key, net in NETS.items() if "swept" in net])
def test_every_height(key):
    plan = plan_of("models", key, 64, 64)
    for height, *expected in goldens.arrays("net_shapes")[f"{key}:sweep"].tolist():
        resize(plan, key, height, 50)
        assert [plan.newest[blob].shape[2] for blob in NETS[key]["swept"][1:]] == expected, height


VALUES = {  # learned values, deconvolutions and Scale included
    "voc-fcn32s": 136152917,
    "voc-fcn16s": 134815994,
    "voc-fcn8s": 134489759,
    "voc-fcn8s-atonce": 134490527,
    "voc-fcn-alexnet": 58704590,
    "nyud-fcn32s-color": 140978024,
    "nyud-fcn32s-hha": 140978024,
    "nyud-fcn32s-color-d": 140978600,
    "nyud-fcn32s-color-hha": 275402448,
    "siftflow-fcn32s": 138905444,
    "siftflow-fcn16s": 135568424,
    "siftflow-fcn8s": 134751980,
    "pascalcontext-fcn32s": 149251964,
    "pascalcontext-fcn16s": 138281144,
    "pascalcontext-fcn8s": 135589364,
}


@pytest.mark.parametrize("net", VALUES)
def test_counts_of_the_published_nets(net):
    key = next(key for key in NETS if key.startswith(f"{net}/"))
    plan = plan_of("reference", key, 64, 64)
    assert sum(param.count for param in plan.learnable) == VALUES[net]
    assert f"{VALUES[net]:,} values" in totals(plan)[2]
