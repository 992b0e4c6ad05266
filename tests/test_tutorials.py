"""The tutorials are true: every block of their pages runs, in order, in one folder, and leaves what the page says."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house import ROOT

pytest.importorskip("torch")

from pathoprog.ensemble.bundle import verify

PAGES = ("train_and_lock", "score_and_qupath", "validate_and_write")  # each goes on with what those before left


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of a page's code, in order."""
    text = (ROOT / "docs" / "tutorials" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


class Reader:
    """Someone who types what the pages say; all blocks of Python on a page are one session."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.said: dict[str, str] = {}
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_STATE_HOME": str(folder.parent / "state"),
            "XDG_CACHE_HOME": str(folder.parent / "cache"),
            "MPLBACKEND": "agg",
        }

    def follow(self, page: str) -> str:
        """Run a page, and return what it printed."""
        if page in self.said:
            return self.said[page]
        so_far, said = "", []
        for language, text in blocks(page):
            if language == "python":
                so_far += text
                command = [sys.executable, "-c", so_far]
            else:
                command = ["bash", "-euo", "pipefail", "-c", text]
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{page}: {text}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
            said.append(done.stdout + done.stderr)
        self.said[page] = "\n".join(said)
        return self.said[page]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tutorial") / "here"
    folder.mkdir()
    return Reader(folder)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_code_of_the_two_kinds_that_are_run(page):
    kinds = {language for language, _ in blocks(page)}
    assert kinds == {"bash", "python"}
    assert (ROOT / "docs" / "tutorials" / f"{page}.md").read_text(encoding="utf-8").count("```") == 2 * len(
        blocks(page)
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_train_and_lock_leaves_a_whole_bundle(reader):
    said = reader.follow("train_and_lock")
    members = [member.resolution for member in verify(reader.folder / "bundle").members]
    assert members.count("10x") == members.count("40x") == 5
    assert "usable" in said and "all as locked" in said and "research use only" in said.lower()
    assert len(list((reader.folder / "candidates").glob("*/candidate.json"))) == 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_score_and_qupath_scores_each_slide_once(reader):
    reader.follow("train_and_lock")
    said = reader.follow("score_and_qupath")
    assert "4 slides: 0 done before and unchanged, 4 to score" in said
    assert "4 slides: 4 done before and unchanged, 0 to score" in said
    found = rows(reader.folder / "scores" / "results.csv")
    assert {row["status"] for row in found} == {"scored"}
    assert all("eligibility not confirmed" in row["quality"] for row in found)
    for row in found:
        folder = reader.folder / "scores" / "slides" / row["slide_id"]
        assert (folder / "report.html").is_file() and (folder / "tumour.geojson").is_file()
        tiles = json.loads((folder / "tiles.geojson").read_text())["features"]
        assert len(tiles) == int(row["n_tiles_10x"]) + int(row["n_tiles_40x"]) > 0
    assert (reader.folder / "map.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_validate_and_write_leaves_a_report_and_finds_nothing(reader):
    reader.follow("train_and_lock")
    said = reader.follow("validate_and_write")
    out = reader.folder / "validation"
    assert said.index("freeze the scores") < said.index("open the outcomes: opening 1")
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "TRIPOD+AI" in report and "REMARK" in report
    assert (out / "headline.txt").read_text(encoding="utf-8").strip() in said
    primary = json.loads((out / "statistics.json").read_text())["primary"]
    assert (primary["worse"], primary["better"], primary["horizon_years"]) == ("poor", "good", 3.0)
    for name in ("cohorts.csv", "concordance.csv"):
        assert (out / "tables" / name).is_file()
    assert (out / "figures" / "flow.svg").is_file() and list((out / "tables").glob("hazard_ratios_*.csv"))
    assert (reader.folder / "external.png").is_file() and (reader.folder / "external.svg").is_file()
