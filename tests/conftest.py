"""The environment of all tests: no display, no telemetry, one thread a process where tests run side by side."""

import os
from types import SimpleNamespace

import pytest

os.environ["MPLBACKEND"] = "Agg"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch or numpy


@pytest.fixture(scope="session")
def tumour(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A cohort of made slides and a tumour network trained on it: `cohort` (cohort.csv) and `trained` (folder)."""
    from made_tumour import made_cohort, train

    folder = tmp_path_factory.mktemp("tumour")
    cohort = made_cohort(folder / "cohort")
    assert train(cohort, folder / "trained") == 0
    return SimpleNamespace(cohort=cohort, trained=folder / "trained")
