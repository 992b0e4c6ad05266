"""Each row of the table is what the analysis of those rows, with that endpoint and those classes, gives by itself."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pathoprog.errors import InputError
from pathoprog.survival import cox, harrell_c
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.endpoint_sensitivity import BORDERLINE, EARLY, EndpointSensitivity, SensitivityRow
from pathoprog.survival.question import FurtherEndpoint, Question, Score
from pathoprog.survival.summary import endpoint_rows, plain
from pathoprog.survival.table import CODE, TIME


def made(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    label = rng.choice(["good", "uncertain", "poor"], n, p=[0.5, 0.2, 0.3])
    hazard = 0.1 * np.where(label == "poor", 3.0, np.where(label == "uncertain", 1.7, 1.0))
    times = np.vstack((rng.uniform(1, 9, n), rng.exponential(1 / hazard), rng.exponential(12, n)))
    time, code = times.min(axis=0), times.argmin(axis=0)
    back = time * rng.uniform(0.4, 1.3, n)
    frame = pd.DataFrame({TIME: time, CODE: code, "class": label, "cohort": rng.choice(["A", "B"], n)})
    frame["free_days"] = np.minimum(back, time) * 365.25
    frame["free_event"] = ((back < time) | (code > 0)).astype(float)
    frame.loc[:9, "free_days"] = np.nan
    frame.loc[10:11, "class"] = ""
    frame["borderline"] = np.where(rng.random(n) < 0.1, "true", "false")
    frame["score"] = hazard + rng.normal(0, 0.1, n)
    return frame


DATA = made()
ASKED = Question(
    frame=DATA,
    group="class",
    levels=("good", "poor", "uncertain"),
    reference={"class": "good"},
    contrast=("poor", "good"),
    within="cohort",
    scores=(Score("score", "c_index", DATA["score"].to_numpy()),),
    endpoint="cancer-specific survival",
    any_death="overall survival",
    endpoints=(FurtherEndpoint("disease free", "free_days", "free_event", 365.25), FurtherEndpoint("gone", "x", "y")),
    early=0.5,
    borderline="borderline",
)


@pytest.fixture(scope="module")
def found() -> EndpointSensitivity:
    one = ANALYSES["endpoints"].run(ASKED)
    assert isinstance(one, EndpointSensitivity)
    return one


def row(
    found: EndpointSensitivity, endpoint: str, left_out: str = "", worse: str = "poor", better: str = "good"
) -> SensitivityRow:
    (one,) = (
        row
        for row in found.rows
        if (row.endpoint, row.left_out, row.worse, row.better) == (endpoint, left_out, worse, better)
    )
    return one


def expected(data: pd.DataFrame, time: str = TIME, code: str = CODE, worse: str = "poor") -> tuple[float, ...]:
    """Ratio with limits, c, rows and events of the worse side, by the functions themselves."""
    data = data[data["class"] != ""].dropna(subset=[time]).reset_index(drop=True)
    reference = next(name for name in ("good", "good or uncertain") if name in set(data["class"]))
    compared = data[data["class"].isin([worse, reference])]
    terms = cox(compared, time, code, ["class"], {"class": reference}, "cohort").terms
    term = terms[terms["level"] == worse].iloc[0]
    c = harrell_c(data[time], data[code], data["score"])
    mine = data["class"] == worse
    return term["hr"], term["lower"], term["upper"], c.value, c.lower, mine.sum(), (data.loc[mine, code] == 1).sum()


def figures(one: SensitivityRow) -> tuple[float, ...]:
    return one.ratio.value, one.ratio.lower, one.ratio.upper, one.c.value, one.c.lower, one.n_worse, one.events_worse


def test_the_first_row_is_the_analysis_itself(found: EndpointSensitivity) -> None:
    assert figures(found.rows[0]) == pytest.approx(expected(DATA))
    assert found.rows[0].endpoint == "cancer-specific survival" and found.rows[0].left_out == ""
    assert found.rows[0].n == 298 and found.rows[0].n_better == (DATA["class"] == "good").sum()


def test_other_endpoints(found: EndpointSensitivity) -> None:
    overall = DATA.assign(**{CODE: (DATA[CODE] > 0).astype(int)})
    assert figures(row(found, "overall survival")) == pytest.approx(expected(overall))
    free = row(found, "disease free")
    assert figures(free) == pytest.approx(expected(DATA, "free_days", "free_event"))
    assert free.n == 288 and found.absent == ("gone",)


def test_without_early_deaths_under_each_endpoint(found: EndpointSensitivity) -> None:
    early = (DATA[TIME] < 0.5) & (DATA[CODE] > 0)
    assert found.n_early == (early & (DATA["class"] != "")).sum() > 5
    assert figures(row(found, "cancer-specific survival", EARLY)) == pytest.approx(expected(DATA[~early]))
    left = expected(DATA[~early], "free_days", "free_event")
    assert figures(row(found, "disease free", EARLY)) == pytest.approx(left)
    assert row(found, "overall survival", EARLY).n == 298 - found.n_early


def test_without_borderline_classes_and_with_uncertain_on_either_side(found: EndpointSensitivity) -> None:
    inside = DATA[DATA["borderline"] == "false"]
    assert figures(row(found, "cancer-specific survival", BORDERLINE)) == pytest.approx(expected(inside))
    assert found.n_borderline == ((DATA["borderline"] == "true") & (DATA["class"] != "")).sum()
    both = DATA.assign(
        **{"class": DATA["class"].replace({"poor": "poor or uncertain", "uncertain": "poor or uncertain"})}
    )
    one = row(found, "cancer-specific survival", worse="poor or uncertain")
    assert figures(one) == pytest.approx(expected(both, worse="poor or uncertain"))
    rest = DATA.assign(
        **{"class": DATA["class"].replace({"good": "good or uncertain", "uncertain": "good or uncertain"})}
    )
    one = row(found, "cancer-specific survival", better="good or uncertain")
    assert figures(one) == pytest.approx(expected(rest))
    assert [row.left_out for row in found.rows].count(EARLY) == 3 and len(found.rows) == 9


def test_nothing_to_change_leaves_the_analysis_and_the_two_sides() -> None:
    plainly = replace(
        ASKED, frame=DATA.assign(**{CODE: (DATA[CODE] == 1).astype(int)}), early=0.0, borderline="", endpoints=()
    )
    assert [(one.worse, one.better) for one in ANALYSES["endpoints"].run(plainly).rows] == [
        ("poor", "good"), ("poor or uncertain", "good"), ("poor", "good or uncertain"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="two levels"):
        ANALYSES["endpoints"].run(replace(ASKED, levels=("good",)))


def test_a_ratio_that_cannot_be_had_says_why_and_stops_no_other(found: EndpointSensitivity) -> None:
    silent = DATA.assign(free_event=0.0)
    rows = ANALYSES["endpoints"].run(replace(ASKED, frame=silent)).rows
    (one,) = (row for row in rows if row.endpoint == "disease free" and not row.left_out)
    assert np.isnan(one.ratio.value) and "no events" in one.note and np.isnan(one.c.value)
    assert rows[0] == found.rows[0]


def test_the_flat_table_has_every_figure(found: EndpointSensitivity) -> None:
    flat = endpoint_rows(plain(found))
    assert flat[0]["hr"] == found.rows[0].ratio.value and flat[0]["c_upper"] == found.rows[0].c.upper
    assert endpoint_rows({"note": "none"}) == [] and len(flat) == len(found.rows)
