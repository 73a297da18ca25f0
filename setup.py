"""Installs Demitasse: `pip install .` or, for working on it, `make`."""

import atexit
import re
import shutil
import tempfile
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.*)"$', (HERE / "demitasse/__init__.py").read_text(encoding="utf-8"), re.M)[1]
# A build folder that stays would put files into the wheel that the sources no longer have.
BUILD = tempfile.mkdtemp(prefix="demitasse-build-")
atexit.register(shutil.rmtree, BUILD, ignore_errors=True)

EXTRAS = {
    "hdf5": ["h5py>=3.8"],
    "lmdb": ["lmdb>=1.4"],
    "leveldb": ["plyvel>=1.5"],
    "plots": ["matplotlib>=3.6"],
    "tensorboard": ["tensorboardX>=2.6"],
    "distributed": ["mpi4py>=4.0", "mpich>=4.2; platform_system == 'Linux'"],
    "gpu": ["cupy-cuda12x[ctk]>=14", "nvidia-cudnn-cu12>=9.2", "nvidia-cudnn-frontend>=1.18,<1.24"],
    "gpu-cuda13": ["cupy-cuda13x[ctk]>=14", "nvidia-cudnn-cu13>=9.2", "nvidia-cudnn-frontend>=1.18,<1.24"],
    "onnx": ["onnx>=1.16"],
    "bench": [
        "torch>=2.2",
        "onnx>=1.16",
        "onnxscript>=0.5",
        "onnxruntime>=1.17",
        "openvino>=2024.0",
        "opencv-python-headless>=4.5,<5",
    ],
    "docs": ["pdoc>=15"],
    "completion": ["shtab>=1.7"],
    "dev": [
        "pytest>=8",
        "pytest-xdist>=3.7",
        "hypothesis>=6.100",
        "ruff>=0.6",
        "mypy>=1.10",
        "safetensors>=0.4",
        "pdoc>=15",
        "opencv-python-headless>=4.8,<5",
        "onnx>=1.16",
        "onnxruntime>=1.17",
        "nbclient>=0.8",
        "ipykernel>=6.20",
    ],
}
WHOLE = ("hdf5", "lmdb", "plots", "tensorboard", "distributed", "completion", "onnx")
EXTRAS["all"] = [need for name in WHOLE for need in EXTRAS[name]]

# The repository keeps its folders at the root; installed, they lie below `demitasse`, since other packages use such
# names too.
PARTS = [
    "proto",
    "layers",
    "layers.backend",
    "layers.backend.contract",
    "layers.backend.reference",
    "layers.backend.cpu",
    "layers.backend.cpu.conv",
    "layers.backend.cpu.threads",
    "layers.backend.gpu",
    "layers.data",
    "layers.onnx",
    "netdef",
    "netdef.onnx",
    "netdef.onnx.operators",
    "solver",
    "models",
    "models.commands",
    "models.data",
    "models.data.SSH.layers",
    "models.data.caffe.layers.detectnet",
    "models.data.layers",
    "models.data.roi_data_layer",
    "models.data.rpn",
]

setup(
    name="demitasse",
    version=VERSION,
    description="Caffe nets, weights and solvers on today's CPUs and GPUs",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-2-Clause",
    python_requires=">=3.10",
    # Listed by name: a bare find_packages() would install tests and benchmarks too.
    options={"build": {"build_base": BUILD}},
    packages=["demitasse", *(f"demitasse.{name}" for name in PARTS), "caffe", "caffe.proto"],
    package_dir={"": "demitasse/doors", "demitasse": "demitasse", "caffe": "caffe"}
    | {f"demitasse.{name}": name.replace(".", "/") for name in PARTS},
    py_modules=["solver", "netdef", "models"],
    entry_points={"console_scripts": ["demitasse = demitasse.__main__:main", "caffe = demitasse.__main__:caffe"]},
    package_data={
        "demitasse": ["py.typed"],
        "caffe": ["py.typed"],
        "demitasse.proto": ["caffe.proto", "caffe.descriptor"],
        "demitasse.netdef": ["*.pyi"],
        "demitasse.layers.backend.cpu": ["objects/*/*"],
        "demitasse.layers.backend.gpu": ["kernels/*.cu", "kernels/*.h"],
        "demitasse.models": ["*/*.prototxt", "*/classes.txt"],
    },
    install_requires=[
        "numpy>=1.26",
        "scipy>=1.11",
        "protobuf>=5",
        "pillow>=10.1",
        "numba>=0.62,<0.69",  # compiler.py relies on its inside
        "tqdm>=4.64",
    ],
    extras_require=EXTRAS,
)
