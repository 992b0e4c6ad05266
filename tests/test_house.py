"""The house is in order: imports run one way, modules stay small, nothing names the machine it was written on."""

import ast
import re
import subprocess
import sys
from collections import Counter

import pytest
from house import DOORS, ROOT, imports, modules, sources, tracked

MOST_LINES = 400
# A longer module, and why it is one.
LONGER: dict[str, str] = {
    "inference/engine/ledger.py": "each transaction over the ledger's tables, in one place",
}

# These import no torch, however they are reached.
WITHOUT_TORCH = (
    "slides", "regions", "tiles", "stream", "quality", "cohort_tables", "survival", "validation", "report", "simulate",
    "text", "settings", "errors", "cli", "command_line", "cohorts", "commands.inspect", "ensemble.bundle",
    "ensemble.classes", "ensemble.thresholds", "ensemble.stage_groups", "scoring.eligibility", "system.files",
    "system.console", "system.caches", "system.csv_files",
)  # fmt: skip
# Settings modules import nothing that takes long.
HEAVY = (
    "torch", "torchvision", "numpy", "pandas", "scipy", "matplotlib", "mlflow", "lifelines", "shapely", "skimage",
    "openslide", "tifffile", "pyarrow",
)  # fmt: skip
# `make test-gpu` runs where these are not installed (docs/gpu.md).
ABSENT_ON_GPU_MACHINES = (
    "openslide", "tiffslide", "shapely", "hydra", "omegaconf", "mlflow", "lifelines", "pandera", "dcurves",
    "imagecodecs", "openpyxl", "simplejpeg",
)  # fmt: skip


# What a notebook may take of a door, and which notebook. Doors hand each other files, and a statistician's notebook
# must run where no torch is installed; a notebook that trains is a researcher's, has torch anyway, and uses the one
# module of the door that is public: its names may be relied on, all others of a door change without notice.
PUBLIC_OF_A_DOOR = {"notebooks/06_train_and_lock.ipynb": "pathoprog.training.api"}


def reaches(name: str, target: str) -> bool:
    """Whether importing `name` reaches package `target`."""
    return name == target or name.startswith(f"{target}.")


@pytest.mark.parametrize("folder", ["pathoprog", *DOORS, "notebooks", "benchmarks", "tests"])
def test_imports_run_one_way(folder: str) -> None:
    doors = [f"pathoprog.{door}" for door in (*DOORS, "configs")]
    breaches = []
    files = [path for path in tracked() if path.parts[0] == folder and path.suffix in (".py", ".ipynb")]
    for path in files:
        forbidden = [*DOORS, "configs"]  # bare names would give each class a second identity
        if folder in ("pathoprog", "notebooks"):
            forbidden += doors
        if folder in DOORS:
            forbidden += [door for door in doors if door != f"pathoprog.{folder}"]
        if folder in ("pathoprog", *DOORS) and path.parent.as_posix() != "pathoprog/command_line":
            forbidden += ["hydra", "omegaconf"]
        if folder in ("pathoprog", *DOORS) and not (folder in DOORS and "tracking" in path.stem):
            forbidden.append("mlflow")
        for line, name in imports(path):
            if str(path) in PUBLIC_OF_A_DOOR and reaches(name, PUBLIC_OF_A_DOOR[str(path)]):
                continue
            breaches += [f"{path}:{line} imports {name}" for target in forbidden if reaches(name, target)]
    assert not breaches, "\n".join(breaches)


def test_the_library_names_no_door_but_in_the_command_line() -> None:
    pattern = re.compile(rf"""["']pathoprog\.({"|".join(DOORS)})\b""")
    named = [path for path in sources("pathoprog") if pattern.search((ROOT / path).read_text(encoding="utf-8"))]
    assert [str(path) for path in named] == ["pathoprog/cli.py"]


def loaded_by(names: list[str], heavy: tuple[str, ...]) -> str:
    """Which of the modules `names` loads which of `heavy`, each tried in one fresh process, in turn."""
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found = [heavy for heavy in {heavy!r} if heavy in sys.modules]\n"
        "    if found: sys.exit(f'{name} loads {found}')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1) and "Traceback" not in result.stderr, result.stderr
    return result.stderr.strip()


