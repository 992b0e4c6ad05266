"""The statistics notebooks run from start to end, without torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from house import ROOT
from shared_data import shared_data

PROGRAM = (
    "import nbformat, sys\n"
    "from nbclient import NotebookClient\n"
    "notebook = nbformat.read(sys.argv[1], as_version=4)\n"
    "check = nbformat.v4.new_code_cell(\"import sys; assert 'torch' not in sys.modules\")\n"
    "notebook.cells.append(check)\n"
    "NotebookClient(notebook, timeout=300, resources={'metadata': {'path': sys.argv[2]}}).execute()\n"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("01_reproduce_published_curves.ipynb", ""),
        ("03_clinical_model.ipynb", "survival/moertel_colon.csv"),
        ("04_compare_with_R.ipynb", ""),
        ("08_sites_added_value_treatment.ipynb", ""),
    ],
)
def test_a_notebook_runs_without_torch(name: str, needs: str, tmp_path: Path) -> None:
    # a process of its own: the kernel's client meets warnings of its own making, and leaves threads behind
    data = shared_data(needs).parents[1] if needs else tmp_path
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "notebooks" / name), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATHOPROG_DATA": str(data), "MPLBACKEND": "agg"},
    )
    assert result.returncode == 0, result.stderr[-3000:]
