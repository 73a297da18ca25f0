"""One small data set for each kind of data layer: written into a folder, and the rest of the layer that reads it.

Paths are relative to that folder.
"""

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data.database_writer import create_database
from demitasse.proto.messages import AnnotatedDatum
from tests.test_layers.data_sets import digits, write_database, write_files


def lmdb_data(folder):
    images, labels = digits(8)
    write_database(folder / "db", images[:, None], labels)
    return 'type: "Data" data_param { source: "db" batch_size: 3 backend: LMDB }'


def image_data(folder):
    write_files(folder, *digits(8))
    return 'type: "ImageData" image_data_param { source: "list.txt" batch_size: 3 shuffle: true is_color: false }'


def dense_image_data(folder):
    images, _ = digits(4)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
        Image.fromarray(image % 3).save(folder / f"l{i}.png")
    (folder / "list.txt").write_text("".join(f"{i}.png l{i}.png\n" for i in range(4)))
    return 'type: "DenseImageData" dense_image_data_param { source: "list.txt" batch_size: 3 shuffle: true }'


def hdf5_data(folder):
    h5py = pytest.importorskip("h5py")
    for k in range(2):
        with h5py.File(folder / f"{k}.h5", "w") as file:
            file.create_dataset("data", data=np.random.default_rng(k).random((40, 1, 4, 5)), compression="gzip")
            file["label"] = np.arange(40) % 5
    (folder / "list.txt").write_text("0.h5\n1.h5\n")
    return 'type: "HDF5Data" hdf5_data_param { source: "list.txt" batch_size: 9 shuffle: true }'


def window_data(folder):
    write_files(folder, *digits(2))
    windows = "".join(f"# {i}\n{i:04d}.png\n1\n28\n28\n2\n1 0.9 2 2 20 20\n0 0.1 5 5 25 25\n" for i in range(2))
    (folder / "windows.txt").write_text(windows)
    fields = 'source: "windows.txt" batch_size: 4'
    return f'type: "WindowData" transform_param {{ crop_size: 9 }} window_data_param {{ {fields} }}'


def memory_data(folder):
    return 'type: "MemoryData" memory_data_param { batch_size: 3 channels: 1 height: 4 width: 5 }'


def image_seg_data(folder):
    dense_image_data(folder)
    return (
        'type: "ImageSegData" transform_param { crop_size: 9 mirror: true } '
        'image_data_param { source: "list.txt" batch_size: 3 shuffle: true label_type: PIXEL }'
    )


def image_labelmap_data(folder):
    dense_image_data(folder)
    return (
        'type: "ImageLabelmapData" transform_param { crop_size: 9 mirror: true } '
        'image_data_param { source: "list.txt" batch_size: 3 shuffle: true }'
    )


def video_data(folder):
    images, _ = digits(6)
    for film in range(2):
        (folder / f"film{film}").mkdir()
        for i, image in enumerate(images[3 * film :][:3], 1):
            Image.fromarray(image).save(folder / f"film{film}/{i:06d}.jpg")
    (folder / "list.txt").write_text("film0 1 7\nfilm1 1 3\nfilm1 2 3\n")
    return (
        'type: "VideoData" transform_param { crop_size: 9 } '
        'video_data_param { source: "list.txt" batch_size: 2 new_length: 2 shuffle: true }'
    )


def annotated_data(folder):
    pytest.importorskip("lmdb")
    images, labels = digits(4)
    with create_database(str(folder / "db"), "lmdb") as database:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            record = AnnotatedDatum(type=AnnotatedDatum.BBOX)
            record.datum.channels, record.datum.height, record.datum.width = 1, *image.shape
            record.datum.data = image.tobytes()
            box = record.annotation_group.add(group_label=int(label) + 1).annotation.add().bbox
            box.xmin, box.ymin, box.xmax, box.ymax = 0.2, 0.2, 0.7, 0.8
            database.put(b"%08d" % i, record.SerializeToString())
    return (
        'type: "AnnotatedData" transform_param { mirror: true } '
        'data_param { source: "db" batch_size: 3 backend: LMDB } annotated_data_param { }'
    )


def folder_data(folder):
    for name in ("images", "labels"):
        (folder / name).mkdir()
    images, _ = digits(4)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"images/{i}.png")
        Image.fromarray(image % 3).save(folder / f"labels/{i}.png")
    options = {"images": "images", "labels": "labels", "classes": 3, "mirror": True}
    names = 'module: "folder_layers" layer: "FolderSegDataLayer"'
    return f'type: "Python" python_param {{ {names} param_str: "{options}" }}'


KINDS = [
    lmdb_data,
    image_data,
    dense_image_data,
    image_seg_data,
    image_labelmap_data,
    hdf5_data,
    window_data,
    video_data,
    annotated_data,
    memory_data,
    folder_data,
]
