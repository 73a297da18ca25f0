"""Data: LMDB and LevelDB of Datum records; order, wrapping, faults, and the databases' own safety."""

import os

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data.database_writer import create_database
from demitasse.layers.data.images import encode_image
from demitasse.proto.arrays import array_to_datum
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.messages import Datum
from tests.test_layers.data_sets import batches, layer, same, write_database
from tests.test_layers.database_layers import data, images

pytest.importorskip("lmdb")


@pytest.fixture
def five(tmp_path):
    return write_database(tmp_path / "five", images(5), [10, 11, 12, 13, 14])


@pytest.mark.independent("Data")
def test_records_come_in_order_and_again(five):
    tops = batches(data(five), 5)
    labels = np.concatenate([label for _, label in tops])
    assert labels.tolist() == [10, 11, 12, 13, 14] * 2
    assert np.array_equal(np.concatenate([image for image, _ in tops])[:5], images(5))


def test_one_top_gives_no_labels(five):
    ((only,),) = batches(data(five, tops='top: "data"'), 1)
    assert only.shape == (2, 3, 4, 5)


def test_a_batch_larger_than_the_database_repeats_it(five):
    ((image, label),) = batches(data(five, batch=12), 1)
    assert label.tolist() == [10, 11, 12, 13, 14, 10, 11, 12, 13, 14, 10, 11]


def test_rand_skip_starts_somewhere(five):
    starts = {
        int(
            batches(
                layer(
                    f'type: "Data" top: "d" top: "l" data_param {{ source: "{five}" batch_size: 1 rand_skip: 5 }}',
                    seed=seed,
                ),
                1,
            )[0][1][0]
        )
        for seed in range(12)
    }
    assert len(starts) > 2 and starts <= {10, 11, 12, 13, 14}


def test_restarts_to_the_bit_with_crop_and_mirror(five):
    def made(seed):
        return data(five, "transform_param { crop_size: 3 mirror: true }", phase="TRAIN", seed=seed)

    first = made(1)
    batches(first, 3)
    state = first.state()
    expected = batches(first, 6)
    second = made(2)
    second.load_state(state)
    assert same(batches(second, 6), expected)
    assert not same(batches(made(2), 6), batches(made(1), 6))


def test_two_layers_read_one_database(five):
    one, two = data(five), data(five)
    assert same(batches(one, 3), batches(two, 3))
    one.close()
    assert batches(two, 1)[0][1].tolist() == [11, 12]
    two.close()
    data(five).close()


def test_ranks_read_every_record_once(five):
    seen = []
    for rank in range(2):
        made = data(five, batch=1)
        made.shard(rank, 2)
        seen.append([int(label[0]) for _, label in batches(made, 5)])
    assert seen == [[10, 12, 14, 11, 13], [11, 13, 10, 12, 14]]


def test_encoded_records(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        for i, image in enumerate((picture, picture[:, :, :1])):
            database.put(b"%d" % i, Datum(encoded=True, data=encode_image(image, "png"), label=i).SerializeToString())
    ((colour, _),) = batches(data(tmp_path / "db", "transform_param { force_color: true }"), 1)
    assert np.array_equal(colour[0], picture.transpose(2, 0, 1))
    assert np.array_equal(colour[1], np.repeat(picture[None, :, :, 0], 3, axis=0))
    ((grey, _),) = batches(data(tmp_path / "db", "transform_param { force_gray: true }"), 1)
    assert grey.shape == (2, 1, 6, 7)
    made = data(tmp_path / "db")
    with pytest.raises(
        ShapeFault,
        match=r"key '1' of .*db has shape \(1, 6, 7\) but its batch began with \(3, 6, 7\) "
        "of key '0'",
    ):
        made.forward([])
    old = layer(
        f'type: "Data" top: "d" data_param {{ source: "{tmp_path / "db"}" batch_size: 2 force_encoded_color: true }}'
    )
    assert np.array_equal(batches(old, 1)[0][0], colour)


def test_float_records(tmp_path):
    values = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 2, 2)
    write_database(tmp_path / "db", values, [-1, 7])
    ((image, label),) = batches(data(tmp_path / "db"), 1)
    assert np.array_equal(image, values) and label.tolist() == [-1, 7]


@pytest.mark.parametrize(
    "message, words",
    [
        (Datum(channels=3, height=4, width=5, data=b"12"), "3 x 4 x 5 = 60 values but holds 2"),
        (Datum(channels=3, height=40000, width=50000), "3 x 40000 x 50000 = 6000000000 values but holds 0"),
        (Datum(data=b"12"), "0 x 0 x 0 .* holds no pixels"),
        (Datum(encoded=True, data=b"nonsense"), "not an image"),
        (Datum(encoded=True), "the file is empty"),
    ],
)
def test_a_broken_record_is_named(tmp_path, message, words):
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        database.put(b"good", array_to_datum(images(1)[0], 1).SerializeToString())
        database.put(b"later", message.SerializeToString())
    made = data(tmp_path / "db")
    with pytest.raises(DataFault, match=f"key 'later' of .*db: .*{words}"):
        made.forward([])


