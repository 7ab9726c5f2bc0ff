"""Fine-tuning: what a fit takes of a bundle, what of it learns, and how it goes on."""

from dataclasses import replace

import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.errors import SharedError
from orbitlite.model.bundle import save_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import DECODERS, Decoder
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.lora import adapt, merged
from orbitlite.model.noise import Draw
from orbitlite.parallel.mesh import Layout
from orbitlite.training.beginning import begin, go_on
from orbitlite.training.initialisation import substance, take
from orbitlite.training.optimisation import Optimisation
from orbitlite.training.tuning import InitConfig, Tuning

RAIN, WARM, WIND, WET = (
    "total_precipitation_24hr", "2m_temperature", "10m_u_component_of_wind",
    "specific_humidity_850",
)  # fmt: skip
SETTINGS = {
    "inputs": [RAIN, WARM, WIND], "targets": [RAIN], "statics": ["orography"], "factor": 2,
    "embed_dim": 8, "depth": 2, "num_heads": 2, "decoder_features": 8, "decoder_blocks": 1,
}  # fmt: skip


def small(**changes):
    return DownscalerConfig(**SETTINGS | changes)


SMALL = small()


def trained(config, seed=0):
    """Return a network none of whose weights is zero, with a normalisation."""
    torch.manual_seed(seed)
    network = Downscaler(config).eval().double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    for name, value in network.named_buffers():
        if name.endswith(("_mean", "_std")) and "." not in name:
            value.copy_(torch.rand_like(value) + 0.5)
    return network


def fields(config, count=2):
    """Return a batch with cells missing here and there, but no rain."""
    torch.manual_seed(7)
    coarse = torch.randn(count, len(config.inputs), 6, 6, dtype=torch.float64) * 2 + 1
    hidden = torch.rand_like(coarse) < 0.2
    hidden[:, config.inputs.index(RAIN)] = False
    coarse = torch.where(hidden, torch.nan, coarse)
    coarse[:, config.inputs.index(RAIN)].abs_()
    return Batch(
        coarse=coarse,
        statics=torch.randn(count, len(config.statics), 12, 12).double()
        if config.statics
        else None,
        lat_edges=torch.linspace(46, 40, 7).expand(count, -1),
        lon_edges=torch.linspace(3, 9, 7).expand(count, -1),
        time=torch.arange(count) * 86400.0,
    )


def begun(config, source):
    """Return a network that has taken what suits of another, normalisation included."""
    torch.manual_seed(1)
    network = Downscaler(config).double()
    found = take(network, source)
    Tuning(InitConfig("b"), {}, found.record(), config.depth, found.statistics).keep_statistics(
        network
    )
    return network, found


def test_weights_of_channels_are_taken_by_name():
    groups = [[WIND, RAIN], [WARM]]
    source = trained(small(channel_groups=groups))
    ours = small(inputs=[WET, WARM, RAIN], channel_groups=[[WARM], [WET, RAIN]])
    network, found = begun(ours, source)
    given, own = source.state_dict(), network.state_dict()
    # of the groups' channels in the order of the inputs: there (rain, wind), (warm); here (warm),
    # (wet, rain)
    for rest in ("embed_weight", "embed_bias", "sum_weight"):
        there, here = (
            [state[f"channels.groups.{group}.{rest}"] for group in (0, 1)] for state in (given, own)
        )
        assert torch.equal(here[0][0], there[1][0])
        assert torch.equal(here[1][1], there[0][0])
        assert not torch.equal(here[1][0], there[0][1])
    for ours_at, theirs_at in ((0, 1), (1, 0)):
        name = "channels.groups.{}.key_weight"
        assert torch.equal(own[name.format(ours_at)], given[name.format(theirs_at)])
    assert torch.equal(own["channels.across.query"], given["channels.across.query"])
    assert not found.moved
    assert found.record()["channels.groups.1.embed_weight"] == [1]
    means = [float(own["input_mean"][place]) for place in (1, 2)]
    assert means == [float(given["input_mean"][place]) for place in (1, 0)]


