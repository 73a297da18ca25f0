"""What MyCaffe's layers for series of time know of each other beyond their bottoms, written into their fields.

A blob of MyCaffe carries how many steps its rows were made of, from a ReshapeTemporal of mode BEFORE to the one of mode
AFTER; here the latter gets the bottom of the former as its last one, of which only the shape counts.  And how many
features DataTemporal makes stands in the ChannelEmbedding layers that read them: with that in its field `features` a
net can be sized without its data.
"""

from __future__ import annotations

from demitasse.proto.messages import LayerParameter, NetParameter, ReshapeTemporalParameter

Makers = dict[str, LayerParameter]


def upgrade_series(net: NetParameter) -> None:
    """Bring a net's layers for series of time into a form in which each speaks for itself, in place."""
    embeddings = {tuple(layer.bottom): layer for layer in net.layer if layer.type == "ChannelEmbedding"}
    makers: Makers = {}  # of each blob, so far
    for layer in net.layer:
        param = layer.reshape_temporal_param
        if layer.type == "DataTemporal" and not layer.data_temporal_param.features:
            pairs = [tuple(layer.top[k : k + 2]) for k in (0, 2, 4)]
            if all(pair in embeddings for pair in pairs):
                readers = [embeddings[pair] for pair in pairs]
                counts = ((each.numeric_trans_param, each.categorical_trans_param) for each in readers)
                layer.data_temporal_param.features.extend(part.num_input for pair in counts for part in pair)
        elif layer.type == "ReshapeTemporal" and param.mode == ReshapeTemporalParameter.AFTER:
            before = None if param.steps_of_last or not layer.bottom else _before(layer.bottom[0], makers)
            if before is not None:
                layer.bottom.append(before.bottom[0])
                param.steps_of_last = True
        makers.update((top, layer) for top in layer.top)


def _before(blob: str, makers: Makers) -> LayerParameter | None:
    """The ReshapeTemporal of mode BEFORE that a blob comes from by first bottoms, or None."""
    seen: set[str] = set()
    while blob in makers and blob not in seen:
        seen.add(blob)
        maker = makers[blob]
        if not maker.bottom:
            return None
        if maker.type == "ReshapeTemporal" and maker.reshape_temporal_param.mode == ReshapeTemporalParameter.BEFORE:
            return maker
        blob = maker.bottom[0]
    return None
