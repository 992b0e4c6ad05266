"""Findings of a small made-up validation, and its finished report."""

from pathlib import Path

import pytest
from made_opened import without_rendering
from made_report import make_reported

from pathoprog.report.document import Document
from pathoprog.report.validation.findings import Findings
from pathoprog.report.validation.report import document_of
from pathoprog.validation.study_facts import STUDY_FACTS


@pytest.fixture(scope="session")
def stated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study file that states every fact, each with words of its own."""
    path = tmp_path_factory.mktemp("stated") / "study.yaml"
    path.write_text("".join(f"{key}: stated fact {key}.\n" for key in STUDY_FACTS))
    return path


@pytest.fixture(scope="session")
def findings(tmp_path_factory: pytest.TempPathFactory, stated: Path) -> Findings:
    """Of two external cohorts, every fact stated."""
    return make_reported(tmp_path_factory.mktemp("small") / "made", study=str(stated))[1]


@pytest.fixture(scope="session")
def full_findings(tmp_path_factory: pytest.TempPathFactory, stated: Path) -> Findings:
    """With development, test and everything that a plan can ask for; slow."""
    return make_reported(tmp_path_factory.mktemp("full") / "made", full=True, study=str(stated))[1]


def drawn(findings: Findings, folder: Path) -> Document:
    """The report of findings; figures are not rendered."""
    with pytest.MonkeyPatch.context() as patch:
        without_rendering(patch)
        return document_of(findings, folder)


@pytest.fixture(scope="session")
def document(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Its report."""
    return drawn(findings, tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def full_document(full_findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Its report; slow."""
    return drawn(full_findings, tmp_path_factory.mktemp("drawn"))
