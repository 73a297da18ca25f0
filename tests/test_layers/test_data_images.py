"""Image files as OpenCV reads them, and what users hit with them."""

import io

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data.images import decode_image, encode_image, read_image, read_labels, resize, resize_nearest
from demitasse.proto.errors import DataFault, SchemaFault

Y, X = np.mgrid[0:20, 0:30]
RGB = np.stack([Y * 12, X * 8, (X + Y) * 5], axis=-1).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(image, color, kind="PNG", **options):
    return decode_image(encoded(image, kind, **options), color, "a.png")


def test_colour_is_bgr():
    assert np.array_equal(decoded(Image.fromarray(RGB), True), RGB[:, :, ::-1])
    assert np.array_equal(decoded(Image.fromarray(RGB), None), RGB[:, :, ::-1])


def test_grey_file_as_colour_repeats_it():
    grey = Image.fromarray(RGB[:, :, 0])
    assert np.array_equal(decoded(grey, True), np.repeat(RGB[:, :, :1], 3, axis=2))
    assert decoded(grey, None).shape == (20, 30, 1)


def test_colour_file_as_grey_is_its_luminance():
    grey = decoded(Image.fromarray(RGB), False)
    expected = RGB @ [0.299, 0.587, 0.114]
    assert grey.shape == (20, 30, 1)
    assert abs(grey[:, :, 0] - expected).max() <= 1


def test_grey_of_a_jpeg_is_the_luminance_it_stores():
    data = encoded(Image.fromarray(RGB), "JPEG", quality=90)
    image = Image.open(io.BytesIO(data))
    image.draft("L", image.size)
    assert np.array_equal(decode_image(data, False, "a.jpg")[:, :, 0], np.array(image))


@pytest.mark.parametrize("color, channels", [(True, 3), (False, 1), (None, 4)])
def test_alpha_is_dropped_unless_all_is_asked_for(color, channels):
    alpha = np.where(X < 15, 0, 255).astype(np.uint8)
    image = decoded(Image.fromarray(np.dstack([RGB, alpha])), color)
    assert image.shape[2] == channels
    if color is not False:
        assert np.array_equal(image[:, :, :3], RGB[:, :, ::-1])  # also where it is transparent
    if color is None:
        assert np.array_equal(image[:, :, 3], alpha)