@pytest.mark.parametrize("patch_size", [1, 2])
@pytest.mark.parametrize("aggregation", ["attention", "linear"])
@pytest.mark.parametrize("groups", [[[RAIN, WARM, WIND]], [[WARM, RAIN], [WIND]]])
def test_a_new_channel_changes_nothing_at_first(patch_size, aggregation, groups):
    common = {"patch_size": patch_size, "group_aggregation": aggregation}
    theirs = small(**common, channel_groups=groups)
    source = trained(theirs)
    wider = small(**common, inputs=[WIND, WET, RAIN, WARM],
        channel_groups=[[*groups[0], WET], *groups[1:]],
    )  # fmt: skip
    network, _ = begun(wider, source)
    batch = fields(wider)
    batch.coarse[:, 1] *= 20  # whatever its values are
    order = [wider.inputs.index(name) for name in theirs.inputs]
    expected = source(replace(batch, coarse=batch.coarse[:, order])).detach()
    found = network.eval()(batch)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    # and it learns
    network.train()(batch).square().sum().backward()
    unit = network.channels.groups["0"]
    weight = unit.sum_weight if aggregation == "attention" else unit.channel_weight
    columns = [wider.inputs[column] for column in wider.groups[0]]
    assert float(weight.grad[columns.index(WET)].abs()) > 1e-3


def test_a_channel_without_a_value_in_training_is_new(tmp_path, caplog):
    """Its normalisation there is that of nothing, and its weights have not learned."""
    known = {RAIN: [0.0, 9.0], WIND: [-3.0, 3.0]}
    source = trained(SMALL).float()
    save_bundle(tmp_path / "bundle", source, metadata={"training": {"ranges": known}})
    network = Downscaler(SMALL)
    with caplog.at_level("INFO"):
        tuning = begin(network, InitConfig(str(tmp_path / "bundle")))
    assert f"begin as new ones: {WARM}." in caplog.text
    assert sorted(tuning.statistics["input_mean"]) == [0, 2]
    assert tuning.taken["channels.groups.0.embed_weight"] == [0, 2]
    batch = fields(SMALL)
    batch.coarse = batch.coarse.float()
    tuning.keep_statistics(network)
    before = network.eval()(batch).detach()
    batch.coarse[:, 1] = batch.coarse[:, 1] * 50 + 280
    assert torch.equal(network(batch), before)


def test_a_channel_that_was_reconstructed_is_taken(tmp_path):
    """The trunk has learned from it, though no source with truth had it."""
    training = {"ranges": {RAIN: [0.0, 9.0], WIND: [-3.0, 3.0]}, "reconstructed": [WARM]}
    source = trained(SMALL).float()
    save_bundle(tmp_path / "bundle", source, metadata={"training": training})
    tuning = begin(Downscaler(SMALL), InitConfig(str(tmp_path / "bundle")))
    assert sorted(tuning.statistics["input_mean"]) == [0, 1, 2]
    assert tuning.taken["channels.groups.0.embed_weight"] is None


@pytest.mark.parametrize("wrong", [3, [3], {WARM: 1}])
def test_a_record_of_what_was_reconstructed_is_a_list_of_names(tmp_path, wrong):
    training = {"ranges": {RAIN: [0.0, 9.0]}, "reconstructed": wrong}
    save_bundle(tmp_path / "b", trained(SMALL).float(), metadata={"training": training})
    with pytest.raises(SharedError, match="reconstructed: expected a list of inputs, found"):
        begin(Downscaler(SMALL), InitConfig(str(tmp_path / "b")))


def test_the_same_network_is_taken_whole():
    source = trained(small(tokens=0.5, saliency="learned", noise=2))
    network, found = begun(source.config, source)
    for name, value in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    assert {*found.whole, *found.rows} == {
        name for name in source.state_dict() if not name.endswith(("_mean", "_std"))
    }


