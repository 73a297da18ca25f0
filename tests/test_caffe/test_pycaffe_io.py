"""caffe.io, Classifier and Detector."""

import warnings

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.proto import caffe_pb2
from demitasse.proto.errors import DataFault, GraphFault, ShapeFault
from tests.test_caffe.nets import write

RNG = np.random.default_rng(2)
CLASSIFIER = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 6 dim: 6 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


def test_blobs_and_their_messages():
    array = RNG.standard_normal((2, 3, 4)).astype("f")
    blob = caffe.io.array_to_blobproto(array, diff=2 * array)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), array)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), 2 * array)
    old = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=3, data=range(6))
    assert caffe.io.blobproto_to_array(old).shape == (1, 1, 2, 3)
    scalar = caffe_pb2.BlobProto(data=[7], shape=caffe_pb2.BlobShape())
    assert caffe.io.blobproto_to_array(scalar) == 7
    arrays = [array, np.arange(4.0)]
    back = caffe.io.blobprotovector_str_to_arraylist(caffe.io.arraylist_to_blobprotovector_str(arrays))
    for one, two in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(one, two)


def test_data_and_their_messages():
    for array in (RNG.integers(0, 256, (3, 4, 5)).astype(np.uint8), RNG.standard_normal((1, 2, 2)).astype("f")):
        datum = caffe.io.array_to_datum(array, label=3)
        assert datum.label == 3
        again = caffe_pb2.Datum.FromString(datum.SerializeToString())
        np.testing.assert_array_equal(caffe.io.datum_to_array(again), array)
    with pytest.raises(DataFault, match="channels x height x width"):
        caffe.io.array_to_datum(np.zeros((2, 2)))


def test_load_image(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGBA", (4, 2), (255, 51, 0, 10)).save(path)
    image = caffe.io.load_image(str(path))
    assert image.shape == (2, 4, 3) and image.dtype == np.float32
    np.testing.assert_allclose(image[0, 0], [1, 0.2, 0], rtol=1e-6)
    grey = caffe.io.load_image(path, color=False)
    assert grey.shape == (2, 4, 1) and grey.dtype == np.float32
    np.testing.assert_allclose(grey[1, 3], 0.2125 + 0.7154 * 0.2, rtol=1e-5)
    Image.fromarray(np.array([[0, 51, 255]], np.uint8)).save(path)
    np.testing.assert_allclose(caffe.io.load_image(path, color=False)[0, :, 0], [0, 0.2, 1], rtol=1e-5)
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(path)
    np.testing.assert_array_equal(caffe.io.load_image(path)[0], [[0, 0, 0], [1, 1, 1]])
    with open(path, "rb") as file:
        np.testing.assert_array_equal(caffe.io.load_image(file), caffe.io.load_image(path))
    with pytest.raises(IOError, match="Could not open file"):
        caffe.io.load_image("nothing.png")
    with open(path, encoding="latin-1") as file, pytest.raises(IOError, match="binary mode"):
        caffe.io.load_image(file)
    path.write_bytes(b"no image")
    with pytest.raises(IOError, match=r"image '.*red.png': not an image") as caught:
        caffe.io.load_image(path)
    assert isinstance(caught.value, DataFault)


def test_resize_image():
    ramp = np.tile(np.arange(8, dtype="f")[None, :, None], (6, 1, 2))
    assert caffe.io.resize_image(ramp, (3, 4)).shape == (3, 4, 2)
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (6, 4))[0, :, 0], [0.5, 2.5, 4.5, 6.5], atol=1e-5)
    np.testing.assert_allclose(caffe.io.resize_image(ramp, (6, 16))[2, 1:5, 1], [0.25, 0.75, 1.25, 1.75], atol=1e-5)
    assert caffe.io.resize_image(np.full((5, 7, 4), 3.0), (9, 2)).max() == pytest.approx(3)


def test_oversample():
    image = np.arange(5 * 7 * 1, dtype="f").reshape(5, 7, 1)
    crops = caffe.io.oversample([image, image], (3, 3))
    assert crops.shape == (20, 3, 3, 1)
    np.testing.assert_array_equal(crops[3], image[2:, 4:])
    np.testing.assert_array_equal(crops[4], image[1:4, 2:5])
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])
    with pytest.raises(ShapeFault, match="do not fit"):
        caffe.io.oversample([image], (6, 3))


