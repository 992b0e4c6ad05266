"""The environment of all tests: no display, no telemetry, one thread a process where tests run side by side."""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ["MPLBACKEND"] = "Agg"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
STATE = tempfile.mkdtemp(prefix="pathoprog-state-")  # never the register of openings of who runs the tests
os.environ["XDG_STATE_HOME"] = STATE
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
os.environ.setdefault("MPLCONFIGDIR", str(CACHE / "matplotlib"))  # the list of fonts takes seconds to make
if "PYTEST_XDIST_WORKER" in os.environ:  # the cache is the controller's: converted networks serve all workers
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch or numpy
else:
    os.environ["XDG_CACHE_HOME"] = f"{STATE}/cache"
atexit.register(shutil.rmtree, STATE, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Thousands of small files are synced, and no test can cut the power: what a test says of syncing it patches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def _register_of_a_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each test module, and each test in it, begins without a register of openings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _register_of_a_test(
    _register_of_a_module: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def tumour(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A cohort of made slides and a tumour network trained on it: `cohort` (cohort.csv) and `trained` (folder).

    Made once for all processes that run tests side by side, whichever of them is the first to ask.
    """
    from made_tumour import made_cohort, train

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tumour"
    folder.mkdir(exist_ok=True)
    made = SimpleNamespace(cohort=folder / "cohort" / "cohort.csv", trained=folder / "trained")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            assert made_cohort(folder / "cohort") == made.cohort
            assert train(made.cohort, made.trained) == 0
            (folder / "done").touch()
    return made
