"""DataTemporal: windows of series in .npy files; and a small temporal fusion transformer that learns from them."""

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault, NetError
from demitasse.solver.solver import Solver
from tests.test_layers.data_sets import batches, layer

PAST, FUTURE, STEPS = 6, 3, 20
SCHEMA = """<Schema><Data><Observed><Numeric><Field Index="0" InputType="OBSERVED">a</Field>
<Field Index="1" InputType="OBSERVED,TARGET">b</Field></Numeric></Observed></Data>
<Lookups><Lookup Name="ID"><Item Index="0" ValidRangeStartIdx="0" ValidRangeEndIdx="19">x</Item>
<Item Index="1" ValidRangeStartIdx="2" ValidRangeEndIdx="11">y</Item>
<Item Index="2" ValidRangeStartIdx="-1" ValidRangeEndIdx="-1">z</Item></Lookup></Lookups></Schema>"""


def write_series(folder, kind="train", series=3, schema=SCHEMA):
    """Series whose target is a wave, and whose number is a static category; {part: array}."""
    rng = np.random.default_rng(len(kind))
    step = np.arange(STEPS) / 3 + rng.uniform(0, 6, (series, 1))
    parts = {
        "observed_num": np.stack([rng.uniform(-1, 1, step.shape), np.sin(step)], 2),
        "known_num": np.cos(step)[..., None],
        "known_cat": np.arange(series * STEPS).reshape(series, STEPS, 1) % 5,
        "static_cat": np.arange(series)[:, None],
    }
    folder.mkdir(exist_ok=True)
    for name, array in parts.items():
        np.save(folder / f"{kind}_{name}.npy", array if array.dtype == int else array.astype(np.float32))
    if schema:
        (folder / f"{kind}_schema.xml").write_text(schema)
    return parts


def data(folder, more="", batch=4):
    fields = f"batch_size: {batch} source: '{folder}' num_historical_steps: {PAST} num_future_steps: {FUTURE} {more}"
    tops = " ".join(f"top: '{name}'" for name in ("ns", "cs", "nh", "ch", "nf", "cf", "trg"))
    return f"type: 'DataTemporal' {tops} data_temporal_param {{ {fields} }}"


@pytest.mark.independent("DataTemporal")
@pytest.mark.parametrize("shuffle", [False, True])
def test_windows_of_series(tmp_path, shuffle):
    parts = write_series(tmp_path, "test")
    text = data(tmp_path, f"shuffle_data: {str(shuffle).lower()} output_target_historical: true") + " top: 'th'"
    windows = [(0, t) for t in range(STEPS - PAST - FUTURE + 1)] + [(1, 2), (1, 3)]
    seen, place = set(), 0
    for ns, cs, nh, ch, nf, cf, target, before in batches(layer(text), 12):
        assert ns.shape == (4, 0) and nh.shape == (4, PAST, 3) and target.shape == (4, FUTURE, 1)
        for i in range(4):
            series = int(cs[i, 0])
            begin = next(t for t in range(STEPS) if np.isclose(parts["known_num"][series, t, 0], nh[i, 0, 2]))
            past, future = slice(begin, begin + PAST), slice(begin + PAST, begin + PAST + FUTURE)
            for found, name, span in ((nh[i, :, :2], "observed_num", past), (nh[i, :, 2:], "known_num", past)):
                np.testing.assert_allclose(found, parts[name][series, span], rtol=1e-6)
            for found, name, span in ((ch, "known_cat", past), (nf, "known_num", future), (cf, "known_cat", future)):
                np.testing.assert_allclose(found[i], parts[name][series, span], rtol=1e-6)
            np.testing.assert_allclose(target[i], parts["observed_num"][series, future, 1:], rtol=1e-6)
            np.testing.assert_allclose(before[i], parts["observed_num"][series, past, 1:], rtol=1e-6)
            assert shuffle or (series, begin) == windows[place % len(windows)]
            place += 1
            seen.add((series, begin))
    assert seen <= set(windows) and (shuffle or seen == set(windows))


def test_mistakes_in_series(tmp_path):
    folder = tmp_path / "series"
    with pytest.raises(DataFault, match="source: '.*series' does not exist"):
        layer(data(folder))
    write_series(folder, "test")
    with pytest.raises(DataFault, match="validation_observed_num.npy': no such file"):
        layer(data(folder, "forced_phase: RUN"))
    np.save(folder / "test_known_num.npy", np.zeros((3, STEPS + 1, 2)))
    with pytest.raises(DataFault, match=r"float64 of shape \(3, 21, 2\) beside \(3, 20, 2\) of _observed_num.npy"):
        layer(data(folder))
    np.save(folder / "test_known_num.npy", np.array([[["a", {}]]], dtype=object))
    with pytest.raises(DataFault, match="damaged .npy: .*Python objects"):
        layer(data(folder))
    (folder / "test_known_num.npy").unlink()
    (folder / "test_schema.xml").write_text("<!DOCTYPE a [<!ENTITY b 'c'>]><Schema/>")
    with pytest.raises(DataFault, match="defines entities"):
        layer(data(folder))
    with pytest.raises(NetError, match="PATH_NPY_FILE, a folder of .npy files"):
        layer(data(folder, "source_type: SQL_DB"))


