"""Installed by door: one table, pyproject's and the document's; the core alone runs the statisticians' commands."""

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from house import ROOT
from made_install import core_calls
from packaging.requirements import Requirement

from pathoprog import cli
from pathoprog.errors import ConfigError
from pathoprog.system.machine.extras import EXTRAS, NEEDED, check_command, lacking
from pathoprog.system.tracking_config import NOT_LOGGED, TrackingSettings, check_tracking
from pathoprog.training.tracking import Tracking

FROM_THE_CORE = {"PIL"}  # matplotlib brings it
BEYOND = sorted({module for extra in EXTRAS.values() for module in extra.modules.values()} - FROM_THE_CORE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Let the given modules seem not to be installed."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else real(name))


def test_the_table_is_pyproject_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = project["optional-dependencies"]
    assert set(listed) == {*EXTRAS, "dev"}
    for name, extra in EXTRAS.items():
        found = [Requirement(text) for text in listed[name]]
        includes = [part for item in found if item.name == "pathoprog" for part in item.extras]
        assert sorted(includes) == sorted(extra.includes), name
        assert {canonical(item.name) for item in found if item.name != "pathoprog"} == set(extra.modules), name
        assert set(extra.spared) <= set(extra.modules), name
    core = {canonical(Requirement(text).name) for text in project["dependencies"]}
    assert not core & {name for extra in EXTRAS.values() for name in extra.modules}, "in the core and in an extra"


def test_each_module_is_of_the_distribution_it_stands_beside() -> None:
    provided = importlib.metadata.packages_distributions()
    for extra in EXTRAS.values():
        for name, module in extra.modules.items():
            if module in provided:
                assert name in {canonical(found) for found in provided[module]}
            else:  # an editor, which `make` does not install
                assert module == "jupyterlab"


def test_the_document_s_table_is_what_the_extras_give() -> None:
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = [re.findall(r"[^|]+", line) for line in text.splitlines() if re.match(r"\| *(command|`\w+`)", line)]
    head, *body = [[cell.strip() for cell in row] for row in rows]
    columns = [re.sub(r"`(pathoprog)?(\[(\w+)\])?`", r"\3", cell) for cell in head[1:]]
    assert columns == ["", "slides", "score", "all"]

    def holds(extra: str) -> set[str]:
        return {extra, *(part for included in EXTRAS[extra].includes for part in holds(included))} if extra else set()

    def given(command: str, column: str) -> str:
        needed = NEEDED.get(command, "")
        if not needed or needed in holds(column):
            return "yes"
        spared = {name for part in {needed} for name in EXTRAS[part].spared}
        if set(EXTRAS[needed].modules) <= spared and set(EXTRAS[needed].includes) <= holds(column):
            return f"[{needed}]" if command == "promote" else "yes, unlogged"
        return f"[{needed}]"

    expected = {command: [given(command, column) for column in columns] for command in cli.COMMANDS}
    assert {row[0].strip("`"): row[1:] for row in body} == expected


@pytest.mark.parametrize("command", sorted(NEEDED))
def test_a_command_without_its_extra_says_which_to_install(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command in cli.COMMANDS
    without(monkeypatch, *BEYOND)
    assert cli.main([command, "no_such_key=1"]) == 2
    said = capsys.readouterr().err
    assert f"pip install 'pathoprog[{NEEDED[command]}]'" in said and said.count("\n") == 1
    assert cli.main([command, "--help"]) == 0


def test_what_is_spared_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "mlflow", "openvino", "openslide_bin")
    check_command("train")
    assert lacking("all") == []
    without(monkeypatch, "timm", "tiffslide")
    assert lacking("train") == ["tiffslide", "timm"]
    with pytest.raises(ConfigError, match=r"^not installed: tiffslide, timm; score takes pip install"):
        check_command("score")


def test_without_mlflow_runs_are_not_logged_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "mlflow")
    assert not check_tracking(TrackingSettings())
    tracking = Tracking(TrackingSettings())
    assert tracking.client is None and tracking.start("run", TrackingSettings()) == ""
    assert NOT_LOGGED in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"not installed: pip install 'pathoprog\[train\]', or give"):
        Tracking(TrackingSettings("mlflow"))
    Tracking(TrackingSettings("none"))
    assert not capsys.readouterr().out


def test_promote_takes_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from made_cohort import make_bundle

    make_bundle(tmp_path / "bundle")
    without(monkeypatch, "mlflow")
    assert cli.main(["promote", str(tmp_path / "bundle")]) == 2
    assert "pip install 'pathoprog[train]'" in capsys.readouterr().err


@pytest.mark.slow  # test_installs has the same in environments that hold nothing else
def test_the_core_s_commands_run_where_nothing_else_can_be_imported(tmp_path: Path) -> None:
    calls = core_calls(tmp_path)
    assert set(calls) == set(cli.COMMANDS) - set(NEEDED)
    program = (
        "import json, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {BEYOND!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name: None if name in {BEYOND!r} else real(name)\n"
        "from pathoprog import cli\n"
        "codes = {name: cli.main(call) for name, call in json.loads(sys.argv[1]).items()}\n"
        "print(json.dumps(codes))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, json.dumps(calls)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == dict.fromkeys(calls, 0), result.stdout + result.stderr
    assert NOT_LOGGED in result.stdout and not (tmp_path / "runs").exists()
    assert json.loads((tmp_path / "out" / "survival" / "statistics.json").read_text())["horizon_values"]
