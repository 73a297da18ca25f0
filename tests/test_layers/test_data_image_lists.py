"""ImageData and DenseImageData: listings as people write them, shuffling, resizing, labels that follow the image."""

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data.images import resize
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from tests.test_layers.data_sets import batches, layer, pictures, same, write_files


def image_data(listing, more="", batch=2, phase="TEST", seed=1, extra=""):
    return layer(
        f'type: "ImageData" top: "data" top: "label" image_data_param {{ source: "{listing}" '
        f'root_folder: "{listing.parent}/" batch_size: {batch} {more} }} {extra}',
        phase,
        seed,
    )


@pytest.fixture
def five(tmp_path):
    return write_files(tmp_path / "five", pictures(5)[0], [3, 1, 4, 1, 5])


def labels_of(made, count):
    return np.concatenate([label for _, label in batches(made, count)]).astype(int).tolist()


@pytest.mark.independent("ImageData")
def test_images_come_in_the_order_of_the_list(five):
    tops = batches(image_data(five), 5)
    assert np.concatenate([label for _, label in tops]).tolist() == [3, 1, 4, 1, 5] * 2
    assert np.array_equal(tops[0][0][0], pictures(5)[0][0].transpose(2, 0, 1)[::-1])


def test_several_labels_of_a_line(five):
    listing = five.parent / "labels.txt"
    names = [line.split()[0] for line in five.read_text().splitlines()]
    listing.write_text("".join(f"{name} {i} -1 0.5\n" for i, name in enumerate(names)))
    ((_, labels),) = batches(image_data(listing, "label_dim: 3"), 1)
    assert labels.tolist() == [[0, -1, 0.5], [1, -1, 0.5]]
    with pytest.raises(DataFault, match=r"labels.txt:1: '.* 0 -1 0.5' does not end with 4 numbers, as label_dim says"):
        image_data(five.parent / "labels.txt", "label_dim: 4").forward([])


def test_grey_and_resized(five):
    ((image, _),) = batches(image_data(five, "is_color: false new_height: 20 new_width: 24"), 1)
    assert image.shape == (2, 1, 20, 24)
    ((image, _),) = batches(image_data(five, "new_height: 20 new_width: 24"), 1)
    assert np.array_equal(image[0], resize(pictures(5)[0][0][:, :, ::-1], 20, 24).transpose(2, 0, 1))


def test_shuffling_visits_every_image_once_per_epoch(tmp_path):
    listing = write_files(tmp_path, pictures(7)[0], range(7))
    made = image_data(listing, "shuffle: true", batch=3)
    order = labels_of(made, 7)
    epochs = [order[:7], order[7:14], order[14:]]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert labels_of(image_data(listing, "shuffle: true", batch=3), 7) == order
    assert labels_of(image_data(listing, "shuffle: true", batch=3, seed=2), 7) != order
    ranks = []
    for rank in range(2):
        half = image_data(listing, "shuffle: true", batch=1)
        half.shard(rank, 2)
        ranks.append(labels_of(half, 7))
    assert [label for pair in zip(*ranks, strict=True) for label in pair] == order[:14]


def test_restarts_to_the_bit(five):
    text = "shuffle: true rand_skip: 3", 2, "TRAIN"
    first = image_data(five, *text, extra="transform_param { crop_size: 20 mirror: true }")
    batches(first, 2)
    state = first.state()
    expected = batches(first, 5)
    second = image_data(five, *text, seed=9, extra="transform_param { crop_size: 20 mirror: true }")
    second.load_state(state)
    assert same(batches(second, 5), expected)


@pytest.mark.parametrize(
    "text",
    [
        "a b.png 1\nünï cödé.png 2\n",
        "a b.png 1\r\nünï cödé.png 2\r\n",
        "\n\na b.png\t1\n  ünï cödé.png   2  \n\n",
        "\ufeffa b.png 1\nünï cödé.png 2",
    ],
    ids=["unix", "windows", "blanks and tabs", "byte order mark, no last line end"],
)
def test_listings_as_people_write_them(tmp_path, text):
    for name in ("a b.png", "ünï cödé.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "list.txt").write_bytes(text.encode("utf-8"))
    assert labels_of(image_data(tmp_path / "list.txt"), 1) == [1, 2]


def test_a_name_that_is_not_utf8(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    try:
        (tmp_path / "plain.png").rename(tmp_path / b"caf\xe9.png".decode(errors="surrogateescape"))
    except OSError:
        pytest.skip("this file system takes no such name")
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.png 1\n")
    assert labels_of(image_data(tmp_path / "list.txt", batch=1), 1) == [1]


def test_the_root_folder_may_lack_its_slash_and_may_be_missing(five):
    made = layer(
        f'type: "ImageData" top: "d" top: "l" image_data_param {{ source: "{five}" root_folder: "{five.parent}" }}'
    )
    assert labels_of(made, 1) == [3]
    five.write_text(f"{five.parent}/0000.png 8\n")
    assert labels_of(layer(f'type: "ImageData" top: "d" top: "l" image_data_param {{ source: "{five}" }}'), 1) == [8]


@pytest.mark.parametrize(
    "line, words",
    [
        ("alone.png", "list.txt:2: 'alone.png' does not end with a space and a whole number"),
        ("a.png 1.5", "list.txt:2: 'a.png 1.5' does not end .* HDF5Data"),
        ("a.png cat", "list.txt:2: 'a.png cat' does not end"),
        ("7", "list.txt:2: '7' does not end"),
    ],
)
def test_a_bad_line_is_named(five, line, words):
    five.write_text(f"0000.png 1\n{line}\n")
    with pytest.raises(DataFault, match=words):
        image_data(five)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file itself"),
        (b"\x89PNG\r\n\x1a\n\0\0", "an image itself"),
        ("0000.png 1\n".encode("utf-16"), "a binary file, or UTF-16"),
    ],
)
def test_what_is_no_text_is_told(five, content, kind):
    five.write_bytes(content)
    with pytest.raises(DataFault, match=f"list.txt' is no text but {kind}; write .* an image: its"):
        image_data(five)


