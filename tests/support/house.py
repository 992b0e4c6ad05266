"""What lies in the house: its tracked files and their imports, for the tests that keep order."""

import ast
import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOORS = ("training", "inference", "cohorts")


@cache
def tracked() -> tuple[Path, ...]:
    """Tracked files that are no links, relative to the repository's root; all files where there is no git."""
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        folders = ("pathoprog", *DOORS, "configs", "tests", "notebooks", "benchmarks", "docs")
        paths = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*")]
    else:
        paths = [Path(name) for name in listing.split("\0") if name]
    return tuple(path for path in paths if (ROOT / path).is_file() and not (ROOT / path).is_symlink())


def sources(*folders: str) -> list[Path]:
    """Tracked Python files under the given top folders (all if none is given)."""
    return [path for path in tracked() if path.suffix == ".py" and (not folders or path.parts[0] in folders)]


def module_name(path: Path) -> str:
    """The one name that a source file is imported by: doors belong to the package."""
    parts = path.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(("pathoprog", *parts) if parts[0] in (*DOORS, "configs") else parts)


def modules() -> list[str]:
    """Every module of the library and its doors."""
    return [module_name(path) for path in sources("pathoprog", *DOORS, "configs")]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a source file or notebook imports, at whatever depth."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            package = module_name(path).split(".")
            base = package[: len(package) - node.level + (path.name == "__init__.py")] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:
                yield node.lineno, f"{module}.{name.name}"
