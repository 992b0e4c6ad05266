"""The notebooks run from start to end, on the demo's files or on made-up ones; their outputs are stripped."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from house import ROOT, tracked
from made_cohort import make_cohort

from pathoprog.cohorts.config import ValidateConfig
from pathoprog.cohorts.validate import run
from pathoprog.system.tracking_config import TrackingSettings

NOTEBOOKS = [path for path in tracked() if path.suffix == ".ipynb"]
OF_THE_DEMO = ("00_demo_curves.ipynb", "02_validate_an_ensemble.ipynb")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`runs/demo` where it is complete, else files of the same names without a slide behind them."""
    real = ROOT / "runs" / "demo"
    if (real / "validation" / "statistics.json").is_file():
        return real
    folder = tmp_path_factory.mktemp("demo")
    made = make_cohort(folder / "cohort", development=120, test=30, external=(120,)).folder
    for old, new in (("scored", "scores"), ("bundle", "ensemble"), ("plan.yaml", "plan.yaml")):
        shutil.move(made / old, folder / new)
    run(
        ValidateConfig(
            scores=str(folder / "scores" / "patients.csv"),
            results=str(folder / "scores" / "results.csv"),
            cohort=str(folder / "cohort" / "cohort.csv"),
            outcomes=str(folder / "cohort" / "outcomes.csv"),
            overlap=str(folder / "cohort" / "overlap.json"),
            ensemble=str(folder / "ensemble"),
            plan=str(folder / "plan.yaml"),
            out=str(folder / "validation"),
            permutations=100,
            track=TrackingSettings("none"),
        )
    )
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=str)
def test_outputs_are_stripped(path: Path):
    for cell in json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs") and not cell.get("execution_count"), cell["source"]


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_THE_DEMO)
def test_a_notebook_of_the_demo_runs_without_torch(name: str, demo: Path, tmp_path: Path):
    # a process of its own: the kernel's client meets warnings of its own making, and leaves threads behind
    program = (
        "import nbformat, sys\n"
        "from nbclient import NotebookClient\n"
        "notebook = nbformat.read(sys.argv[1], as_version=4)\n"
        "check = nbformat.v4.new_code_cell(\"import sys; assert 'torch' not in sys.modules\")\n"
        "notebook.cells.append(check)\n"
        "NotebookClient(notebook, timeout=300, resources={'metadata': {'path': sys.argv[2]}}).execute()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "notebooks" / name), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATHOPROG_DEMO": str(demo), "MPLBACKEND": "agg"},
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.slow
def test_the_notebook_of_the_python_api_runs_on_slides(tmp_path: Path):
    pytest.importorskip("torch")
    from made_study import make_study

    real = ROOT / "runs" / "demo"
    study = real if (real / "scores" / "patients.csv").is_file() else make_study(tmp_path / "study")
    program = (
        "import nbformat, sys\n"
        "from nbclient import NotebookClient\n"
        "notebook = nbformat.read(sys.argv[1], as_version=4)\n"
        "NotebookClient(notebook, timeout=300, resources={'metadata': {'path': sys.argv[2]}}).execute()\n"
        "shown = [output for cell in notebook.cells for output in cell.get('outputs', [])]\n"
        "assert sum('image/png' in output.get('data', {}) for output in shown) == 3, shown\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "notebooks" / "05_python_api.ipynb"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATHOPROG_DEMO": str(study), "MPLBACKEND": "agg"},
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.slow
def test_the_notebooks_train_lock_score_and_map_on_made_slides(tmp_path: Path):
    pytest.importorskip("torch")
    program = (
        "import nbformat, sys\n"
        "from nbclient import NotebookClient\n"
        "for path, pictures in zip(sys.argv[2::2], map(int, sys.argv[3::2]), strict=True):\n"
        "    notebook = nbformat.read(path, as_version=4)\n"
        "    NotebookClient(notebook, timeout=500, resources={'metadata': {'path': sys.argv[1]}}).execute()\n"
        "    shown = [output for cell in notebook.cells for output in cell.get('outputs', [])]\n"
        "    found = sum('image/png' in output.get('data', {}) for output in shown)\n"
        "    assert found == pictures, (path, found)\n"
        "    said = ''.join(output.get('text', '') for output in shown)\n"
        "print(said)\n"
    )
    names = {"06_train_and_lock.ipynb": "0", "07_score_one_slide.ipynb": "2"}
    arguments = [text for name, pictures in names.items() for text in (str(ROOT / "notebooks" / name), pictures)]
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATHOPROG_STUDY": str(tmp_path / "study"), "PATHOPROG_STEPS": "2", "MPLBACKEND": "agg"},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "failed" in result.stdout and "unreadable |" in result.stdout
    assert (tmp_path / "study" / "bundle" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("05_python_api.ipynb", {"pathoprog.api"}),
        ("06_train_and_lock.ipynb", {"pathoprog.api", "pathoprog.training.api"}),
        ("07_score_one_slide.ipynb", {"pathoprog.api", "pathoprog.errors"}),
    ],
)
def test_notebooks_of_the_python_api_import_its_public_names_alone(name: str, allowed: set[str]):
    from house import imports

    ours = {full.rpartition(".")[0] for _, full in imports(Path("notebooks") / name) if "pathoprog" in full}
    assert ours == allowed