def test_slides_cohorts_survival_and_reports_need_no_torch() -> None:
    names = []
    for part in WITHOUT_TORCH:
        here = [name for name in modules() if re.match(rf"pathoprog\.{re.escape(part)}(_\w+)?(\.|$)", name)]
        assert here, f"no module {part}: has it another name now?"
        names += here
    assert not loaded_by(names, ("torch",))


def test_settings_modules_load_nothing_heavy() -> None:
    names = [name for name in modules() if re.search(r"(^|[._])(config|settings)$", name)]
    assert len(names) >= 5
    assert not loaded_by(names, HEAVY)


MOST_MODULES = 15
ROOT_OF_THE_LIBRARY = {"__init__.py", "api.py", "cli.py", "errors.py", "settings.py"}


def test_rooms_are_no_corridors() -> None:
    lie = Counter(path.parent.as_posix() for path in sources("pathoprog", *DOORS) if path.name != "__init__.py")
    crowded = {folder: count for folder, count in lie.items() if count > MOST_MODULES}
    assert not crowded, f"a folder over {MOST_MODULES} modules wants rooms: {crowded}"
    root = {path.name for path in sources("pathoprog") if len(path.parts) == 2}
    assert root <= ROOT_OF_THE_LIBRARY, f"these belong in a room: {sorted(root - ROOT_OF_THE_LIBRARY)}"


def test_each_room_says_what_it_holds() -> None:
    for path in sources("pathoprog", *DOORS):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert text.startswith(('"""', 'r"""')), f"{path} does not begin with a docstring"


def test_no_two_classes_share_a_name() -> None:
    found: dict[str, list[str]] = {}
    for path in sources("pathoprog", *DOORS):
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(str(path))
    twice = {name: paths for name, paths in found.items() if len(paths) > 1}
    assert not twice, f"a reader cannot tell which is meant: {twice}"


def test_the_facts_are_spelled_once() -> None:
    """Roles and resolutions as tuples, lists or sets of all their names stand only where they are defined."""
    pattern = re.compile(
        r"""[(\[{]\s*(?:"10x", "40x"|"training", "tuning"(?:, "test", "external")?|"test", "external")\s*[)\]}]"""
    )
    homes = {"pathoprog/slides/resolutions.py", "pathoprog/cohort_tables/roles.py"}
    again = [
        f"{path}:{number}"
        for path in sources("pathoprog", *DOORS)
        if str(path) not in homes
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not again, f"import them from {homes}: {again}"


def test_modules_stay_small() -> None:
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in sources()}
    too_long = {path: lines for path, lines in lengths.items() if lines > MOST_LINES and path not in LONGER}
    assert not too_long, f"split them, or say in LONGER why not: {too_long}"
    assert all(lengths.get(path, 0) > MOST_LINES for path in LONGER), "LONGER lists a module that is short now"


def test_nothing_names_a_machine_or_a_registry() -> None:
    folders = ["work", "root", "home", "Users", "opt/pypi"]
    hosts = ["pypi", "pythonhosted", "pytorch", "npmjs", "debian", "nvcr", "docker", "ghcr", "quay"]
    pattern = re.compile(
        rf"(?<![\w.~}}])/(?:{'|'.join(folders)})/\w|https?://[\w.-]*\b(?:{'|'.join(hosts)})\.\w+|(?:nvcr|docker|ghcr)\.io"
    )
    found = []
    for path in tracked():
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := pattern.search(line):
                found.append(f"{path}:{number}: {match[0]}")
    assert not found, "\n".join(found)


def test_the_doors_are_links_inside_the_package() -> None:
    for door in (*DOORS, "configs"):
        link = ROOT / "pathoprog" / door
        assert link.is_symlink() and link.readlink().as_posix() == f"../{door}"
        assert (ROOT / door / "__init__.py").is_file()


def test_gpu_tests_import_nothing_that_a_gpu_machine_may_lack() -> None:
    files = [str(path) for path in sources("tests") if "mark.gpu" in (ROOT / path).read_text(encoding="utf-8")]
    files.remove("tests/test_house.py")
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {ABSENT_ON_GPU_MACHINES!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import pytest\n"
        # Hydra's own pytest plugin would import what is absent.
        f"options = ['--collect-only', '-q', '-p', 'no:cacheprovider', '-p', 'no:hydra_pytest', '-m', 'gpu']\n"
        f"sys.exit(pytest.main([*options, *{files!r}]))\n"
    )
    assert files, "no GPU tests"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]
