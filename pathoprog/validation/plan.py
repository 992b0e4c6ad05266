"""The analysis plan: what was decided before the outcomes were opened. Everything else is exploratory."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pathoprog.ensemble.classes import RISK_CLASSES
from pathoprog.errors import InputError
from pathoprog.survival.analyses import ANALYSES
from pathoprog.validation.covariates import TYPES

TITLES = {name: one.title for name, one in ANALYSES.items() if one.in_plans}
"""The title of every analysis that `validate` can do, by the name that a plan calls it."""

PRIMARY = "primary"
DEFINED_BY = {
    "horizon_values": ("horizons_years",),
    "competing_deaths": ("horizons_years",),
    "adjusted": ("covariates",),
    "subgroups": ("subgroups",),
    "calibration": ("absolute_risk", "horizons_years"),
    "stage_groups": ("horizons_years",),
    "sites": ("sites", "absolute_risk"),
    "added_value": ("added_value", "added_value_of"),
    "treatment": ("treatment", "horizons_years"),
    "time_effects": ("cuts_years", "landmarks_years", "covariates"),
    "endpoints": ("endpoints",),
}
"""What else of the plan an analysis depends on, beside its being planned and the primary cohort."""
AT_PRIMARY_HORIZON = ("adjusted", "sites", "added_value", "time_effects")
ON_REQUEST = {
    "sites": ("sites",),
    "added_value": ("added_value",),
    "treatment": ("treatment",),
    "time_effects": ("cuts_years", "landmarks_years"),
}
"""Analyses that a report has only where the plan gives these fields; the others it always has."""
ADDED = ("risk_class", "risk_group")
"""What may be judged for its added value: the class, or the class combined with stage."""
TESTS = {"logrank": "log-rank test", "cox": "Cox model, Wald test"}


@dataclass(frozen=True)
class Primary:
    """The one primary analysis.

    Attributes:
        endpoint: in words.
        cohort: a cohort's name, or ``external`` for all external cohorts, stratified.
        contrast: the worse class and its reference.
        horizon_years: of the absolute values.
        test: one of `TESTS`.
    """

    endpoint: str
    cohort: str
    contrast: tuple[str, str]
    horizon_years: float
    test: str


@dataclass(frozen=True)
class PlannedTreatment:
    """A treatment whose effect by class is planned.

    Attributes:
        column: of the cohort table, with two values.
        control: the value of those without it.
        randomised: as declared; there is no default.
        adjust: covariates of the adjusted model.
    """

    column: str
    control: str
    randomised: bool
    adjust: tuple[str, ...] = ()

    def __str__(self) -> str:
        kind = "randomised" if self.randomised else "not randomised"
        return f"{self.column} against {self.control}, {kind}, adjusted for {', '.join(self.adjust) or 'nothing'}"


@dataclass(frozen=True)
class AnalysisPlan:
    """An analysis plan as read; see `read_plan` for its file."""

    primary: Primary
    title: str = "Survival validation of a locked ensemble"
    time_zero: str = "start of follow-up"
    planned: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()
    horizons_years: tuple[float, ...] = ()
    absolute_risk: str = ""
    types: dict[str, str] = field(default_factory=dict)
    sites: tuple[str, ...] = ()
    added_value: tuple[str, ...] = ()
    added_value_of: str = "risk_class"
    treatment: PlannedTreatment | None = None
    cuts_years: tuple[float, ...] = ()
    landmarks_years: tuple[float, ...] = ()
    endpoints: tuple[str, ...] = ()

    def asks_for(self, analysis: str) -> bool:
        """True where the report has it: always, or because the plan gives what it takes."""
        fields_ = ON_REQUEST.get(analysis, ())
        return not fields_ or any(getattr(self, name) for name in fields_)

    def status(self, analysis: str) -> str:
        """The label of an analysis: ``planned`` or ``exploratory``."""
        assert analysis in TITLES
        return "planned" if analysis in self.planned else "exploratory"

    def definition(self, analysis: str) -> tuple[Any, ...] | None:
        """What of the plan fixes an analysis, or the `PRIMARY` one; None where it is not planned."""
        if analysis == PRIMARY:
            return (self.primary, self.time_zero)
        if analysis not in self.planned:
            return None
        own = tuple(getattr(self, name) for name in DEFINED_BY.get(analysis, ()))
        horizon = (self.primary.horizon_years,) if analysis in AT_PRIMARY_HORIZON else ()
        contrast = (self.primary.contrast,) if analysis in ("sites", "endpoints") else ()
        return (self.primary.cohort, *own, *horizon, *contrast)


def read_plan(path: str | Path) -> AnalysisPlan:
    """Read and check an analysis plan.

    Args:
        path: YAML; only ``primary`` is required, for example::

            title: Prognostic value of the ensemble in the external cohort
            time_zero: day of surgery
            primary:
              endpoint: cancer-specific survival
              contrast: poor vs good
              cohort: external
              horizon_years: 3
              test: logrank
            planned: [kaplan_meier, hazard_ratios, c_index]
            covariates: [age, sex, pT, pN]
            subgroups: [scanner, stage]
            horizons_years: [3, 5]
            types: {tumour_size_mm: number, ecog: category}   # of covariates; default: from their values
            absolute_risk: north        # another external cohort, on which the risks to be calibrated are modelled
            added_value: [stage, age, sex]  # what the classes add to these
            added_value_of: risk_class  # default; or risk_group, the class combined with stage
            treatment: {column: chemo, control: "no", randomised: false, adjust: [age, stage]}  # by class
            cuts_years: [2, 5]          # a hazard ratio in each piece of the follow-up
            landmarks_years: [1, 3]     # those still followed, from there on
            endpoints: [disease_free]   # columns disease_free_days, disease_free_event of the outcome table
            sites: [cohort, prep_site]  # c, hazard ratio, calibration and shares by these, and pooled

    Raises:
        InputError: no such file, no YAML, or what is missing, unknown or impossible in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; an analysis plan is written before the outcomes are opened")
    return parse_plan(plan_text(path), path)


