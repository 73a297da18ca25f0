"""Clips with truth for their voxels: cut, mirrored and scaled together."""

import numpy as np
import pytest

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault
from tests.test_layers.data_sets import batches, layer


def write(folder, kind, channels=3):
    """A clip whose numbers say where they are, as a list names it; (the list, the numbers)."""
    voxels = np.arange(channels * 2 * 4 * 6, dtype=kind).reshape(channels, 2, 4, 6)
    (folder / "a.bin").write_bytes(np.array([1, *voxels.shape], "<i4").tobytes() + voxels.tobytes())
    (folder / "list.txt").write_text(f"{folder / 'a.bin'}\n")
    return folder / "list.txt", voxels.astype(np.float32)


@pytest.mark.independent("VideoSegmentationData")
def test_labels_are_the_last_channel(tmp_path):
    path, voxels = write(tmp_path, "u1")
    fields = f"image_data_param {{ source: '{path}' batch_size: 2 mean_value: 5 }} transform_param {{ scale: 0.5 }}"
    clips, labels = batches(layer(f"type: 'VideoSegmentationData' top: 'a' top: 'b' {fields}"), 1)[0]
    np.testing.assert_array_equal(clips, [(voxels[:2] - 5) / 2] * 2)
    np.testing.assert_array_equal(labels, [voxels[2:]] * 2)


@pytest.mark.independent("VideoWithVoxelTruthData")
def test_a_mirrored_flow_points_the_other_way(tmp_path):
    path, voxels = write(tmp_path, "<f4", 5)
    fields = "num_truth_channels: 2 is_flow: true truth_scale: 0.5 batch_size: 8"
    text = "type: 'VideoWithVoxelTruthData' top: 'a' top: 'b' transform_param {{ crop_size: 4 mirror: true }} {}"
    made = layer(text.format(f"image_data_param {{ source: '{path}' {fields} }}"))
    plain = voxels[..., 1:5]
    seen = set()
    for clip, flow in zip(*batches(made, 1)[0], strict=True):
        mirrored = clip[0, 0, 0, 0] > clip[0, 0, 0, 1]
        seen.add(bool(mirrored))
        side, sign = (plain[..., ::-1], -1) if mirrored else (plain, 1)
        np.testing.assert_array_equal(clip, side[:3])
        np.testing.assert_array_equal(flow, np.stack([sign * side[3], side[4]]) / 2)
    assert seen == {False, True}
    clipped = layer(text.format(f"image_data_param {{ source: '{path}' clip_min: 200 clip_max: 210 }}"))
    truth = batches(clipped, 1)[0][1]
    assert truth.shape[1] == 1 and truth.min() == 0 and truth.max() == 1


def test_a_file_of_other_sizes_is_refused(tmp_path):
    path, _ = write(tmp_path, "u1")
    with pytest.raises(DataFault, match=r"it says \[1, 3, 2, 4, 6\], and 36 numbers follow"):
        layer(f"type: 'VideoWithVoxelTruthData' top: 'a' top: 'b' image_data_param {{ source: '{path}' }}")


def test_a_net_is_sized_without_its_clips():
    fields = "image_data_param { source: 'gone' } transform_param { crop_size: 9 }"
    with pytest.warns(UserWarning, match="3 channels and 16 frames"):
        plan = Plan(f"layer {{ name: 'd' type: 'VideoSegmentationData' top: 'x' top: 'y' {fields} }}\n")
    assert [value.shape for value in plan.values] == [(1, 3, 16, 9, 9), (1, 1, 16, 9, 9)]
