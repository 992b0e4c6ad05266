"""What the documents say is so: commands and keys exist, links lead somewhere, versions agree."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from house import ROOT, tracked

from pathoprog import __version__, cli

DOCUMENTS = [path for path in tracked() if path.suffix == ".md"]


def calls(path: Path) -> list[list[str]]:
    """Every `pathoprog COMMAND …` in a document's code, split as a shell does, up to the first ellipsis or pipe."""
    text = (ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ")
    found = []
    for block in re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", text, flags=re.DOTALL):
        for line in "".join(block).splitlines():
            if match := re.match(r"\s*(?:\$ )?pathoprog ([a-z_]\w+\b.*)", line):
                words = shlex.split(match[1], comments=True)
                end = next((i for i, word in enumerate(words) if word in ("…", "...", "|", "&&", ";")), len(words))
                found.append(words[:end])
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_every_call_in_a_document_is_understood(path: Path) -> None:
    for command, *arguments in calls(path):
        assert command in cli.COMMANDS, f"{path}: pathoprog {command}"
        given = [argument for argument in arguments if argument not in ("--help", "-h")]
        given = [argument for argument in given if not argument.endswith("=…")]
        if "--config-dir" in given:  # a reader's own folder and files are not here
            given = [word for word in given if word not in ("--config-dir", given[given.index("--config-dir") + 1])]
            given = [word for word in given if not word.startswith("experiment=")]
        given = [argument for argument in given if not re.match(r"experiment=.*\.yaml$", argument)]
        cli.compose(command, given, checked=False)


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target and target[0] != "#"]
    missing = [target for target in targets if not (ROOT / path.parent / target.partition("#")[0]).exists()]
    assert not missing, f"{path}: {missing}"


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    absent = [path.name for path in DOCUMENTS if path.parent == Path("docs") and f"({path.name})" not in index]
    assert not set(absent) - {"README.md"}


def test_the_readme_s_first_screen_says_what_it_must() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(text.splitlines()[:35])
    for part in ("research use only", "make demo", "make test", "training/", "inference/", "cohorts/", "overview.png"):
        assert part in first_screen, part
    assert "WO 2019/096708 A1" in text


def test_make_targets_named_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for path in DOCUMENTS:
        text = (ROOT / path).read_text(encoding="utf-8")
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE))
        assert named <= targets, f"{path}: make {named - targets}"


def test_versions_agree() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f'version = "{__version__}"' in pyproject
    assert citation["version"] == __version__
    assert "## [Unreleased]" in changes or f"## [{__version__}]" in changes


def test_the_files_columns_are_the_code_s() -> None:
    pytest.importorskip("torch")  # of the modules that write the tables
    from pathoprog.cohort_tables.cohort import OUTCOME_COLUMNS, REQUIRED_COLUMNS, SLIDE_COLUMNS
    from pathoprog.scoring.patients import PATIENT_COLUMNS
    from pathoprog.scoring.results import RESULT_COLUMNS

    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    tables = {
        "cohort.csv": {*REQUIRED_COLUMNS, *SLIDE_COLUMNS},
        "outcomes.csv": set(OUTCOME_COLUMNS),
        "results.csv": set(RESULT_COLUMNS),
        "patients.csv": set(PATIENT_COLUMNS),
    }
    for name, columns in tables.items():
        section = text.partition(f"**`{name}`**")[2].partition("\n**`")[0]
        absent = {column for column in columns if f"`{column}`" not in section}
        assert not absent, f"docs/files.md, {name}: {absent}"
