"""The page of one slide, as HTML and as PDF: everything that must be said, nothing fetched from elsewhere."""

import io
import json
import re
import zlib

import numpy as np
import pytest
from PIL import Image

from pathoprog.errors import InputError
from pathoprog.networks.config import ATTENTION, EQUAL, HIGHEST, MIXED, POOLINGS, WEIGHINGS
from pathoprog.quality.checks import Check
from pathoprog.regions.tissue import RegionMask
from pathoprog.scoring.eligibility import Eligibility
from pathoprog.scoring.results import Context, result_record
from pathoprog.scoring.slide_outcomes import ResolutionScore, SlideScore
from pathoprog.scoring.slide_result import SlideRun
from pathoprog.slide_report.cohort_curves import read_cohort_curves
from pathoprog.slide_report.content import slide_content
from pathoprog.slide_report.heatmap import CAPTIONS, caption_of
from pathoprog.slide_report.page import slide_html
from pathoprog.slide_report.pdf import slide_pdf
from pathoprog.slides.slide import Level, SlideFacts
from pathoprog.stream.slide_stream import SlideOpened
from pathoprog.tiles.grid import TileGrid, standard_spec

RUN = SlideRun(
    software_version="0.1.0",
    device="cpu",
    attempt=1,
    host="h",
    finished_at="2026-01-01T00:00:00+00:00",
    seconds=1.0,
)
THRESHOLDS = {"10x": 0.5, "40x": 0.5}
GOOD = {"risk_class": "good", "scores": (0.1, 0.2)}
UNCERTAIN = {"risk_class": "uncertain", "scores": (0.1, 0.9)}
NOT_REPORTABLE = {"status": "not_reportable", "risk_class": "", "scores": (0.1, None), "reason": "no 40x"}
FAILED = {"status": "failed", "risk_class": "", "scores": (None, None), "reason": "truncated"}


def content(
    status="scored", risk_class="poor", scores=(0.7, 0.9), mpp=0.25, warnings=(), overrides=None, slide_id="<S&1>",
    attention=None, weighing=EQUAL, curves=None, settings=(), **changes
):  # fmt: skip
    """Page of a made slide; `scores` of 10x and 40x, None leaves one out."""
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
            attention=attention,
            weighing=weighing,
            strongest=[(3, tile), (5, tile)],
            instances=[],
        )
    facts = SlideFacts("p", "made", "made", 900, 900, (Level(900, 900, 1.0),), mpp, mpp, None, warnings)
    mask = RegionMask(np.ones((4, 4), bool), 225.0, 225.0, 8.0)
    picture = np.zeros((9, 9, 3), np.uint8)
    opened = SlideOpened("S", facts, grids, {}, picture, 100.0, mask, "tissue", None, 2e6, 2e6, "ab" * 32)
    opened = None if status == "failed" else opened
    outcome = SlideScore(slide_id, status, risk_class, resolutions=resolutions, opened=opened, **changes)
    said = {"dtype": "fp32", "tile_specs": [{"mpp": 1.0}, {"mpp": 0.25}], **dict(settings)}
    context = Context(slide_id, "P", "C", "external", "key", "ens", THRESHOLDS, said, overrides or {})
    heatmap = Image.new("RGB", (600, 300), "white") if opened else None
    return slide_content(result_record(outcome, context), RUN, outcome, heatmap, curves)


def page(**changes):
    return slide_html(content(**changes))


def check_rows(html):
    return dict(re.findall(r"<tr><td>(.*?)</td><td>.*?</td><td class=\"verdict\".*?>(.*?)</td>", html))