def test_a_record_that_is_no_datum_is_named(tmp_path):
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        database.put(b"k\xff", b"\xff\xff\xff")
    with pytest.raises(DataFault, match=r"key 'k\\xff' of .*db: not a Datum message \(3 bytes\)"):
        data(tmp_path / "db")


def test_missing_and_mistaken_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataFault, match=f"data_param: source: 'no/such' does not exist; looked for from {tmp_path}"):
        data("no/such")
    write_database(tmp_path / "train_lmdb", images(1), [0])
    with pytest.raises(DataFault, match="'train_lmbd' does not exist .did you mean 'train_lmdb'"):
        data("train_lmbd")
    with pytest.raises(SchemaFault, match="data_param: source is not given"):
        data("")
    os.mkdir("empty")
    with pytest.raises(DataFault, match="'empty' is neither an LMDB .* nor a LevelDB"):
        data("empty")
    os.mkdir("garbage")
    (tmp_path / "garbage" / "data.mdb").write_bytes(b"garbage" * 3000)
    with pytest.raises(DataFault, match="'garbage' is not a readable LMDB"):
        data("garbage")
    with create_database("none", "lmdb"):
        pass
    with pytest.raises(DataFault, match="the LMDB 'none' is empty"):
        data("none")


def test_fields_that_have_moved_are_not_passed_over_in_silence(five):
    made = layer(f'name: "d" type: "Data" top: "d" data_param {{ source: "{five}" batch_size: 5 scale: 9 }}')
    assert made.advice([]) == ["data_param.scale has no effect; write it in transform_param"]
    assert np.array_equal(batches(made, 1)[0][0], images(5))


def test_batch_size_is_needed(five):
    with pytest.raises(SchemaFault, match="batch_size is not given or 0"):
        data(five, batch=0)


def test_an_lmdb_file_without_a_folder_is_read(five):
    assert batches(data(five / "data.mdb"), 1)[0][1].tolist() == [10, 11]


def test_what_a_folder_holds_is_seen_from_its_files(five):
    made = layer(f'type: "Data" top: "d" top: "l" data_param {{ source: "{five}" batch_size: 2 }}')  # says LEVELDB
    assert batches(made, 1)[0][1].tolist() == [10, 11]


def test_real_pictures_survive(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "p.png")
    bgr = np.ascontiguousarray(picture[:, :, ::-1].transpose(2, 0, 1))
    path = write_database(tmp_path / "db", [bgr], [3])
    assert np.array_equal(batches(data(path, batch=1), 1)[0][0][0], bgr)


def test_records_with_their_channels_last_are_told(tmp_path):
    path = write_database(tmp_path / "db", np.zeros((2, 24, 32, 3), np.uint8), [0, 1])
    hint = r"24 x 32 x 3 \(channels x height x width\) looks like height x width x channels: store it transposed"
    with pytest.warns(UserWarning, match=f"key '00000000' of .*: the record of {hint}"):
        assert data(path).infer([])[0] == (2, 24, 32, 3)
    with pytest.raises(ShapeFault, match=f"crop_size 20 exceeds the image's 32 x 3 .*; the record of {hint}"):
        data(path, "transform_param { crop_size: 20 }")


def test_grey_among_colour_and_unmarked_files_have_their_remedies(tmp_path):
    picture = np.zeros((6, 7, 3), np.uint8)
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        for i, image in enumerate((picture, picture[:, :, :1])):
            database.put(b"%d" % i, Datum(encoded=True, data=encode_image(image, "png")).SerializeToString())
    with pytest.raises(ShapeFault, match=r"of key '0' of .*db; give transform_param \{ force_color: true \}"):
        data(tmp_path / "db").forward([])
    for kind, name in (("PNG", "png"), ("JPEG", "jpg")):
        with create_database(str(tmp_path / name), "lmdb") as database:
            database.put(b"k", Datum(data=encode_image(picture, name)).SerializeToString())
        with pytest.raises(DataFault, match=f"its bytes are a {kind} file: such a Datum needs encoded: true"):
            data(tmp_path / name)


@pytest.mark.parametrize("count", [1, 7, 700])
def test_shuffled_epochs_hold_every_record_once(tmp_path, count):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (count, 1, 2, int(rng.integers(2, 9)))).astype(np.uint8)
    source = write_database(tmp_path / "db", values, range(count))
    text = (
        f'type: "Data" top: "data" top: "label" data_param {{ source: "{source}" batch_size: {count} shuffle: true }}'
    )
    data, other = layer(text), layer(text, seed=2)
    first, second = batches(data, 2)
    state = data.state()
    for pixels, labels in (first, second):
        assert sorted(labels.tolist()) == list(range(count))
        assert np.array_equal(pixels, values[labels.astype(int)])
    assert count == 1 or not np.array_equal(first[1], second[1])
    other.load_state(state)
    assert same(batches(data, 2), batches(other, 2))
    assert data.stream().order == ("shuffle: true",)
    data.close()
    other.close()
