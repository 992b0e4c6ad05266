"""A scan of two patients stops training; the bundle keeps the hashes of its development slides, and its parent's."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
from made_store import made_settings, made_store

from pathoprog.cohort_tables.same_scan import (
    FILE,
    DevelopmentSlides,
    development_file,
    development_set,
    development_slides_among,
    read_development,
)
from pathoprog.errors import InputError
from pathoprog.system.files import read_json, write_json
from pathoprog.training.config import EnsembleConfig, StartSettings, TrainConfig
from pathoprog.training.data.learners import read_parts
from pathoprog.training.lock.development import TUMOUR_SLIDES, add_development, content_of
from pathoprog.training.tumour.segment import RECORD


@pytest.fixture
def trained(tmp_path: Path) -> TrainConfig:
    return made_settings(made_store(tmp_path / "data"), tmp_path / "run")


def slides_of(trained: TrainConfig) -> dict[str, str]:
    parts = read_parts(trained)
    return {slide.slide_id: slide.sha256 for part in parts for patient in part for slide in patient.slides}


def locked(folder: Path, files: dict[str, Path | str]) -> Path:
    folder.mkdir()
    (folder / FILE).write_text(str(files[FILE]))
    return folder


def test_the_bundle_knows_every_slide_of_its_development_and_no_other(trained: TrainConfig, tmp_path: Path):
    files: dict[str, Path | str] = {}
    add_development(EnsembleConfig("", ""), trained, files)
    bundle = locked(tmp_path / "bundle", files)
    hashes = slides_of(trained)
    assert len(hashes) > 10 and all(hashes.values())
    assert development_slides_among(bundle, {**hashes, "other": "e" * 64}) == list(hashes)
    found = read_development(bundle)
    assert found is not None and found["unknown"] == 0
    assert not any(name in str(files[FILE]) or digest in str(files[FILE]) for name, digest in hashes.items())
    again: dict[str, Path | str] = {}
    add_development(EnsembleConfig("", ""), trained, again)
    assert again == files


def test_parents_and_tumour_networks_slides_are_known_too(trained: TrainConfig, tmp_path: Path):
    parent = locked(tmp_path / "parent", {FILE: development_file([development_set(["a" * 64])], 2)})
    (tmp_path / "tumour").mkdir()
    write_json(tmp_path / "tumour" / RECORD, {TUMOUR_SLIDES: development_set(["b" * 64])})
    trained.start = StartSettings(bundle=str(parent))
    files: dict[str, Path | str] = {}
    add_development(EnsembleConfig("", "", tumour=str(tmp_path / "tumour")), trained, files)
    bundle = locked(tmp_path / "bundle", files)
    assert development_slides_among(bundle, {"p": "a" * 64, "t": "b" * 64, "o": "c" * 64}) == ["p", "t"]
    assert read_json(bundle / FILE)["unknown"] == 2
    trained.start = StartSettings(bundle=str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"gone, and with it the hashes of its development slides; put it back"):
        add_development(EnsembleConfig("", ""), trained, {})


def test_slides_without_a_hash_are_counted(trained: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = next(iter(slides_of(trained)))
    for path in (tmp_path / "data").rglob(f"{name}.json"):
        path.unlink()
    assert content_of(name, trained) == ""
    files: dict[str, Path | str] = {}
    add_development(EnsembleConfig("", ""), trained, files)
    assert '"unknown": 1' in str(files[FILE])
    assert "1 development slide without a known hash" in capsys.readouterr().err


def test_a_scan_of_two_patients_stops_training(trained: TrainConfig, tmp_path: Path):
    training, tuning = read_parts(trained)
    one, other = training[0].slides[0], tuning[0].slides[0]
    digest = content_of(one.slide_id, trained)
    for path in (tmp_path / "data").rglob(f"{other.slide_id}.json"):
        write_json(path, {**read_json(path), "sha256": digest})
    with pytest.raises(InputError, match="one scan of several patients") as caught:
        read_parts(trained)
    assert f"{other.slide_id} of {tuning[0].patient_id}: the same content as {one.slide_id} of" in str(caught.value)


def test_each_slide_is_known_by_its_role(trained: TrainConfig, tmp_path: Path):
    files: dict[str, Path | str] = {}
    add_development(EnsembleConfig("", ""), trained, files)
    known = DevelopmentSlides(locked(tmp_path / "bundle", files))
    for part, role in zip(read_parts(trained), ("training", "tuning"), strict=True):
        assert {known.role_of(slide.sha256) for patient in part for slide in patient.slides} == {role}
    assert known.role_of("e" * 64) == known.role_of("") == ""
    older = locked(tmp_path / "older", {FILE: development_file([development_set(["a" * 64])], 0)})
    assert DevelopmentSlides(older).role_of("a" * 64) == "development"
