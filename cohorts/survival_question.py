"""What is asked of a table by `pathoprog survival`: every setting checked against it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.columns import NUMBER, same_label
from pathoprog.cohorts.config import SurvivalConfig
from pathoprog.cohorts.survival_checks import (
    check_numbers,
    covariate_notes,
    followup_notes,
    observed_rows,
    order_group,
    patient_notes,
    several_rows,
)
from pathoprog.cohorts.survival_figures import PER_YEAR
from pathoprog.errors import ConfigError, InputError
from pathoprog.report.curves import round_times
from pathoprog.survival.arrays import FloatArray, level_names
from pathoprog.survival.question import FurtherEndpoint, Grouping, Model, PredictedRisk, Question, Score, Treatment
from pathoprog.survival.table import (
    CODE,
    TIME,
    RawTable,
    SurvivalTable,
    find_columns,
    find_pairs,
    raw_table,
    survival_table,
)


@dataclass(frozen=True)
class TableQuestion:
    """The checked table, what is asked of it, and what a reader must know of how it was taken."""

    data: SurvivalTable
    question: Question
    notes: tuple[str, ...]


def ask(settings: SurvivalConfig, table: RawTable | pd.DataFrame) -> TableQuestion:
    """Check every setting against the table.

    Raises:
        InputError: a column, level or value that the table does not have, or that cannot be used for what it is asked;
            ConfigError: a setting that makes no sense.
    """
    raw = table if isinstance(table, RawTable) else raw_table(table, settings.decimal)
    notes = list(raw.notes)
    lists = {
        key: _found(getattr(settings, key), raw, key)
        for key in ("covariates", "categorical", "strata", "subgroups", "risks", "sites", "added")
    }
    one = {
        key: _found([getattr(settings, key)], raw, key)[0] if getattr(settings, key) else ""
        for key in (
            "time",
            "event",
            "group",
            "score",
            "cohort",
            "patient",
            "entry",
            "weight",
            "treatment",
            "borderline",
        )
    }
    data = survival_table(
        _of_columns(raw, one["time"], notes),
        one["time"],
        one["event"],
        settings.event_is,
        settings.competing_is,
        settings.censored_is,
        settings.drop_negative,
        settings.unit,
        raw.lines,
    )
    data = observed_rows(raw, data, one["entry"], one["weight"])
    notes += data.notes
    frame, group = data.frame, one["group"]
    time, event = frame[TIME].to_numpy(dtype=float), frame[CODE].to_numpy(dtype=np.int64)
    notes += patient_notes(raw, data, one["patient"])
    horizons, risks = _horizons(settings, lists["risks"], time)
    check_numbers(raw, data, [name for name in [one["score"], *risks] if name], risks)
    notes += covariate_notes(raw, data, lists, group, settings)
    levels: list[str] = []
    ordered = False
    if group:
        levels, ordered, more = order_group(raw, data, group, settings)
        notes += more
    elif settings.reference or settings.levels or settings.positive:
        raise ConfigError("reference, levels and positive belong to a group: give group=COLUMN")
    reference = find_pairs(settings.references, [*lists["covariates"], *lists["strata"]], "references")
    reference = {name: same_label(level, list(level_names(frame[name]))) for name, level in reference.items()}
    if group:
        reference[group] = same_label(settings.reference, levels) if settings.reference else levels[0]
    columns = np.array(_numbers(settings.times, "times")) if settings.times else _columns(settings, time)
    pattern = find_pairs(settings.pattern, [*lists["covariates"], *([group] if group else [])], "pattern")
    notes += followup_notes(settings, time, event, horizons)
    notes += role_notes(one, lists["covariates"])
    if lists["added"] and not set(lists["covariates"]) - set(lists["added"]):
        raise ConfigError("added=… needs covariates=… that are known without them: what do they add to?")
    positives = _positives(settings.positive, levels, reference.get(group, ""), ordered)
    covariates = [name for name in lists["covariates"] if name != group]
    question = Question(
        frame=frame,
        group=group,
        levels=tuple(levels),
        ordered=ordered,
        reference=reference,
        categorical=tuple(lists["categorical"]),
        strata=tuple(lists["strata"]),
        models=_models(group, len(levels) > 1, covariates, tuple(lists["strata"])),
        adjusted=Model((*([group] if group else []), *covariates)),
        subgroups=tuple(lists["subgroups"]) if group else (),
        groupings=tuple(Grouping("+".join(positive), positive) for positive in positives),
        horizons=tuple(horizons),
        columns=np.unique(columns),
        tau=settings.tau or max(horizons) or float(time.max()) or 1.0,
        competing=data.competing,
        scores=_scores(frame, one["score"], group if ordered and len(levels) > 1 else ""),
        risks=tuple(_given(frame, name, horizons[k], data.competing) for k, name in enumerate(risks)),
        pattern=pattern,
        ties=settings.ties,
        imputations=settings.imputations,
        bootstrap=settings.bootstrap,
        resampled_within=settings.cohort,
        sample_size=settings.sample_size,
        workers=settings.workers,
        seed=settings.seed,
        entry=one["entry"],
        weight=one["weight"],
        sites=tuple(lists["sites"]),
        endpoint=one["event"],
        any_death="any death" if settings.endpoints or settings.early_deaths or one["borderline"] else "",
        endpoints=_endpoints(settings, raw, group),
        early=settings.early_deaths,
        borderline=one["borderline"],
        added=tuple(lists["added"]),
        cuts=tuple(sorted(_numbers(settings.cuts, "cuts"))),
        landmarks=tuple(sorted(_numbers(settings.landmarks, "landmarks"))),
        treatment=_treatment(settings, one["treatment"], frame, group, covariates),
        base=tuple(name for name in lists["covariates"] if name not in lists["added"]) if lists["added"] else (),
        patient=one["patient"] if several_rows(data, one["patient"]) else "",
    )
    return TableQuestion(data, question, tuple(dict.fromkeys(notes)))


def role_notes(one: dict[str, str], covariates: list[str]) -> list[str]:
    """A column has one role.

    Raises:
        ConfigError: entry, weight or patient is also a covariate, the time, the event or the group.
    """
    for key in ("entry", "weight", "patient"):
        for other, name in (
            *((k, one[k]) for k in ("time", "event", "group", "score")),
            *(("covariates", c) for c in covariates),
        ):
            if one[key] and one[key] == name:
                raise ConfigError(f"{key}={name} is also {other}: a column has one role")
    return [f"delayed entry: rows are at risk from {one['entry']} on, exclusive"] if one["entry"] else []


def _endpoints(settings: SurvivalConfig, raw: RawTable, group: str) -> tuple[FurtherEndpoint, ...]:
    """Further endpoints by their two columns; named after the second.

    Raises:
        ConfigError: no group to compare; InputError: no such column, or one without numbers.
    """
    if (settings.endpoints or settings.early_deaths or settings.borderline) and not group:
        raise ConfigError("endpoints, early_deaths and borderline look at a contrast: give group=COLUMN")
    pairs = find_pairs(settings.endpoints, list(raw.frame.columns), "endpoints")
    found = []
    for time, event in pairs.items():
        _found([event], raw, "endpoints")
        for name in (time, event):
            column = raw.columns[name]
            if column.kind != NUMBER or column.problem:
                raise InputError(f"endpoints: {name!r}: {column.problem or 'must be numbers'}")
        found.append(FurtherEndpoint(event, time, event))
    return tuple(found)


CONTROLS = ("0", "False", "false", "none", "None", "no", "No")


def _treatment(
    settings: SurvivalConfig, column: str, frame: pd.DataFrame, group: str, covariates: list[str]
) -> Treatment | None:
    """The treatment, its two values, and whether it was randomised, which must be declared.

    Raises:
        ConfigError: it is not, or there is no group; InputError: not two values, or none of them is the control.
    """
    if not column:
        if settings.control or settings.randomised:
            raise ConfigError("control and randomised belong to a treatment: give treatment=COLUMN")
        return None
    if not group:
        raise ConfigError("treatment: its effect is looked at within groups: give group=COLUMN")
    if not settings.randomised:
        raise ConfigError(
            "treatment: say randomised=yes or randomised=no; without randomisation who was treated may differ in "
            "prognosis, and what is found is called an association"
        )
    labels = level_names(frame[column])
    levels = sorted(set(labels.tolist()) - {""})
    if len(levels) != 2:
        raise InputError(f"treatment={column!r}: must have two values, not {len(levels)} ({', '.join(levels[:6])})")
    control = settings.control and same_label(settings.control, levels)
    control = control or next((level for level in levels if level in CONTROLS), "")
    if control not in levels:
        raise InputError(f"treatment={column!r}: control={control or '…'} is none of its values {', '.join(levels)}")
    treated = next(level for level in levels if level != control)
    adjust = tuple(name for name in covariates if name not in (column, group))
    return Treatment(column, control, treated, settings.randomised == "yes", adjust)


def _models(group: str, several: bool, covariates: list[str], strata: tuple[str, ...]) -> dict[str, Model]:
    """Models by name: each covariate alone, the group with all covariates, and stratified where strata are given."""
    every = [*([group] if group and several else []), *covariates]
    models = {f"univariable {name}": Model((name,)) for name in every}
    if len(every) > 1:
        models["multivariable"] = Model(tuple(every))
    if strata:
        names = [*([group] if group else []), *covariates]
        models["stratified"] = Model(tuple(name for name in names if name not in strata), strata)
    return models


def _scores(frame: pd.DataFrame, score: str, ordered_group: str) -> tuple[Score, ...]:
    """The score, and the levels of a group whose order says which is worse."""
    scores = [Score(score, "c_index", frame[score].to_numpy(dtype=float))] if score else []
    if ordered_group:
        code = frame[ordered_group].cat.codes.to_numpy()
        scores.append(Score(ordered_group, "c_classes", np.where(code >= 0, code, np.nan)))
    return tuple(scores)


def _given(frame: pd.DataFrame, column: str, horizon: float, competing: bool) -> PredictedRisk:
    """The risks of a column."""
    risk = frame[column].to_numpy(dtype=float)
    there = np.isfinite(risk)
    return PredictedRisk(horizon, there, risk[there], competing, name=column)


def _found(names: list[str], raw: RawTable, key: str) -> list[str]:
    """The columns of a setting; where one is absent from a sheet, the message says which other sheets there are."""
    try:
        return find_columns(names, raw.frame, key)
    except InputError as error:
        if len(raw.sheet) < 2:
            raise
        others = ", ".join(map(repr, raw.sheet[1:]))
        raise InputError(f"{error}; this is sheet {raw.sheet[0]!r}, there are also {others}: sheet=NAME") from error


def _of_columns(raw: RawTable, time: str, notes: list[str]) -> pd.DataFrame:
    """The frame; the time's own note and problem come with it, since its text is judged only once."""
    column = raw.columns[time]
    if column.problem and column.kind == NUMBER:
        raise InputError(f"time={time!r}: {column.problem}")
    if column.note:
        notes.append(f"time={time!r}: {column.note}")
    return raw.frame


