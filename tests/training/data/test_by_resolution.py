"""What is set for one resolution alone stands in the place of what is set for all, there and nowhere else."""

from dataclasses import replace

import pytest

from pathoprog.errors import ConfigError
from pathoprog.networks.config import NetworkSettings
from pathoprog.settings import as_dict
from pathoprog.tiles.config import TileSpec
from pathoprog.training.config import TrainConfig, TrainEnsembleConfig
from pathoprog.training.data.by_resolution import at, check_each, data_of_each_source, differ
from pathoprog.training.data.data_config import AtResolution, DataSettings
from pathoprog.training.data.tile_store import specs
from pathoprog.training.member.fit import fingerprint, settings_of_weights
from pathoprog.training.member.run_folder import recipe
from pathoprog.training.train_ensemble import make_tasks


def settings(**changes):
    data = DataSettings(cohort="c", outcomes="o", store="s", features="f", **changes.pop("data", {}))
    return TrainConfig(data=data, network=NetworkSettings(width=0.35, encoder_options="x: 1"), **changes)


def test_where_nothing_differs_nothing_is_changed():
    given = settings()
    assert not differ(given)
    for resolution in ("10x", "40x"):
        assert as_dict(at(given, resolution)) == as_dict(replace(given, resolution=resolution))
    kept = settings_of_weights(given)
    assert kept["data"].keys() == {"tumour_policy", "tiles_10x", "tiles_40x", "slides"}, "as it always was"
    assert "at" not in kept and len({recipe(at(given, name)) for name in ("10x", "40x")}) == 1


def test_an_encoder_of_its_own_brings_its_own_options():
    given = settings(at_40x=AtResolution(encoder="resnet18"))
    low, high = at(given, "10x"), at(given, "40x")
    assert (low.network.encoder, low.network.width, low.network.encoder_options) == ("mobilenet_v2", 0.35, "x: 1")
    assert (high.network.encoder, high.network.width, high.network.encoder_options) == ("resnet18", 1.0, "")
    assert at(settings(at_40x=AtResolution(width=0.5)), "40x").network.encoder_options == "x: 1"
    assert recipe(low) == recipe(high) and fingerprint(low) != fingerprint(high)
    assert recipe(low) != recipe(at(settings(at_40x=AtResolution(encoder="resnet34")), "10x")), "of another ensemble"


def test_sources_are_read_apart():
    given = settings(at_40x=AtResolution(source="features", encoder="none", feature_dim=8))
    found = {data.source: data.resolutions for data in data_of_each_source(given)}
    assert found == {"store": ["10x"], "features": ["40x"]} and given.data.source == "store"
    high = at(given, "40x")
    assert (high.data.source, high.network.feature_dim, high.data.resolutions) == ("features", 8, ["40x"])
    assert (low := at(given, "10x")).data.source == "store" and low.network.feature_dim == 0
    assert [data.source for data in data_of_each_source(high)] == ["features"]


def test_every_resolution_has_its_candidates():
    for names in (["20x"], ["40x", "10x"], ["10x", "20x"]):
        tasks = make_tasks(TrainEnsembleConfig(out="runs", data=DataSettings(resolutions=names), candidates=2))
        assert sorted({task.settings.resolution for task in tasks}) == sorted(names) and len(tasks) == 2 * len(names)
    assert [spec.resolution for spec in specs(DataSettings(resolutions=["40x", "10x"]))] == ["10x", "40x"]
    assert specs(DataSettings(resolutions=["20x"])) == [TileSpec("20x", 0.5)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"resolutions": ["10x", "20x", "40x"]}}, "data.resolutions=10x,20x,40x: an ensemble has one"),
        ({"at_20x": AtResolution(encoder="resnet18")}, "at_20x.encoder is given, but data.resolutions is 10x,40x"),
        ({"at_40x": AtResolution(source="features"), "data": {}}, ""),
    ],
)
def test_what_cannot_go_together_is_refused(changes, said):
    given = settings(**changes)
    if not said:
        check_each(given)
        given.data.features, said = "", "data.features is missing"
    with pytest.raises(ConfigError, match=f"^{said}"):
        check_each(given)