FILLED = "dropout_ratio: 0 hidden_dim: 8"
TFT = f"""
layer {{ name: 'data' %s }}
layer {{ name: 'es' type: 'ChannelEmbedding' bottom: 'ns' bottom: 'cs' top: 's'
        categorical_trans_param {{ num_input: 1 state_size: 8 cardinality: 3 }} }}
layer {{ name: 'eh' type: 'ChannelEmbedding' bottom: 'nh' bottom: 'ch' top: 'h'
        categorical_trans_param {{ num_input: 1 state_size: 8 cardinality: 5 }}
        numeric_trans_param {{ num_input: 3 state_size: 8 }} }}
layer {{ name: 'ef' type: 'ChannelEmbedding' bottom: 'nf' bottom: 'cf' top: 'f'
        categorical_trans_param {{ num_input: 1 state_size: 8 cardinality: 5 }}
        numeric_trans_param {{ num_input: 1 state_size: 8 }} }}
layer {{ name: 'vs' type: 'VarSelNet' bottom: 's' top: 'st' varselnet_param {{ num_inputs: 1 input_dim: 8 {FILLED} }} }}
layer {{ name: 'c' type: 'GRN' bottom: 'st' top: 'c' grn_param {{ output_dim: 8 {FILLED} }} }}
layer {{ name: 'bh' type: 'ReshapeTemporal' bottom: 'h' bottom: 'c' top: 'h1' top: 'ch1' }}
layer {{ name: 'vh' type: 'VarSelNet' bottom: 'h1' bottom: 'ch1' top: 'h2'
        varselnet_param {{ num_inputs: 4 {FILLED} }} }}
layer {{ name: 'ah' type: 'ReshapeTemporal' bottom: 'h2' top: 'past' top: 'clip'
        reshape_temporal_param {{ mode: AFTER enable_clip_output: true }} }}
layer {{ name: 'bf' type: 'ReshapeTemporal' bottom: 'f' bottom: 'c' top: 'f1' top: 'cf1' }}
layer {{ name: 'vf' type: 'VarSelNet' bottom: 'f1' bottom: 'cf1' top: 'f2'
        varselnet_param {{ num_inputs: 2 {FILLED} }} }}
layer {{ name: 'af' type: 'ReshapeTemporal' bottom: 'f2' top: 'future' top: 'fclip'
        reshape_temporal_param {{ mode: AFTER enable_clip_output: true }} }}
layer {{ name: 'lp' type: 'Lstm' bottom: 'past' bottom: 'clip' bottom: 'c' bottom: 'c' top: 'lp' top: 'hid' top: 'cell'
        recurrent_param {{ num_output: 8 num_layers: 2 batch_first: True expose_hidden_input: True
        expose_hidden_output: True auto_repeat_hidden_states_across_layers: True
        weight_filler {{ type: 'xavier' }} }} }}
layer {{ name: 'lf' type: 'Lstm' bottom: 'future' bottom: 'fclip' bottom: 'hid' bottom: 'cell' top: 'lf'
        recurrent_param {{ num_output: 8 num_layers: 2 batch_first: True expose_hidden_input: True
        weight_filler {{ type: 'xavier' }} }} }}
layer {{ name: 'l' type: 'Concat' bottom: 'lp' bottom: 'lf' top: 'l' }}
layer {{ name: 'a' type: 'MultiheadAttentionInterp' bottom: 'l' top: 'a' multihead_attention_interp_param {{
        num_historical_steps: {PAST} num_future_steps: {FUTURE} embed_dim: 8 num_heads: 2 }} }}
layer {{ name: 'g' type: 'GateAddNorm' bottom: 'a' bottom: 'l' top: 'g' dropout_param {{ dropout_ratio: 0 }}
        glu_param {{ input_dim: 8 axis: 2 }} gateaddnorm_param {{ residual_channel_offset: {PAST} }} }}
layer {{ name: 'y' type: 'InnerProduct' bottom: 'g' top: 'y'
        inner_product_param {{ num_output: 3 axis: 2 weight_filler {{ type: 'xavier' }} }} }}
layer {{ name: 'loss' type: 'QuantileLoss' bottom: 'y' bottom: 'trg' top: 'loss'
        quantile_loss_param {{ desired_quantile: 0.1 desired_quantile: 0.5 desired_quantile: 0.9 }} }}
"""


def test_a_net_is_sized_without_its_series_but_does_not_run(tmp_path):
    with pytest.warns(UserWarning, match="is not there: the net is sized by the num_input of the layers that read it"):
        plan = Plan(TFT % data("C:\\\\ProgramData\\\\MyCaffe", batch=2), "TRAIN")
    shapes = {value.name: value.shape for step in plan.steps for value in step.tops}
    assert (shapes["ns"], shapes["nh"], shapes["cf"]) == ((2, 0), (2, PAST, 3), (2, FUTURE, 1))
    assert (shapes["past"], shapes["y"]) == ((2, PAST, 8), (2, FUTURE, 3))
    with pytest.raises(DataFault, match="MyCaffe' does not exist"):
        Net(TFT % data("C:\\\\ProgramData\\\\MyCaffe", batch=2), "TRAIN")


@pytest.mark.filterwarnings("ignore:.*phase")
def test_a_small_transformer_learns_a_wave_and_resumes_with_the_same_bits(tmp_path):
    write_series(tmp_path / "series")
    (tmp_path / "net.prototxt").write_text(TFT % data(tmp_path / "series"))
    fields = "base_lr: 0.01 lr_policy: 'fixed' type: 'Adam' momentum: 0.9 random_seed: 1 max_iter: 40 display: 0\n"
    text = f"net: '{tmp_path / 'net.prototxt'}' snapshot_prefix: '{tmp_path / 's'}' {fields}"
    whole = Solver(text)
    losses = []
    for k in range(40):
        whole.step(1)
        losses.append(whole.smoothed_loss)
        if k == 34:
            saved = whole.snapshot()
    again = Solver(text, snapshot=saved, existing="replace")
    again.step(5)
    assert np.mean(losses[-5:]) < 0.7 * losses[0]
    for param, other in zip(whole.net.plan.learnable, again.net.plan.learnable, strict=True):
        np.testing.assert_array_equal(param.data, other.data)
    whole.close()
    again.close()
