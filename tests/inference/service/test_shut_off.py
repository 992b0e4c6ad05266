"""The service with the network off and its install folder read-only: a slide submitted over the loopback is scored."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from house import ROOT
from made_slides import texture, write_pyramid

SUPPORT = ROOT / "tests" / "support"
OWN = ["unshare", "--map-root-user", "--net", "--mount"]


def why_not(command: list[str]) -> str:
    """Why a program cannot be run in namespaces of its own here; empty if it can."""
    try:
        tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError as error:
        return str(error)
    return tried.stderr.strip() or f"exit code {tried.returncode}" if tried.returncode else ""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as a wheel lays it down: real files, nothing compiled."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "pathoprog", folder / "pathoprog", ignore=shutil.ignore_patterns("__pycache__"))
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_slide_is_scored_with_the_network_off_and_the_install_folder_read_only(bundle, installed, tmp_path):
    trial = [*OWN, "mount", "--bind", str(tmp_path), str(tmp_path)]
    if reason := why_not(trial):
        pytest.skip(f"no namespaces of one's own on this machine: {reason}")
    folder = tmp_path / "service"
    (folder / "slides").mkdir(parents=True)
    write_pyramid(folder / "slides" / "A.tif", texture(500, 400, margin=40))
    before = files_of(installed)
    line = [*OWN, sys.executable, str(SUPPORT / "shut_off.py"), str(installed), str(folder), str(bundle)]
    paths = os.pathsep.join([str(installed), str(SUPPORT)])
    environment = {**os.environ, "PYTHONPATH": paths}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    ran = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300)
    log = folder / "log.txt"
    assert ran.returncode == 0, ran.stderr + (log.read_text() if log.exists() else "")
    found = json.loads(ran.stdout.splitlines()[-1])
    assert Path(found["imported"]).is_relative_to(installed), "else another installation was tried"
    assert found["write"] == "Read-only file system" and found["network"] == "Network is unreachable"
    assert (found["states"], found["report"], found["exit"]) == (["done"], 200, 0)
    assert files_of(installed) == before
