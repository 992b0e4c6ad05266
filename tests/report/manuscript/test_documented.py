"""What a report and `survival` write, and what the documentation says they write, are the same."""

import re
from pathlib import Path
from typing import Any

import made_survival as small
import pytest
from house import ROOT
from survival_call import QUICK, analysed

from pathoprog.report.document import Document
from pathoprog.report.validation.findings import Findings
from pathoprog.validation.plan import ON_REQUEST

DOCS = ROOT / "docs"
OF_THE_FILE = {"software_version", "research_use_only", "lock", "opening", "ensemble_id"}
"""Written beside the figures by `validate`."""
NOT_ASKED = {"added_value", "endpoints", "imputation", "refused", "sample_size", "subgroups"}
"""Of `survival`."""


def documented(head: str) -> set[str]:
    """The keys in the first column of a table of docs/statistics.md, without what follows a dot."""
    table = (DOCS / "statistics.md").read_text().split(f"| {head} | content |\n|---|---|\n")[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()]
    return {
        key.split(".")[0].split(" ")[0] for cell in cells for key in re.findall(r"`([^`]+)`", cell) if key[0] != "."
    }


def test_the_keys_of_a_report_are_the_documented_ones(findings: Findings) -> None:
    keys = documented("key of a report's `statistics.json`")
    assert set(findings.statistics) | OF_THE_FILE == keys - set(ON_REQUEST)  # this plan asks for none
    keys = documented("key of `populations.POPULATION`")
    assert all(set(one) == keys for one in findings.statistics["populations"].values())


def test_the_keys_of_survival_are_documented(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    small.FRAME.assign(drug=["yes", "no"] * 12, site=list("ppqqrr") * 4).to_csv(path, index=False)
    given = ["time=time", "event=event", "group=group", "levels=a,b,c", "score=x", "covariates=x", "horizons=8"]
    given += ["treatment=drug", "randomised=yes", "sites=site", "cuts=6", "pattern=group:a,x:0.5", *QUICK]
    keys = documented("key of `statistics.json`")
    found: dict[str, Any] = analysed(tmp_path / "out", str(path), *given)
    assert set(found) <= keys
    assert keys - set(found) == NOT_ASKED


@pytest.fixture(scope="module")
def files() -> str:
    return (DOCS / "files.md").read_text()


def test_the_tables_of_a_report_are_documented(document: Document, files: str) -> None:
    told = set(re.findall(r"`([a-z_A-Z]+)\.csv`", files))
    patterns = [re.sub("COHORT|COLUMN", lambda _: r"\w+", name) for name in told]
    unknown = [one.name for one in document.tables() if not any(re.fullmatch(p, one.name) for p in patterns)]
    assert unknown == []
