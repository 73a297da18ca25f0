"""DataTemporal (MyCaffe): windows of series of time, of which past steps are known and future ones are to be foreseen.

Tops: static numbers (N, count) and categories (N, count); those of num_historical_steps past steps, (N, H, count) each;
those of num_future_steps future steps, as far as they are known before, (N, F, count) each; the target of the future
(N, F, 1); and with output_target_historical that of the past (N, H, 1).  Where there is no feature of a kind, count is
0.  `source` is a folder of .npy files (layers/data/series.py); TRAIN, TEST and MyCaffe's RUN, or forced_phase, read the
kinds train, test and validation.  With shuffle_data any window of any series comes, else one after the other.
A net whose data is not there has the sizes that the ChannelEmbedding layers which read it say.

Source: "Temporal fusion transformers for interpretable multi-horizon time series forecasting" (Lim et al., 2021), 3;
the prototxts of MyCaffe, and the names of its files.
"""

from __future__ import annotations

import os

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.files import require_file
from demitasse.layers.data.series import Series
from demitasse.proto.errors import GraphFault, SchemaFault
from demitasse.proto.messages import DataTemporalParameter
from demitasse.proto.warning import warn

KINDS = ("train", "test", "validation")  # of the phases TRAIN, TEST, RUN
NOT_READ = ("output_time", "output_mask", "enable_column_major_ordering", "target_source")


class DataTemporal(FeedLayer):
    """Tops: static, past and future features, numbers and categories each, and the target."""

    type = "DataTemporal"
    fields = ("data_temporal_param", "data_param")
    tops = (6, 8)

    def setup(self, shapes):
        param = self.param = self.spec.data_temporal_param
        for name in NOT_READ:
            if getattr(param, name):
                raise SchemaFault(f"{name} is not read here: leave it out")
        if param.source_type != DataTemporalParameter.PATH_NPY_FILE:
            raise SchemaFault("source_type: PATH_NPY_FILE, a folder of .npy files, is the one that is read here")
        if not param.batch_size or not param.num_historical_steps or not param.num_future_steps:
            raise SchemaFault("batch_size, num_historical_steps and num_future_steps are needed, each at least 1")
        if not 0 < param.max_load_percent <= 1:
            raise SchemaFault(f"max_load_percent {param.max_load_percent:g} is a share, above 0 and at most 1 (all)")
        if len(self.spec.top) > 7 + param.output_target_historical:
            raise GraphFault("has an eighth top: it is made with output_target_historical: true only")
        return super().setup(shapes)

    def told_shapes(self):
        param = self.param
        if os.path.exists(param.source) or len(param.features) != 6:
            return None
        warn(
            f"data_temporal_param: source: '{param.source}' is not there: the net is sized by the num_input of the "
            "layers that read it"
        )
        items, past, future = (param.batch_size, param.num_historical_steps, param.num_future_steps)
        outer = ((items,), (items, past), (items, future))
        shapes = [(*outer[k // 2], count) for k, count in enumerate(param.features)]
        return [*shapes, (items, future, 1), (items, past, 1)]

    def open(self):
        param = self.param
        require_file(param.source, "data_temporal_param: source")
        kind = KINDS[param.forced_phase if param.HasField("forced_phase") else self.phase]
        draws = param.shuffle_data and (param.shuffle_item_data or param.shuffle_value_data)
        steps = param.num_historical_steps, param.num_future_steps
        source = Series(os.path.join(param.source, kind), *steps, param.max_load_percent, draws)
        source.tops = len(self.spec.top)
        return source, param.batch_size, 0
