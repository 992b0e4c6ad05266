"""`pathoprog simulate`: the folder it writes, the same for the same seed, and what a second call does."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import shapely

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.regions.annotations import read_outline
from pathoprog.simulate import run as simulate
from pathoprog.simulate.config import SimulateConfig
from pathoprog.simulate.drawing import SlideTask
from pathoprog.system.files import read_json

TINY = SimulateConfig(
    out="", development_patients=5, test_patients=2, external_patients=2, field_um=240.0, second_slide_fraction=0.3,
    workers=1,
)  # fmt: skip


def tiny(out: Path, **changes: Any) -> SimulateConfig:
    return dataclasses.replace(TINY, out=str(out), **changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    assert simulate.run(tiny(out)) == 0
    return out


def test_the_cohort_is_accepted(made: Path) -> None:
    cohort = read_cohort(made / "cohort.csv", made / "overlap.json")
    outcomes = read_outcomes(made / "outcomes.csv")
    assert set(cohort["patient_id"]) == set(outcomes["patient_id"])
    assert len(outcomes) == 7
    assert all(Path(path).is_file() for column in ("slide_path", "outline_path") for path in cohort[column])
    overlap = read_json(made / "overlap.json")
    assert overlap["patients"] == sorted(cohort.loc[cohort["role"] == "test", "patient_id"].unique())
    assert len(overlap["patients"]) == 2


def test_the_truth_names_every_slide(made: Path) -> None:
    cohort, truth = pd.read_csv(made / "cohort.csv"), pd.read_csv(made / "truth.csv")
    assert truth["slide_id"].tolist() == cohort["slide_id"].tolist()
    for row in truth.itertuples():
        outline = read_outline(made / "outlines" / f"{row.slide_id}.geojson")
        assert outline.area * row.mpp**2 == pytest.approx(row.tumour_area_um2, rel=1e-3)
        assert shapely.box(0, 0, 240 / row.mpp, 240 / row.mpp).contains(outline)
    geojson = json.loads(next((made / "outlines").iterdir()).read_text())
    assert geojson["features"][0]["properties"]["classification"]["name"] == "Tumor"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_on_any_number_of_processes(made: Path, tmp_path: Path) -> None:
    assert simulate.run(tiny(tmp_path, workers=2)) == 0
    assert contents(tmp_path) == contents(made)


def test_a_second_call_draws_only_what_is_not_valid(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(made)
    slides = sorted((made / "slides").iterdir())
    times = [path.stat().st_mtime_ns for path in slides]
    slides[0].write_bytes(slides[0].read_bytes()[:-1])
    slides[1].unlink()
    assert simulate.run(tiny(made)) == 0
    assert f"{len(slides) - 2} slides are valid and kept" in capsys.readouterr().out
    assert contents(made) == before
    assert [path.stat().st_mtime_ns for path in slides[2:]] == times[2:]


def test_an_interrupted_run_goes_on(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    draw = simulate.draw_slide

    def interrupted(task: SlideTask, out: str) -> tuple[str, dict[str, object]]:
        if len(drawn) == 3:
            raise KeyboardInterrupt
        drawn.append(task.slide_id)
        return draw(task, out)

    monkeypatch.setattr(simulate, "draw_slide", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate.run(tiny(tmp_path))
    assert not (tmp_path / "cohort.csv").exists()  # a cohort that is there is complete
    assert sorted(read_json(tmp_path / "simulate.json")["slides"]) == sorted(drawn)
    monkeypatch.setattr(simulate, "draw_slide", draw)
    assert simulate.run(tiny(tmp_path)) == 0
    assert contents(tmp_path) == contents(made)


def test_other_settings_leave_no_slides_behind(made: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    assert simulate.run(tiny(tmp_path, external_patients=1, second_slide_fraction=0.0)) == 0
    cohort = pd.read_csv(tmp_path / "cohort.csv")
    assert {path.stem for path in (tmp_path / "slides").iterdir()} == set(cohort["slide_id"])
    assert {path.stem for path in (tmp_path / "outlines").iterdir()} == set(cohort["slide_id"])