def test_transformer_there_and_back():
    transformer = caffe.io.Transformer({"data": (1, 3, 4, 6)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([1.0, 2.0, 3.0]))
    transformer.set_input_scale("data", 0.5)
    image = RNG.random((4, 6, 3)).astype("f")
    made = transformer.preprocess("data", image)
    expected = (255 * image.transpose(2, 0, 1)[::-1] - np.array([1, 2, 3.0])[:, None, None]) * 0.5
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)
    assert made.dtype == np.float32
    np.testing.assert_allclose(transformer.deprocess("data", made), image, atol=1e-5)
    assert transformer.preprocess("data", RNG.random((8, 12, 3))).shape == (3, 4, 6)


def test_a_mean_image_of_another_size_is_resized():
    transformer = caffe.io.Transformer({"data": (1, 2, 4, 6)})
    ramp = np.tile(np.arange(12, dtype="f"), (2, 8, 1)) * np.array([1, 10], "f")[:, None, None]
    transformer.set_mean("data", ramp)
    assert transformer.mean["data"].shape == (2, 4, 6)
    np.testing.assert_allclose(transformer.mean["data"][1, 2], np.arange(0.5, 12, 2) * 10, rtol=1e-5)


def test_transformer_mistakes():
    transformer = caffe.io.Transformer({"data": (1, 3, 4, 6)})
    with pytest.raises(GraphFault, match="no input 'dat'.*did you mean 'data'"):
        transformer.set_raw_scale("dat", 2)
    with pytest.raises(ShapeFault, match="transpose"):
        transformer.set_transpose("data", (0, 1))
    with pytest.raises(ShapeFault, match="channel_swap"):
        transformer.set_channel_swap("data", (0, 1))
    for mean in (np.zeros(2), np.zeros((2, 5, 6)), np.zeros((4, 4, 4, 4))):
        with pytest.raises(ShapeFault, match="mean of shape"):
            transformer.set_mean("data", mean)


@pytest.fixture
def files(tmp_path):
    path, weights = write(tmp_path, CLASSIFIER), tmp_path / "w.caffemodel"
    caffe.set_random_seed(1)
    caffe.Net(path, caffe.TEST).save(weights)
    return path, str(weights)


def test_classifier(files):
    classifier = caffe.Classifier(
        *files, image_dims=(8, 8), mean=np.array([0.1, 0.2, 0.3]), raw_scale=2, channel_swap=(2, 1, 0), input_scale=0.5
    )
    images = [RNG.random((11, 9, 3)), RNG.random((8, 8, 3))]
    for oversample in (True, False):
        scores = classifier.predict(images, oversample)
        assert scores.shape == (2, 5)
        np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    assert classifier.predict(images, oversample=False).shape == classifier.blobs["prob"].shape[:0] + (2, 5)
    centre = classifier.transformer.preprocess("data", images[1][1:7, 1:7])
    expected = classifier.forward_all(data=centre[None])["prob"][0]
    np.testing.assert_allclose(classifier.predict(images[1:], oversample=False)[0], expected, rtol=1e-5)


def test_detector(files, tmp_path):
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    name = str(tmp_path / "a.png")
    detector = caffe.Detector(*files, mean=np.array([5.0, 6.0, 7.0]), raw_scale=255)
    windows = [(0, 0, 20, 30), (2, 3, 12, 13), (10, 20, 20, 30)]
    found = detector.detect_windows([(name, windows), (name, windows[:2])])
    assert len(found) == 5 and found[0]["filename"] == name and found[1]["window"] == windows[1]
    assert found[0]["prediction"].shape == (5,)
    image = caffe.io.load_image(name)
    expected = detector.forward_all(data=detector.transformer.preprocess("data", image[2:12, 3:13])[None])["prob"][0]
    np.testing.assert_allclose(found[1]["prediction"], expected, rtol=1e-5)
    padded = caffe.Detector(*files, mean=np.array([5.0, 6.0, 7.0]), raw_scale=255, context_pad=1)
    crop = padded.transformer.preprocess("data", padded.crop(image, (10, 20, 20, 30)))
    np.testing.assert_allclose(crop[:, -1], 0, atol=1e-4)  # beyond the image: what the net takes as nothing
    assert crop[:, 1:-1, 1:-1].any() and len(padded.detect_windows([(name, windows)])) == 3
    assert detector.detect_windows([]) == []
    with pytest.raises(ShapeFault, match="not inside an image of 20x30"):
        detector.detect_windows([(name, [(0, 0, 21, 5)])])
    with pytest.raises(DataFault, match="MATLAB"):
        detector.detect_selective_search([name])