@pytest.mark.parametrize(
    ("changes", "new"),
    [
        ({"factor": 4}, "join stages out"),
        ({"targets": [WARM]}, "join out blend"),
        ({"statics": ["land_sea_mask"]}, "join products"),
        ({"statics": []}, "join"),
        ({"num_heads": 4}, "blocks channels"),
        ({"patch_size": 1}, "head channels"),
        ({"group_aggregation": "linear"}, "channels"),
        ({"depth": 3}, "blocks.2"),
        ({"depth": 1}, ""),
        ({"mlp_ratio": 2.0}, "mlp"),
        ({"noise": 3}, "conditioning noise_size"),
        ({"decoder_blocks": 2}, "body.1"),
        ({"decoder_features": 16}, "head join body stages"),
        ({"log1p": []}, "join out blend"),
    ],
    ids=str,
)
def test_what_has_another_meaning_is_new(changes, new):
    """Of the whole network; weights of one channel and what a group has in common aside."""
    source, new = trained(SMALL), set(new.split())
    network, found = begun(small(**changes), source)
    parts = {"channels", "blocks", "norm", "position", "head", "join", "body", "products",
             "conditioning", "stages", "out", "blend", "mlp", "noise_size"}  # fmt: skip
    fresh = [name for name in network.state_dict()
             if name not in found.whole and name not in found.rows
             and not name.endswith(("_mean", "_std"))]  # fmt: skip
    assert {part for part in new if not any(part in name for name in fresh)} == set()
    others = parts - {part.split(".")[0] for part in new}
    if "stages" in new:
        others -= {"products", "conditioning"}
    if new & {"mlp", "products", "conditioning"}:
        others -= {"blocks", "stages"}
    if "blocks" in {part.split(".")[0] for part in new}:
        others -= {"mlp", "out"}
    if "channels" in new:
        others -= {"out"}
    words = {name: set(name.split(".")) for name in fresh}
    unexpected = {name for name, own in words.items() if own & others}
    assert not unexpected
    if changes == {"log1p": []}:  # the channel is another one
        assert 0 not in found.rows["channels.groups.0.embed_weight"]


def test_a_network_of_which_nothing_suits():
    source = trained(SMALL)
    other = small(inputs=[WET], targets=[WET], embed_dim=12, decoder_features=4,
                    statics=[], decoder_blocks=0)  # fmt: skip
    network, found = begun(other, source)
    assert substance(found, network.state_dict()) == 0
    assert substance(take(Downscaler(SMALL), source), source.state_dict()) > 1000


def test_parts_of_others_are_taken_where_they_see_the_same(registries):
    @DECODERS.register("plain")
    class Plain(Decoder):
        def __init__(self, config, context, *, a=0):
            super().__init__(config, context)
            self.head = torch.nn.Linear(3, 3)

    source = Downscaler(small(decoder="plain"))
    for changes, taken in (
        ({}, True), ({"depth": 1}, True), ({"decoder_options": {"a": 1}}, False),
        ({"statics": ["land_sea_mask"]}, False), ({"factor": 4}, False),
    ):  # fmt: skip
        found = take(Downscaler(small(decoder="plain", **changes)), source)
        assert ("decoder.head.weight" in found.whole) == taken, changes
        assert "blocks.0.mlp.0.weight" in found.whole


def test_a_regression_is_left():
    source = trained(small(ridge=[6, 6]))
    source.ridge.weight.fill_(1.0)
    network, found = begun(source.config, source)
    assert not [name for name in found.whole if name.startswith("ridge.")]
    assert not network.ridge.weight.any()


def test_noise_begins_without_an_effect_and_can_be_left():
    source = trained(SMALL)
    noisy, found = begun(small(noise=3), source)
    batch, expected = fields(SMALL), source(fields(SMALL))
    members = noisy.eval()(batch, draw=Draw.of(0, range(3)))
    torch.testing.assert_close(members, expected.expand_as(members), rtol=1e-5, atol=1e-5)
    assert not [name for name in found.whole if "conditioning" in name or name == "noise_size"]
    noisy = trained(small(noise=3))
    noisy.get_buffer("noise_size").zero_()
    with torch.no_grad():
        for name, weight in noisy.named_parameters():
            if "conditioning" in name and name.endswith("bias"):
                weight.zero_()  # what all members have in common
    plain, _ = begun(SMALL, noisy)
    torch.testing.assert_close(plain.eval()(batch), noisy(batch), rtol=1e-5, atol=1e-5)