def plan_text(path: str | Path) -> str:
    """The plan as it lies there, byte for byte.

    Raises:
        InputError: no UTF-8 text.
    """
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no UTF-8 text ({error}); save it as UTF-8") from error


def parse_plan(text: str, path: str | Path) -> AnalysisPlan:
    """The plan that a text of `read_plan`'s form states; `path` is named in errors, which are those of `read_plan`."""
    import yaml

    path = Path(path)
    try:
        _refuse_repeated_keys(path, yaml.compose(text, yaml.SafeLoader))
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: no YAML ({' '.join(str(error).split())})") from error
    _keys(path, value, "the plan", required={"primary"}, allowed=_fields(AnalysisPlan))
    primary = value["primary"]
    _keys(path, primary, "primary", required=_fields(Primary), allowed=_fields(Primary))
    worse, _, better = (part.strip() for part in str(primary["contrast"]).partition(" vs "))
    order = [name for name in RISK_CLASSES if name in (better, worse)]
    if order != [better, worse]:
        raise InputError(f"{path}: primary.contrast must be a worse class vs a better one, such as 'poor vs good'")
    if primary["test"] not in TESTS:
        raise InputError(f"{path}: primary.test={primary['test']!r} must be one of {', '.join(TESTS)}")
    planned = _strings(path, value, "planned")
    unknown = [name for name in planned if name not in TITLES]
    if unknown:
        raise InputError(f"{path}: planned: {', '.join(unknown)} unknown; there are {', '.join(TITLES)}")
    for name in planned:
        if name in ON_REQUEST and not any(value.get(key) for key in ON_REQUEST[name]):
            raise InputError(f"{path}: planned: {name} needs {' or '.join(ON_REQUEST[name])}, which the plan lacks")
    horizon = _years(path, "primary.horizon_years", primary["horizon_years"])
    horizons = _list_of_years(path, value, "horizons_years")
    return AnalysisPlan(
        primary=Primary(
            str(primary["endpoint"]), str(primary["cohort"]), (worse, better), horizon, str(primary["test"])
        ),
        title=str(value.get("title") or AnalysisPlan.title),
        time_zero=str(value.get("time_zero") or AnalysisPlan.time_zero),
        planned=planned,
        covariates=_strings(path, value, "covariates"),
        subgroups=_strings(path, value, "subgroups"),
        horizons_years=tuple(sorted({horizon, *horizons})),
        absolute_risk=str(value.get("absolute_risk") or ""),
        types=_types(path, value.get("types")),
        sites=_strings(path, value, "sites"),
        endpoints=_strings(path, value, "endpoints"),
        added_value=_strings(path, value, "added_value"),
        cuts_years=_list_of_years(path, value, "cuts_years"),
        landmarks_years=_list_of_years(path, value, "landmarks_years"),
        treatment=_treatment(path, value.get("treatment")),
        added_value_of=_one_of(path, value, "added_value_of", ADDED),
    )


