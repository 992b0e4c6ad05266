"""`pathoprog features slides=…`: files and folders in place of a cohort."""

import pandas as pd
import pytest

pytest.importorskip("torch")
from made_bundle import made_encoder
from made_slides import texture, write_pyramid

from pathoprog.errors import ConfigError, InputError
from pathoprog.stream.config import StreamSettings
from pathoprog.tiles.config import TileSpec
from pathoprog.training import features
from pathoprog.training.config import FeaturesConfig
from pathoprog.training.data.data_config import DataSettings


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    made_encoder(path)
    return str(path)


def settings_of(cohort, weights, folder, **changes):
    data = DataSettings(
        cohort=str(cohort),
        features=str(folder),
        tumour_policy="tissue",
        tiles_10x=TileSpec("10x", 1.0, 40),
        tiles_40x=TileSpec("40x", 0.25, 64, max_per_slide=5),
        stream=StreamSettings(workers=1, batch_tiles=2),
    )
    return FeaturesConfig(encoder="timm/test_resnet", weights=weights, data=data, device="cpu", **changes)


def test_slides_are_given_without_a_cohort(weights, tmp_path, capsys):
    """The same files as of a cohort; what is no slide is said; a bad slide never stops the others."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for number, name in enumerate(("fine", "cut")):
        path = write_pyramid(folder / f"{name}.tif", texture(500, 400, seed=number))
    path.write_bytes(path.read_bytes()[:9000])
    rows = [
        {"patient_id": name, "slide_id": name, "slide_path": f"{name}.tif", "cohort": "c", "role": "external"}
        for name in ("cut", "fine")
    ]
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    assert features.run(settings_of("", weights, tmp_path / "given", paths=[str(folder)])) == 1  # of the one cut off
    assert "cohort.csv" in capsys.readouterr().out
    assert features.run(settings_of(folder / "cohort.csv", weights, tmp_path / "named")) == 1
    files = sorted(path.relative_to(tmp_path / "named") for path in (tmp_path / "named").rglob("*.*"))
    assert [path.name for path in files] == ["fine.safetensors", "fine.safetensors", "features.csv"]
    for path in files:
        assert (tmp_path / "given" / path).read_bytes() == (tmp_path / "named" / path).read_bytes(), path


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"paths": ["absent.tif"]}, InputError, "absent.tif: no such file"),
        ({"paths": ["fine.tif", "other/fine.tif"]}, InputError, "would share the id fine"),
        ({"paths": ["empty"]}, InputError, "no slide in this folder"),
        ({"paths": ["fine.tif"], "cohort": "cohort.csv"}, ConfigError, "either slides=… .files or folders. or data"),
        ({"paths": ["fine.tif"], "features": ""}, ConfigError, "data.features is missing"),
        ({"cohort": "cohort.csv", "outlines": "here"}, ConfigError, "outlines is for slides=…"),
        ({"paths": ["fine.tif"], "policy": "outline"}, InputError, "fine: no outline"),
    ],
)
def test_slides_that_cannot_be_given_so_are_named(weights, tmp_path, monkeypatch, change, error, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "empty").mkdir()
    for path in ("fine.tif", "other/fine.tif"):
        write_pyramid(tmp_path / path, texture(200, 200, seed=1))
    given = {name: value for name, value in change.items() if name in ("paths", "outlines")}
    settings = settings_of(change.get("cohort", ""), weights, change.get("features", "features"), **given)
    settings.data.tumour_policy = change.get("policy", "tissue")
    with pytest.raises(error, match=said):
        features.run(settings)
