"""What a net takes from weights files and from other nets, and what it writes."""

from __future__ import annotations

from caffe.files import require_weights
from caffe.host_memory import settle
from caffe.log import make_log
from caffe.net_structure import NetStructure
from demitasse.netdef.call_lock import alone
from demitasse.netdef.wording import count_text, some
from demitasse.proto.name_hints import NetHints


class NetFiles(NetStructure, NetHints):
    """The part of a caffe.Net that outlives it.  shares_weights: whether another net has its weights too."""

    shares_weights = False

    def lend(self, first: int = 0) -> None:
        """Let the engine have what the script has written, for a run from layer `first` on."""
        for blob in tuple(self.with_memory):  # another thread may look at one more
            blob.lend(first)
        for param in tuple(self.handed_out):
            param.lend()

    @alone
    def copy_from(self, path) -> None:
        """Load weights by layer name from a file of any format; several joined by commas.

        FileFault where it is missing, WeightsFault where shapes differ, TypeError for a net.
        """
        if isinstance(path, NetFiles):
            raise TypeError("copy_from takes a file's path; share_with takes another net")
        require_weights(path)
        self.lend()
        settle(self.engine)
        report = self.engine.load(path)
        if not report.complete:
            make_log().warn(str(report))

    load_hdf5 = copy_from

    @alone
    def share_with(self, other: NetFiles) -> None:
        """Use the other net's weights in the layers of the same names: the same arrays.

        TypeError for what is no net, WeightsFault where shapes differ.
        """
        if not isinstance(other, NetFiles):
            raise TypeError(f"share_with takes a net, not a {type(other).__name__}; copy_from takes a file's path")
        other.lend()
        for net in (self, other):  # each may change what the other has computed with
            settle(net.engine)
            net.shares_weights = True
        report = self.engine.share_with(other.engine)
        if not report.complete:
            make_log().warn(
                f"shared the weights of {count_text(len(report.matched), 'layer')}"
                + f"; not in the other net, so left as they were: {some(report.missing, 12)}" * bool(report.missing)
                + f"; only in the other net, so not used: {some(report.unused, 12)}" * bool(report.unused)
            )

    @alone
    def save(self, path) -> None:
        """Write the weights as a .caffemodel (or .npz, .safetensors, .h5 by the path's ending)."""
        self.lend()
        self.engine.save(path)

    @alone
    def save_hdf5(self, path) -> None:
        """Write the weights as HDF5, whatever the path's ending."""
        self.lend()
        self.engine.save(path, ending=".h5")
