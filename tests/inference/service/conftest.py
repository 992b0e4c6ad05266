"""What tests of the service share: one running service on made slides, for those that change nothing of its kind."""

import shutil

import pytest
from made_bundle import made_bundle
from made_service import MadeService
from made_slides import texture, write_pyramid

TILE_PX = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("locked") / "bundle", TILE_PX)


@pytest.fixture(scope="module")
def made_slides(tmp_path_factory):
    """A and B good, C too coarse for 40x, E truncated."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate("AB"):
        write_pyramid(folder / f"{name}.tif", texture(500, 400, seed=seed, margin=40))
    write_pyramid(folder / "C.tif", texture(500, 400, seed=2), mpp=0.5)
    (folder / "E.tif").write_bytes((folder / "B.tif").read_bytes()[:9000])
    return folder


@pytest.fixture(scope="module")
def service(bundle, made_slides, tmp_path_factory):
    """Running, its bundle in shadow."""
    made = MadeService(tmp_path_factory.mktemp("service"), bundle)
    for path in made_slides.iterdir():
        shutil.copy(path, made.slides)
    made.settings["viewing"] = {"timeout_s": 120}  # a test stops its slide readers for a while
    made.start()
    yield made
    made.stop()
