"""Absolute risks of a stated model of another cohort, and their calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.arrays import FloatArray
from pathoprog.survival.prediction.calibration import Calibration
from pathoprog.survival.prediction.risks import CalibratedRisk
from pathoprog.survival.question import Model, NotEstimated, PredictedRisk
from pathoprog.survival.regression.baseline import predict_risk
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.fine_gray import FineGrayFit
from pathoprog.survival.summary import calibration_parts, plain
from pathoprog.validation.populations import Population
from pathoprog.validation.question import question_of

SHOWN_GROUPS = 5  # by rising risk, in a calibration


@dataclass(frozen=True)
class StatedModel:
    """Absolute risk of the one number: `net` by Cox, and by Fine-Gray where deaths compete."""

    net: CoxFit
    absolute: FineGrayFit | None

    @property
    def competing(self) -> bool:
        """True where deaths compete."""
        return self.absolute is not None

    def net_risk(self, patients: pd.DataFrame, years: float) -> FloatArray:
        """Risk of the event by a time in a world without other deaths (n,)."""
        return predict_risk(self.net, patients[["one_number"]].to_numpy(dtype=float), years)

    def risk(self, patients: pd.DataFrame, years: float) -> FloatArray:
        """Absolute risk of the event by a time (n,)."""
        return self.net_risk(patients, years) if self.absolute is None else self.absolute.predict(patients, years)


def stated_model(population: Population, source: Population) -> StatedModel | NotEstimated:
    """The model fitted on `source`, whose risks are judged in `population`; deaths in either compete.

    Raises:
        InputError: the source was selected on outcome, shares its patients with development, or is the population.
    """
    if source.selected_on_outcome or source.role == "test" or source.key == population.key:
        raise InputError(
            f"absolute_risk: {source.name} cannot give an absolute-risk model for {population.name}; "
            "it must be another external cohort, not selected on outcome"
        )
    judged = others(population, source)
    competing = bool((source.patients["event"] == 2).any() or (judged["event"] == 2).any())
    asked = question_of(source, models={"one_number": Model(("one_number",))})
    net: CoxFit | NotEstimated = ANALYSES["hazard_ratios"].run(asked)["one_number"]
    if isinstance(net, NotEstimated) or not competing:
        return net if isinstance(net, NotEstimated) else StatedModel(net, None)
    absolute: FineGrayFit | NotEstimated = ANALYSES["fine_gray"].run(asked)["one_number"]
    return absolute if isinstance(absolute, NotEstimated) else StatedModel(net, absolute)


def others(population: Population, source: Population) -> pd.DataFrame:
    """The patients of the population on whom the model was not fitted."""
    data = population.patients
    return data[~data["patient_id"].isin(source.patients["patient_id"])]


def absolute_risk(
    population: Population, source: Population | None, horizons_years: tuple[float, ...]
) -> dict[str, Any]:
    """Calibration of absolute risks, modelled on another cohort that was not selected on outcome.

    The patients on whom the model is fitted are never among those in whom it is judged: of several cohorts together
    the source is left out. Where deaths compete, in either, the risks are those of a Fine-Gray model of the one number
    and what happened is told by Aalen-Johansen (van Geloven et al., BMJ 2022;377:e069249); else of a Cox model, by
    Kaplan-Meier. Beside the absolute risks stand the net ones, Cox and Kaplan-Meier with other deaths censored, and how
    far those are off if they are taken for absolute ones.

    Args:
        population: where the risks are judged.
        source: where the model is fitted (the plan's ``absolute_risk`` cohort), or None.
        horizons_years: of the risks.

    Returns:
        The stated model, in whom it is judged, and per horizon what `pathoprog.report.calibration` draws; ``net`` holds
        the two further comparisons where deaths compete; ``note`` says why there is nothing.

    Raises:
        InputError: the source was selected on outcome, shares its patients with development, or is the population.
    """
    if source is None:
        return {"note": "The plan states no absolute-risk model; a score is no probability, and has no calibration."}
    model = stated_model(population, source)
    fitted_on, data = source.patients, population.patients
    judged = others(population, source)
    if judged.empty:
        return {"note": f"All patients of {population.phrase} are those of {source.name}, on whom the model is fitted."}
    if isinstance(model, NotEstimated):
        return {"note": f"No absolute-risk model can be fitted on {source.name}: {model.note}."}
    net, absolute, competing = model.net, model.absolute, model.competing
    in_whom = Population(population.role, population.cohort, judged, population.pooled)
    parts: list[dict[str, Any]] = []
    for years in horizons_years:
        short = [
            name for name, own in ((source.name, fitted_on), ("who is judged", judged)) if years > own["years"].max()
        ]
        if short:
            parts.append({"years": years, "note": f"{' and '.join(short)}: not followed for {years:g} years"})
            continue
        net_risk, risk = model.net_risk(judged, years), model.risk(judged, years)
        given = {"calibration": (risk, competing)}
        if competing:
            given |= {"net": (net_risk, False), "net_taken_for_absolute": (net_risk, True)}
        named = f"{source.name} model"
        parts.append({"years": years, **_calibrated(in_whom, given, years, named)})
    deaths = f", {int((fitted_on['event'] == 2).sum())} competing deaths" if competing else ""
    kind = "Fine-Gray model of the one number (other deaths compete)" if competing else "Cox model of the one number"
    left_out = len(data) - len(judged)
    return {
        "note": "",
        "model": f"{kind}, fitted on {source.name} ({net.n} patients, {net.events} events{deaths})",
        "competing": competing,
        "source": source.cohort,
        "n_judged": len(judged),
        "n_left_out": left_out,
        "coefficient": float(net.coef[0]) if absolute is None else float(absolute.terms["coef"].iloc[0]),
        "horizons": parts,
    }


def _calibrated(
    population: Population, given: dict[str, tuple[FloatArray, bool]], years: float, name: str
) -> dict[str, Any]:
    """Calibration of ``calibration``, with its curve, and of the net risks where there are some; or why there is none.

    The first is recalibrated too, as a further model.

    Args:
        population: in whom the risks are judged.
        given: for each comparison the risks, and whether deaths compete in what happened.
        years: the horizon.
        name: of the model.
    """
    everyone = np.ones(len(population.patients), dtype=bool)
    risks = tuple(
        PredictedRisk(years, everyone, risk, competing, SHOWN_GROUPS, name) for risk, competing in given.values()
    )
    judged: list[CalibratedRisk] = ANALYSES["calibration"].run(question_of(population, risks=risks))
    found: dict[str, Calibration] = {}
    for name, one in zip(given, judged, strict=True):
        if isinstance(one.calibration, NotEstimated):
            return {"note": one.calibration.note}
        found[name] = one.calibration
    main, risk = found.pop("calibration"), given["calibration"][0]
    numbers, curve = calibration_parts(main, risk)
    recalibrated = judged[0].recalibrated
    assert recalibrated is not None, "these risks were given"
    result: dict[str, Any] = {
        "note": "",
        "calibration": numbers,
        "calibration_curve": curve,
        "recalibrated": plain(recalibrated),
    }
    return result | ({"net": {name: calibration_parts(one, risk)[0] for name, one in found.items()}} if found else {})
