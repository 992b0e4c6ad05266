"""`pathoprog stage_groups`: fitted on whole cohorts only, then validated like the classes."""

import re
from pathlib import Path

import pandas as pd
import pytest
from made_cohort import MadeCohort, make_cohort

from pathoprog.cohorts import validate
from pathoprog.cohorts.config import StageGroupsConfig, ValidateConfig
from pathoprog.cohorts.stage_groups import run
from pathoprog.ensemble.bundle import ensemble_id
from pathoprog.errors import InputError
from pathoprog.system.files import read_json
from pathoprog.validation.openings.chain import read_log


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    return make_cohort(tmp_path_factory.mktemp("made"), development=420, test=20, external=(200,))


def settings(made: MadeCohort, out: Path, *development: str) -> StageGroupsConfig:
    paths = {key: str(value) for key, value in made.settings().items() if key not in ("plan", "out", "track")}
    return StageGroupsConfig(**paths, development=list(development), out=str(out))


def test_a_table_is_fitted_locked_and_validated(made: MadeCohort, tmp_path: Path):
    assert run(settings(made, tmp_path / "bundle", "north", "south")) == 0
    record = read_json(tmp_path / "bundle" / "stage_groups.json")
    assert record["in_sample"] is True and record["cohorts"] == ["north", "south"]
    values = {
        **made.settings(),
        "ensemble": str(tmp_path / "bundle"),
        "out": str(tmp_path / "out"),
        "permutations": 100,
    }
    assert validate.run(ValidateConfig(**values)) == 0
    found = read_json(tmp_path / "out" / "statistics.json")
    assert found["ensemble_id"] == ensemble_id(tmp_path / "bundle")
    groups = found["stage_groups"]
    population = found["populations"]["external_trial 1"]
    assert sum(groups["n"].values()) + groups["without_group"] == population["n"]
    assert groups["without_group"] > 0
    high = next(row for row in groups["hazard_ratios"] if row["level"] == "high")
    assert high["lower"] > 1
    html = (tmp_path / "out" / "report.html").read_text()
    assert "not the published assignment" in html and "an in-sample fit" in html
    assert len(pd.read_csv(tmp_path / "out" / "tables" / "stage_cells.csv")) == 30
    assert re.search(r"These outcomes were read on [-\d]{10} by `stage_groups`, which used those of \d+ patients", html)
    assert found["opening"] == 1 and "added after opening" not in html, "it is no opening of the external cohort"
    lines = read_log(made.folder / "outcomes.csv.openings.jsonl")
    assert [line["kind"] for line in lines] == ["reading", "opening", "result"]
    assert lines[0]["command"] == "stage_groups" and lines[0]["cohorts"] == ["north", "south"]


def test_part_of_a_cohort_is_refused(made: MadeCohort, tmp_path: Path):
    with pytest.raises(InputError, match=r"no scored patient of cohort 'west' .there: north, south, trial 1"):
        run(settings(made, tmp_path / "bundle", "west"))
    half = settings(made, tmp_path / "bundle", "north")
    patients = pd.read_csv(half.scores, dtype=str, keep_default_na=False)
    patients.loc[patients["role"] == "tuning", ["status", "risk_class"]] = ["failed", ""]
    patients.to_csv(tmp_path / "patients.csv", index=False)
    half.scores = str(tmp_path / "patients.csv")
    with pytest.raises(InputError, match="of cohort north only training is scored: selected on outcome"):
        run(half)
    assert not (tmp_path / "bundle").exists()
