"""The site of docs/: every page in its navigation, nothing from the network when it is read, pictures as drawn."""

import re
import subprocess
import sys

import pytest
import yaml
from house import ROOT, tracked

CONFIG = ROOT / "mkdocs.yml"
ADDRESS = re.compile(r"""https?:|(?<![:\w])//\w""")


def settings() -> dict:
    return yaml.safe_load(CONFIG.read_text(encoding="utf-8"))


def pages(entries: list) -> list[str]:
    """The pages of a navigation, in order."""
    found = []
    for entry in entries:
        for target in entry.values() if isinstance(entry, dict) else [entry]:
            found += pages(target) if isinstance(target, list) else [target]
    return found


def test_every_page_is_in_the_navigation_once():
    there = {
        path.relative_to("docs").as_posix() for path in tracked() if path.parts[0] == "docs" and path.suffix == ".md"
    }
    named = pages(settings()["nav"])
    assert len(named) == len(set(named))
    assert {page for page in named if not page.startswith("project/")} == there
    hooks = (ROOT / "docs" / "site_hooks.py").read_text(encoding="utf-8")
    for page in named:
        assert not page.startswith("project/") or f'"{page}"' in hooks


def test_the_settings_name_no_address_to_load():
    lines = [line for line in CONFIG.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    assert not [line for line in lines if ADDRESS.search(line)]
    assert settings()["theme"]["font"] is False


def test_pages_load_nothing_and_need_no_script_of_others():
    for path in [path for path in tracked() if path.parts[0] == "docs" and path.suffix in (".md", ".svg", ".js")]:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert "```mermaid" not in text, path
        loaded = [*re.findall(r"!\[[^\]]*\]\(([^)\s]+)", text), *re.findall(r"""(?:src|href)=["']([^"']+)""", text)]
        assert not [target for target in loaded if ADDRESS.match(target)], path


def test_the_diagrams_are_as_their_program_draws_them():
    program = "import runpy, sys; drawn = runpy.run_path(sys.argv[1]); print(drawn['house']() + drawn['processes']())"
    folder = ROOT / "docs" / "images"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "make_diagrams.py")], capture_output=True, text=True, check=True
    )
    kept = "".join((folder / f"{name}.svg").read_text(encoding="utf-8") for name in ("house", "processes"))
    assert done.stdout == f"{kept}\n", "run python docs/images/make_diagrams.py"


def test_ten_questions_name_files_and_functions_that_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \((\w)\) .*? \| `([^`]+)` in `([^`]+)` \|", text, flags=re.MULTILINE)
    assert [letter for letter, _, _ in rows] == list("abcdefghij")
    for letter, name, path in rows:
        source = (ROOT / path).read_text(encoding="utf-8")
        defined = re.search(rf"^\s*(?:def {name}\(|class {name}\b|{name}(?:: [^=]+)? = )", source, flags=re.MULTILINE)
        assert defined, f"({letter}) {path}: no {name}"


def test_the_picture_has_the_library_s_rooms():
    drawing = (ROOT / "docs" / "images" / "house.svg").read_text(encoding="utf-8")
    rooms = {
        path.parts[1]
        for path in tracked()
        if path.parts[0] == "pathoprog" and len(path.parts) > 2 and path.suffix == ".py"
    }
    missing = {room for room in rooms if f">{room}<" not in drawing}
    assert not missing, f"draw them: docs/images/make_diagrams.py: {missing}"


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert len(built) >= len(pages(settings()["nav"]))
    for page in built:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"""<(?:script|img|iframe|source)\b[^>]*?\bsrc="?([^" >]+)""", text)
        loaded += re.findall(
            r"""<link\b[^>]*?\brel="?(?:stylesheet|preconnect|preload|icon)[^>]*?\bhref="?([^" >]+)""", text
        )
        assert loaded and not [target for target in loaded if ADDRESS.match(target)], page
        assert "or research use only" in text, page
    reference = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    for name in ("score_slide", "draw_curves", "kaplan_meier", "read_region"):
        assert f".{name}" in reference, name
