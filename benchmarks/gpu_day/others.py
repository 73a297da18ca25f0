"""Step 10: forward of nets other than FCN, one image and 32 at once, beside torch: SqueezeNet, and the deploy prototxts
of ../shared/zoo/speed where there are any."""

from __future__ import annotations

import contextlib

import numpy as np

from benchmarks import gpu
from benchmarks.gpu_day.report import Record, closing
from benchmarks.gpu_day.speed import EventClock
from benchmarks.nets import SIZES, ZOO, net_message
from benchmarks.peers import random_inputs
from demitasse.netdef.recorded_sizes import ORDINARY_PASSES

BATCHES = 1, 32
LARGE = {"enet": (1, 4), "openpose_coco": (1, 8), "vgg_16": (1, 16)}  # batches of nets with many values
PASSES = 10  # of a round
STALL = 8192, 10  # rows of the products that keep the device busy while a pass is launched, and how many


class Graphed:
    """The kernels of torch's net as one CUDA graph: what torch would take without launching them one by one."""

    name = "torch, CUDA graph"

    def __init__(self, contender, arrays):
        self.torch = torch = contender.torch
        self.blobs = {
            name: blob.half() if contender.half else blob for name, blob in contender.uploaded(arrays).items()
        }
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), torch.inference_mode():
            contender.model(self.blobs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self.graph):
            self.made = contender.model(self.blobs)

    def run(self, arrays):
        with self.torch.inference_mode():
            for name, array in arrays.items():
                self.blobs[name].copy_(self.torch.from_numpy(array).pin_memory(), non_blocking=True)
            self.graph.replay()

    def wait(self):
        self.torch.cuda.synchronize()


class Looked:
    """Our net with a hook that does nothing: such passes are not recorded."""

    name = "ours, not recorded"

    def __init__(self, ours):
        self.ours, self.wait = ours, ours.wait

    def run(self, arrays):
        hooks = self.ours.net.before_forward
        hooks.append(lambda index: None)
        try:
            self.ours.run(arrays)
        finally:
            hooks.pop()


def others(record: Record, rehearse: bool) -> None:
    """Each net at fp16 and tf32."""
    names = ["squeezenet", *(path.stem for path in sorted(ZOO.glob("*.prototxt")))]
    items = [f"{name} {precision}" for precision in ("fp16", "tf32") for name in names]

    def measure(item: str) -> dict:
        name, precision = item.split()
        ours = gpu.Ours(_message(name, rehearse), precision, False)
        found: dict = {}
        with closing(ours), contextlib.ExitStack() as stack:
            peers = [] if rehearse else _peers(ours, precision, found, stack)
            shapes = {key: ours.net.shapes[key][1:] for key in ours.net.inputs}
            for batch in BATCHES if not rehearse else (1, 2):
                batch = min(batch, LARGE.get(name, BATCHES)[-1])
                arrays = random_inputs({key: (batch, *shape) for key, shape in shapes.items()}, 2)
                found[f"batch {batch}"] = _beside(ours, peers, {key: a / 50 for key, a in arrays.items()}, rehearse)
        return found

    record.attempt(items[:1] if rehearse else items, measure)


def _message(name: str, rehearse: bool):
    if rehearse:
        from benchmarks.gpu_day.rehearsal import classifier_message

        return classifier_message()
    path = ZOO / f"{name}.prototxt"
    return net_message(f"{path}{SIZES.get(name, '')}" if path.exists() else name, False)


def _peers(ours, precision, found, stack) -> list:
    """torch eager in both layouts; what is left out is told in `found`."""
    peers = []
    for kind in ("eager", "channels_last"):
        try:
            peers.append(gpu.Torch(ours, precision, False, kind))
            stack.callback(peers[-1].close)
        except Exception as error:  # noqa: BLE001 (a peer that cannot, not a fault of ours)
            found[f"torch {kind} left out"] = " ".join(str(error).split())[:200]
    return peers


def _beside(ours, peers, arrays, rehearse: bool) -> dict:
    """Milliseconds of a pass, in turns; where ours spends them; what is not recorded."""
    found: dict = {"first passes of ours, ms": [1e3 * gpu.seconds(ours, [arrays]) for _ in range(ORDINARY_PASSES + 2)]}
    contenders = [ours, Looked(ours), *peers]
    if peers:
        try:
            contenders.append(Graphed(peers[-1], arrays))
        except Exception as error:  # noqa: BLE001
            found["torch, CUDA graph left out"] = " ".join(str(error).split())[:200]
    times = gpu.in_turns(contenders, [arrays] * (1 if rehearse else PASSES), 1 if rehearse else 3, warm_up=1)
    found |= {f"{name}, ms": 1e3 * value for name, value in times.items()}
    if peers:
        reference = peers[0].output()
        apart = np.abs(ours.output() - reference).max() / max(np.abs(reference).max(), 1e-30)
        found["apart from torch, share of the largest"] = float(apart)
    clock = EventClock(ours)
    for _ in range(2):  # the first pass with hooks may build what it needs
        clock.run(arrays, *((64, 1) if rehearse else STALL))
    types: dict = {step.spec.name: step.cls.type for step in ours.net.plan.steps}
    kernels: dict = {}
    for name, value in clock.milliseconds().items():
        kernels[types[name]] = kernels.get(types[name], 0) + value
    found["kernels by type, ms"] = dict(sorted(kernels.items(), key=lambda pair: -pair[1]))
    return found | {"device was kept busy": clock.ahead, "recorded": str(ours.net.recordings)}
