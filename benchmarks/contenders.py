"""Who takes part in a comparison on a GPU: our net, and the same net in torch."""

from __future__ import annotations

import contextlib
import gc

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.layers.fillers import diagonal_bilinear
from demitasse.netdef.net import Net
from demitasse.proto.messages import SolverParameter

RULE = SolverParameter(momentum=0.9, weight_decay=5e-4, base_lr=1e-12)


class Ours:
    """Our net at a precision; `run(arrays)` does one image or step and does not wait."""

    def __init__(self, message, precision: str, train: bool, device: str = "gpu", record: bool = True):
        from demitasse.solver.updates import Updater

        self.name = "ours" if record else "ours, not recorded"
        self.backend = make_backend(device, precision=precision, record=record)
        self.net = Net(message, "TRAIN" if train else "TEST", backend=self.backend, seed=1, keep=_scores(message))
        self.scores = (_scores(message) or self.net.outputs)[0]
        self._fill()
        self.updater = Updater(RULE, self.net.learnable, self.backend) if train else None
        self.steps = 0
        self.frozen = contextlib.ExitStack()
        if not train:  # as `python -m models segment` does
            self.frozen.enter_context(self.backend.frozen_weights())

    def _fill(self):
        """Weights as of a net in use: FCN's convolutions start at zero, and its upsampling is set by a script."""
        for step in self.net.plan.steps:
            for p in step.layer.params:
                if len(p.shape) > 1 and step.cls.upsamples:
                    p.data[...] = self.backend.asarray(diagonal_bilinear(p.shape))
                elif step.cls.type == "BatchNorm" and p is not step.layer.params[0]:
                    p.data[...] = 1  # as if it had seen data of variance 1
                elif len(p.shape) > 1 and not bool(p.data.any()):
                    reach = (6 / np.prod(p.shape[1:])) ** 0.5  # a variance that keeps that of a ReLU's inputs
                    p.data[...] = self.backend.uniform(p.shape, -reach, reach)

    def run(self, arrays):
        if self.updater is None:
            self.net.forward(arrays)
            return
        with self.backend.frozen_weights():  # as the solver does
            self.net.forward(arrays)
            loss = self.net.loss_later()
            self.net.clear_grads()
            self.net.backward()
        self.steps += 1
        self.updater.apply(1e-12, self.steps)
        loss()

    def wait(self):
        self.backend.synchronize()

    def output(self):
        return self.backend.to_host(self.net.blobs[self.scores])

    def memory(self):
        """GB taken from the device, by arrays of all backends and by this net's recordings."""
        taken = self.backend.xp.get_default_memory_pool().total_bytes()
        return (taken + self.net.recordings.nbytes()) / 1e9

    def close(self):
        self.frozen.close()
        self.net.close()
        self.net = self.updater = None
        gc.collect()  # layers and their net know each other: the arrays of the next contender would lie beside these
        if hasattr(self.backend.xp, "get_default_memory_pool"):
            self.backend.xp.get_default_memory_pool().free_all_blocks()


def _scores(message) -> list[str]:
    """The blob that is compared, where another layer takes it as FCN's loss does; else it is the net's first output."""
    return ["score"] if any("score" in layer.top for layer in message.layer) else []


class Torch:
    """The same net in torch, from our weights."""

    def __init__(self, ours: Ours, precision: str, train: bool, kind: str, device: str = "cuda"):
        import torch

        from benchmarks.torch_net import TorchNet

        self.torch, self.name, self.device = torch, f"torch {kind}", device
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"
        self.scores = ours.scores
        self.model = TorchNet.like(ours.net, keep=(self.scores,)).to(device).train(train)
        self.half = precision == "fp16"
        self.format = torch.channels_last if kind == "channels_last" else torch.contiguous_format
        self.model = self.model.to(memory_format=self.format)
        if self.half and not train:
            self.model = self.model.half()
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = (
            torch.optim.SGD(learned, 1e-12, 0.9, weight_decay=5e-4, fused=device == "cuda" or None) if train else None
        )
        self.scaler = torch.amp.GradScaler(device, enabled=self.half)
        self.call = self.model
        if kind == "compile":  # at its best: one graph, launched as a CUDA graph
            self.call = torch.compile(self.model, mode="reduce-overhead", fullgraph=True)

    def uploaded(self, arrays):
        """The inputs as the model takes them, of float32."""
        blobs = {name: self._upload(array) for name, array in arrays.items()}
        return {
            name: blob if name == "label" else blob.contiguous(memory_format=self.format)
            for name, blob in blobs.items()
        }

    def run(self, arrays):
        torch, blobs = self.torch, self.uploaded(arrays)
        if self.call is not self.model:
            torch.compiler.cudagraph_mark_step_begin()
        if self.optimizer is None:
            if self.half:
                blobs = {name: blob.half() for name, blob in blobs.items()}
            with torch.inference_mode():
                self.blobs = self.call(blobs)
            return
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.float16, enabled=self.half):
            loss = self.call(blobs)["loss"]
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        loss.item()

    def _upload(self, array):
        """Through page-locked memory, as ours: nothing waits for the copy."""
        host = self.torch.from_numpy(array)
        return (host.pin_memory() if self.device == "cuda" else host).to(self.device, non_blocking=True)

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def output(self):
        return self.blobs[self.scores].float().cpu().numpy()

    def memory(self):
        return self.torch.cuda.max_memory_reserved() / 1e9

    def close(self):
        self.model = self.call = self.optimizer = self.blobs = None
        if self.device == "cuda":
            self.torch.cuda.empty_cache()
            self.torch.cuda.reset_peak_memory_stats()
