"""The page of one slide: everything that must be said, nothing fetched from elsewhere."""

import re

import numpy as np
import pytest

from pathoprog.outcomes import ResolutionScore, SlideScore
from pathoprog.results import Context, result_record
from pathoprog.slide_page import slide_page
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.stream import SlideOpened
from pathoprog.tiles import TileGrid, standard_spec
from pathoprog.tissue import RegionMask

RUN = {"software_version": "0.1.0", "device": "cpu", "finished_at": "2026-01-01T00:00:00+00:00"}
THRESHOLDS = {"10x": 0.5, "40x": 0.5}


def page(status="scored", risk_class="poor", scores=(0.7, 0.9), mpp=0.25, warnings=(), overrides=None, **changes):
    """HTML of a made slide; `scores` of 10x and 40x, None leaves one out."""
    grids, resolutions = {}, {}
    for resolution, score in zip(("10x", "40x"), scores, strict=True):
        if score is None:
            continue
        spec = standard_spec(resolution, 32)
        x0 = np.arange(12, dtype=np.int64) * 1000
        grids[resolution] = TileGrid(spec, x0, x0, np.ones(12, np.float32), 32.0, 32.0, 12)
        tile = np.full((32, 32, 3), 200, np.uint8)
        resolutions[resolution] = ResolutionScore(
            grid=grids[resolution],
            members=[f"{resolution}-{i}" for i in range(5)],
            member_scores=[score + (i - 2) / 100 for i in range(5)],
            tile_scores=np.full((12, 5), score, np.float32),
            attention=None,
            strongest=[(3, tile), (5, tile)],
            instances=[],
        )
    facts = SlideFacts("p", "made", "made", 900, 900, (Level(900, 900, 1.0),), mpp, mpp, None, warnings)
    mask = RegionMask(np.ones((4, 4), bool), 225.0, 225.0, 8.0)
    picture = np.zeros((9, 9, 3), np.uint8)
    opened = SlideOpened("S", facts, grids, {}, picture, 100.0, mask, "tissue", None, 2e6, 2e6, "ab" * 32)
    opened = None if status == "failed" else opened
    outcome = SlideScore("<S&1>", status, risk_class, resolutions=resolutions, opened=opened, **changes)
    context = Context("<S&1>", "P", "C", "external", "key", "ens", THRESHOLDS, {"dtype": "fp32"}, overrides or {})
    return slide_page(result_record(outcome, context), RUN, outcome, b"png" if opened else b"")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "poor"),
        ({"risk_class": "good", "scores": (0.1, 0.2)}, "good"),
        ({"risk_class": "uncertain", "scores": (0.1, 0.9)}, "no statement of confidence"),
        ({"status": "not_reportable", "risk_class": "", "scores": (0.1, None), "reason": "no 40x"}, "not reportable"),
        ({"status": "failed", "risk_class": "", "scores": (None, None), "reason": "truncated"}, "requeue=true"),
    ],
)
def test_each_outcome_says_what_it_is_and_fetches_nothing(changes, said):
    html = page(**changes)
    assert said in html and changes.get("reason", "") in html
    assert html.count("For research use only") >= 2
    assert "&lt;S&amp;1&gt;" in html and "<S&1>" not in html
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', html)
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?://", html)


def test_the_rulers_show_ten_members_two_scores_two_thresholds():
    html = page()
    assert html.count("<circle") == 10 and html.count("score 0.700") and html.count("score 0.900")
    assert html.count("threshold 0.500</text>") == 2 and "distance +0.200" in html and "distance +0.400" in html


def test_what_must_be_seen_is_framed():
    html = page(borderline=True, quality=["upsampled: not validated"], mpp=0.5, overrides={"slides.mpp": 0.5})
    for text in ("Borderline", "upsampled: not validated", "override: slides.mpp=0.5"):
        assert text in html
    rows = dict(re.findall(r"<tr><td>(.*?)</td><td>.*?</td><td class=\"verdict \w+\">(.*?)</td>", html))
    assert rows["um/px"] == "warn" and rows["tiles at 10x"] == "pass" and rows["pen marks"] == "not checked"


def test_a_slide_without_40x_fails_that_check():
    html = page(status="not_reportable", risk_class="", scores=(0.3, None), mpp=0.5, reason="no 40x")
    rows = dict(re.findall(r"<tr><td>(.*?)</td><td>.*?</td><td class=\"verdict \w+\">(.*?)</td>", html))
    assert rows["um/px"] == "fail" and rows["tiles at 40x"] == "fail"
    assert html.count("<circle") == 5


def test_the_strongest_tiles_stand_with_their_scores():
    html = page()
    assert html.count("data:image/jpeg") == 4 and "tile score 0.900" in html and "x0 3000, y0 3000" in html
    assert "Neither a cause nor a probability" in html
