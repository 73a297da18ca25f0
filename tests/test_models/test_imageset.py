"""convert_imageset, compute_image_mean and extract_features: what they write, and that nothing half-made is left."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data import datum
from demitasse.layers.data.database import open_database
from demitasse.layers.data.images import decode_image, resize
from demitasse.models.commands.compute_image_mean import compute_image_mean
from demitasse.models.commands.convert_imageset import convert_imageset
from demitasse.models.commands.extract_features import extract_features
from demitasse.proto.errors import DataFault, GraphFault, SchemaFault, ShapeFault
from demitasse.proto.weights import read_mean
from tests.test_layers.data_sets import pictures, write_files

lmdb = pytest.importorskip("lmdb")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def listing(tmp_path):
    return write_files(tmp_path / "images", pictures(6)[0], [5, 4, 3, 2, 1, 0], names="sub dir {:02d}.png")


def converted(listing, said=None, **options):
    database = str(listing.parent.parent / "db")
    report = said.append if said is not None else (lambda line: None)
    convert_imageset(f"{listing.parent}/", str(listing), database, report=report, **options)
    with open_database(database, "db") as reader:
        return [(key, datum.parse(value, "")) for key, value in reader]


def test_raw_records_are_what_caffe_writes(listing):
    said = []
    records = converted(listing, said)
    assert [key for key, _ in records] == [b"%08d_sub dir %02d.png" % (i, i) for i in range(6)]
    assert [message.label for _, message in records] == [5, 4, 3, 2, 1, 0]
    first = records[0][1]
    assert (first.channels, first.height, first.width, first.encoded) == (3, 32, 32, False)
    assert first.data == pictures(6)[0][0][:, :, ::-1].transpose(2, 0, 1).tobytes()
    assert said == [f"Processed 6 files; wrote {listing.parent.parent / 'db'}"]


def test_grey_and_resized(listing):
    records = converted(listing, gray=True, height=20, width=24)
    assert {(m.channels, m.height, m.width) for _, m in records} == {(1, 20, 24)}
    grey = decode_image((listing.parent / "sub dir 03.png").read_bytes(), False, "")
    assert records[3][1].data == resize(grey, 20, 24).tobytes()


def test_shuffled_is_the_same_every_time_and_complete(listing):
    labels = [message.label for _, message in converted(listing, shuffle=True)]
    assert sorted(labels) == list(range(6)) and labels != [5, 4, 3, 2, 1, 0]
    (listing.parent.parent / "db").rename(listing.parent.parent / "old")
    assert [message.label for _, message in converted(listing, shuffle=True)] == labels


def test_encoded_keeps_files_that_fit_and_encodes_others(listing):
    grey = listing.parent / "grey.png"
    Image.fromarray(pictures(1)[0][0][:, :, 0]).save(grey)
    listing.write_text("sub dir 00.png 1\ngrey.png 2\n")
    records = [message for _, message in converted(listing, encoded=True)]
    assert all(message.encoded and not message.channels for message in records)
    assert records[0].data == (listing.parent / "sub dir 00.png").read_bytes()
    assert records[1].data != grey.read_bytes() and decode_image(records[1].data, None, "").shape == (32, 32, 3)


def test_another_encoding_and_size(listing):
    for _, message in converted(listing, encode_type="jpg", height=16, width=16):
        assert message.encoded and message.data[:2] == b"\xff\xd8"
        assert decode_image(message.data, None, "").shape == (16, 16, 3)


def test_unreadable_images_are_left_out_and_said(listing):
    (listing.parent / "sub dir 02.png").write_bytes(b"no image")
    (listing.parent / "sub dir 04.png").unlink()
    said = []
    records = converted(listing, said)
    assert [key[:8] for key, _ in records] == [b"00000000", b"00000001", b"00000003", b"00000005"]
    assert said[0].startswith("left out: image '") and "sub dir 02.png' (" in said[0] and ":3): not an image" in said[0]
    assert "sub dir 04.png" in said[1] and ":5): no such file" in said[1]
    assert said[2].startswith("Processed 4 files, 2 left out; wrote")


def test_what_cannot_be_is_said_and_leaves_nothing(listing):
    Image.new("RGB", (30, 32)).save(listing.parent / "sub dir 01.png")
    with pytest.raises(ShapeFault, match=r"sub dir 01.png' \(.*:2\) is 32x30x3, but .*00.png' .* is 32x32x3"):
        converted(listing, check_size=True)
    with pytest.raises(ShapeFault, match="resize_height 20 and resize_width 0: give both"):
        converted(listing, height=20)
    with pytest.raises(SchemaFault, match="encode_type 'jpgg' is not known"):
        converted(listing, encode_type="jpgg")
    with pytest.raises(DataFault, match="none of the 6 images of .* can be read; is '.*/nowhere/' their folder"):
        convert_imageset(
            f"{listing.parent}/nowhere/", str(listing), str(listing.parent.parent / "db"), report=lambda line: None
        )
    assert os.listdir(listing.parent.parent) == ["images"]
    assert len(converted(listing)) == 6


def test_a_killed_conversion_leaves_no_database(tmp_path):
    listing = write_files(tmp_path / "images", pictures(2)[0], [0, 1])
    listing.write_text("0000.png 1\n" * 200000)
    made = f"convert_imageset('{listing.parent}', '{listing}', '{tmp_path / 'db'}')"
    code = f"from demitasse.models.commands.convert_imageset import *; {made}"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.time() + 60
    while len(os.listdir(tmp_path)) < 2 and time.time() < deadline and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    made, images = sorted(os.listdir(tmp_path))
    assert images == "images" and re.fullmatch(r"\.db\..*\.tmp", made)


def test_the_mean_is_exact_and_caffes_form(listing, tmp_path):
    converted(listing)
    said = []
    mean = compute_image_mean(str(tmp_path / "db"), str(tmp_path / "mean.binaryproto"), report=said.append)
    expected = pictures(6)[0][..., ::-1].transpose(0, 3, 1, 2).mean(axis=0)
    assert np.allclose(mean, expected, rtol=1e-6) and np.array_equal(read_mean(tmp_path / "mean.binaryproto"), mean)
    assert said[-3:] == [f"mean_value channel [{c}]: {expected[c].mean():g}" for c in range(3)]


def test_the_mean_of_encoded_and_float_records_and_of_mixed_sizes(listing, tmp_path):
    converted(listing, encoded=True)
    expected = pictures(6)[0][..., ::-1].transpose(0, 3, 1, 2).mean(axis=0)
    assert np.allclose(compute_image_mean(str(tmp_path / "db"), report=lambda line: None), expected, rtol=1e-6)
    Image.new("RGB", (30, 32)).save(listing.parent / "sub dir 01.png")
    (tmp_path / "db").rename(tmp_path / "old")
    converted(listing)
    with pytest.raises(ShapeFault, match="key '00000001_sub dir 01.png' .* is 3x32x30, the images before it are"):
        compute_image_mean(str(tmp_path / "db"), report=lambda line: None)


NET = """
layer {{ name: "data" type: "Data" top: "data" top: "label"
        data_param {{ source: "{db}" batch_size: 2 backend: LMDB }} }}
