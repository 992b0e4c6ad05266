"""Cohorts of these tests."""

import shutil
from pathlib import Path

import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run

from pathoprog.validation.openings.register import state_folder


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> MadeCohort:
    """A small cohort of two external trials, and opening 1."""
    made = make_cohort(tmp_path_factory.mktemp("opened"), development=0, test=0, external=(60, 50), effect=0.6)
    run(made)
    return made


@pytest.fixture
def made(opened: MadeCohort, tmp_path: Path) -> MadeCohort:
    """The same, to be changed, and known to a register of its own."""
    shutil.copytree(opened.folder, tmp_path / "made")
    register = state_folder() / "openings.jsonl"
    register.parent.mkdir(parents=True)
    shutil.copyfile(tmp_path / "made" / "outcomes.csv.openings.jsonl", register)
    return MadeCohort(tmp_path / "made")