def test_palette_gives_its_colours_and_as_label_its_indices(tmp_path):
    palette = Image.fromarray((X % 3).astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    palette.save(tmp_path / "p.png")
    colours = read_image(str(tmp_path / "p.png"), True, "p.png")
    assert colours[0, 1].tolist() == [0, 0, 128] and colours[0, 2].tolist() == [0, 128, 0]
    assert np.array_equal(read_labels(str(tmp_path / "p.png"), "p.png"), X % 3)


@pytest.mark.parametrize("labels", [X % 2 == 0, (X % 200).astype(np.uint8), (X * 1000).astype(np.uint16)])
def test_grey_labels_keep_their_values(tmp_path, labels):
    Image.fromarray(labels).save(tmp_path / "l.png")
    assert np.array_equal(read_labels(str(tmp_path / "l.png"), "l.png"), labels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_the_high_byte(kind):
    deep = (Y * 3000 + X).astype(np.uint16)
    image = decoded(Image.fromarray(deep), True, kind)
    assert np.array_equal(image, np.repeat((deep >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


def test_one_bit_is_0_and_255():
    assert sorted(np.unique(decoded(Image.fromarray(X % 2 == 0), False))) == [0, 255]


def test_cmyk_and_grey_alpha():
    cmyk = decoded(Image.fromarray(RGB).convert("CMYK"), True, "JPEG", quality=95)
    assert cmyk.shape == (20, 30, 3) and abs(cmyk.astype(int) - RGB[:, :, ::-1]).mean() < 8
    both = Image.merge("LA", [Image.fromarray(RGB[:, :, 0])] * 2)
    assert np.array_equal(decoded(both, False)[:, :, 0], RGB[:, :, 0])


def test_an_exif_rotation_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decoded(Image.fromarray(RGB), True, "JPEG", exif=exif).shape == (20, 30, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_a_cut_off_file_is_named(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(DataFault, match="photo.x: broken image"):
        decode_image(data[: len(data) // 2], True, "photo.x")


def test_not_an_image_empty_and_missing(tmp_path):
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    (tmp_path / "none.jpg").write_bytes(b"")
    with pytest.raises(DataFault, match="text.jpg: not an image .16 bytes that start with b'<html>40'"):
        read_image(str(tmp_path / "text.jpg"), True, "text.jpg")
    with pytest.raises(DataFault, match="none.jpg: the file is empty"):
        read_image(str(tmp_path / "none.jpg"), True, "none.jpg")
    with pytest.raises(DataFault, match="gone.jpg: no such file"):
        read_image(str(tmp_path / "gone.jpg"), True, "gone.jpg")
    with pytest.raises(DataFault, match="a folder is a folder: name a file in it"):
        read_image(str(tmp_path), True, "a folder")


def test_thirty_two_bits_are_refused_with_a_way_out():
    with pytest.raises(DataFault, match="32-bit pixels; save it with 8 or 16 bits"):
        decoded(Image.fromarray(np.ones((4, 4), np.float32)), True, "TIFF")


def test_colour_label_image_is_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "l.png")
    with pytest.raises(DataFault, match="l.png: is a picture of colours .mode RGB"):
        read_labels(str(tmp_path / "l.png"), "l.png")


@pytest.mark.filterwarnings("ignore")  # Pillow speaks of damaged metadata
def test_every_damage_of_a_file_gives_an_image_or_a_fault():
    rng = np.random.default_rng(1)
    for kind in ("JPEG", "PNG", "GIF", "TIFF"):
        whole = encoded(Image.fromarray(RGB), kind)
        for _ in range(60):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), 4):
                data[place] = rng.integers(256)
            try:
                assert decode_image(bytes(data), True, "x").shape[2] == 3
            except DataFault:
                pass


def test_png_keeps_pixels_and_jpeg_nearly():
    smooth = RGB[:, :, ::-1]
    for image in (smooth, smooth[:, :, :1]):
        assert np.array_equal(decode_image(encode_image(image, "png"), None, "x"), image)
        jpeg = decode_image(encode_image(image, ".jpg"), None, "x")
        assert jpeg.shape == image.shape and abs(jpeg.astype(int) - image).mean() < 4
    with pytest.raises(SchemaFault, match="encode_type 'jpgg' is not known .did you mean 'jpg'"):
        encode_image(smooth, "jpgg")


# What OpenCV 5.0's cv2.resize gives for 37 * i % 256 in rows: bilinear, then nearest neighbour.
RAMP = (37 * np.arange(35) % 256).astype(np.uint8).reshape(7, 5)
SMALLER = [[128, 110, 50, 96], [48, 94, 140, 186], [138, 184, 124, 106]]
LARGER = [
    [0, 28, 59, 89, 120, 148],
    [123, 151, 82, 42, 73, 101],
    [153, 181, 129, 100, 103, 45],
    [98, 126, 157, 187, 169, 47],
    [43, 71, 102, 132, 163, 191],
    [187, 65, 46, 77, 108, 136],
    [188, 131, 133, 105, 53, 80],
    [133, 161, 192, 151, 83, 111],
    [86, 114, 144, 175, 206, 234],
]
NEAREST = [[0, 37, 74, 111], [114, 151, 188, 225], [228, 9, 46, 83]]


@pytest.mark.parametrize("expected", [SMALLER, LARGER])
def test_resizing_agrees_with_opencv(expected):
    height, width = np.shape(expected)
    assert resize(RAMP[:, :, None], height, width)[:, :, 0].tolist() == expected
    colours = resize(np.dstack([RAMP, 255 - RAMP, RAMP]), height, width)
    assert np.array_equal(colours[:, :, 0], expected) and np.array_equal(colours[:, :, 2], expected)


def test_halving_takes_means_and_equal_size_nothing():
    image = (37 * np.arange(32) % 256).astype(np.uint8).reshape(4, 8, 1)
    assert resize(image, 2, 4)[:, :, 0].tolist() == [[39, 113, 187, 69], [119, 193, 75, 85]]
    assert np.array_equal(resize(image, 4, 8), image)


def test_nearest_neighbour_agrees_with_opencv():
    assert resize_nearest(RAMP, 3, 4).tolist() == NEAREST


def test_resizing_reaches_one_pixel_and_comes_from_one():
    assert resize(RAMP[:, :, None], 1, 1).shape == (1, 1, 1)
    assert np.array_equal(resize(np.full((1, 1, 3), 7, np.uint8), 5, 9), np.full((5, 9, 3), 7))