layer {{ name: "pool" type: "Pooling" bottom: "data" top: "pool"
        pooling_param {{ pool: AVE kernel_size: 16 stride: 16 }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
"""


def test_features_are_written_as_float_records(listing, tmp_path):
    from demitasse.netdef.net import Net

    converted(listing)
    (tmp_path / "net.prototxt").write_text(NET.format(db=tmp_path / "db"))
    net = Net(tmp_path / "net.prototxt", seed=1)
    net.save(tmp_path / "w.caffemodel")
    net.close()
    said = []
    extract_features(
        str(tmp_path / "w.caffemodel"),
        str(tmp_path / "net.prototxt"),
        ["pool", "ip"],
        [str(tmp_path / "pool"), str(tmp_path / "ip")],
        3,
        report=said.append,
    )
    assert said == [f"Extracted features of 6 query images for feature blob {name}" for name in ("pool", "ip")]
    pictures_in = pictures(6)[0][..., ::-1].transpose(0, 3, 1, 2)
    for name, shape in (("pool", (3, 2, 2)), ("ip", (4, 1, 1))):
        with open_database(str(tmp_path / name), name) as reader:
            records = [(key, datum.pixels(datum.parse(value, ""), None, "")) for key, value in reader]
        assert [key for key, _ in records] == [b"%010d" % i for i in range(6)]
        assert all(array.shape == shape and array.dtype == np.float32 for _, array in records)
        if name == "pool":
            means = pictures_in.reshape(6, 3, 2, 16, 2, 16).mean(axis=(3, 5))
            assert np.allclose([array for _, array in records], means, rtol=1e-5)
    with pytest.raises(GraphFault, match="2 blobs but 1 databases"):
        extract_features("w", "n", ["a", "b"], ["c"], 1)
    with pytest.raises(GraphFault, match="no blob 'pol' to keep .did you mean 'pool'"):
        extract_features(
            str(tmp_path / "w.caffemodel"), str(tmp_path / "net.prototxt"), ["pol"], [str(tmp_path / "pol")], 1
        )


def test_the_commands(listing, tmp_path, capsys):
    import argparse

    from demitasse.models.commands import compute_image_mean, convert_imageset, extract_features

    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    for module in (convert_imageset, compute_image_mean, extract_features):
        module.add_to(commands)

    def run(*words):
        options = parser.parse_args([str(word) for word in words])
        assert options.run(options) is None
        return capsys.readouterr().out

    assert "Processed 6 files; wrote" in run(
        "convert_imageset", "-gray", "--resize_height=8", "--resize_width", 8, listing.parent, listing, tmp_path / "db"
    )
    mean = tmp_path / "mean.binaryproto"
    assert "mean_value channel [0]: " in run("compute_image_mean", "-backend=lmdb", tmp_path / "db", mean)
    assert read_mean(mean).shape == (1, 8, 8)
