"""Threads that share a net, and nets that share weights: every call gives what it would give alone."""

import os
import threading

import numpy as np
import pytest

import caffe
from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from tests.test_netdef.texts import blob, conv, layer

TEXT = (
    blob()
    + conv("c1", "data", 8)
    + layer("ReLU", "r1", "c1", "c1")
    + layer("Pooling", "p1", "c1", more="pooling_param { kernel_size: 2 stride: 2 }")
    + conv("c2", "p1", 2)
)
THREADS, CALLS = 4, 60
IMAGES = [np.random.RandomState(i).standard_normal((1, 3, 8 + i % 3 * 4, 12 + i % 5)) for i in range(12)]


def facade(folder):
    path = folder / "net.prototxt"
    path.write_text(TEXT)
    return caffe.Net(str(path), caffe.TEST)


def forward(net, image):
    if isinstance(net, Net):
        return net.forward({"data": image})["c2"]
    with net.lock:  # two calls that belong together
        net.blobs["data"].reshape(*image.shape)
        return net.forward(data=image)["c2"]


def in_threads(work):
    """Run work(number) in several threads at once; what it has raised is raised here."""
    faults, start = [], threading.Barrier(THREADS)

    def run(number):
        try:
            start.wait()
            work(number)
        except BaseException as fault:  # noqa: BLE001 (told below, whatever it is)
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


@pytest.fixture(params=["Net", "caffe.Net"])
def make(request, tmp_path):
    return (lambda: Net(TEXT, seed=1)) if request.param == "Net" else (lambda: facade(tmp_path))


@pytest.mark.parametrize("shared", ["one net", "a net each"])
def test_threads_get_their_own_results(make, shared):
    nets = [make() for _ in range(THREADS if shared == "a net each" else 1)]
    for net in nets[1:]:
        net.share_with(nets[0])
    expected = [np.array(forward(nets[0], image)) for image in IMAGES]
    results = []

    def work(number):
        for call in range(CALLS):
            index = (call * 7 + number * 5) % len(IMAGES)
            results.append((index, forward(nets[number % len(nets)], IMAGES[index])))

    in_threads(work)
    assert len(results) == THREADS * CALLS
    assert all(np.array_equal(result, expected[index]) for index, result in results)  # none written to since


def test_what_the_first_thread_got_stays(tmp_path):
    net = facade(tmp_path)
    first = net.forward(data=IMAGES[0][:, :, :, :8])["c2"]
    kept, seen = first.copy(), net.blobs["data"].data
    other = []
    thread = threading.Thread(target=lambda: other.append(net.forward(data=np.ones((1, 3, 8, 8)))["c2"]))
    thread.start()
    thread.join()
    assert np.array_equal(first, kept) and not np.array_equal(other[0], kept)
    assert net.blobs["data"].data is seen  # inputs stay where scripts write to them
    assert np.array_equal(net.blobs["c2"].data, other[0])


def test_calls_that_belong_together_under_the_lock():
    text = blob() + blob("label", (1, 1, 6, 6)) + conv("c", "data") + layer("SoftmaxWithLoss", "loss", "c label")
    net, alone = Net(text, "TRAIN", seed=1), Net(text, "TRAIN", seed=1)
    feeds = [{"data": IMAGES[0][:, :, :8, :8] * scale, "label": np.ones((1, 1, 6, 6))} for scale in range(THREADS)]

    def step(net, number):
        with net.lock:
            net.clear_grads()
            net.forward(feeds[number])
            loss = net.loss
            net.backward()
            return loss, net.params["c"][0].grad.copy()

    expected = [step(alone, number) for number in range(THREADS)]

    def work(number):
        for _ in range(10):
            loss, grad = step(net, number)
            assert loss == expected[number][0] and np.array_equal(grad, expected[number][1])

    in_threads(work)


def test_shared_weights_are_one_memory(make):
    one, two = make(), make()
    two.share_with(one)
    before = np.array(forward(two, IMAGES[0]))
    one.params["c2"][1].data[...] += 1
    np.testing.assert_allclose(forward(two, IMAGES[0]), before + 1, rtol=1e-5, atol=1e-5)


def test_weights_of_another_net_at_the_start():
    one = Net(TEXT, seed=1)
    two = Net(TEXT, weights=one)
    assert all(a.data is b.data for name in one.params for a, b in zip(one.params[name], two.params[name], strict=True))
    assert two.load_report.matched == ["c1", "c2"] and not two.load_report.missing
    headless = Net(TEXT[: TEXT.index('layer { name: "c2"')] + conv("new", "p1", 2), weights=one)
    assert headless.load_report.missing == ["new"] and headless.load_report.unused == ["c2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_worker_finds_the_net_free(tmp_path):
    net = Net(TEXT, seed=1, backend=make_backend("generic"))
    expected = net.forward({"data": IMAGES[0]})["c2"]
    held, done = threading.Event(), threading.Event()

    def hold():
        with net.lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if not child:
        ok = net.lock.acquire(timeout=20)
        ok = ok and np.array_equal(net.forward({"data": IMAGES[0]})["c2"], expected)
        os._exit(0 if ok else 1)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
