"""What FlowNet's nets resize, shift and compare, against sums over the pixels that count."""

import math

import numpy as np
import pytest
from PIL import Image

from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault, NetError, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal

MEAN_NET = (
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }\n'
    'layer { name: "m" type: "Mean" bottom: "x" top: "m" mean_param { file: "nowhere.binaryproto" } }\n'
)
RESAMPLE = "type: 'Resample' bottom: 'x' top: 'y' resample_param {{ {} }}"


def triangle(x):
    return max(0, 1 - abs(x))


def keys(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0


@pytest.mark.independent("Resample")
@pytest.mark.parametrize("fields, curve", [("", triangle), ("type: CUBIC", keys), ("antialias: false", triangle)])
@pytest.mark.parametrize("out", [(8, 9), (2, 3), (5, 3)])
def test_resampling_is_a_mean_by_distance(fields, curve, out):
    x = normal(1, 1, 5, 6)
    fy, fx = 5 / out[0], 6 / out[1]
    stretch = max(fx, fy) > 1 and "false" not in fields
    (y,) = build(RESAMPLE.format(f"height: {out[0]} width: {out[1]} {fields}"), x.shape).forward([x])
    for i, j in np.ndindex(*out):
        row, column = i * fy + fx / 2 - 0.5, j * fx + fy / 2 - 0.5
        total = weights = 0
        for r, c in np.ndindex(5, 6):
            weight = curve((row - r) / (fy if stretch else 1)) * curve((column - c) / (fx if stretch else 1))
            total, weights = total + weight * x[0, 0, r, c], weights + weight
        np.testing.assert_allclose(y[0, 0, i, j], total / weights if weights else 0, atol=1e-9)


def test_the_nearest_pixel_and_a_size_from_a_second_bottom():
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    (y,) = build(RESAMPLE.format("height: 6 width: 8 type: NEAREST"), x.shape).forward([x])
    assert np.array_equal(y[0, 0], x[0, 0].repeat(2, 0).repeat(2, 1))
    layer = build("type: 'Resample' bottom: 'x' bottom: 'r' top: 'y'", x.shape, (2, 5, 3, 4))
    assert np.array_equal(layer.forward([x, np.zeros((2, 5, 3, 4))])[0], x)
    with pytest.raises(SchemaFault, match="width and height, or a second bottom"):
        build(RESAMPLE.format("width: 3"), x.shape)
    with pytest.raises(SchemaFault, match="AREA is not known"):
        build(RESAMPLE.format("width: 3 height: 3 type: AREA"), x.shape)


@pytest.mark.independent("Downsample")
def test_downsampling_passes_over_what_is_not_known():
    x = normal(1, 2, 7, 9)
    x[0, 0, 2:4, 3] = math.nan
    x[0, 1, :4, :4] = math.nan
    layer = build("type: 'Downsample' bottom: 'x' top: 'y' downsample_param { top_height: 3 top_width: 4 }", x.shape)
    (y,) = layer.forward([x])
    for c, i, j in np.ndindex(2, 3, 4):
        row, column, sums = i * 3, j * 8 / 3, np.zeros(3)
        for r, s in np.ndindex(7, 9):
            weight = triangle((row - r) / 3) * triangle((column - s) / (8 / 3))
            known = not math.isnan(x[0, c, r, s])
            sums += weight * np.array([x[0, c, r, s], 1, 0] if known else [0, 0, 1])
        expected = math.nan if sums[2] > sums[1] / 2 else sums[0] / sums[1]
        np.testing.assert_allclose(y[0, c, i, j], expected, atol=1e-9)
    assert math.isnan(y[0, 1, 0, 0]) and not math.isnan(y[0, 0, 1, 1])
    with pytest.raises(ShapeFault, match="no larger, and 2 x 2 or more"):
        build("type: 'Downsample' bottom: 'x' bottom: 'r' top: 'y'", (1, 1, 3, 3), (1, 1, 4, 2))
    with pytest.raises(SchemaFault, match="top_width and top_height"):
        build("type: 'Downsample' bottom: 'x' top: 'y'", (1, 1, 3, 3))


@pytest.mark.independent("FlowWarp")
def test_a_flow_points_to_where_the_image_is_seen():
    x, flow = normal(2, 3, 5, 6), 2 * normal(2, 2, 5, 6)
    flow[0, :, 0, 0] = 0.25, 0.5
    for fields, outside in (("", 0), ("flow_warp_param { fill_value: NOT_A_NUMBER }", math.nan)):
        layer = build(f"type: 'FlowWarp' bottom: 'x' bottom: 'f' top: 'y' {fields}", x.shape, flow.shape)
        (y,) = layer.forward([x, flow])
        for n, i, j in np.ndindex(2, 5, 6):
            column, row = j + flow[n, 0, i, j], i + flow[n, 1, i, j]
            if not (0 <= column < 6 and 0 <= row < 5):
                np.testing.assert_equal(y[n, :, i, j], [outside] * 3)
                continue
            expected = 0
            for r, c in np.ndindex(6, 7):
                expected += triangle(row - r) * triangle(column - c) * x[n, :, min(r, 4), min(c, 5)]
            np.testing.assert_allclose(y[n, :, i, j], expected, atol=1e-9)
    with pytest.raises(ShapeFault, match=r"flows \(N, 2, H, W\)"):
        build("type: 'FlowWarp' bottom: 'x' bottom: 'f' top: 'y'", x.shape, x.shape)


@pytest.mark.independent("Mean")
def test_a_mean_is_taken_off_each_channel():
    x = normal(2, 4, 3, 2)
    text = "type: 'Mean' bottom: 'x' top: 'y' mean_param {{ operation: {} input_scale: 0.5 value: 1 value: 3 {} }}"
    (y,) = build(text.format("SUBTRACT", ""), x.shape).forward([x])
    np.testing.assert_allclose(y, x / 2 - np.array([1, 3, 1, 3]).reshape(4, 1, 1))
    (y,) = build(text.format("ADD", "mean_scale: 2 output_scale: 3"), x.shape).forward([x])
    np.testing.assert_allclose(y, 3 * (x / 2 + 2 * np.array([1, 3, 1, 3]).reshape(4, 1, 1)))
    with pytest.raises(ShapeFault, match="does not fit the mean"):
        build(text.format("ADD", ""), (2, 3, 3, 2))
    assert Plan(MEAN_NET, "TEST").steps[-1].tops[0].shape == (1, 3, 4, 4)  # a net is sized without the file
    with pytest.raises(NetError, match="nowhere.binaryproto"):
        Net(MEAN_NET, "TEST")
    with pytest.raises(SchemaFault, match="as value or as file"):
        build("type: 'Mean' bottom: 'x' top: 'y'", x.shape)


def test_lengths_of_differences_cost_where_they_are_known():
    a, b = normal(2, 2, 3, 4), normal(2, 2, 3, 4)
    b[0, :, 1, 1] = math.nan
    apart = np.nan_to_num(a - b)
    text = "type: 'L1Loss' bottom: 'a' bottom: 'b' top: 'l' l1_loss_param {{ {} }}"

    def loss(fields):
        return build(text.format(fields), a.shape, b.shape).forward([a, b])[0]

    squares = (apart**2).sum(1)
    np.testing.assert_allclose(loss("l2_per_location: true"), np.sqrt(squares + 0.01).sum() / 2)
    over = np.where(squares / 2 >= 0.49, squares / 2, 0)
    fields = "l2_per_location: true l2_prescale_by_channels: true epsilon: 0.1 plateau: 0.7"
    np.testing.assert_allclose(loss(fields), np.sqrt(over + 0.1).sum() / 2)
    np.testing.assert_allclose(loss("normalize_by_num_entries: true"), np.abs(apart).sum() / 23)
    kept = np.abs(apart)[np.abs(apart) >= 0.5]
    np.testing.assert_allclose(loss("plateau: 0.5"), kept.sum() / 2)
    (single,) = build("type: 'L1Loss' bottom: 'a' top: 'l'", a.shape).forward([a])
    np.testing.assert_allclose(single, np.abs(a).sum() / 2)


@pytest.mark.independent("FloData", "FLOWriter")
def test_flows_come_from_flo_files_and_go_to_them(tmp_path):
    flow = normal(2, 2, 3, 4).astype(np.float32)
    for n, each in enumerate(flow):
        head = np.array([202021.25], "<f4").tobytes() + np.array([4, 3], "<i4").tobytes()
        (tmp_path / f"{n}.flo").write_bytes(head + each.transpose(1, 2, 0).tobytes())
    (tmp_path / "list.txt").write_text("0.flo\n1.flo 7\n")
    text = (
        f'layer {{ name: "d" type: "FloData" top: "f" image_data_param {{ source: "{tmp_path}/list.txt" '
        f'root_folder: "{tmp_path}/" batch_size: 2 }} }}\n'
        f'layer {{ name: "w" type: "FLOWriter" bottom: "f" writer_param {{ folder: "{tmp_path}/out" prefix: "p-" '
        'suffix: "-s" scale: 2 } }\n'
    )
    net = Net(text, "TEST", keep="all")
    net.forward()
    assert np.array_equal(net.blobs["f"], flow)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p-0000000-s.flo", "p-0000001-s.flo"]
    written = np.frombuffer((tmp_path / "out/p-0000001-s.flo").read_bytes()[12:], "<f4")
    assert np.array_equal(written.reshape(3, 4, 2), 2 * flow[1].transpose(1, 2, 0))
    net.close()
    (tmp_path / "1.flo").write_bytes(b"PIEH")
    with pytest.raises(DataFault, match=r"1.flo' \(.*list.txt:2\) is no .flo file"):
        Net(text, "TEST").forward()
    with pytest.raises(NetError, match="flows keep their size"):
        Net(text.replace("batch_size: 2", "batch_size: 2 new_height: 3 new_width: 3"), "TEST")


def test_images_without_labels(tmp_path):
    for n in range(2):
        Image.new("RGB", (4, 3), (n, n, n)).save(tmp_path / f"{n}.png")
    (tmp_path / "list.txt").write_text("0.png\n1.png\n")
    text = (
        f'layer {{ name: "d" type: "ImageData" top: "x" image_data_param {{ source: "{tmp_path}/list.txt" '
        f'root_folder: "{tmp_path}/" batch_size: 2 }} }}\n'
    )
    net = Net(text, "TEST")
    net.forward()
    assert net.blobs["x"].shape == (2, 3, 3, 4) and net.blobs["x"][:, 0, 0, 0].tolist() == [0, 1]
    net.close()


@pytest.mark.independent("ChannelNorm")
def test_channel_norm_is_the_length_of_each_pixel():
    x = np.random.default_rng(3).standard_normal((2, 3, 4, 5))
    (y,) = build("type: 'ChannelNorm' bottom: 'x' top: 'y'", x.shape).forward([x])
    assert y.shape == (2, 1, 4, 5) and np.allclose(y[:, 0], (x**2).sum(1) ** 0.5)
