"""Engine and knobs of cuDNN, read off the name of a plan."""

from __future__ import annotations

import re

# The knob numbers in a plan's name are cudnn_graph.h's CUDNN_KNOB_TYPE_*; the Python enum counts differently.
KNOBS = {
    1: "SWIZZLE",
    2: "TILE_SIZE",
    4: "EDGE",
    11: "MULTIPLY",
    12: "SPLIT_K_BUF",
    13: "TILEK",
    14: "STAGES",
    15: "REDUCTION_MODE",
    17: "SPLIT_K_SLC",
    18: "IDX_MODE",
    23: "SPECFILT",
    24: "KERNEL_CFG",
    25: "WORKSPACE",
    27: "TILE_CGA_M",
    28: "TILE_CGA_N",
    29: "BLOCK_SIZE",
    30: "OCCUPANCY",
    31: "ARRAY_SIZE_PER_THREAD",
    33: "SPLIT_COLS",
    34: "TILE_ROWS",
    35: "TILE_COLS",
    36: "LOAD_SIZE",
    37: "CTA_COUNT",
    38: "STREAM_K",
    39: "SPLIT_P_SLC",
    40: "TILE_M",
    41: "TILE_N",
    42: "WARP_SPEC_CFG",
}


def recipe(cudnn, name: str):
    """(engine, {knob: value}) of a plan's name, such as "eng19_k2=1_k27=0"; None of names that say more."""
    engine = re.match(r"eng(\d+)", name)
    knobs = {int(k): int(v) for k, v in re.findall(r"k(\d+)=(-?\d+)", name)}
    kinds = {number: getattr(cudnn.knob_type, name, None) for number, name in KNOBS.items()}
    if engine is None or any(kinds.get(k) is None for k in knobs):
        return None
    return int(engine[1]), {kinds[k]: v for k, v in knobs.items()}
