"""Data layers of forks whose records are not read: sizes are all that they give, here worked out by hand."""

import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError

CPM = """layer { name: "d" type: "CPMData" top: "data" top: "label" data_param { source: "away" batch_size: 10 }
  cpm_transform_param { stride: 8 crop_size_x: 368 crop_size_y: 360 num_parts: 56 } }"""
LANES = """layer { name: "d" type: "LaneData" top: "data" top: "label" top: "maps"
  data_param { source: "away" batch_size: 8 } transform_param { resize_param { height: 384 width: 512 } }
  annotated_data_param { seg_scales: 4 } }"""


@pytest.mark.independent("CPMData", "LaneData")
@pytest.mark.parametrize(
    "text, shapes",
    [
        (CPM, [(10, 6, 360, 368), (10, 114, 45, 46)]),
        (LANES, [(8, 3, 384, 512), (8, 5, 64, 3), (8, 1, 96, 128)]),
        (LANES.replace("seg_scales: 4", "seg_resize_width: 40 seg_resize_height: 30"), [(8, 1, 30, 40)]),
    ],
)
def test_a_net_is_sized_and_refused_where_it_runs(tmp_path, text, shapes):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    plan = Plan(str(path), "TRAIN")
    assert [value.shape for value in plan.values][-len(shapes) :] == shapes
    with pytest.raises(NetError, match="are not read here"):
        Net(str(path), "TRAIN")


@pytest.mark.parametrize("text", [CPM.replace("stride: 8", "stride: 0"), LANES.replace("scales: 4", "scales: 0")])
def test_sizes_that_cannot_be_are_refused(tmp_path, text):
    (tmp_path / "net.prototxt").write_text(text)
    with pytest.raises(NetError, match="is 0"):
        Plan(str(tmp_path / "net.prototxt"), "TRAIN")
