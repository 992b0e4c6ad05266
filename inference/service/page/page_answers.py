"""What the page's own routes answer, as the interface describes them."""

from typing import Literal

from pydantic import BaseModel, Field

from pathoprog.inference.service.web.answers import Answered, RequestBody, SubmissionAnswer


class SightingAnswer(BaseModel):
    """Somebody who opened a result on the page."""

    who: str
    role: str
    at: str


class WorklistRow(BaseModel):
    """One submission of the queue."""

    submission: SubmissionAnswer
    seen: list[SightingAnswer]
    ahead: int = Field(description="open submissions that are taken before it; -1 where it does not wait")


class Worklist(Answered):
    """The queue: failures first, then what runs and waits, then what is done."""

    rows: list[WorklistRow]
    total: int = Field(description="rows that fit, of which a page is shown")
    counts: dict[str, int] = Field(description="submissions by state, with all filters but the state's")
    unseen: int = Field(description="ended ones that nobody has opened, with all filters but state and unseen")
    last_event: int = Field(description="number of the last event: ask for events after it")


class SeenAnswer(Answered):
    """Who has opened a result."""

    seen: list[SightingAnswer]


class SeenBody(RequestBody):
    """Which bundle's result was opened."""

    bundle: str = Field("", max_length=200, description="without it the champion's")


class FlagAnswer(BaseModel):
    """Something that a reader must not overlook."""

    title: str
    text: str


class DotAnswer(BaseModel):
    """A member's score; `level` 0 lies on the ruler, the next ones above."""

    name: str
    score: float
    level: int


class RulerAnswer(BaseModel):
    """Score, threshold and members of one resolution, all in [0, 1]; higher = worse."""

    resolution: str
    score: float
    threshold: float
    distance: float
    dots: list[DotAnswer]


class CurvePointAnswer(BaseModel):
    """Survival of a group `year` years after time zero, its 95% interval, and how many were at risk."""

    year: float
    survival: float
    lower: float
    upper: float
    n_risk: int


class CurvesAnswer(BaseModel):
    """Curves of the cohort on which the bundle was validated, by class."""

    title: str
    last_year: float
    points: dict[str, list[CurvePointAnswer]]
    note: str


class CheckAnswer(BaseModel):
    """One quality check as text."""

    name: str
    value: str
    verdict: str
    says: str


class FootAnswer(BaseModel):
    """A hash, a version, an override."""

    name: str
    value: str


class SlidePageAnswer(Answered):
    """What the page of one slide says: the same as its report, as data."""

    submission: str
    bundle: str
    shadow: bool
    slide_id: str
    patient_id: str
    said: str = Field(description="class, or status where there is none")
    meaning: str
    flags: list[FlagAnswer]
    rulers: list[RulerAnswer]
    ruler_note: str
    curves: CurvesAnswer | None
    checks: list[CheckAnswer]
    eligibility: str
    caption: str = Field(description="what a tile's score is and is not")
    coordinates_note: str
    foot: list[FootAnswer]
    files: list[str]


class StrongTile(BaseModel):
    """A tile of the highest scores; x0, y0: top-left corner, level-0 px."""

    resolution: str
    x0: int
    y0: int
    width0: float
    height0: float
    score: float
    attention: float | None


class StrongestTiles(Answered):
    """The tiles of the highest scores, by resolution, the highest first."""

    tiles: list[StrongTile]
    caption: str


class BinAnswer(BaseModel):
    """What ended in one stretch of the time."""

    start: str
    done: int
    not_reportable: int
    failed: int


class ReasonAnswer(BaseModel):
    """Why some slides have no class."""

    state: Literal["not_reportable", "failed"]
    code: str
    reason: str = Field(description="of the last of them")
    n: int
    last: str = Field(description="submission of the last of them")


class ScannerAnswer(BaseModel):
    """What became of the slides of one kind of scanner, as their files tell it."""

    vendor: str
    mpp: str = Field(description="um per px of the finest level, to two places; empty where it is not known")
    done: int
    not_reportable: int
    failed: int


class NightAnswer(Answered):
    """What ended in a stretch of time."""

    start: str
    end: str
    bin_hours: int
    submitted: int
    done: int
    not_reportable: int
    failed: int
    open: int = Field(description="still open now")
    median_s: float | None = Field(description="from submission to end")
    p90_s: float | None
    longest_s: float | None
    classes: dict[str, int] = Field(description="of the results that you may see")
    possible_classes: list[str] = Field(description="that the served bundles can give, from better to worse")
    bins: list[BinAnswer]
    reasons: list[ReasonAnswer]
    scanners: list[ScannerAnswer]


class PatientGroup(BaseModel):
    """A bundle and a role by which slides of a patient are joined."""

    bundle: str
    role: str
    beside: bool = Field(description="the bundle scores them beside the champion")
    has_stage_groups: bool


class PatientGroups(Answered):
    """All ways in which a patient's slides are joined, as far as you may see them."""

    patient_id: str
    groups: list[PatientGroup]


class ReleaseRecord(BaseModel):
    """That a bundle was released, or put back into shadow."""

    at: str
    by: str
    released: bool


class ValidationFacts(BaseModel):
    """On what a bundle was validated."""

    cohort: str
    role: str
    stamp: str
    n: int
    classes: dict[str, int]
    has_report: bool


class BundleCard(Answered):
    """What a bundle is."""

    name: str
    ensemble_id: str
    shadow: bool
    released_at: str
    history: list[ReleaseRecord]
    caution: str = Field(description="that it is not METHOD's ensemble, if it is not")
    thresholds: dict[str, float]
    aggregation: str
    tumour_policy: str
    has_stage_groups: bool
    clinical: str = Field(description="the bundle's model over clinical covariates; empty where it has none")
    model_card: str = Field(description="Markdown, as it lies in the bundle")
    validation: ValidationFacts | None


class ComparedSlide(BaseModel):
    """One slide scored by two bundles."""

    submission: str
    slide_id: str
    said: str
    other_said: str
    scores: dict[str, float]
    other_scores: dict[str, float]


class Comparison(Answered):
    """Two bundles on the same slides."""

    bundle: str
    other: str
    n: int
    agree: int
    table: dict[str, dict[str, int]] = Field(description="what the first said -> what the other said -> slides")
    thresholds: dict[str, float]
    other_thresholds: dict[str, float]
    slides: list[ComparedSlide] = Field(description="the newest ones")


class StageGroupAnswer(Answered):
    """A class combined with stage, by the bundle's table."""

    bundle: str
    risk_group: str = Field(description="low, intermediate or high")
    pt_level: str
    nodal_level: str
    rule: str
    in_sample: bool
