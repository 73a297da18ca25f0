"""What `pip install` lays down: beside packages of like names, and whatever modules the working directory holds."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 2 kernel_size: 3 } }
"""


class Environment:
    """A throw-away Python environment; the packages that Demitasse needs are lent by the one that runs the tests."""

    def __init__(self, folder: Path):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
        self.python = folder / "bin/python"
        own = subprocess.check_output(
            [self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        )
        self.packages = Path(own.strip())
        (self.packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def pip(self, *words):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if any(word in done.stderr for word in ("NewConnectionError", "No matching distribution", "ConnectTimeout")):
            pytest.skip("no network to install packages from")
        assert done.returncode == 0, done.stderr

    def run(self, *words, cwd):
        return subprocess.run([self.python, *words], cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that `pip install .` builds, from a copy of the sources (building writes an egg-info beside them)."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "sources"
    files = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True).split("\n")
    for name in files:
        if name and not name.startswith("tests/") and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    (copy / "build/lib/demitasse").mkdir(parents=True)
    (copy / "build/lib/demitasse/deleted.py").write_text("left behind by an earlier build")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, copy],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "setuptools" in done.stderr and done.returncode:
        pytest.skip("no network to build with")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return Environment(tmp_path / "environment")


def test_beside_proto_plus_and_without_it(wheel, environment, tmp_path):
    """proto-plus installs a package `proto`, which every Google cloud library needs."""
    works = "import proto; assert proto.Message"
    for first, second in (([str(wheel)], ["proto-plus"]), (["proto-plus"], [str(wheel)])):
        environment.pip("install", "-q", "--no-deps", *first)
        environment.pip("install", "-q", "--no-deps", *second)
        shown = environment.run("-m", "demitasse", "types", cwd=tmp_path)
        assert shown.returncode == 0 and "Convolution" in shown.stdout, shown.stderr
        used = environment.run("-c", works, cwd=tmp_path)
        assert used.returncode == 0, used.stderr
        environment.pip("uninstall", "-q", "-y", "demitasse")
        used = environment.run("-c", works, cwd=tmp_path)
        assert used.returncode == 0, used.stderr
        assert not list((environment.packages / "demitasse").rglob("*.py"))
        environment.pip("uninstall", "-q", "-y", "proto-plus")


def test_what_is_installed_and_how_it_is_called(wheel, environment, tmp_path):
    environment.pip("install", "-q", "--no-deps", str(wheel))
    laid = {path.name for path in environment.packages.iterdir()} - {"__pycache__", "lent.pth"}
    assert {name for name in laid if not name.endswith(".dist-info")} == {
        "demitasse",
        "caffe",
        "solver.py",
        "netdef.py",
        "models.py",
    }
    assert not (environment.packages / "demitasse/deleted.py").exists()
    # A user's own modules of our packages' names break none of the commands.
    work = tmp_path / "work"
    work.mkdir()
    for name in ("solver.py", "layers.py", "proto.py", "netdef.py"):
        (work / name).write_text("raise SystemExit('this is the user\\'s own')")
    (work / "models").mkdir()
    (work / "models/__init__.py").write_text("raise SystemExit('this is the user\\'s own')")
    (work / "net.prototxt").write_text(NET)
    bin_folder = environment.python.parent
    for command in ([bin_folder / "demitasse", "show", "net.prototxt"], [bin_folder / "demitasse", "--version"]):
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and not done.stderr, done.stderr
    timed = subprocess.run(
        [bin_folder / "caffe", "time", "-model", "net.prototxt", "-iterations", "1"],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert timed.returncode == 0, timed.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for door in ("solver", "netdef", "models"):
        helped = environment.run("-m", door, "--help", cwd=elsewhere)
        assert helped.returncode == 0 and f"python -m {door}" in helped.stdout, helped.stderr
