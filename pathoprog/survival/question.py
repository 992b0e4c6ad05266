"""What every analysis takes: the patients, their groups, scores and covariates, and what is asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from pathoprog.errors import InputError
from pathoprog.survival.arrays import FloatArray, IntArray, groups_of, level_names
from pathoprog.survival.regression.cox_model import CoxFit, cox
from pathoprog.survival.table import CODE, TIME


@dataclass(frozen=True)
class Followed:
    """Rows of one group, each a patient's.

    Attributes:
        time: end of follow-up, in any unit (n,).
        event: 0 censored, 1 the event, 2 a competing death (n,).
        entry: when a row came under observation (n,); None: from the start.
        weight: case weights (n,), or None.
        patient: of each row (n,), where a patient has several; else None.
    """

    time: FloatArray
    event: IntArray
    entry: FloatArray | None = None
    weight: FloatArray | None = None
    patient: npt.NDArray[np.str_] | None = None

    def of(self, rows: npt.NDArray[np.bool_]) -> "Followed":
        """Some of the rows (n,)."""
        parts = (self.time, self.event, self.entry, self.weight, self.patient)
        return Followed(*(None if part is None else part[rows] for part in parts))  # type: ignore[arg-type]


OBSERVED = {"entry": "delayed entry", "weight": "case weights", "patient": "several rows of one patient"}
"""How rows may have been observed, by the field of the question that names its column."""


@dataclass(frozen=True)
class NotEstimated:
    """Instead of a result: `note` says why there is none."""

    note: str


@dataclass(frozen=True)
class Model:
    """A Cox model: its covariates, and the columns whose combinations have baselines of their own."""

    covariates: tuple[str, ...]
    strata: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grouping:
    """Two groups of several: `levels` against the others, which in models are called `positive` and `rest`."""

    name: str
    levels: tuple[str, ...]
    positive: str = "positive"
    rest: str = "rest"


@dataclass(frozen=True)
class Score:
    """A score that `analysis` judges: higher = worse, NaN where a patient has none (n,)."""

    name: str
    analysis: str
    values: FloatArray


@dataclass(frozen=True)
class PredictedRisk:
    """Predicted risks of the event by a horizon.

    Attributes:
        horizon: in the unit of the follow-up.
        rows: True where a patient has one (n,).
        risk: of those (k,).
        competing: True: competing deaths compete; False: they are censored (*net* risks).
        groups: how many groups by rising risk a calibration shows.
        name: of the column that gave them, or empty.
    """

    horizon: float
    rows: npt.NDArray[np.bool_]
    risk: FloatArray
    competing: bool
    groups: int = 10
    name: str = ""


@dataclass(frozen=True)
class Treatment:
    """A treatment whose effect by group is asked for.

    Attributes:
        column: that says who had it.
        control: its value for those without.
        treated: its value for those with.
        randomised: True where chance decided who had it; else what is found is an association.
        adjust: covariates of the adjusted model.
    """

    column: str
    control: str
    treated: str
    randomised: bool
    adjust: tuple[str, ...] = ()


@dataclass(frozen=True)
class FurtherEndpoint:
    """Another endpoint of the same patients.

    Attributes:
        name: in words.
        time: column of its follow-up.
        event: column of its code: 0, 1, 2; empty: any event or competing death of the question's own.
        divide_by: from the column's unit to the question's.
    """

    name: str
    time: str
    event: str
    divide_by: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """The patients and what is asked of them; an analysis takes of it what it needs.

    Attributes:
        frame: one row a patient with follow-up (`TIME`), event code (`CODE`), and all columns that are named below.
        group: column of the group, or empty.
        levels: its levels, in order; a difference is from the first.
        ordered: True where that order says which level is worse; else there is no trend.
        reference: reference levels of categorical covariates, the group among them.
        categorical: numeric columns taken as categories.
        within: column of cohorts taken together: tests, groupings and subgroups are stratified by it; or empty.
        strata: columns of a further, stratified test beside the plain one.
        models: Cox models by name.
        adjusted: the model of the group and all covariates, for complete and for imputed tables, or None.
        subgroups: columns that make subgroups.
        groupings: of the levels into two, for ratios and for values at a horizon.
        horizons: times of the values at a horizon.
        columns: times of the table of numbers at risk.
        tau: end of the restricted mean's window.
        competing: True where competing deaths are told from censoring in values at a horizon and predicted risks.
        scores: what the concordances judge.
        risks: predicted risks that were given, instead of those of the models.
        pattern: one patient's covariates, for a prediction.
        ties: of the models: ``efron`` or ``breslow``.
        imputations: imputed tables; 0: none.
        permutations: of the outcomes.
        bootstrap: resamples; 0: none.
        resampled_within: column of cohorts that keep their size in a resample, or empty.
        sample_size: True: what a further validation takes is asked for.
        workers: processes that share the resamples.
        seed: of imputations, permutations, resamples and simulated tables.
        entry: column of the time at which a row came under observation (delayed entry), or empty.
        weight: column of case weights, or empty.
        patient: column of the patient, where patients have several rows, or empty.
        sites: columns of sites, whose figures are shown one by one and pooled.
        added: columns judged for what they add to `base`, covariates that are known without them.
        base: those covariates.
        treatment: whose effect within each group, and its difference between groups, is asked for, or None.
        cuts: times at which a hazard ratio may change.
        landmarks: times from which those still followed are looked at anew.
        contrast: the worse and the better level of the group whose ratio is looked at; empty: the last, and the
            reference.
        endpoint: the event in words.
        any_death: what the event or a competing death, whichever is first, is called; empty: it is not looked at.
        endpoints: further endpoints.
        early: deaths before this time are left out once, to see what hangs on them; 0: none.
        borderline: column that says (true) whose class is at a threshold, or empty.
    """

    frame: pd.DataFrame
    group: str = ""
    levels: tuple[str, ...] = ()
    ordered: bool = False
    reference: Mapping[str, str] = field(default_factory=dict)
    categorical: tuple[str, ...] = ()
    within: str = ""
    strata: tuple[str, ...] = ()
    models: Mapping[str, Model] = field(default_factory=dict)
    adjusted: Model | None = None
    subgroups: tuple[str, ...] = ()
    groupings: tuple[Grouping, ...] = ()
    horizons: tuple[float, ...] = ()
    columns: FloatArray = field(default_factory=lambda: np.zeros(0))
    tau: float = 1.0
    competing: bool = False
    scores: tuple[Score, ...] = ()
    risks: tuple[PredictedRisk, ...] = ()
    pattern: Mapping[str, str] = field(default_factory=dict)
    ties: str = "efron"
    imputations: int = 0
    permutations: int = 0
    bootstrap: int = 0
    resampled_within: str = ""
    sample_size: bool = False
    workers: int = 1
    seed: int = 1
    entry: str = ""
    weight: str = ""
    patient: str = ""
    sites: tuple[str, ...] = ()
    cuts: tuple[float, ...] = ()
    landmarks: tuple[float, ...] = ()
    treatment: Treatment | None = None
    added: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    contrast: tuple[str, str] | tuple[()] = ()
    endpoint: str = "the event"
    any_death: str = ""
    endpoints: tuple[FurtherEndpoint, ...] = ()
    early: float = 0.0
    borderline: str = ""
    _fits: dict[Model, CoxFit] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def time(self) -> FloatArray:
        """Follow-up (n,)."""
        return self.frame[TIME].to_numpy(dtype=float)

    @cached_property
    def event(self) -> IntArray:
        """0 censored, 1 the event, 2 a competing death (n,)."""
        return self.frame[CODE].to_numpy(dtype=np.int64)

    @cached_property
    def all_rows(self) -> Followed:
        """All rows with what is known of how they were observed."""
        entry, weight = (self.frame[name].to_numpy(dtype=float) if name else None for name in (self.entry, self.weight))
        return Followed(
            self.time, self.event, entry, weight, level_names(self.frame[self.patient]) if self.patient else None
        )

    def refusal(self, what: str, takes: tuple[str, ...]) -> str:
        """Why `what`, which counts only `takes` of `OBSERVED` rightly, cannot be done here; empty where it can."""
        asked = {key: getattr(self, key) for key in OBSERVED if key not in takes}
        mine = [f"{OBSERVED[key]} ({key}={column})" for key, column in asked.items() if column]
        return f"{what} takes no {' and no '.join(mine)}" if mine else ""

    @cached_property
    def known(self) -> npt.NDArray[np.bool_]:
        """True where the group is known (n,); without a group everywhere."""
        return level_names(self.frame[self.group]) != "" if self.group else np.ones(len(self.frame), dtype=bool)

    @cached_property
    def place(self) -> IntArray:
        """Index of the level of those whose group is known (k,)."""
        if not self.group:
            return np.zeros(0, dtype=np.int64)
        return groups_of(self.frame.loc[self.known, self.group], int(self.known.sum()), list(self.levels))[1]

    @cached_property
    def label(self) -> npt.NDArray[np.str_]:
        """The level of those whose group is known (k,)."""
        return level_names(self.frame.loc[self.known, self.group])

    @cached_property
    def grouped(self) -> Followed:
        """Those whose group is known, together; without a group all."""
        return self.all_rows.of(self.known)

    @cached_property
    def by_group(self) -> dict[str, Followed]:
        """The patients of each level."""
        return {level: self.grouped.of(self.place == k) for k, level in self._levels}

    @property
    def _levels(self) -> list[tuple[int, str]]:
        return list(enumerate(self.levels)) if self.group else []

    def reference_of(self, names: tuple[str, ...]) -> dict[str, str]:
        """The reference levels of these covariates."""
        return {name: level for name, level in self.reference.items() if name in names}

    def scored(self, analysis: str) -> list[Score]:
        """The scores that an analysis judges."""
        return [score for score in self.scores if score.analysis == analysis]

    def fit(self, model: Model) -> CoxFit:
        """The fitted model; several analyses look at one fit.

        Raises:
            InputError: the data do not allow it (`cox`).
        """
        if model not in self._fits:
            names, strata = list(model.covariates), list(model.strata)
            reference = self.reference_of(model.covariates)
            self._fits[model] = cox(
                self.frame,
                TIME,
                CODE,
                names,
                reference,
                strata or None,
                list(self.categorical),
                self.ties,
                entry=self.entry,
                weight=self.weight,
                patient=self.patient,
            )
        return self._fits[model]

    def tried(self, model: Model) -> CoxFit | NotEstimated:
        """The fitted model, or why there is none."""
        try:
            return self.fit(model)
        except InputError as error:
            return NotEstimated(str(error))
