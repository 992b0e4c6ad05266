"""The built wheel: one top-level package, the doors inside it as real files, working from any folder."""

import os
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from house import DOORS, ROOT, sources, tracked
from made_wheel import VIEWER, build_wheel, call


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built through the source distribution, from a copy of what is tracked."""
    return build_wheel(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment, in an awkward folder, with the wheel and this one's dependencies."""
    environment = tmp_path_factory.mktemp("clean") / "env (ø) = #1, with 'space'"
    call(sys.executable, "-m", "venv", "--without-pip", environment, cwd=wheel.parent)
    python = environment / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=wheel.parent)
    # A plain path line: the .pth files behind it, the editable install's among them, are not read.
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=environment).strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_holds_one_package_with_real_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()
    names = {entry.filename for entry in entries}
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"pathoprog"}
    assert all((entry.external_attr >> 16) & 0o170000 in (0, 0o100000) for entry in entries), "a link in the wheel"
    code = {path.as_posix() for path in sources("pathoprog")} | {f"pathoprog/{path}" for path in sources(*DOORS)}
    assert code <= names
    data = [path for path in tracked() if path.parts[0] == "configs" and path.suffix == ".yaml"]
    assert data and {f"pathoprog/{path.as_posix()}" for path in data} <= names
    templates = [path for path in tracked() if "templates" in path.parts and path.parts[0] == "pathoprog"]
    assert {path.as_posix() for path in templates} <= names
    static = [path for path in tracked() if "static" in path.parts and path.parts[0] == "inference"]
    assert static and {f"pathoprog/{path.as_posix()}" for path in static} <= names
    assert "pathoprog/py.typed" in names and any(name.endswith("licenses/LICENSE") for name in names)


def test_a_release_holds_the_slide_viewer_and_nothing_else_of_others(wheel: Path) -> None:
    """A user's own build may lack it; what is released (`make wheel`) may not."""
    with zipfile.ZipFile(wheel) as archive:
        prefix = f"pathoprog/{VIEWER.as_posix()}/"
        inside = {name.removeprefix(prefix) for name in archive.namelist() if name.startswith(prefix)}
        scripts = [name for name in archive.namelist() if name.endswith((".min.js", ".map"))]
    if not (ROOT / VIEWER).is_dir() and not os.environ.get("PATHOPROG_RELEASE"):
        assert not inside
        pytest.skip("the viewer was not fetched here (make viewer)")
    assert {"openseadragon.min.js", "LICENSE.txt"} <= inside, "a release without its viewer: run make viewer"
    pictures = {name for name in inside if name.startswith("images/") and name.endswith(".png")}
    assert pictures and inside - pictures <= {"openseadragon.min.js", "LICENSE.txt", ".sha512"}
    assert scripts == [f"{prefix}openseadragon.min.js"]


def test_the_wheel_gives_one_identity_and_works_from_another_folder(python: Path, tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util, pathoprog, pathoprog.training.config as config\n"
        "assert config.TrainConfig.__module__ == 'pathoprog.training.config'\n"
        "assert 'training' not in sys.modules and importlib.util.find_spec('training') is None\n"
        "print(pathoprog.__file__)\n"
    )
    found = Path(call(python, "-c", program, cwd=tmp_path).strip())
    assert python.parents[1] in found.parents
    command = python.with_name("pathoprog")
    assert "usage: pathoprog COMMAND" in call(python, command, "--help", cwd=tmp_path)
    assert "pathoprog score" in call(python, command, "score", "--help", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == [], "a command left something behind"


def test_the_editable_install_gives_the_same_identity(tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util, pathoprog.training.config as config\n"
        "print(config.TrainConfig.__module__, 'training' in sys.modules, importlib.util.find_spec('training'))\n"
    )
    assert call(sys.executable, "-c", program, cwd=tmp_path).split() == ["pathoprog.training.config", "False", "None"]
