"""Images to put into databases, and Data layers that read them."""

import numpy as np

from tests.test_layers.data_sets import layer


def images(count, channels=3, height=4, width=5):
    return np.arange(count * channels * height * width).reshape(count, channels, height, width).astype(np.uint8)


def data(source, more="", tops='top: "data" top: "label"', batch=2, phase="TEST", seed=1):
    return layer(
        f'name: "d" type: "Data" {tops} data_param {{ source: "{source}" batch_size: {batch} backend: LMDB }} {more}',
        phase,
        seed,
    )
