"""examples/serve.py on a port of this machine: uploads from several threads at once."""

import io
import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from demitasse.netdef.net import Net
from tests.test_caffe.test_examples import ROOT, example
from tests.test_netdef.texts import blob, build, conv, layer

MAPS = blob() + conv("c", "data", 5) + conv("score", "c", 4)
CLASSES = MAPS + layer("Pooling", "pool", "score", more="pooling_param { pool: AVE global_pooling: true }")
MEAN = np.array((104.00698793, 116.66876762, 122.67891434), np.float32)


@pytest.fixture
def serve(tmp_path):
    """Start the server on a net's text; a function that gives (its URL, the net itself)."""
    running = []

    def start(text):
        net = build(text)
        (tmp_path / "deploy.prototxt").write_text(text)
        net.save(tmp_path / "w.npz")
        server = subprocess.Popen(
            [sys.executable, ROOT / "examples" / "serve.py", "--net", "deploy.prototxt", "--weights", "w.npz"]
            + ["--port", "0", "--nets", "2"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(server)
        watch = threading.Timer(100, server.kill)  # so that readline ends
        watch.start()
        url = re.fullmatch(r"serving on (http://127\.0\.0\.1:\d+/)\n", server.stdout.readline())[1]
        watch.cancel()
        return url, Net(tmp_path / "deploy.prototxt", weights=tmp_path / "w.npz")

    yield start
    for server in running:
        server.kill()
        server.wait()
        server.stdout.close()


def picture(seed):
    return np.random.RandomState(seed).randint(0, 256, (12 + seed % 3, 10 + seed % 4, 3), np.uint8)


def post(url, data):
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
        return answer.headers["Content-Type"], answer.read()


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def scores(net, pixels):
    return net.forward({"data": (pixels[:, :, ::-1] - MEAN).transpose(2, 0, 1)[None]})


def test_labels_for_several_at_once(serve):
    url, net = serve(MAPS)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda seed: post(url, png(picture(seed))), range(16)))
    for seed, (kind, body) in enumerate(answers):
        expected = scores(net, picture(seed))["score"][0].argmax(axis=0)
        assert kind == "image/png" and np.array_equal(np.asarray(Image.open(io.BytesIO(body))), expected)


def test_classes_and_what_cannot_be_answered(serve):
    url, net = serve(CLASSES)
    kind, body = post(url, png(picture(1)))
    best = json.loads(body)
    expected = scores(net, picture(1))["pool"].ravel()
    assert kind == "application/json" and [one["class"] for one in best] == np.argsort(-expected).tolist()
    np.testing.assert_allclose([one["score"] for one in best], np.sort(expected)[::-1], rtol=1e-5)
    for data, status, says in (
        (b"no image", 400, "not an image: "),
        (png(picture(1)[:3]), 422, "layer 'score' (Convolution): a kernel that reaches over 3x3"),
        (None, 405, "POST an image"),
    ):
        with pytest.raises(urllib.error.HTTPError) as fault:
            post(url, data)
        with fault.value:
            assert fault.value.code == status and says in fault.value.read().decode()
    assert post(url, png(picture(1)))[1] == body


def test_it_explains_itself(tmp_path):
    assert "python examples/serve.py" in example("serve", "--help", cwd=tmp_path)
