"""python -m models segment on pictures of every kind: each gives labels of its own size, or one line."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.backend.cpu import CpuBackend
from demitasse.models.__main__ import main
from demitasse.models.commands import segment
from demitasse.models.data import read
from demitasse.models.fcn import DataSource, Head, fcn
from demitasse.netdef.net import Net
from demitasse.proto import text

SIZE = (20, 14)  # height, width


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """The options that name a tiny net and its weights."""
    folder = tmp_path_factory.mktemp("net")
    message = fcn(DataSource(), [Head(5)], stride=8, width=1 / 64, random=True, snug=True, fc_kernel=3)
    (folder / "deploy.prototxt").write_text(text.format(message))
    (folder / "classes.txt").write_text("sky\nroad\ncar\ntree\nhouse\n")
    Net(message, seed=1).save(folder / "w.caffemodel")
    return "--net", str(folder / "deploy.prototxt"), "--weights", str(folder / "w.caffemodel")


def picture(mode="RGB", size=SIZE):
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png(path, colour_type, channels):
    """A PNG of 16 bits a channel, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.random.default_rng(2).integers(0, 256, (SIZE[0], SIZE[1] * channels * 2), np.uint8)
    head = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 16, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def turned():
    exif = Image.Exif()
    exif[0x112] = 6  # to be shown turned by a quarter
    return exif


ODD = {
    "one.png": lambda path: picture(size=(1, 1)).save(path),
    "line.png": lambda path: picture(size=(1, 77)).save(path),
    "gray.png": lambda path: picture("L").save(path),
    "gray.jpg": lambda path: picture("L").save(path),
    "bit.png": lambda path: picture("1").save(path),
    "rgba.png": lambda path: picture("RGBA").save(path),
    "la.png": lambda path: picture("LA").save(path),
    "palette.png": lambda path: picture("P").save(path),
    "clear.png": lambda path: picture("P").save(path, transparency=bytes(range(256))),
    "gray16.png": lambda path: png(path, 0, 1),
    "rgb16.png": lambda path: png(path, 2, 3),
    "rgba16.png": lambda path: png(path, 6, 4),
    "cmyk.jpg": lambda path: picture("CMYK").save(path),
    "exif.jpg": lambda path: picture().save(path, exif=turned()),
    "note.jpg": lambda path: picture().save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\xff\xff"),
    "lying.png": lambda path: picture().save(path, format="JPEG"),
    "lab.tif": lambda path: picture("LAB").save(path),
    "web.webp": lambda path: picture().save(path),
    "UPPER.JPG": lambda path: picture().save(path, format="JPEG"),
    "ünï cödé.png": lambda path: picture().save(path),
    "legend.bmp": lambda path: picture().save(path),
}
BAD = {
    "empty.jpg": (lambda path: path.write_bytes(b""), "the file is empty"),
    "words.png": (lambda path: path.write_text("hello"), "not an image"),
    "folder.jpg": (lambda path: path.mkdir(), "is a folder: name a file in it"),
    "float.tif": (lambda path: Image.fromarray(np.zeros(SIZE, np.float32)).save(path), "32-bit pixels"),
    "torn.jpg": (
        lambda path: (picture(size=(90, 90)).save(path), path.write_bytes(path.read_bytes()[:900])),
        "truncated",
    ),
}


