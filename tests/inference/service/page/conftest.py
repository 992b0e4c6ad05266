"""What tests of the page share: the application in this process, with two slides scored, one failed and one waiting."""

import json
from types import SimpleNamespace

import pytest
from made_bundle import made_bundle
from made_page import LONG, MadePage

from pathoprog.ensemble.bundle import ensemble_id


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Two locked bundles that differ in a threshold."""
    folder = tmp_path_factory.mktemp("locked")
    return (
        made_bundle(folder / "first", 64),
        made_bundle(folder / "second", 64, thresholds={"10x": 0.2, "40x": 0.5}),
    )


@pytest.fixture(scope="module")
def validation(bundles, tmp_path_factory):
    """A validation of the first bundle."""
    folder = tmp_path_factory.mktemp("validation")
    rows = [
        {"risk_class": name, "year": float(year), "survival": 1 - year * drop, "lower": 1 - 1.5 * year * drop,
         "upper": 1 - 0.5 * year * drop, "n_risk": 100 - 10 * year}
        for name, drop in (("good", 0.01), ("uncertain", 0.03), ("poor", 0.08))
        for year in range(6)
    ]  # fmt: skip
    population = {"cohort": "North", "role": "external", "stamp": "", "n": 300, "survival": rows}
    population["classes"] = {"good": 180, "uncertain": 40, "poor": 80}
    record = {"ensemble_id": ensemble_id(bundles[0]), "primary": {"population": "p"}, "populations": {"p": population}}
    (folder / "statistics.json").write_text(json.dumps(record))
    (folder / "report.html").write_text("<p>Research use only</p>")
    return folder


@pytest.fixture(scope="module")
def made(bundles, validation, tmp_path_factory):
    """Running: A uncertain, B not reportable, E failed, the long one waits; `A`, `B`, `E`, `W` are submissions."""
    page = MadePage(tmp_path_factory.mktemp("page"), bundles, validation)
    page.A = page.submit("A", patient="P1")
    page.score()
    page.B = page.submit("B")
    page.score("not_reportable", "", (0.3, None), "no 40x score", "mpp")
    page.E = page.submit("E")
    page.score("failed", "", (None, None), "truncated: half of it is not there")
    page.W = page.submit(LONG)
    page.start()
    yield page
    page.stop()


@pytest.fixture
def released(made):
    """The first bundle is released while a test runs."""
    assert made.ask("POST", "/v1/bundles/colon/release").status == 200
    yield SimpleNamespace(made=made)
    assert made.ask("POST", "/v1/bundles/colon/withhold").status == 200