def test_a_blob_without_a_shape():
    blob = caffe.proto.caffe_pb2.BlobProto()
    blob.data.append(123)
    assert caffe.io.blobproto_to_array(blob) == 123
    blob.data.extend(range(99))
    with pytest.raises(ValueError, match="100 values has no shape: give it one"):
        caffe.io.blobproto_to_array(blob)
    blob.shape.dim.extend([10, 9])
    with pytest.raises(ValueError, match="BlobProto"):
        caffe.io.blobproto_to_array(blob)
    blob.shape.dim[1] = 10
    assert caffe.io.blobproto_to_array(blob).shape == (10, 10)


def test_paths_and_orders_that_cannot_be_meant():
    transformer = caffe.io.Transformer({"data": (1, 3, 4, 4)})
    with pytest.raises(TypeError, match=r"caffe\.io\.load_image\('a\.png'\)"):
        transformer.preprocess("data", "a.png")
    with pytest.raises(TypeError, match=r"caffe\.io\.load_image\('a\.png'\)"):
        caffe.io.resize_image("a.png", (4, 4))
    with pytest.raises(TypeError, match=r"np\.load\('mean\.npy'\)"):
        transformer.set_mean("data", "mean.npy")
    with pytest.raises(ShapeFault, match="channel_swap"):
        transformer.set_channel_swap("data", (3, 2, 1))
    with pytest.raises(ShapeFault, match="transpose"):
        transformer.set_transpose("data", (2, 2, 1))


def test_what_a_classifier_cannot_take(files):
    image = RNG.random((11, 9, 3))
    with pytest.raises(ShapeFault, match=r"image_dims is \(4, 8\), but crops of 6x6, the size of input 'data'"):
        caffe.Classifier(*files, image_dims=(4, 8))
    with pytest.raises(ShapeFault, match=r"image_dims is 8, but crops"):
        caffe.Classifier(*files, image_dims=8)
    classifier = caffe.Classifier(*files)
    with pytest.raises(ShapeFault, match=r"one image of shape \(11, 9, 3\), but a list is taken: predict\(\[image"):
        classifier.predict(image)
    with pytest.raises(ShapeFault, match="there is no image in the list"):
        classifier.predict([])
    with pytest.raises(TypeError, match=r"caffe.io.load_image\('cat.jpg'\) reads one"):
        classifier.predict("cat.jpg")


def test_images_of_bytes_and_a_raw_scale_for_shares(files):
    classifier, image = caffe.Classifier(*files, raw_scale=255), RNG.random((8, 8, 3))
    with pytest.warns(UserWarning, match="raw_scale 255 is for images from 0 to 1, .* divide them by 255"):
        classifier.predict([(image * 255).astype(np.uint8)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.predict([image])
        caffe.Classifier(*files).predict([image * 255])


def test_the_mean_of_a_binaryproto_with_its_batch_axis():
    transformer, mean = caffe.io.Transformer({"data": (1, 3, 4, 6)}), RNG.random((1, 3, 4, 6))
    transformer.set_mean("data", mean)
    np.testing.assert_array_equal(transformer.mean["data"], mean[0].astype(np.float32))


def test_windows_without_their_pairs(files):
    detector = caffe.Detector(*files)
    with pytest.raises(ShapeFault, match=r"takes a list of pairs, not 'a.png': give \[\(image file, \[\(ymin"):
        detector.detect_windows(["a.png"])
    with pytest.raises(ShapeFault, match=r"the windows of a.png have shape \(4,\): give a list of \(ymin"):
        detector.detect_windows([("a.png", (0, 0, 2, 2))])
