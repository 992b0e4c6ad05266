"""Cohorts of these tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_cohort import MadeCohort, make_cohort
from made_opened import run

from pathoprog.survival.curves import parametric
from pathoprog.validation.openings.register import state_folder


@pytest.fixture(scope="package", autouse=True)
def _each_distribution_is_fitted_once() -> Iterator[None]:
    """Most of these tests look at the same table, in many shapes: what lifelines fitted to its values is kept."""
    fit, kept = parametric.parametric_fitter, dict[Any, Any]()

    def once(distribution: str, *values: Any) -> Any:
        key = (
            distribution,
            *(None if one is None else (str(np.asarray(one).dtype), np.asarray(one).tobytes()) for one in values),
        )
        if key not in kept:
            kept[key] = fit(distribution, *values)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parametric, "parametric_fitter", once)
        yield


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