def test_pictures_of_every_kind(net, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name, write in [*ODD.items(), *((name, write) for name, (write, _) in BAD.items())]:
        write(photos / name)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        code = main(["segment", str(photos), *net, "--out", str(out)])
        sizes = {name: read.upright(photos / name).shape[:2] for name in ODD}
    assert not warned
    shown = capsys.readouterr()
    assert code == 1 and f"{len(ODD)} of {len(ODD) + len(BAD)} images" in shown.out
    lines = shown.err.splitlines()
    assert len(lines) == len(BAD)
    for line, (name, (_, fault)) in zip(lines, sorted(BAD.items()), strict=True):
        assert line.startswith(f"passed over: {photos / name}") and fault in line
    for name in ODD:
        labels = Image.open(out / f"{name}.png")  # gray.jpg and gray.png need their suffixes
        assert labels.mode == "P" and labels.size == sizes[name][::-1] and np.asarray(labels).max() < 5
    assert Image.open(out / "exif.jpg.png").size == (SIZE[0], SIZE[1]), "shown turned, as a viewer shows it"
    assert Image.open(out / "legend.png").mode == "RGB"


def test_a_photo_that_does_not_fit_into_memory(net, tmp_path, capsys, monkeypatch):
    """Said in one line before the system ends the process; the others are segmented."""
    Image.new("RGB", (6000, 4000)).save(tmp_path / "big.png")
    picture().save(tmp_path / "small.png")
    monkeypatch.setattr("demitasse.netdef.memory_check.memory_left", lambda: 200_000_000)
    words = ["segment", str(tmp_path), *net, "--out", str(tmp_path / "out"), "--no-overlay"]
    assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"passed over: {tmp_path}/big.png: ") and "not enough memory" in line
    assert "200 MB are left" in line and line.endswith("or give --max-side 1000")
    assert main([*words, "--max-side", "50"]) == 0
    assert Image.open(tmp_path / "out/big.png").size == (6000, 4000)


@pytest.mark.parametrize(
    "paths, names",
    [
        (["a/x.jpg", "a/y.png"], ["x", "y"]),
        (["a/x.jpg", "a/x.png"], ["x.jpg", "x.png"]),
        (["a/x.jpg", "b/x.jpg"], ["a_x.jpg", "b_x.jpg"]),
        (["a/b/x.jpg", "a_b/x.jpg", "x.jpg"], ["1_a_b_x.jpg", "2_a_b_x.jpg", "3_x.jpg"]),
        (["a/legend.jpg"], ["legend.jpg"]),
        (["legend"], ["1_legend"]),
    ],
)
def test_results_have_names_of_their_own(paths, names):
    assert segment.result_names([Path(path) for path in paths]) == names


def test_what_cannot_be_written_leaves_what_was_there(net, tmp_path, capsys, monkeypatch):
    """A failure in the middle of writing: the old result stays whole, and no half file lies beside it."""
    picture().save(tmp_path / "a.jpg")
    words = ["segment", str(tmp_path / "a.jpg"), *net, "--out", str(tmp_path / "out"), "--probabilities"]
    assert main(words) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(before) == {"a.png", "a_overlay.jpg", "a.npz", "legend.png"}

    def full_disk(self, file, **options):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    assert main(words) == 2
    assert "no space left on device" in capsys.readouterr().err.lower()
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_weights_stay_in_the_backends_form_from_image_to_image(net, tmp_path, monkeypatch):
    """On a GPU weights are converted once for all images: the loop says that nobody writes to them."""

    entered, frozen = [], CpuBackend.frozen_weights
    monkeypatch.setattr(CpuBackend, "frozen_weights", lambda self: (entered.append(1), frozen(self))[1])
    for name in "ab":
        picture().save(tmp_path / f"{name}.png")
    assert main(["segment", str(tmp_path / "*.png"), *net, "--out", str(tmp_path / "out")]) == 0
    assert entered == [1]


def test_more_classes_than_a_png_holds(tmp_path, capsys):
    message = fcn(DataSource(), [Head(257)], stride=8, width=1 / 64, random=True, snug=True, fc_kernel=1)
    (tmp_path / "deploy.prototxt").write_text(text.format(message))
    Net(message, seed=1).save(tmp_path / "w.npz")
    picture().save(tmp_path / "a.png")
    assert (
        main(
            [
                "segment",
                str(tmp_path / "a.png"),
                "--net",
                str(tmp_path / "deploy.prototxt"),
                "--weights",
                str(tmp_path / "w.npz"),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 2
    )
    assert "scores 257 classes: a label PNG holds 256 at most" in capsys.readouterr().err
