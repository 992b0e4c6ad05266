"""Made-up patients: hidden factors, covariates, survival, and which slides they have.

Every patient draws from a generator of its own (seed, kind, number), so that no result depends on the number of
processes or of other patients.
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.config import YEAR_DAYS
from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.simulate.config import SimulateConfig
from pathoprog.simulate.seeds import generator

# Cancer deaths: Weibull with this shape; the rate is that of a patient whose log hazard is average.
CANCER_RATE_PER_YEAR = 0.06
CANCER_SHAPE = 1.1
# Other deaths: Gompertz in age, about the mortality of a European population of 70 years.
OTHER_RATE_AT_70_PER_YEAR = 0.017
OTHER_LOG_RATE_PER_YEAR_OF_AGE = 0.095
# Follow-up: closing date less a date of entry, and a few who are lost.
FOLLOWUP_YEARS = {"development": (5.0, 11.0), "external": (3.0, 8.0)}
LOST_PER_YEAR = 0.012
# A year of survey cannot tell the day of death: nobody is followed for less than one day.
MIN_FOLLOWUP_DAYS = 1


@dataclasses.dataclass(frozen=True)
class Site:
    """A laboratory that prepares slides, and the scanner its slides go to."""

    name: str
    scan_site: str
    scanner: str


SITES = {
    "dev_north": (Site("lab_1", "scan_1", "scanner_A"), Site("lab_2", "scan_1", "scanner_A")),
    "dev_south": (Site("lab_3", "scan_2", "scanner_B"), Site("lab_4", "scan_2", "scanner_B")),
    "retest": (Site("lab_5", "scan_1", "scanner_A"), Site("lab_6", "scan_2", "scanner_B")),
    "external": tuple(Site(f"lab_{number}", "scan_3", "scanner_C") for number in range(7, 13)),
}
DEVELOPMENT_COHORTS = ("dev_north", "dev_south")

_KIND = {"development": 0, "external": 1}
_SLIDES, _RETEST, _TREATMENT, _RECURRENCE = 10, 11, 12, 13
# The poor, who may alone benefit from the treatment: a log hazard so many SD above the mean, the worst third.
POOR_ABOVE_SD = 0.43


def simulate_patients(settings: SimulateConfig) -> pd.DataFrame:
    """Draw the patients of development and external.

    Returns:
        One row per patient: ``patient_id``, ``population`` (development or external), ``number``, the covariates of
        a cohort table, ``followup_days``, ``event``, ``disease_free_days`` and ``disease_free_event`` (recurrence or
        death of any cause), ``role``, and the truth: ``architecture``, ``nuclei`` (standard
        normal, higher = worse), ``log_hazard`` (of cancer death without treatment, over the average patient),
        ``treatment_log_hazard`` (what the treatment added to it), ``cancer_death_days`` and ``other_death_days`` (as
        if nothing else happened).
    """
    counts = {"development": settings.development_patients, "external": settings.external_patients}
    rows = [_patient(settings, population, number) for population, count in counts.items() for number in range(count)]
    patients = pd.DataFrame(rows)
    outcome = distinct_outcome(patients).to_numpy()
    patients["distinct_outcome"] = outcome
    developed = np.where(outcome == "", "tuning", "training")
    patients["role"] = np.where(patients["population"] == "development", developed, "external")
    return patients


def _patient(settings: SimulateConfig, population: str, number: int) -> dict[str, Any]:
    rng = generator(settings.seed, _KIND[population], number)
    rho = settings.factor_correlation
    architecture, independent = rng.standard_normal(2)
    nuclei = rho * architecture + np.sqrt(1 - rho**2) * independent

    if population == "development":
        place = int(rng.integers(len(DEVELOPMENT_COHORTS) * 2))
        cohort = DEVELOPMENT_COHORTS[place // 2]
        site = place % 2
    else:
        place, cohort = 0, "external"
        site = int(rng.integers(len(SITES["external"])))

    log_hazard = factor_log_hazard(settings, architecture, nuclei)
    if population == "development":
        log_hazard += settings.site_log_hazard * (place / 3 - 0.5)

    age = float(np.clip(rng.normal(69, 10), 32, 94))
    treatment, gain = _treatment(settings, population, number, log_hazard)
    cancer = _cancer_death_years(rng, log_hazard) * float(np.exp(-gain / CANCER_SHAPE))
    other = rng.exponential() / (OTHER_RATE_AT_70_PER_YEAR * np.exp(OTHER_LOG_RATE_PER_YEAR_OF_AGE * (age - 70)))
    censored = min(rng.uniform(*FOLLOWUP_YEARS[population]), rng.exponential(1 / LOST_PER_YEAR))
    times = np.array([censored, cancer, other])
    event = int(np.argmin(times))
    days = max(MIN_FOLLOWUP_DAYS, round(float(times.min()) * YEAR_DAYS))
    return {
        "patient_id": f"{'D' if population == 'development' else 'E'}{number + 1:04d}",
        "population": population,
        "number": number,
        "cohort": cohort,
        "site": site,
        **_covariates(rng, settings, architecture, log_hazard, age),
        "treatment": treatment,
        "followup_days": days,
        "event": event,
        **_disease_free(settings, population, number, cancer, days, event),
        "architecture": architecture,
        "nuclei": nuclei,
        "log_hazard": log_hazard,
        "treatment_log_hazard": gain,
        "cancer_death_days": cancer * YEAR_DAYS,
        "other_death_days": other * YEAR_DAYS,
    }


def factor_log_hazard(settings: SimulateConfig, architecture: float, nuclei: float) -> float:
    """Log hazard that the hidden factors make, scaled to `log_hazard_sd` over patients whatever the switch."""
    rho, sd = settings.factor_correlation, settings.log_hazard_sd
    if settings.hazard == "both":
        spread = np.sqrt(max(2 + 2 * rho, 1e-12))
        return float(sd * (architecture + nuclei) / spread)
    return sd * {"architecture": architecture, "nuclei": nuclei, "none": 0.0}[settings.hazard]


def _treatment(settings: SimulateConfig, population: str, number: int, log_hazard: float) -> tuple[str, float]:
    """Whether chance gave the treatment (yes, no), and what it adds to the log hazard of cancer death.

    Drawn from a generator of its own: without benefit every outcome is what it is without the draw.
    """
    if population == "development":
        return "no", 0.0
    treated = bool(generator(settings.seed, _TREATMENT, number).random() < 0.5)
    benefits = {
        "no_benefit": False,
        "equal_benefit": True,
        "benefit_in_poor": log_hazard > POOR_ABOVE_SD * settings.log_hazard_sd,
    }[settings.treatment]
    return ("yes" if treated else "no"), (float(np.log(settings.treatment_ratio)) if treated and benefits else 0.0)


RECURRENCE = (0.3, 0.9)  # share of the time to cancer death at which the tumour had come back


def _disease_free(
    settings: SimulateConfig, population: str, number: int, cancer_death_years: float, days: int, event: int
) -> dict[str, int]:
    """Recurrence or death of any cause, whichever is first, from a generator of its own."""
    share = generator(settings.seed, _RECURRENCE, _KIND[population], number).uniform(*RECURRENCE)
    recurred = max(MIN_FOLLOWUP_DAYS, round(share * cancer_death_years * YEAR_DAYS))
    seen = recurred < days
    return {"disease_free_days": recurred if seen else days, "disease_free_event": int(seen or event > 0)}


def _cancer_death_years(rng: np.random.Generator, log_hazard: float) -> float:
    """A Weibull time: survival ``exp(-(rate t)^shape exp(log_hazard))``."""
    return float((rng.exponential() / np.exp(log_hazard)) ** (1 / CANCER_SHAPE) / CANCER_RATE_PER_YEAR)


def _covariates(
    rng: np.random.Generator, settings: SimulateConfig, architecture: float, log_hazard: float, age: float
) -> dict[str, Any]:
    """Eligibility and covariates, as weakly tied to the hazard as in life; some values missing (empty)."""
    z = log_hazard / max(settings.log_hazard_sd, 1e-9) if settings.log_hazard_sd else 0.0
    spread = 0.35 * z + rng.standard_normal()
    depth = 0.35 * z + rng.standard_normal()
    pn = int(np.digitize(spread, (0.35, 1.2)))
    pt = int(np.digitize(depth, (-1.6, -0.7, 1.0))) + 1
    nodes = int(np.clip(rng.gamma(5, 3.4), 1, 60))
    grade = int(np.digitize(0.6 * architecture + rng.standard_normal(), (-1.5, 1.1))) + 1
    values: dict[str, Any] = {
        "age": round(age, 1),
        "sex": str(rng.choice(["female", "male"])),
        "pT": str(pt),
        "pN": str(pn),
        "nodes_sampled": str(nodes),
        "grade": str(grade),
        "stage": "III" if pn else ("II" if pt > 2 else "I"),
        "location": str(rng.choice(["right colon", "left colon", "rectum"], p=(0.4, 0.38, 0.22))),
    }
    missing = rng.random(len(values)) < settings.missing_fraction
    for lost, name in zip(missing, values, strict=True):
        if lost and name not in ("age", "sex"):  # always known to a registry
            values[name] = ""
    return {"organ": "colorectum", "specimen": "resection", "stain": "H&E", "neoadjuvant": "no", **values}


def plan_slides(settings: SimulateConfig, patients: pd.DataFrame) -> pd.DataFrame:
    """Decide which blocks of which patients become slides, in which role, and where they are prepared.

    Returns:
        One row per slide: ``slide_id, patient_id, block_id, cohort, role, prep_site, scan_site, scanner`` and the
        block's own ``architecture`` and ``nuclei``.
    """
    rows: list[dict[str, Any]] = []
    for patient in patients.to_dict("records"):
        rng = generator(settings.seed, _SLIDES, _KIND[patient["population"]], patient["number"])
        blocks = 1 + int(rng.random() < settings.second_slide_fraction)
        site = SITES[patient["cohort"]][patient["site"]]
        for block in range(1, blocks + 1):
            rows.append(_slide(settings, rng, patient, block, patient["role"], patient["cohort"], site))
    development = patients[patients["population"] == "development"]
    chosen = generator(settings.seed, _RETEST).permutation(len(development))[: settings.test_patients]
    for patient in development.iloc[sorted(chosen)].to_dict("records"):
        rng = generator(settings.seed, _RETEST, patient["number"])
        blocks = 1 + int(rng.random() < settings.second_slide_fraction)
        site = SITES["retest"][int(rng.integers(len(SITES["retest"])))]
        for block in range(3, 3 + blocks):
            rows.append(_slide(settings, rng, patient, block, "test", "retest", site))
    return pd.DataFrame(rows)


def _slide(
    settings: SimulateConfig,
    rng: np.random.Generator,
    patient: dict[Any, Any],
    block: int,
    role: str,
    cohort: str,
    site: Site,
) -> dict[str, Any]:
    rho = settings.factor_correlation
    first, second = settings.block_sd * rng.standard_normal(2)
    return {
        "patient_id": patient["patient_id"],
        "slide_id": f"{patient['patient_id']}-B{block}",
        "block_id": f"B{block}",
        "cohort": cohort,
        "role": role,
        "prep_site": site.name,
        "scan_site": site.scan_site,
        "scanner": site.scanner,
        "architecture": patient["architecture"] + first,
        "nuclei": patient["nuclei"] + rho * first + np.sqrt(1 - rho**2) * second,
    }
