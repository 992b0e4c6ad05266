"""How many cases an external validation takes: by formula where there is one, by simulation where not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, ndtri

from pathoprog.errors import InputError
from pathoprog.survival.arrays import EVENT, level_names
from pathoprog.survival.prediction.concordance import harrell_c
from pathoprog.survival.prediction.scores import Discrimination, c_classes, c_index
from pathoprog.survival.question import Model, NotEstimated, Question
from pathoprog.survival.regression.cox_model import cox


def schoenfeld_events(hazard_ratio: float, share: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Events needed for a two-sided log-rank or Cox test of one contrast.

    (z_{1 - alpha/2} + z_power)^2 / (p (1 - p) log(HR)^2): Schoenfeld, Biometrics 1983;39:499.

    Args:
        hazard_ratio: to be found.
        share: of one of the two groups among the patients of both.
        power: chance to find it.
        alpha: two-sided level.
    """
    if not (hazard_ratio > 0 and hazard_ratio != 1 and 0 < share < 1 and 0 < alpha < 1 and 0 < power < 1):
        raise InputError(
            "Schoenfeld's formula needs a hazard ratio other than 1, and share, alpha, power within (0, 1)"
        )
    return float((ndtri(1 - alpha / 2) + ndtri(power)) ** 2 / (share * (1 - share) * np.log(hazard_ratio) ** 2))


def observed_over_expected_patients(event_share: float, half_width: float = 0.2) -> float:
    """Patients needed so that the 95% interval of ln(observed/expected) reaches `half_width` to either side.

    (1 - phi) / (phi SE^2): Riley et al., Stat Med 2022;41:1280, for a share phi with the event by the horizon and
    everyone followed so long; divide by the share followed where that is less.
    """
    if not (0 < event_share < 1 and half_width > 0):
        raise InputError("the share with the event must lie within (0, 1), and the half width above 0")
    se = half_width / float(ndtri(0.975))
    return (1 - event_share) / (event_share * se**2)


def spread_for_c(c: float) -> float:
    """Standard deviation of a normal linear predictor whose c-index, uncensored, is `c`.

    For two patients a difference d of the log hazards orders them rightly with probability expit(|d|) under
    proportional hazards; averaged over the normal distribution of d by Gauss-Hermite quadrature.
    """
    if not 0.5 < c < 0.99:
        raise InputError(f"c={c:g}: must lie between 0.5 and 0.99")
    nodes, weights = np.polynomial.hermite_e.hermegauss(81)
    weights = weights / weights.sum()

    def expected(spread: float) -> float:
        return float(weights @ expit(np.abs(nodes) * np.sqrt(2) * spread))

    return float(brentq(lambda spread: expected(spread) - c, 1e-6, 50.0))


@dataclass(frozen=True)
class Precision:
    """Simulated standard errors in tables of a given size.

    Attributes:
        patients: in each table.
        events: mean number of events.
        c: mean c-index at this censoring.
        se_c: standard deviation of the c-index over the tables.
        se_slope: standard deviation of the calibration slope over the tables.
    """

    patients: int
    events: float
    c: float
    se_c: float
    se_slope: float


def simulate_precision(
    c: float, event_share: float, patients: int = 500, tables: int = 200, seed: int = 1
) -> Precision:
    """Draw tables with a normal linear predictor, exponential times and censoring by a common end of follow-up.

    The way of Riley et al., Stat Med 2022;41:1280 (simulation where no formula fits). The predictor is right, so the
    true slope is 1.

    Args:
        c: c-index that the predictor would have without censoring.
        event_share: patients with an event before follow-up ends.
        patients: in each table.
        tables: number of tables.
        seed: of the random numbers.
    """
    if not 0 < event_share < 1:
        raise InputError("the share of patients with the event must lie within (0, 1)")
    spread = spread_for_c(c)
    nodes, weights = np.polynomial.hermite_e.hermegauss(81)
    weights = weights / weights.sum()

    def share_by(log_time: float) -> float:
        return float(weights @ -np.expm1(-np.exp(log_time + spread * nodes)))

    end = float(np.exp(brentq(lambda t: share_by(t) - event_share, -60, 60)))
    random = np.random.default_rng(seed)
    found = []
    for _ in range(tables):
        score = spread * random.standard_normal(patients)
        time = random.exponential(size=patients) / np.exp(score)
        event = (time <= end).astype(int)
        if event.sum() < 2:
            continue
        frame = pd.DataFrame({"time": np.minimum(time, end), "event": event, "score": score})
        slope = float(cox(frame, "time", "event", ["score"]).terms["coef"].iloc[0])
        found.append((harrell_c(frame["time"], frame["event"], score).value, slope, float(event.sum())))
    values = np.array([row for row in found if np.isfinite(row).all()])
    if len(values) < 2:
        raise InputError(f"{patients} patients with {event_share:.1%} events: too few events to simulate")
    return Precision(
        patients,
        float(values[:, 2].mean()),
        float(values[:, 0].mean()),
        float(values[:, 0].std(ddof=1)),
        float(values[:, 1].std(ddof=1)),
    )


