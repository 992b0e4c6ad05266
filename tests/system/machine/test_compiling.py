"""Compiling falls back to the network as it is, and says why."""

import sysconfig
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from torch import nn

from pathoprog.system.machine import compiling


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fresh caches, and the headers that a plain Python install has."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setenv("CC", "sh")  # any program that is there: nothing is compiled here
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "Python.h").touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "include"))
    return tmp_path


def test_nothing_is_missing_and_the_caches_are_private(caches: Path) -> None:
    assert compiling.why_not() == ""
    assert isinstance(compiling.compiled(nn.Linear(2, 2)), torch._dynamo.OptimizedModule)
    assert (caches / "inductor").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("missing", ["compiler", "headers"])
def test_without_its_tools_the_network_runs_as_it_is_and_says_why(
    missing: str, caches: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"compiler": "no C compiler", "headers": "no Python.h"}[missing]
    if missing == "compiler":
        monkeypatch.delenv("CC")
        monkeypatch.setenv("PATH", str(caches))
    else:
        (caches / "include" / "Python.h").unlink()
    network = nn.Linear(2, 2)
    assert compiling.compiled(network) is network
    assert said in capsys.readouterr().err


def test_not_wanted_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "why_not", lambda: pytest.fail("checked"))
    network = nn.Linear(2, 2)
    assert compiling.compiled(network, wanted=False) is network