def pdf_text(data):
    """What a PDF of ours says: its text operators in order."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", data, re.DOTALL)
    parts = []
    for stream in streams:
        try:
            parts.append(zlib.decompress(stream))
        except zlib.error:
            continue  # a picture
    found = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", b"".join(parts))
    text = b" ".join(re.sub(rb"\\(\d{3})", lambda o: bytes([int(o[1], 8)]), part) for part in found).decode("cp1252")
    return re.sub(r"\\(.)", r"\1", text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "poor"),
        (GOOD, "good"),
        (UNCERTAIN, "no statement of confidence"),
        (NOT_REPORTABLE, "not reportable"),
        (FAILED, "requeue=true"),
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


@pytest.mark.parametrize("changes", [{}, GOOD, UNCERTAIN, NOT_REPORTABLE, FAILED])
def test_the_pdf_says_what_the_html_says(changes):
    page = content(**changes, overrides={"tiles.max_per_slide": 3})
    text = pdf_text(slide_pdf(page))
    wanted = [page.slide_id, page.meaning, page.said.replace("_", " "), *(flag.text for flag in page.flags)]
    wanted += [f"{what} {value:.3f}" for ruler in page.rulers for what, value in (
        ("score", ruler.score), ("threshold", ruler.threshold)
    )]  # fmt: skip
    wanted += [part for check in page.checks for part in (check.name, check.value, check.verdict)]
    wanted += [value for _, value in page.foot]
    flat = "".join(text.split())
    missing = [part for part in wanted if "".join(part.split()) not in flat]
    assert not missing and "For research use only" in text


def test_equal_content_gives_an_equal_pdf_and_every_sheet_is_stamped():
    first, second = slide_pdf(content()), slide_pdf(content())
    assert first == second
    sheets = len(re.findall(rb"/Type /Page\b", first))
    assert sheets == 2 and pdf_text(first).count("For research use only") == sheets


def test_letters_that_the_standard_fonts_lack_are_embedded():
    assert b"DejaVuSans" in slide_pdf(content(slide_id="Świerk-Ω")) and b"DejaVuSans" not in slide_pdf(content())


def test_a_long_reason_and_many_checks_stay_on_the_paper():
    checks = [Check(f"check_{i}", 1.0, "um", "warn", 0.5, 2.0, "a sentence " * 12) for i in range(90)]
    data = slide_pdf(content(**NOT_REPORTABLE | {"reason": "x" * 3000}, checks=checks))
    assert len(re.findall(rb"/Type /Page\b", data)) >= 4
    text = "".join(pdf_text(data).split())
    assert text.count("x" * 60) >= 1 and text.count("check") >= 90


def test_the_rulers_show_ten_members_two_scores_two_thresholds():
    html = page()
    assert html.count("<circle") == 10 and html.count("score 0.700") and html.count("score 0.900")
    assert html.count("threshold 0.500</text>") == 2 and "distance +0.200" in html and "distance +0.400" in html


def test_what_must_be_seen_is_framed():
    html = page(borderline=True, quality=["upsampled: not validated"], mpp=0.5, overrides={"slides.mpp": 0.5})
    for text in ("Borderline", "upsampled: not validated", "override: slides.mpp=0.5"):
        assert text in html
    rows = check_rows(html)
    assert rows["um/px"] == "warn" and rows["tiles at 10x"] == "pass" and rows["pen marks"] == "not checked"


def test_a_slide_without_40x_fails_that_check():
    html = page(**NOT_REPORTABLE, mpp=0.5)
    rows = check_rows(html)
    assert rows["um/px"] == "fail" and rows["tiles at 40x"] == "fail"
    assert html.count("<circle") == 5


def test_measured_checks_stand_in_the_table_with_what_they_say():
    checks = [
        Check("pen_marks", 12.345, "%", "warn", 5.0, 30.0, "Pen marks cover part of the tissue."),
        Check("focus", None, "", "fail", 0.2, 0.1, "Focus could not be measured."),
    ]
    html = page(checks=checks)
    rows = check_rows(html)
    assert rows["pen marks"] == "warn" and rows["focus"] == "fail" and "folds" not in rows
    assert "12.3 %" in html and "Pen marks cover part of the tissue." in html


def test_what_is_measured_stands_once():
    checks = [
        Check("tissue area analysed", 1234.5, "mm²", "pass", None, 0.005, "Area in which tiles may lie."),
        Check("tiles at 10x", 12.0, "", "warn", 20, None, "Tiles that the score rests on."),
    ]
    rows = [(row.name, row.value, row.verdict) for row in content(checks=checks).checks]
    assert ("tissue area (no outline was used)", "1,234 mm²", "pass") in rows
    assert [row for row in rows if row[0] == "tiles at 10x"] == [("tiles at 10x", "12", "warn")]
    assert ("tiles at 40x", "12", "pass") in rows and sum(name.startswith("tissue area") for name, _, _ in rows) == 1


def test_eligibility_is_said_in_words():
    assert "is not confirmed by this result" in page()
    found = content(eligibility=Eligibility("confirmed", ""))
    said = "Eligibility by the table (organ, specimen, stain, neoadjuvant treatment): confirmed."
    assert said in slide_html(found) and "neoadjuvant treatment): confirmed." in pdf_text(slide_pdf(found))


def test_the_strongest_tiles_stand_with_their_scores():
    html = page()
    assert html.count("data:image/jpeg") == 5 and "tile score 0.900" in html and "x0 3000, y0 3000" in html
    assert "Neither a cause nor a probability" in html
    assert "Attention weight" in page(attention=np.ones(12, np.float32) / 12, weighing=ATTENTION)
    assert "a few tiles may have decided the class" in page(weighing=HIGHEST)
    assert "compared with one another first" in page(attention=np.ones(12, np.float32) / 12, weighing=MIXED)


def test_a_caption_says_the_most_that_its_resolutions_need():
    assert caption_of([EQUAL, ATTENTION]) == CAPTIONS[ATTENTION] and caption_of([]) == CAPTIONS[EQUAL]
    assert caption_of([MIXED, HIGHEST]) == CAPTIONS[MIXED]
    assert all("either" in text and "a probability" in text for text in CAPTIONS.values())
    assert {WEIGHINGS[name] for name in POOLINGS} == set(CAPTIONS) and WEIGHINGS.keys() == POOLINGS.keys()


@pytest.fixture
def validation(tmp_path):
    """A validation's record: ten good patients, four poor ones, no uncertain one."""
    rows = [
        {"risk_class": name, "year": float(year), "survival": survival, "lower": survival - 0.1, "upper": 1.0,
         "n_risk": n - year, "events_until_next": 1}
        for name, n, values in (("good", 10, (1.0, 0.9, 0.85)), ("poor", 4, (1.0, 0.5)))
        for year, survival in enumerate(values)
    ]  # fmt: skip
    beyond = {"survival": None, "lower": None, "upper": None, "n_risk": 0, "events_until_next": 0}
    rows += [{"risk_class": name, "year": 7.0, **beyond} for name in ("good", "poor")]  # nobody was followed so long
    population = {
        "cohort": "North", "role": "external", "stamp": "", "n": 14,
        "classes": {"good": 10, "uncertain": 0, "poor": 4}, "survival": rows,
    }  # fmt: skip
    record = {"ensemble_id": "ens", "primary": {"population": "p"}, "populations": {"p": population}}
    (tmp_path / "statistics.json").write_text(json.dumps(record))
    return tmp_path