def test_an_empty_and_a_missing_listing(five, tmp_path):
    five.write_text("\n \n")
    with pytest.raises(DataFault, match="list.txt' has no lines; write, a line each, an image"):
        image_data(five)
    with pytest.raises(DataFault, match="image_data_param: source: '.*gone.txt' does not exist"):
        image_data(tmp_path / "gone.txt")
    with pytest.raises(DataFault, match="is a folder: name a file in it"):
        image_data(tmp_path)


def test_missing_and_broken_images_are_named_with_their_line(five):
    folder = five.parent
    (folder / "0003.png").write_bytes((folder / "0003.png").read_bytes()[:200])
    made = image_data(five)
    (folder / "0004.png").unlink()
    batches(made, 1)
    with pytest.raises(DataFault, match=rf"image '{folder}/0003.png' \({five}:4\): broken image"):
        made.forward([])
    made.load_state({"seed": 1, "item": 4})
    with pytest.raises(DataFault, match=rf"image '{folder}/0004.png' \({five}:5\): no such file"):
        made.infer([])


def test_a_missing_file_anywhere_in_the_list_is_told_when_the_net_is_built(five):
    for name in ("0002.png", "0004.png"):
        (five.parent / name).unlink()
    with pytest.raises(DataFault, match=rf"image '{five.parent}/0002.png' \({five}:3\) and 1 more: no such file"):
        image_data(five)


def test_sizes_that_differ_in_a_batch_are_named_and_single_images_may_differ(five):
    Image.new("RGB", (8, 9)).save(five.parent / "0001.png")
    made = image_data(five)
    with pytest.raises(ShapeFault, match=r"0001.png' .*:2\) has shape \(3, 9, 8\) but its batch began with \(3, 32, "):
        made.forward([])
    assert [image.shape for image, _ in batches(image_data(five, batch=1), 2)] == [(1, 3, 32, 32), (1, 3, 9, 8)]
    assert batches(image_data(five, extra="transform_param { crop_size: 6 }"), 1)[0][0].shape == (2, 3, 6, 6)


def test_half_a_new_size_is_refused(five):
    with pytest.raises(SchemaFault, match="new_height 20 and new_width 0: give both"):
        image_data(five, "new_height: 20")


def dense(listing, more="", extra="", phase="TRAIN", batch=2, seed=1):
    return layer(
        f'type: "DenseImageData" top: "data" top: "label" dense_image_data_param {{ source: "{listing}" '
        f'root_folder: "{listing.parent}" batch_size: {batch} {more} }} {extra}',
        phase,
        seed,
    )


@pytest.fixture
def pairs(tmp_path):
    """Images whose blue channel equals their label image."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(3):
        image = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image[:, :, 2] = rng.integers(0, 11, (12, 16))
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        label = Image.fromarray(image[:, :, 2])
        if i == 1:
            label = label.convert("P")
            label.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
        label.save(tmp_path / f"{i}_label.png")
        lines.append(f"{i}.png {i}_label.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path / "list.txt"


@pytest.mark.independent("DenseImageData")
@pytest.mark.parametrize("extra", ["", "transform_param { crop_size: 7 mirror: true }"])
def test_labels_go_through_what_their_image_goes_through(pairs, extra):
    size = 7 if extra else None
    for image, label in batches(dense(pairs, "shuffle: true", extra), 8):
        assert label.shape == (2, 1, size or 12, size or 16)
        assert np.array_equal(image[:, :1], label)  # blue comes first


def test_labels_are_resized_without_mixing_and_not_shifted_by_mean_or_scale(pairs):
    made = dense(pairs, "new_height: 18 new_width: 31", "transform_param { mean_value: 5 scale: 2 }")
    ((image, label),) = batches(made, 1)
    assert image.shape == (2, 3, 18, 31) and label.shape == (2, 1, 18, 31)
    assert set(np.unique(label)) <= set(range(11)) and image.min() == -10


def test_dense_mistakes_are_named(pairs):
    Image.new("L", (5, 5)).save(pairs.parent / "1_label.png")
    made = dense(pairs)
    with pytest.raises(ShapeFault, match=r"label image '.*1_label.png' \(.*:2\) is 5 x 5 but its image is 12 x 16"):
        made.forward([])
    Image.new("RGB", (16, 12)).save(pairs.parent / "0_label.png")
    with pytest.raises(DataFault, match="label image '.*0_label.png' .*:1.: is a picture of colours"):
        dense(pairs)
    pairs.write_text("0.png\n")
    with pytest.raises(DataFault, match="list.txt:1: '0.png' is not two names"):
        dense(pairs)
    pairs.write_text("my image.png my label.png\n")
    with pytest.raises(DataFault, match="list.txt:1: .* divide names that hold spaces by a tab"):
        dense(pairs)


def test_dense_names_with_spaces_are_divided_by_a_tab(pairs):
    (pairs.parent / "0.png").rename(pairs.parent / "a b.png")
    (pairs.parent / "0_label.png").rename(pairs.parent / "c d.png")
    pairs.write_text("a b.png\tc d.png\n")
    assert batches(dense(pairs, batch=1), 1)[0][1].shape == (1, 1, 12, 16)


def test_the_forks_mean_file_field_is_not_passed_over(pairs):
    with pytest.raises(SchemaFault, match="dense_image_data_param: mean_file .* transform_param"):
        dense(pairs, 'mean_file: "m.binaryproto"')
