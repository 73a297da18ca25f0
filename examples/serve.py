"""Serve a net: POST an image, get its labels as a PNG, or for a classifier its best classes as JSON.

    python examples/serve.py --net deploy.prototxt --weights fcn8s.caffemodel --port 8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/ > labels.png

Each request runs in a thread of its own, with one of a few nets that share their weights (docs/serving.md).  The app
is plain WSGI: any server that forks or threads can run it.
"""

import argparse
import contextlib
import io
import json
import queue
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import numpy as np
from PIL import Image

from demitasse.netdef.net import Net
from demitasse.proto.errors import NetError

MEAN = np.array((104.00698793, 116.66876762, 122.67891434), np.float32)  # BGR, of ImageNet
LARGEST = 32 << 20  # bytes of an upload
BEST = 5  # classes that a classifier tells


class Service:
    """A WSGI app.  nets: how many requests may be in a net at once; more wait their turn."""

    def __init__(self, net, weights, nets=2):
        first = Net(net, weights=weights)
        (self.input,) = first.inputs  # a net with one Input, as a deploy prototxt has
        self.nets = queue.SimpleQueue()
        for one in [first, *(Net(net, weights=first) for _ in range(nets - 1))]:
            self.nets.put(one)

    @contextlib.contextmanager
    def net(self):
        one = self.nets.get()
        try:
            yield one
        finally:
            self.nets.put(one)

    def scores(self, image):
        """(1, classes, height, width), or (1, classes), of an RGB image (height, width, 3) from 0 to 255."""
        blob = (image[:, :, ::-1].astype(np.float32) - MEAN).transpose(2, 0, 1)[None]
        with self.net() as net:
            (scores,) = net.forward({self.input: blob}).values()
            return net.backend.to_host(scores)

    def __call__(self, environ, start_response):
        status, kind, body = self.answer(environ)
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def answer(self, environ):
        """(status, content type, body) of a request."""
        if environ["REQUEST_METHOD"] != "POST":
            return "405 Method Not Allowed", "text/plain", b"POST an image\n"
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if not 0 < length <= LARGEST:
            return "413 Content Too Large", "text/plain", f"an image of 1 to {LARGEST} bytes\n".encode()
        try:
            picture = Image.open(io.BytesIO(environ["wsgi.input"].read(length))).convert("RGB")
        except (OSError, Image.DecompressionBombError) as fault:
            return "400 Bad Request", "text/plain", f"not an image: {fault}\n".encode()
        try:
            scores = self.scores(np.asarray(picture))[0]
        except NetError as fault:  # a size that the net has no answer for: a line that names the layer
            return "422 Unprocessable Content", "text/plain", f"{fault}\n".encode()
        return "200 OK", *(as_classes(scores) if scores.size == len(scores) else as_labels(scores))


def as_classes(scores):
    """The best classes of a classifier, the best first."""
    scores = scores.ravel()
    best = [{"class": int(index), "score": float(scores[index])} for index in np.argsort(-scores)[:BEST]]
    return "application/json", json.dumps(best).encode()


def as_labels(scores):
    """A gray PNG whose pixels are class indices."""
    image = io.BytesIO()
    Image.fromarray(scores.argmax(axis=0).astype(np.uint8)).save(image, "png")
    return "image/png", image.getvalue()


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", required=True, help="a deploy prototxt with one Input")
    parser.add_argument("--weights", required=True, help="a weights file of any format")
    parser.add_argument("--nets", type=int, default=2, help="requests that are computed at once (default: 2)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (default: 8000)")
    options = parser.parse_args()
    service = Service(options.net, options.weights, options.nets)
    with make_server(options.host, options.port, service, Server, WSGIRequestHandler) as server:
        print(f"serving on http://{options.host}:{server.server_port}/", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
