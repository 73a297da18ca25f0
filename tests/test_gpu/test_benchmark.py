"""benchmarks/gpu.py on a small net: every line of it runs, here on the pretend device beside torch on the CPU."""

import pytest

from benchmarks import gpu
from demitasse.proto.text import read_net
from tests.test_gpu import shim
from tests.test_gpu.test_device import FCN


@pytest.fixture(autouse=True)
def device(request, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed: pip install '.[bench]'")
    if not shim.gpu_or_pretence(request, monkeypatch):
        monkeypatch.setattr(gpu.Ours, "memory", lambda self: 0.0)
        monkeypatch.setattr(gpu.Torch, "memory", lambda self: 0.0)


@pytest.mark.parametrize("train", [False, True])
def test_all_figures_are_said(train, request):
    lines = []
    message, _ = read_net(FCN.replace("force_backward: true", "") + "\n")
    there = "cuda" if request.config.getoption("--gpu") else "cpu"
    gpu.compare(
        message,
        "fp32",
        train,
        lines.append,
        load=gpu.Load((20, 21), [(20, 21), (22, 20)], [(21, 19)], rounds=1, repeat=1),
        devices=("gpu", there),
        kinds=("eager", "channels_last"),
    )
    text = "\n".join(lines)
    assert text.count("ours / it 1.00") >= 3 and text.count("torch channels_last") >= 3 and "left out" not in text
    if not train:
        (difference,) = (line for line in lines if "largest difference" in line)
        assert float(difference.split(": ")[1].split()[0]) < 1e-4


def test_without_a_gpu_one_line_and_status_2(monkeypatch, capsys):
    from demitasse.proto.errors import SolverFault

    def refuse(device):
        raise SolverFault("GPU 0 was asked for, but no GPU was found")

    monkeypatch.setattr(gpu, "make_backend", refuse)
    assert gpu.main(["voc-fcn8s"], ["forward"], 1, None) == 2
    assert capsys.readouterr().err == "python -m benchmarks: GPU 0 was asked for, but no GPU was found\n"
