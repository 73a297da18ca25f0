"""Sums of gradients over several GPUs, one process each, by NCCL on a stream beside the one that computes."""

from __future__ import annotations

from demitasse.proto.errors import SolverFault


class NcclReducer:
    """rank, size: of this process.  share: a function that gives every process the first one's bytes.
    device: the CUDA device of this process.  Arrays are contiguous and float32."""

    def __init__(self, rank: int, size: int, share, device):
        import cupy
        from cupy.cuda import nccl

        if not nccl.available:
            raise SolverFault(
                "several processes on GPUs need NCCL: pip install nvidia-nccl-cu12, or nvidia-nccl-cu13 for CUDA 13"
            )
        self.cupy, self.nccl = cupy, nccl
        unique = nccl.get_unique_id()  # bytes; a tuple of integers before CuPy 14
        shared = share(unique if isinstance(unique, bytes) else bytes(number & 255 for number in unique))
        if not isinstance(unique, bytes):
            shared = tuple(byte - 256 if byte > 127 else byte for byte in shared)
        device.use()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.communicator = nccl.NcclCommunicator(size, shared, rank)

    def broadcast(self, array) -> None:
        """Make the array what it is in the first process."""
        self._after_computing()
        self.communicator.broadcast(
            array.data.ptr, array.data.ptr, array.size, self.nccl.NCCL_FLOAT32, 0, self.stream.ptr
        )
        self.finish()

    def start(self, array) -> None:
        """Begin to sum the array over all processes, once what computes it is done."""
        self._after_computing()
        self.communicator.allReduce(
            array.data.ptr, array.data.ptr, array.size, self.nccl.NCCL_FLOAT32, self.nccl.NCCL_SUM, self.stream.ptr
        )

    def finish(self) -> None:
        """Let what is computed from here on wait for the sums."""
        self.cupy.cuda.get_current_stream().wait_event(self.stream.record())

    def _after_computing(self) -> None:
        self.stream.wait_event(self.cupy.cuda.get_current_stream().record())
