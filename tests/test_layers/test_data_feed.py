"""Prefetching: order, exact restarts, sharing among ranks, faults from the thread, and its end."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from demitasse.layers.data.feed import Feed, Source
from demitasse.proto.errors import DataFault, ShapeFault


class Numbers(Source):
    """Sample n is [n] and a draw; slow or broken where asked."""

    draws = True

    def __init__(self, bad=None, slow=0.0):
        super().__init__()
        self.bad, self.slow, self.closed, self.found = bad, slow, False, []

    def find(self, index):
        self.found.append(index)
        return index

    def load(self, record, rng):
        time.sleep(self.slow)
        if record == self.bad:
            raise DataFault(f"sample {record}: broken")
        return [np.float32([record]), np.float32(rng.random())], f"sample {record}"

    def close(self):
        super().close()
        self.closed = True


def numbers(feed, count):
    return [feed.next().arrays[0][:, 0].astype(int).tolist() for _ in range(count)]


def eventually(condition, seconds=10):
    deadline = time.time() + seconds
    while not condition() and time.time() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.fixture(autouse=True)
def prefetchers():
    """A function that lists the prefetching threads begun in this test; none is left at its end."""
    before = set(threading.enumerate())

    def begun():
        return [
            thread for thread in threading.enumerate() if thread.name.startswith("prefetch") and thread not in before
        ]

    yield begun
    gc.collect()
    assert eventually(lambda: not begun())


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_batches_come_in_order(ahead):
    feed = Feed(Numbers(), 3, ahead)
    assert feed.shapes() == [(3, 1), (3,)]
    assert numbers(feed, 3) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert feed.shapes() == [(3, 1), (3,)]
    assert numbers(feed, 1) == [[9, 10, 11]]
    feed.close()


def test_no_thread_runs_before_the_first_batch(prefetchers):
    feed = Feed(Numbers(), 3, 4)
    feed.shapes()
    assert not prefetchers()
    feed.close()


def test_batches_are_made_ahead_but_no_more_than_asked():
    source = Numbers()
    feed = Feed(source, 2, 3)
    feed.next()
    assert eventually(lambda: len(source.found) == 10)
    time.sleep(0.05)
    assert len(source.found) == 10  # 1 consumed, 3 in the queue, 1 in the thread's hand
    assert feed.item == 2
    feed.close()


@pytest.mark.parametrize("ahead", [0, 4])
def test_a_restart_repeats_the_bits(ahead):
    feed = Feed(Numbers(), 4, ahead)
    feed.source.seed = 5
    feed.next()
    item = feed.item
    expected = [feed.next().arrays for _ in range(3)]
    other = Feed(Numbers(), 4, ahead)
    other.restart(item, 5)
    again = [other.next().arrays for _ in range(3)]
    feed.restart(item, 5)
    back = [feed.next().arrays for _ in range(3)]
    for runs in zip(expected, again, back, strict=True):
        for top in zip(*runs, strict=True):
            assert np.array_equal(top[0], top[1]) and np.array_equal(top[0], top[2])
    feed.restart(item, 6)
    assert not np.array_equal(feed.next().arrays[1], expected[0][1])
    feed.close()
    other.close()


def test_ranks_divide_the_samples():
    ranks = []
    for rank in range(3):
        feed = Feed(Numbers(), 2, 2)
        feed.rank, feed.size = rank, 3
        ranks.append(numbers(feed, 2))
        assert feed.item == 12  # the same for all: any rank's state restarts every rank
        feed.close()
    assert ranks == [[[0, 3], [6, 9]], [[1, 4], [7, 10]], [[2, 5], [8, 11]]]


def test_a_fault_of_the_thread_is_raised_where_the_batch_is_asked_for():
    feed = Feed(Numbers(bad=5), 2, 4)
    assert numbers(feed, 2) == [[0, 1], [2, 3]]
    for _ in range(2):
        with pytest.raises(DataFault, match="sample 5: broken"):
            feed.next()
    with pytest.raises(DataFault, match="sample 5: broken"):
        feed.shapes()
    assert feed.item == 4
    feed.restart(6, 0)  # past it
    assert numbers(feed, 1) == [[6, 7]]
    feed.close()


def test_close_does_not_wait_for_more_than_the_batch_at_hand():
    source = Numbers(slow=0.02)
    feed = Feed(source, 2, 2)
    feed.next()
    start = time.time()
    feed.close()
    feed.close()
    assert time.time() - start < 2 and source.closed


def test_a_lost_feed_ends_its_thread_and_its_source(prefetchers):
    feed = Feed(Numbers(), 2, 2)
    feed.next()
    source, gone = weakref.ref(feed.source), weakref.ref(feed)
    del feed
    gc.collect()
    assert gone() is None and eventually(lambda: not prefetchers())
    assert eventually(lambda: source() is None)  # and with it its files


def test_garbage_collected_in_a_decoding_thread_stops_nothing(prefetchers):
    """The collector may free a feed within one of its own threads, which cannot wait for itself."""
    lost = []

    class Collecting(Numbers):
        def load(self, record, rng):
            if lost:
                lost.clear()
                gc.collect()
            return super().load(record, rng)

    feed = Feed(Collecting(slow=0.01), 4, 2)
    feed.next()
    cycle = [feed]
    cycle.append(cycle)
    source = weakref.ref(feed.source)
    lost.append(1)
    gc.disable()
    try:
        del feed, cycle
        assert eventually(lambda: not prefetchers())
    finally:
        gc.enable()
    assert eventually(lambda: source() is None)


def test_samples_of_different_shapes_are_named():
    class Uneven(Numbers):
        def load(self, record, rng):
            return [np.zeros((1, 2 + record // 2))], f"image {record}"

    feed = Feed(Uneven(), 4, 1)
    with pytest.raises(
        ShapeFault,
        match=r"image 2 has shape \(1, 3\) but its batch began with \(1, 2\) of image 0; "
        "resize or crop",
    ):
        feed.next()
    feed.close()


def test_loading_hides_behind_computing():
    feed = Feed(Numbers(slow=0.01), 4, 4)
    feed.source.costly = False
    feed.next()
    assert eventually(lambda: len(feed.source.found) >= 16)  # while the net computes, and nobody asks for a batch
    assert numbers(feed, 3) == [[4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    feed.close()
