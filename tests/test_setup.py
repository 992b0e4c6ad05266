"""Setting up: hashed requirements that agree, free licences, make's messages, the image's rules."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from house import ROOT
from packaging.requirements import Requirement

COMPILED = ("requirements.txt", "requirements-image.txt", "requirements-uv.txt")


def pins(name: str) -> dict[str, str]:
    """Package names and versions of a compiled requirements file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.\-]+)==([^\s;\\]+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("name", COMPILED)
def test_every_requirement_is_pinned_with_hashes(name: str) -> None:
    blocks = re.split(r"\n(?=[\w])", (ROOT / name).read_text(encoding="utf-8"))
    for block in blocks:
        assert re.match(r"[\w.\-]+==", block), block[:80]
        assert "--hash=sha256:" in block, block[:80]


def test_the_pins_fit_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    everything, image = pins("requirements.txt"), pins("requirements-image.txt")
    extras = project["optional-dependencies"]
    used = [text for name in ("slides", "score", "train", "ray", "search", "signing") for text in extras[name]]
    used = [text for text in (*project["dependencies"], *used) if not text.startswith("pathoprog[")]
    for text in [*used, *extras["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(everything[requirement.name.lower()]), f"{text}: run make requirements"
    assert {Requirement(text).name.lower() for text in used} <= set(image), "the image holds all that a command can use"
    assert {name: everything.get(name) for name in image} == image, "run make requirements"


def test_no_dependency_is_under_the_gpl() -> None:
    copyleft = []
    for name in pins("requirements-image.txt"):
        try:
            data = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        said = data.get("License-Expression") or (data.get("License") or "").partition("\n")[0]
        said += " ".join(line for line in data.get_all("Classifier") or [] if line.startswith("License ::"))
        text = re.sub(r"\([^()]* OR [^()]*\)", "", said)  # where one may choose, one chooses the other
        if re.search(r"(?<!L)(?<!Lesser )\bA?GPL|GNU (Affero )?General Public", text):
            copyleft.append(f"{name}: {text}")
    assert not copyleft, copyleft


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 1", "no Python 3.11 or newer"),
        ('case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac', "has no venv module: install it"),
    ],
)
def test_make_says_what_is_missing(script: str, message: str, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", *COMPILED):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("python3", "python3.13", "python3.12", "python3.11", "python3.14", "python"):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin"}
    environment.pop("MAKEFLAGS", None)
    result = subprocess.run(
        ["make", "demo"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0 and message in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_image_s_rules_are_kept() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git checkout: the build context cannot be listed")
    command = [sys.executable, ROOT / ".ci" / "check_dockerfile", "--rules"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(("fails", "code"), [("nothing", 0), ("demo", 1), ("test", 1), ("setup", 1)])
def test_continuous_integration_fails_when_a_step_does(fails: str, code: int, tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    programs = tmp_path / "programs"
    programs.mkdir()
    stubs = {"make": f'echo "$1" >> calls\n[ "$1" != {fails} ]', "apt-get": "exit 100", "Rscript": "exit 1"}
    for name, script in stubs.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin", "CI": "true"}
    result = subprocess.run(
        ["bash", ".ci/run"], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == code, result.stderr
    assert "R's survival, cmprsk and haven here and no apt" in result.stdout
    calls = (tmp_path / "calls").read_text().split()
    assert calls == (["setup"] if fails == "setup" else ["setup", "demo", "test", "test-caps"])