def validation_size(
    hazard_ratio: float,
    share: float,
    c: float,
    event_share: float,
    half_width_c: float = 0.05,
    half_width_slope: float = 0.2,
    half_width_ratio: float = 0.2,
    power: float = 0.8,
    tables: int = 200,
    seed: int = 1,
) -> pd.DataFrame:
    """Events and patients that an external validation takes, one row for each question.

    Simulated standard errors fall with the square root of the events, which scales them to the wanted width.

    Args:
        hazard_ratio: of the primary contrast.
        share: of one of its groups among the patients of both.
        c: expected c-index.
        event_share: patients with an event within the follow-up.
        half_width_c: of the 95% interval of c.
        half_width_slope: of the 95% interval of the calibration slope.
        half_width_ratio: of the 95% interval of ln(observed / expected).
        power: for the primary contrast.
        tables: simulated tables.
        seed: of the random numbers.

    Returns:
        Columns ``question, target, method, events, patients``.
    """
    drawn = simulate_precision(c, event_share, tables=tables, seed=seed)
    z = float(ndtri(0.975))
    contrast = schoenfeld_events(hazard_ratio, share, power)
    ratio = observed_over_expected_patients(event_share, half_width_ratio)
    for_c = drawn.events * (z * drawn.se_c / half_width_c) ** 2
    for_slope = drawn.events * (z * drawn.se_slope / half_width_slope) ** 2
    rows = [
        ("primary contrast", f"hazard ratio {hazard_ratio:.2f}, power {power:.0%}", "Schoenfeld", contrast),
        ("discrimination", f"c {c:.2f}, 95% CI ±{half_width_c:g}", f"simulation, {tables} tables", for_c),
        ("calibration slope", f"95% CI ±{half_width_slope:g}", f"simulation, {tables} tables", for_slope),
        ("observed / expected", f"95% CI of the logarithm ±{half_width_ratio:g}", "Riley 2022", ratio * event_share),
    ]
    table = pd.DataFrame(rows, columns=["question", "target", "method", "events"])
    table["patients"] = np.ceil(table["events"] / event_share).astype(int)
    table["events"] = np.ceil(table["events"]).astype(int)
    return table


@dataclass(frozen=True)
class PlannedSize:
    """What a further validation takes: `rows` as `validation_size` gives them, for one level against the reference."""

    level: str
    reference: str
    event_share: float
    rows: pd.DataFrame


def sizes(q: Question) -> PlannedSize:
    """What a further validation like this one would take, for the last level of the group against the reference.

    Raises:
        InputError: there is no hazard ratio or c to plan with, or nothing says what is worse.
    """
    fit = q.tried(Model((q.group,)))
    if isinstance(fit, NotEstimated):
        raise InputError("no hazard ratio of the group to plan with")
    term = fit.terms.iloc[-1]
    reference = q.reference[q.group]
    label = level_names(q.frame[q.group])
    mine, other = int((label == term["level"]).sum()), int((label == reference).sum())
    event_share = float((q.event == EVENT).mean())
    judged = next(iter((c_index(q) or c_classes(q)).values()), None)
    c = judged.harrell.value if isinstance(judged, Discrimination) else float("nan")
    if not q.ordered:
        raise InputError(f"nothing says which level of {q.group} is worse: give levels=… from better to worse")
    if c < 0.5:
        raise InputError(
            f"c = {c:.3f} in this table, below 0.5: higher is not worse here; turn the score or levels=… first"
        )
    if not (np.isfinite(term["hr"]) and term["hr"] > 0 and 0.5 < c < 0.99 and 0 < event_share < 1):
        raise InputError("hazard ratio or c-index of this table gives nothing to plan with")
    table = validation_size(float(term["hr"]), mine / (mine + other), c, event_share, seed=q.seed)
    return PlannedSize(term["level"], reference, event_share, table)