def test_the_cohort_s_curve_of_the_class_stands_with_name_and_n(validation):
    curves = read_cohort_curves(validation, ["ens"])
    html, pdf = page(curves=curves), pdf_text(slide_pdf(content(curves=curves)))
    assert curves.last_year == 2.0 and [len(points) for points in curves.points.values()] == [3, 0, 2]
    for said in ("Class poor in validation cohort North (external): 4 of 14 patients", "nothing of one person"):
        assert said in html and said in pdf
    assert "What became" not in page(curves=curves, **UNCERTAIN), "no patient of the cohort had this class"
    assert "What became" not in page(curves=curves, **FAILED) and "What became" not in page()


def test_a_validation_of_another_ensemble_is_refused(validation):
    with pytest.raises(InputError, match="and this is other"):
        read_cohort_curves(validation, ["other"])
    with pytest.raises(InputError, match="no record of a validation"):
        read_cohort_curves(validation / "nothing", ["ens"])


def test_the_pdf_s_pictures_are_those_of_the_page():
    page = content()
    data = slide_pdf(page)
    for jpeg in (page.map_jpeg, *(tile.jpeg for tiles in page.strongest.values() for tile in tiles)):
        assert jpeg in data
    with Image.open(io.BytesIO(page.map_jpeg)) as image:
        assert image.size == (600, 300)


def test_um_per_px_is_judged_by_the_bundle_s_own_tiles_and_its_encoders_are_named():
    settings = {
        "tile_specs": [{"mpp": 1.0}, {"mpp": 0.5}],
        "encoders": {"40x": {"weights_sha256": "cd" * 32, "dtype": "fp32", "precision": "fp16"}},
    }
    html = page(mpp=0.5, settings=settings)
    assert check_rows(html)["um/px"] == "pass"
    assert "encoder at 40x" in html and "cd" * 32 in html
    assert "encoder at" not in page()