def test_rates_of_layers():
    taken = dict.fromkeys(Downscaler(SMALL).state_dict())
    del taken["blocks.1.mlp.0.weight"]
    taken["channels.groups.0.embed_weight"] = [0]
    tuning = Tuning(InitConfig("b", rate=0.5, decay=0.1), {}, taken, 2)
    for name, expected in (
        ("decoder.out.weight", 0.5), ("blend", 0.5), ("norm.weight", 0.05),
        ("blocks.1.mlp.2.weight", 0.05), ("blocks.0.mlp.2.weight", 0.005),
        ("position.linear.weight", 0.0005), ("channels.groups.0.query", 0.0005),
        ("channels.groups.0.embed_weight", 1.0), ("blocks.1.mlp.0.weight", 1.0),
    ):  # fmt: skip
        assert tuning.rate(f"network.{name}") == pytest.approx(expected)
    assert tuning.rate_of_taken("channels.groups.0.embed_weight") == pytest.approx(0.0005)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_rows_learn_as_weights_of_their_own_would(share):
    """Of one AdamW with rows at two rates, against two of plain weights with a rate each."""
    torch.manual_seed(0)
    whole = torch.randn(4, 3)

    def stepped(weight, lr, rows, watch=None):
        weight = torch.nn.Parameter(weight.clone())
        optimizer = Optimisation(lr=lr, weight_decay=0.1).optimizer([("w", weight)])
        if watch is not None:
            watch.slow_rows(optimizer, [("w", weight)])
        for step in range(5):
            gradient = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
            weight.grad = gradient[rows]
            optimizer.step()
        return weight.detach()

    class Rate(Tuning):
        def rate_of_taken(self, name):
            return share

    both = stepped(whole, 0.1, [0, 1, 2, 3], Rate(InitConfig("b"), {}, {"w": [1, 3]}, 0))
    torch.testing.assert_close(both[[0, 2]], stepped(whole[[0, 2]], 0.1, [0, 2]))
    slow = stepped(whole[[1, 3]], 0.1 * share, [1, 3]) if share else whole[[1, 3]]
    torch.testing.assert_close(both[[1, 3]], slow, rtol=1e-5, atol=1e-6)
    if not share:
        assert torch.equal(both[[1, 3]], slow)


def test_adapters_are_merged_to_the_same_network():
    network = trained(SMALL)
    batch = fields(SMALL)
    expected, names = network(batch), [*network.state_dict()]
    adapt(network, 2, 6.0)
    assert torch.equal(network(batch), expected)  # zero at first
    added = [name for name in network.state_dict() if name not in names]
    assert len(added) == 2 * 4 * SMALL.depth
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name in added:
                weight.normal_()
    changed = network(batch).detach()
    assert float((changed - expected.detach()).abs().max()) > 0.01
    plain = Downscaler(SMALL).eval().double()
    plain.load_state_dict(merged(network.state_dict(), 2, 6.0))
    torch.testing.assert_close(plain(batch), changed)


def test_processes_that_share_columns_have_no_adapters():
    lora = Tuning(InitConfig("b", "lora"), {}, {}, 1)
    with pytest.raises(SharedError, match=r"parallel\.tensor 2: adapters"):
        lora.check_layout(Layout(tensor=2))
    lora.check_layout(Layout(data=2, sequence=2))
    Tuning(InitConfig("b", "head"), {}, {}, 1).check_layout(Layout(tensor=2))


# Through the command.


def test_channels_that_are_all_taken_are_frozen(tmp_path):
    save_bundle(tmp_path / "bundle", trained(SMALL).float(), metadata={"training": {}})
    network = Downscaler(SMALL)
    begin(network, InitConfig(str(tmp_path / "bundle"), tune="head")).freeze(network)
    learning = {n.split(".")[0] for n, w in network.named_parameters() if w.requires_grad}
    assert learning == {"decoder", "blend"}


def test_normalisation_cannot_change_on_the_way(tmp_path):
    save_bundle(tmp_path / "bundle", trained(SMALL).float(), metadata={"training": {}})
    network, kept = Downscaler(SMALL), InitConfig(str(tmp_path / "bundle"))
    record = begin(network, kept).record()
    assert go_on(network, kept, record, "last.ckpt").options.statistics == "keep"
    with pytest.raises(
        SharedError, match=r"init\.statistics new: last\.ckpt is of a fit with keep"
    ):
        go_on(network, replace(kept, statistics="new"), record, "last.ckpt")


@pytest.mark.parametrize(
    "broken",
    [
        {"taken": {"blend": [5]}}, {"taken": {"nothing": None}}, {"taken": 3}, {"origin": {}},
        {"options": {"rank": 0}}, {"options": {"rank": "x"}}, {"options": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_that_tells_nonsense_of_its_beginning(broken):
    record = Tuning(InitConfig("b"), {"path": "b", "identity": "1"}, {"blend": [0]}, 1).record()
    assert go_on(Downscaler(SMALL), InitConfig(), record, "x.ckpt").taken == {"blend": [0]}
    with pytest.raises(SharedError, match=r"^x\.ckpt does not tell|^init\.rank"):
        go_on(Downscaler(SMALL), InitConfig(), record | broken, "x.ckpt")
