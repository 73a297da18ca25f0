"""TransformationParameter: mean, scale, crop, mirror; and what does not fit."""

import numpy as np
import pytest

from demitasse.layers.data.transform import CropWindow, Transformer
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.messages import BlobProto, TransformationParameter
from demitasse.proto.text import parse

IMAGE = np.arange(3 * 6 * 8).reshape(3, 6, 8).astype(np.uint8)


def transformer(text, train=False):
    return Transformer(parse(text, TransformationParameter)[0], train)


def applied(text, image=IMAGE, train=False, seed=0):
    return transformer(text, train)(image, np.random.default_rng(seed), "image 'a.png'")


def mean_file(path, mean):
    blob = BlobProto(num=1, channels=mean.shape[0], height=mean.shape[1], width=mean.shape[2])
    blob.data.extend(mean.ravel().tolist())
    path.write_bytes(blob.SerializeToString())
    return path


def test_nothing_asked_nothing_done():
    assert np.array_equal(applied(""), IMAGE) and applied("").dtype == np.float32


def test_mean_values_come_before_the_scale():
    expected = (IMAGE - np.float32([1, 2, 3])[:, None, None]) * np.float32(0.0078125)
    assert np.array_equal(applied("mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.0078125"), expected)
    assert np.array_equal(applied("mean_value: 100.5"), IMAGE - np.float32(100.5))


def test_a_test_crop_is_central_rounded_down():
    assert np.array_equal(applied("crop_size: 3"), IMAGE[:, 1:4, 2:5])
    assert np.array_equal(applied("crop_size: 6"), IMAGE[:, :, 1:7])


def test_train_crops_reach_every_place():
    corners = {applied("crop_size: 3", train=True, seed=seed)[0, 0, 0] for seed in range(300)}
    assert corners == {8 * y + x for y in range(4) for x in range(6)}


@pytest.mark.parametrize("train", [True, False])
def test_mirror_flips_about_half_in_both_phases(train):
    flips = [applied("mirror: true", train=train, seed=seed)[0, 0, 0] == 7 for seed in range(200)]
    assert 60 < sum(flips) < 140
    flipped = next(applied("mirror: true", seed=seed) for seed, flip in enumerate(flips) if flip)
    assert np.array_equal(flipped, IMAGE[:, :, ::-1])


def test_the_mean_image_is_cut_and_mirrored_as_the_image_is(tmp_path):
    path = mean_file(tmp_path / "mean.binaryproto", IMAGE.astype(np.float32) - 1)
    for seed in range(8):
        result = applied(f'mean_file: "{path}" crop_size: 4 mirror: true scale: 2', train=True, seed=seed)
        assert result.shape == (3, 4, 4) and (result == 2).all()


@pytest.mark.parametrize(
    "text, fault, words",
    [
        (
            "crop_size: 7",
            ShapeFault,
            "image 'a.png': crop_size 7 exceeds the image's 6 x 8 .height x width.; crop less or",
        ),
        ("mean_value: 1 mean_value: 2", ShapeFault, "image 'a.png': 2 mean_value for an image of 3 channel.s.; give"),
        ("force_color: true force_gray: true", SchemaFault, "force_color and force_gray exclude each other"),
        ('mean_file: "a" mean_value: 1', SchemaFault, "mean_file and mean_value exclude each other"),
        ('mean_file: "gone.binaryproto"', DataFault, "transform_param: mean_file: 'gone.binaryproto' does not exist"),
    ],
)
def test_mistakes(text, fault, words):
    with pytest.raises(fault, match=words):
        applied(text)


def test_a_mean_of_another_size(tmp_path):
    path = mean_file(tmp_path / "m", np.zeros((3, 256, 256), np.float32))
    with pytest.raises(ShapeFault, match="the image is 3 x 6 x 8 but the mean in .*m is 3 x 256 x 256"):
        applied(f'mean_file: "{path}"')
    with pytest.raises(ShapeFault, match="1 x 6 x 8 but the mean"):
        applied(f'mean_file: "{path}"', IMAGE[:1])


def test_a_window_is_a_view():
    part = CropWindow(1, 2, 3, 4, mirror=True).cut(IMAGE)
    assert part.base is not None and np.array_equal(part, IMAGE[:, 1:4, 2:6][:, :, ::-1])
