"""The rest of the module: modes, logs, timers, pictures, counters, and how a GPU's blobs travel."""

import time

import numpy as np
import pytest

import caffe
from demitasse.proto.errors import SolverFault
from tests.test_caffe.nets import LOSSY, SMALL, build, write
from tests.test_gpu import shim


@pytest.fixture(autouse=True)
def cpu_again():
    yield
    caffe.set_mode_cpu()
    caffe.init_log(0)


def test_without_a_gpu_the_cpu_computes_and_says_so(tmp_path, monkeypatch):
    def refuse(device, **options):
        if device != "cpu":
            raise SolverFault("no CUDA driver")
        return made(device, **options)

    made = caffe.mode.make_backend
    monkeypatch.setattr("caffe.mode.make_backend", refuse)
    caffe.mode._gpu.cache_clear()
    caffe.set_device(0)
    with pytest.raises(TypeError, match="set_device takes a whole number, not 'cuda'"):
        caffe.set_device("cuda")
    caffe.set_mode_gpu()
    with pytest.warns(UserWarning, match="no CUDA driver; computing on the CPU"):
        net = build(tmp_path)
    assert net.forward()["sum"].shape == (2, 5, 4, 4)
    caffe.mode._gpu.cache_clear()


@pytest.fixture
def gpu(request, monkeypatch):
    """set_mode_gpu on a GPU (--gpu), else on the CPU that pretends and refuses host arrays."""
    shim.gpu_or_pretence(request, monkeypatch)
    caffe.mode._gpu.cache_clear()
    caffe.set_mode_gpu()
    caffe.set_random_seed(3)
    yield
    caffe.mode._gpu.cache_clear()


def test_blobs_of_a_gpu_travel(gpu, tmp_path):
    on_gpu = build(tmp_path)
    caffe.set_mode_cpu()
    on_cpu = build(tmp_path)
    image = np.random.default_rng(3).standard_normal((2, 3, 8, 8)).astype("f")
    for name, blobs in on_cpu.params.items():
        for blob, other in zip(blobs, on_gpu.params[name], strict=True):
            other.data[...] = blob.data
    results = []
    for net in (on_cpu, on_gpu):
        net.blobs["data"].data[...] = image
        net.forward()
        first = net.blobs["sum"].data.copy()
        net.blobs["conv1"].data[...] -= 0.5  # fetched, changed, and sent back
        net.forward(start="relu1")
        net.blobs["sum"].diff[...] = net.blobs["sum"].data
        net.backward()
        net.params["conv2"][0].diff[...] *= 2
        net.backward(start="conv2")  # adds to what the script has written
        net.save(tmp_path / "w.npz")
        results.append(
            [
                first,
                net.blobs["sum"].data,
                net.blobs["data"].diff,
                net.blobs["conv1"].diff,
                net.params["conv1"][0].diff,
                net.params["conv2"][0].diff,
                net.forward_all(data=image)["sum"],
            ]
        )
    for one, two in zip(*results, strict=True):
        assert isinstance(two, np.ndarray)
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=2e-6 * np.abs(one).max())  # sums cancel: by the largest


def test_a_solver_on_a_gpu(gpu, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    write(tmp_path, LOSSY)
    solver = caffe.SGDSolver(write(tmp_path, f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed"', "s"))
    weights = solver.net.params["conv1"][0]
    start = weights.data.copy()
    weights.data[...] = start * 0.5
    solver.step(1)
    moved = weights.data
    assert not np.array_equal(moved, start) and np.abs(moved - start * 0.5).max() < np.abs(start * 0.5).max()
    assert solver.net.blobs["loss"].data > 0


def test_log_levels(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    caffe.log("good morning")
    assert "good morning" in capsys.readouterr().err
    for level in (1, 2):
        caffe.init_log(level)
        caffe.log("good morning")
        assert not capsys.readouterr().err
    caffe.init_log(1)
    write(tmp_path, LOSSY)
    solver = caffe.SGDSolver(write(tmp_path, f'net: "{tmp_path}/net.prototxt" base_lr: 0 lr_policy: "fixed"', "s"))
    solver.step(1)
    assert "Iteration" not in capsys.readouterr().err


def test_debug_info_of_a_net(tmp_path, capsys):
    net = build(tmp_path, "debug_info: true\n" + SMALL)
    net.forward()
    net.blobs["sum"].diff[...] = 1
    net.backward()
    said = capsys.readouterr().err
    assert "[Forward] Layer relu1, top blob conv1 data: " in said and "[Forward] Layer conv1, param blob 0 " in said
    assert "[Backward] Layer conv2, bottom blob pool1 diff: " in said and "[Backward] All net params" in said


def test_timer():
    timer = caffe.Timer()
    timer.start()
    time.sleep(0.01)
    timer.stop()
    taken = timer.ms
    assert taken >= 10 and timer.us == pytest.approx(1e3 * taken) and timer.ms == taken


def test_pictures(tmp_path):
    message = caffe.NetSpec().to_proto()
    message.MergeFrom(caffe.to_proto(caffe.layers.ReLU(caffe.layers.Input(shape=dict(dim=[1, 2])))))
    assert caffe.draw.draw_net(message, "LR")[:4] == b"\x89PNG"
    caffe.draw.draw_net_to_file(write(tmp_path, SMALL), str(tmp_path / "net.svg"), rankdir="LR", phase=caffe.TRAIN)
    assert "conv1" in (tmp_path / "net.svg").read_text()


def test_counters_and_nccl():
    caffe.set_solver_count(2)
    caffe.set_solver_rank(1)
    caffe.set_multiprocess(True)
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (2, 1, False)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    caffe.set_multiprocess(False)
    for use in (caffe.NCCL.new_uid, lambda: caffe.NCCL(None, "")):
        with pytest.raises(SolverFault, match="mpirun"):
            use()


def test_nothing_is_missing():
    names = """Net SGDSolver NesterovSolver AdaGradSolver RMSPropSolver AdaDeltaSolver AdamSolver get_solver NCCL Timer
        Layer Classifier Detector io layers params NetSpec to_proto TRAIN TEST set_mode_cpu set_mode_gpu set_device
        set_random_seed solver_count set_solver_count solver_rank set_solver_rank set_multiprocess has_nccl init_log
        log layer_type_list __version__ proto coord_map draw net_spec"""
    assert [name for name in names.split() if not hasattr(caffe, name)] == []
