"""Fresh environments from the built wheel: what `pathoprog`, `[score]` and `[all]` can do is what docs/install.md says.

Takes an installer and a place to fetch the pinned versions from, and some minutes for torch.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import ROOT
from made_bundle import made_bundle
from made_install import core_calls
from made_slides import texture, write_pyramid
from made_wheel import build_wheel, call

from pathoprog import cli
from pathoprog.system.machine.extras import EXTRAS
from pathoprog.system.tracking_config import NOT_LOGGED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
UV = Path(sys.executable).with_name("uv")
KINDS = ("", "score", "all")
MOST_CORE_MB = 600
CORE_HAS = {"pillow"}  # matplotlib brings it


@dataclass(frozen=True)
class Installed:
    """A fresh environment: which extra it was made with, and its interpreter."""

    extra: str
    python: Path

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """One command of pathoprog."""
        line = [str(self.python.with_name("pathoprog")), *arguments]
        return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)

    def distributions(self) -> set[str]:
        """Names of all that is installed."""
        listed = call(UV, "pip", "list", "--python", self.python, "--format", "json", cwd=self.python.parent)
        return {re.sub(r"[-_.]+", "-", entry["name"]).lower() for entry in json.loads(listed)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module", params=KINDS, ids=lambda extra: extra or "core")
def installed(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """An environment with the wheel and one extra, at the pinned versions."""
    folder = tmp_path_factory.mktemp(f"env_{request.param or 'core'}")
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.\-]+==[^\\\n]+)", text, flags=re.MULTILINE)
    (folder / "pins.txt").write_text("\n".join(pin.strip() for pin in pins) + "\n")
    call(UV, "venv", "--quiet", "--python", sys.executable, folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    wanted = f"pathoprog[{request.param}] @ {wheel.as_uri()}" if request.param else f"pathoprog @ {wheel.as_uri()}"
    call(UV, "pip", "install", "--quiet", "--python", python, "--constraint", folder / "pins.txt", wanted, cwd=folder)
    yield Installed(request.param, python)
    shutil.rmtree(folder)  # torch with CUDA's libraries is some 6 GB: one environment at a time


def said_of(extra: str) -> dict[str, str]:
    """What the document's table says of each command under an extra."""
    column = ("", "slides", "score", "all").index(extra) + 1
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if "|" in line]
    return {row[0].strip("`"): row[column] for row in rows if row[0].strip("`") in cli.COMMANDS}


def test_each_command_runs_or_says_what_to_install(installed: Installed, tmp_path: Path) -> None:
    said = said_of(installed.extra)
    assert set(said) == set(cli.COMMANDS)
    program = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    can = [command for command, answer in said.items() if answer.startswith("yes")]
    call(installed.python, "-c", program, *(cli.COMMANDS[command].module for command in can), cwd=tmp_path)
    for command, answer in said.items():
        assert installed.run(command, "--help", cwd=tmp_path).returncode == 0
        if command not in can and command != "promote":
            result = installed.run(command, cwd=tmp_path)
            assert result.returncode == 2 and "Traceback" not in result.stderr
            assert f"pip install 'pathoprog{answer}'" in result.stderr, (command, result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_statistician_s_commands_run_in_each(installed: Installed, tmp_path: Path) -> None:
    for command, line in core_calls(tmp_path).items():
        result = installed.run(*line, cwd=tmp_path)
        assert result.returncode == 0, f"{command}: {result.stderr[-2000:]}"
        if command == "validate":
            assert (NOT_LOGGED in result.stdout) == (installed.extra != "all")
            assert (tmp_path / "runs" / "mlflow.db").is_file() == (installed.extra == "all")
    result = installed.run("promote", str(tmp_path / "made" / "bundle"), cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    asked = "is not registered" if installed.extra == "all" else "pip install 'pathoprog[train]'"
    assert asked in result.stderr


def test_the_core_is_small_and_has_nothing_of_the_extras(installed: Installed) -> None:
    if installed.extra:
        pytest.skip("of the core alone")
    extras = {name for extra in EXTRAS.values() for name in extra.modules} - CORE_HAS
    assert not installed.distributions() & extras
    files = [path for path in installed.python.parents[1].rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files if path.suffix != ".pyc")
    print(f"core: {size / 1e6:.0f} MB in {len(files)} files")
    assert size < MOST_CORE_MB * 1e6


def test_a_lab_inspects_and_scores(installed: Installed, tmp_path: Path) -> None:
    if not installed.extra:
        pytest.skip("not of the core")
    (tmp_path / "slides").mkdir()
    slide = write_pyramid(tmp_path / "slides" / "A.tif", texture(700, 600, seed=1, margin=60))
    result = installed.run("inspect", str(slide), cwd=tmp_path)
    assert result.returncode == 0 and "0.25" in result.stdout, result.stderr
    bundle = made_bundle(tmp_path / "bundle", 64)
    small = ["stream.workers=1", "stream.batch_tiles=16", "device=cpu", "settle_s=0"]
    line = [f"slides={tmp_path / 'slides'}", f"ensemble={bundle}", f"out={tmp_path / 'out'}", *small]
    result = installed.run("score", *line, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "out" / "slides" / "A" / "heatmap.png").is_file()