def _horizons(settings: SurvivalConfig, risks: list[str], time: FloatArray) -> tuple[list[float], list[str]]:
    """Horizons by size, and the column of risks that was given for each.

    Raises:
        ConfigError: not one column for each horizon, or a horizon twice.
    """
    given = _numbers(settings.horizons, "horizons")
    if not risks:
        return sorted(set(given)) or [_default_horizon(time)], []
    if len(risks) != len(given):
        raise ConfigError(
            f"risks: {len(risks)} columns for {len(given)} horizons; give one for each, in the order of horizons=…"
        )
    if len(set(given)) < len(given):
        raise ConfigError(f"horizons={','.join(settings.horizons)}: a horizon is given twice, for two columns of risks")
    order = sorted(range(len(given)), key=lambda k: given[k])
    return [given[k] for k in order], [risks[k] for k in order]


def _numbers(texts: list[str], key: str) -> list[float]:
    try:
        numbers = [float(text) for text in texts]
    except ValueError as error:
        raise ConfigError(f"{key}={','.join(texts)}: not all are numbers") from error
    if any(not np.isfinite(number) or number < 0 for number in numbers):
        raise ConfigError(f"{key}={','.join(texts)}: must be finite and not negative")
    return numbers


def _default_horizon(time: FloatArray) -> float:
    """The round time nearest to half of the follow-up."""
    ticks = round_times(float(time.max()))
    return float(ticks[np.argmin(np.abs(ticks - time.max() / 2))]) or float(time.max()) / 2 or 1.0


def _columns(settings: SurvivalConfig, time: FloatArray) -> FloatArray:
    per_year = PER_YEAR[settings.unit]
    longest = float(time.max()) / per_year
    if settings.unit and 3 <= longest <= 10:
        return np.asarray(np.arange(0, int(longest) + 1) * per_year, dtype=np.float64)
    return np.asarray(round_times(longest) * per_year)


def _positives(given: list[str], levels: list[str], reference: str, ordered: bool) -> list[tuple[str, ...]]:
    """Groupings of the levels into positive and the rest, worst levels first; none where nothing says what is worse."""
    given = [same_label(level, levels) for level in given]
    if given:
        unknown = [level for level in given if level not in levels]
        if unknown:
            raise InputError(f"positive: no level {unknown[0]!r}; there are {', '.join(levels)}")
        return [tuple(given)]
    if not ordered:
        return []
    order = [reference, *(level for level in levels if level != reference)] if reference in levels else levels
    return [tuple(order[k:]) for k in reversed(range(1, len(order)))]