def _refuse_repeated_keys(path: Path, node: Any) -> None:
    """YAML takes the last of two equal keys without a word: what a reader sees first would not be what is done."""
    for part in getattr(node, "value", None) or []:
        if not isinstance(part, tuple):
            continue
        key, below = part
        line = key.start_mark.line + 1
        if sum(other.value == key.value for other, _ in node.value) > 1:
            raise InputError(f"{path}: the key {key.value!r} (line {line}) is there twice")
        _refuse_repeated_keys(path, below)


def _types(path: Path, value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not set(map(str, value.values())) <= set(TYPES):
        raise InputError(f"{path}: types must give each column one of {', '.join(TYPES)}, not {value!r}")
    return {str(name): str(kind) for name, kind in value.items()}


def _fields(cls: type[AnalysisPlan] | type[Primary]) -> set[str]:
    return {field.name for field in fields(cls)}


def _keys(path: Path, value: Any, where: str, required: set[str], allowed: set[str]) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {where} must be a mapping of {', '.join(sorted(required))}")
    missing = sorted(key for key in required if value.get(key) in (None, "", []))
    unknown = sorted(str(key) for key in value.keys() - allowed)
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"does not know {', '.join(unknown)}"] if unknown else []
        raise InputError(f"{path}: {where} {' and '.join(parts)}; its keys are {', '.join(sorted(allowed))}")


def _strings(path: Path, value: dict[str, Any], key: str) -> tuple[str, ...]:
    items = value.get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise InputError(f"{path}: {key} must be a list of names")
    twice = sorted({item for item in items if items.count(item) > 1})
    if twice:
        raise InputError(f"{path}: {key} names {', '.join(twice)} twice")
    return tuple(items)


def _treatment(path: Path, value: Any) -> PlannedTreatment | None:
    if value is None:
        return None
    known = {field.name for field in fields(PlannedTreatment)}
    _keys(path, value, "treatment", required={"column", "control"}, allowed=known)
    if not isinstance(value.get("randomised"), bool):
        raise InputError(f"{path}: treatment.randomised must be true or false: it decides what may be called an effect")
    control = value["control"]
    if isinstance(control, bool):
        raise InputError(f"{path}: treatment.control={control}: YAML reads no and yes as truth values; quote it")
    return PlannedTreatment(str(value["column"]), str(control), value["randomised"], _strings(path, value, "adjust"))


def _one_of(path: Path, value: dict[str, Any], key: str, known: tuple[str, ...]) -> str:
    found = str(value.get(key) or known[0])
    if found not in known:
        raise InputError(f"{path}: {key}={found!r} must be one of {', '.join(known)}")
    return found


def _list_of_years(path: Path, value: dict[str, Any], key: str) -> tuple[float, ...]:
    given = value.get(key) or []
    return tuple(sorted({_years(path, key, item) for item in (given if isinstance(given, list) else [given])}))


def _years(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 50:
        raise InputError(f"{path}: {key}={value!r} must be years above 0, at most 50")
    return float(value)
