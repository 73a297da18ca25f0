"""More readers for tests/fuzz.py: nets up to their sizes, ONNX, images, lists, boxes, logs, HDF5 data."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from demitasse.layers.data import annotations as boxes
from demitasse.layers.data import detections, images
from demitasse.layers.video_data import read_films
from demitasse.models.__main__ import main as models
from demitasse.models.data.annotations import Annotation, read_annotations, write_annotations
from demitasse.models.data.rcnn_layer import read_param_str
from demitasse.models.label_conversion import read_colours
from demitasse.models.run_log import RunLog
from demitasse.netdef.onnx.back import net_of
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError
from demitasse.proto.messages import AnnotatedDatum, NetParameter
from demitasse.proto.printing import format as format_message
from demitasse.proto.text import read_net
from demitasse.solver.identity import log_is_ours, run_of_log

Reader = tuple[list[bytes], Callable[[Path], object]]
SPECIMENS = Path(__file__).parent / "test_layers" / "specimens"
LABEL_MAP = 'item { name: "none" label: 0 display_name: "no" } item { name: "cat" label: 1 display_name: "a cat" }'
EVENTS = [
    {"event": "run", "run": {"id": "0123abcd", "begun": "2026-01-01 10:00:00", "command": "train s"}},
    {"event": "settings", "values": {"base_lr": "0.1"}, "versions": {"numpy": "2"}},
    {"event": "train", "seconds": 3, "iteration": 10, "loss": 0.5, "rate": 0.1},
    {"event": "test", "seconds": 4, "iteration": 10, "outputs": {"loss": [0.4], "map": [1, 2]}},
    {"event": "scores", "seconds": 4, "iteration": 10, "head": "score", "mean_iu": 0.3},
]


def readers(folder: Path) -> dict[str, Reader]:
    """{name: (well-made files, what reads a path)}; `folder` is for files on the way."""
    return _of_nets(folder) | _of_pictures() | _of_lists() | _of_boxes(folder) | _of_runs(folder) | _of_hdf5(folder)


def _of_nets(folder: Path) -> dict[str, Reader]:
    """Nets of every layer type, built as far as sizes go."""
    made = {"plan": (list(_specimens()), _plan)}
    with contextlib.suppress(ImportError):
        made["onnx"] = (_onnx(folder), _back)
    return made


def _specimens() -> Iterator[bytes]:
    """A net for each specimen of a layer: it and the layers that read nothing."""
    for path in sorted(SPECIMENS.glob("*.prototxt")):
        net, _ = read_net(path)
        for layer in net.layer:
            if layer.bottom:
                sources = [each for each in net.layer if not each.bottom and not set(each.top) & set(layer.top)]
                yield format_message(NetParameter(layer=[*sources, layer])).encode()


def _plan(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Plan(path, "TRAIN").close()


def _onnx(folder: Path) -> list[bytes]:
    from demitasse.netdef.net import Net
    from demitasse.proto import onnx_file

    text = (
        'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }\n'
        'layer { name: "c" type: "Convolution" bottom: "d" top: "c" '
        "convolution_param { num_output: 3 kernel_size: 3 } }\n"
        'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
        'layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }\n'
        'layer { name: "i" type: "InnerProduct" bottom: "p" top: "i" inner_product_param { num_output: 2 } }\n'
    )
    net = Net(text)
    net.to_onnx(folder / "net.onnx")
    net.close()
    model = onnx_file.read(folder / "net.onnx")
    model.metadata = {}  # so that it is read as another program's
    onnx_file.write(folder / "other.onnx", model)
    onnx_file.write(folder / "foreign.onnx", _foreign())
    return [(folder / name).read_bytes() for name in ("net.onnx", "other.onnx", "foreign.onnx")]


def _foreign():
    """A graph of operators that are not written here, with what it computes of shapes."""
    from demitasse.proto.onnx_file import Model, Node

    def whole(*numbers):
        return np.array(numbers, np.int64)

    arrays = {
        **{"pads": whole(0, 0, 1, 2, 0, 0, 2, 1), "sizes": whole(1, 2, 7, 5), "places": whole(1, 0, 1)},
        **{"from": whole(0, 6), "to": whole(6, 0), "axes": whole(2, 3), "by": whole(2, -2), "times": whole(1, 2, 1, 1)},
        **{"two": np.ones(2, np.float32), "weight": np.ones((4, 3, 2, 2), np.float32), "one": whole(1)},
    }
    nodes = [
        Node("Pad", ["d", "pads"], ["p"], {"mode": "reflect"}),
        Node("Resize", ["p", "", "", "sizes"], ["r"], {"mode": "cubic"}),
        Node("InstanceNormalization", ["r", "two", "two"], ["n"]),
        Node("Slice", ["n", "from", "to", "axes", "by"], ["s"]),
        Node("Tile", ["s", "times"], ["t"]),
        Node("ConvTranspose", ["t", "weight"], ["c"], {"strides": [2, 2], "output_shape": [7, 6]}),
        Node("Gather", ["c", "places"], ["g"], {"axis": 1}),
        Node("AveragePool", ["g"], ["a"], {"kernel_shape": [2, 2], "pads": [0, 1, 1, 0]}),
        Node("ReduceMax", ["a"], ["m"], {"axes": [1]}),
        Node("Shape", ["a"], ["shape"]),
        Node("ConstantOfShape", ["shape"], ["ones"], {"value": np.ones(1, np.float32)}),
        Node("Expand", ["m", "shape"], ["e"]),
        Node("Div", ["ones", "e"], ["y"]),
    ]
    inputs, outputs = {"d": ("float32", [1, 2, 6, 6])}, {"y": ("float32", [None] * 4)}
    return Model(nodes, arrays, inputs, outputs)


def _back(path: Path) -> None:
    from demitasse.proto import onnx_file

    model = onnx_file.read(path)
    with contextlib.suppress(NetError):
        net_of(model, {})
    net_of(model, {"d": (1, 2, 6, 6)})


def _of_pictures() -> dict[str, Reader]:
    made: dict[str, Reader] = {}
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8))
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "PPM", "GIF", "WEBP"):
        file = io.BytesIO()
        picture.save(file, kind)
        made[kind.lower()] = ([file.getvalue()], lambda path: images.read_image(str(path), True, "image"))
    labels = []
    for mode in ("P", "L", "LA", "1"):
        file = io.BytesIO()
        picture.convert(mode).save(file, "PNG")
        if mode in ("P", "L"):
            labels.append(file.getvalue())
    made["labels"] = (labels, lambda path: images.read_labels(str(path), "label image"))
    return made


def _of_lists() -> dict[str, Reader]:
    def text(read):
        return lambda path: read(path.read_text("utf-8", "replace"))

    return {
        "films": ([b"film one/a 1 7\nb 20 -3\n"], lambda path: read_films(str(path))),
        "label map": ([LABEL_MAP.encode()], lambda path: detections.read_label_map(str(path), display=True)),
        "sizes": ([b"000001 375 500\n000 2 20 30\n"], lambda path: detections.read_sizes(str(path))),
        "colours": ([b"0 0 0 ground\n128 0 0 a cat\n"], lambda path: read_colours(str(path))),
        "rcnn param_str": ([b"'feat_stride': 16\n'scales': [8, 16]\n'seed': 3\n"], text(read_param_str)),
    }


def _of_boxes(folder: Path) -> dict[str, Reader]:
    write_annotations(folder / "a.xml", "a.jpg", (20, 30), [Annotation("cat", (1.0, 2.0, 8.0, 9.0), True)])
    record = AnnotatedDatum(type=AnnotatedDatum.BBOX)
    record.datum.channels, record.datum.height, record.datum.width, record.datum.data = 1, 2, 3, bytes(6)
    box = record.annotation_group.add(group_label=2).annotation.add(instance_id=1).bbox
    box.xmin, box.ymin, box.xmax, box.ymax = 0.1, 0.2, 0.6, 0.7
    return {
        "xml": ([(folder / "a.xml").read_bytes()], read_annotations),
        "annotated": ([record.SerializeToString()], lambda path: boxes.parse(path.read_bytes(), "record 0")),
    }


def _of_runs(folder: Path) -> dict[str, Reader]:
    log = "".join(json.dumps(event) + "\n" for event in EVENTS).encode()
    other = folder / "other.jsonl"
    other.write_bytes(log)

    def read(path: Path) -> None:
        one = RunLog(path)
        one.curves, one.about(), one.weights(), one.test_nets(), run_of_log(path), log_is_ours(path, {None})
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            if models(["compare", str(path), str(other)]) not in (0, 2):
                raise AssertionError(said.getvalue())

    return {"log": ([log], read)}


def _of_hdf5(folder: Path) -> dict[str, Reader]:
    try:
        import h5py
    except ImportError:
        return {}
    from demitasse.layers.hdf5_data import Hdf5Rows

    with h5py.File(folder / "rows.h5", "w") as file:
        file["data"], file["label"] = np.ones((4, 1, 2, 3), np.float32), np.arange(4)
    plain = (folder / "rows.h5").read_bytes()
    with h5py.File(folder / "packed.h5", "w") as file:
        file.create_dataset("data", data=np.ones((4, 1, 2, 3)), compression="gzip", chunks=(2, 1, 2, 3))
        file["label"] = np.arange(4, dtype=np.int16)

    def read(path: Path) -> None:
        path.with_suffix(".txt").write_text(f"{path}\n")
        rows = Hdf5Rows(str(path.with_suffix(".txt")), "", ["data", "label"], False)
        try:
            rows.batch(range(3))
        finally:
            rows.close()

    return {"rows": ([plain, (folder / "packed.h5").read_bytes()], read)}
