"""Every figure that R gives for three data sets, in one list with the number of agreeing digits.

The figures, their R version and packages: meta of shared/data/statistics/r_reference.json. Tolerances: STATISTICS.md.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from r_figures import Row, agreement, digits, figures, leaves
from shared_data import shared_data

from pathoprog.survival import cox, harrell_c, kaplan_meier, logrank, number_at_risk, trend, uno_c
from pathoprog.survival.curves.restricted_mean import restricted_mean
from pathoprog.survival.prediction.horizon import values_by_curves, values_by_weights, values_of_complete_cases
from pathoprog.survival.regression.baseline import predict_survival
from pathoprog.survival.regression.cox_model import CoxFit
from pathoprog.survival.regression.proportional import TRANSFORMS, proportional_hazards
from pathoprog.survival.regression.subgroups import interaction_test

EXACT, COX, P, ZPH = 1e-9, 1e-6, 1e-5, 1e-8
# R stops Newton's method at a relative change of 1e-11 of the likelihood. In veteran's full model its coefficient of
# diagtime (8.1e-5) is then off by 4e-12, and the smallest chi-squared of cox.zph that rests on it by 8e-11, 1.1e-8 of
# its value. With eps = 1e-14 R gives our digits.
ZPH_FLOOR = 1e-10
DATA = {
    "colon_recurrence": ("colon_recurrence.csv", "status", ("differ", "extent"), {"rx": ["Obs", "Lev", "Lev+5FU"]}),
    "lung": ("lung.csv", "event", (), {}),
    "veteran": ("veteran.csv", "status", (), {"celltype": ["squamous", "smallcell", "adeno", "large"]}),
}
NOT_FIGURES = {"note", "formula", "model", "newdata", "coef_default_eps1e_9"}  # R's own early stop: no target


class Study:
    """One data set with R's figures of it."""

    def __init__(self, name: str, reference: dict[str, Any]):
        file, self.event, self.factors, self.orders = DATA[name]
        self.frame = pd.read_csv(shared_data(f"statistics/{file}"))
        for column, order in self.orders.items():
            self.frame[column] = pd.Categorical(self.frame[column], order)
        self.name, self.reference = name, reference

    def cox(self, covariates: list[str], **options: Any) -> CoxFit:
        factors = [name for name in covariates if name in self.factors]
        return cox(self.frame, "time", self.event, covariates, categorical=factors, **options)

    def rows(self) -> Iterator[Row]:
        """Name, our figure, R's figure, tolerance."""
        for key, expected in self.reference.items():
            for pattern, compare in HANDLERS.items():
                if key.startswith(pattern):
                    yield from compare(self, f"{self.name}/{key}", key, expected)
                    break
            else:
                raise AssertionError(f"{self.name}/{key}: R's figures have no comparison")


def survival_curves(study: Study, path: str, group: str, expected: dict[str, Any]) -> Iterator[Row]:
    levels = study.frame[group].map(lambda v: f"{v:g}" if isinstance(v, float) else str(v))
    for level, r in expected.items():
        mine = study.frame if level == "overall" else study.frame[levels == level]
        time, event = mine["time"], mine[study.event]
        km = kaplan_meier(time, event)
        read = km.at(r["times"])
        table = number_at_risk(time, event, r["at_risk_table"]["time"])
        quantiles = [km.quantile(p) for p in r["quantiles_loglog"]["p"]]
        limits = {kind: kaplan_meier(time, event, kind).at(r["times"]) for kind in ("loglog", "log", "plain")}
        ours = {
            "n": km.n,
            "events": km.events,
            "times": r["times"],
            "beyond_followup": [bool(flag) for flag in read.beyond],
            "surv": read.survival,
            "std_err_greenwood": read.std_err,
            **{kind: {"lower": at.lower, "upper": at.upper} for kind, at in limits.items()},
            "quantiles_loglog": {
                "p": r["quantiles_loglog"]["p"],
                "est": [q[0] for q in quantiles],
                "lower": [q[1] for q in quantiles],
                "upper": [q[2] for q in quantiles],
            },
            "at_risk_table": {
                "time": table.time,
                "n_risk": table.n_risk,
                "cum_events": table.cum_events,
                "cum_censored_before": table.cum_censored,
            },
        }
        yield from figures(f"{path}/{level}", ours, r, EXACT)


def rank_tests(
    study: Study, path: str, group: str, expected: dict[str, Any], stratum: str | None = None
) -> Iterator[Row]:
    columns = [group] if stratum is None else [group, stratum]
    table = study.frame.dropna(subset=columns)
    arguments = (table["time"], table[study.event], table[group])
    strata = None if stratum is None else table[stratum]
    levels = list(expected["levels"])
    test, peto = logrank(*arguments, strata, 0.0, levels), logrank(*arguments, strata, 1.0, levels)
    ours: dict[str, Any] = {
        "levels": levels,
        "n": test.n,
        "observed": test.observed,
        "expected": test.expected,
        "chisq": test.statistic,
        "df": test.df,
        "p": test.p_value,
        "peto_peto_rho1": {"chisq": peto.statistic, "p": peto.p_value},
    }
    if "trend" in expected:
        t = trend(*arguments, None, strata, levels)
        ours["trend"] = {"scores": list(t.scores), "z": t.z, "chisq": t.statistic, "df": t.df, "p": t.p_value}
    for key, value in expected.items():
        yield from figures(f"{path}/{key}", ours[key], _without_notes(value), P if key == "p" else EXACT)


def _without_notes(value: Any) -> Any:
    return {k: v for k, v in value.items() if k not in NOT_FIGURES} if isinstance(value, dict) else value


def restricted_means(study: Study, path: str, group: str, expected: dict[str, Any]) -> Iterator[Row]:
    for level, r in expected.items():
        labels = study.frame[group].map(lambda v: f"{v:g}" if isinstance(v, float) else str(v))
        mine = study.frame if level == "overall" else study.frame[labels == level]
        mean = restricted_mean(mine["time"], mine[study.event], r["tau"])
        yield from figures(f"{path}/{level}", {"tau": mean.tau, "rmst": mean.value, "se": mean.se}, r, EXACT)


def cox_model(study: Study, path: str, r: dict[str, Any]) -> Iterator[Row]:
    covariates = [name.strip() for name in r["formula"].split("~")[1].split("+")]
    fit = study.cox(covariates)
    terms = fit.terms
    breslow = study.cox(covariates, ties="breslow").terms
    eta = fit.linear_predictor
    harrell, uno = harrell_c(fit.time, fit.event, eta), uno_c(fit.time, fit.event, eta)
    names = [f"{row.term}{row.level}" for row in terms.itertuples()]
    ours: dict[str, Any] = {
        "n": fit.n,
        "nevent": fit.events,
        "terms": names,
        **{key: terms[key].to_numpy() for key in ("coef", "se", "z", "p", "hr")},
        "lower95": terms["lower"].to_numpy(),
        "upper95": terms["upper"].to_numpy(),
        "loglik_null": fit.loglik_null,
        "loglik": fit.loglik,
        "lrt": {
            "chisq": fit.likelihood_ratio.statistic,
            "df": fit.likelihood_ratio.df,
            "p": fit.likelihood_ratio.p_value,
        },
        "wald": {"chisq": fit.wald.statistic, "df": fit.wald.df},
        "score": {"chisq": fit.score.statistic, "df": fit.score.df},
        "aic": fit.aic,
        "breslow": {"coef": breslow["coef"].to_numpy(), "se": breslow["se"].to_numpy()},
        "concordance_harrell": {
            "c": harrell.value,
            "se": harrell.se,
            "counts": {
                "concordant": harrell.concordant,
                "discordant": harrell.discordant,
                "tied.x": harrell.tied_score,
                "tied.y": harrell.tied_time,
                "tied.xy": harrell.tied_both,
            },
        },
        "concordance_uno_nG2": {"c": uno.value, "se": uno.se},
    }
    for key, value in r.items():
        if key in NOT_FIGURES:
            continue
        if key == "zph":
            yield from _zph(f"{path}/zph", fit, value)
            continue
        tolerance = P if key == "p" else EXACT if key.startswith("concordance") else COX
        yield from figures(f"{path}/{key}", ours[key], value, tolerance)


def _zph(path: str, fit: CoxFit, r: dict[str, Any]) -> Iterator[Row]:
    for key, value in r.items():
        by_term = key == "km_by_term"
        assert by_term or key in TRANSFORMS
        table = proportional_hazards(fit, "km" if by_term else key, by_term)
        names = [f"{row.term}{row.level}" for row in table.itertuples()]
        yield from figures(f"{path}/{key}/term", names, value["term"], 0)
        yield from figures(f"{path}/{key}/chisq", table["statistic"].to_numpy(), value["chisq"], ZPH)
        yield from figures(f"{path}/{key}/df", table["df"].to_numpy(), value["df"], 0)
        yield from figures(f"{path}/{key}/p", table["p"].to_numpy(), value["p"], P)


def by_group(study: Study, path: str, key: str, expected: dict[str, Any]) -> Iterator[Row]:
    group = key.removeprefix("by_")
    for part, value in expected.items():
        if part == "km":
            yield from survival_curves(study, f"{path}/km", group, value)
        elif part == "logrank":
            yield from rank_tests(study, f"{path}/logrank", group, value)
        else:
            assert part.startswith("rmst"), part
            yield from restricted_means(study, f"{path}/{part}", group, value)


def strata_model(study: Study, path: str, key: str, expected: dict[str, Any]) -> Iterator[Row]:
    fit = study.cox(["rx", "sex", "age"], strata="node4")
    ours = {
        "coef": fit.terms["coef"].to_numpy(),
        "se": fit.terms["se"].to_numpy(),
        "loglik": [fit.loglik_null, fit.loglik],
    }
    yield from figures(path, ours, expected, COX)


def absolute_survival(study: Study, path: str, key: str, expected: dict[str, Any]) -> Iterator[Row]:
    yield from figures(f"{path}/times", expected["times"], expected["times"], EXACT)
    for ties in ("efron", "breslow"):
        fit = study.cox(["rx", "age", "node4"], ties=ties)
        for node4 in (0, 1):
            pattern = {"rx": "Obs", "age": 60, "node4": node4}
            name = f"{ties}_node4_{node4}"
            found = predict_survival(fit, pattern, expected["times"]).survival
            yield from figures(f"{path}/{name}", found, expected[name], EXACT)


def interaction(study: Study, path: str, key: str, expected: dict[str, Any]) -> Iterator[Row]:
    test, _ = interaction_test(study.frame, "time", study.event, "rx", "sex")
    ours = {"chisq": test.statistic, "df": test.df, "p": test.p_value}
    yield from figures(path, ours, expected, COX)


def subgroup_ratios(study: Study, path: str, key: str, expected: dict[str, Any]) -> Iterator[Row]:
    for name, r in expected.items():
        column, _, level = name.partition("=")
        table = study.frame[study.frame["rx"].isin(["Obs", "Lev+5FU"]) & (study.frame[column] == int(level))]
        fit = cox(table, "time", study.event, ["rx"])
        row = fit.terms.iloc[0]
        ours = {"n": fit.n, "events": fit.events, "hr": row.hr, "lower95": row.lower, "upper95": row.upper}
        yield from figures(f"{path}/{name}", ours, r, COX)


def horizon(study: Study, path: str, key: str, expected: dict[str, Any]) -> Iterator[Row]:
    positive = study.frame["node4"] == 1
    for name, r in expected.items():
        arguments = (study.frame["time"], study.frame[study.event], positive, r["t0"])
        curves, weights, plain = (
            f(*arguments) for f in (values_by_curves, values_by_weights, values_of_complete_cases)
        )
        ours = {
            "t0": r["t0"],
            "km_based": {
                "sens": curves.sensitivity.value,
                "spec": curves.specificity.value,
                "ppv": curves.ppv.value,
                "npv": curves.npv.value,
                "prevalence": curves.prevalence,
                "pos_fraction": curves.positive_share,
                "pooled_km_event_prob": curves.event_share,
            },
            "complete_case": {
                "n": plain.n,
                "excluded_censored_before": plain.excluded,
                "tp": plain.true_positive,
                "fp": plain.false_positive,
                "fn": plain.false_negative,
                "tn": plain.true_negative,
                "sens": plain.sensitivity,
                "spec": plain.specificity,
                "ppv": plain.ppv,
                "npv": plain.npv,
                "acc": plain.accuracy,
            },
            "ipcw_marginal": {
                "sens": weights.sensitivity,
                "spec": weights.specificity,
                "ppv": weights.ppv,
                "npv": weights.npv,
            },
        }
        yield from figures(f"{path}/{name}", ours, r, EXACT)


def univariable(study: Study, path: str, key: str, expected: dict[str, Any]) -> Iterator[Row]:
    for name, r in expected.items():
        yield from cox_model(study, f"{path}/{name}", r)


Handler = Callable[[Study, str, str, Any], Iterator[Row]]
GROUPS = {"logrank_ecog": ("ph.ecog", None), "logrank_sex_strat_ecog": ("sex", "ph.ecog")}
GROUPS["logrank_rx_stratified_by_node4"] = ("rx", "node4")


def named_rank_test(study: Study, path: str, key: str, expected: Any) -> Iterator[Row]:
    group, stratum = GROUPS.get(key, (key.removeprefix("logrank_"), None))
    yield from rank_tests(study, path, group, expected, stratum)


def rmst_of_study(study: Study, path: str, key: str, expected: Any) -> Iterator[Row]:
    yield from restricted_means(study, path, {"lung": "sex", "veteran": "celltype"}[study.name], expected)


HANDLERS: dict[str, Handler] = {
    "by_": by_group,
    "km_by_": lambda s, path, key, r: survival_curves(s, path, key.removeprefix("km_by_"), r),
    "logrank_": named_rank_test,
    "rmst_": rmst_of_study,
    "cox_uni": univariable,
    "cox_multi_strata": strata_model,
    "cox_multi": lambda s, path, key, r: cox_model(s, path, r),
    "cox_absolute": absolute_survival,
    "interaction_": interaction,
    "subgroup_hr_": subgroup_ratios,
    "fixed_horizon_": horizon,
}


@pytest.mark.parametrize("name", list(DATA))
def test_figures_agree_with_r(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    reference = json.loads(shared_data("statistics/r_reference.json").read_text())
    rows = list(Study(name, reference[name]).rows())
    wrong, lines = [], []
    for path, ours, theirs, tolerance in rows:
        gap = agreement(ours, theirs)
        lines.append(f"{digits(gap):5.1f} digits  {path}: {ours} (R: {theirs})")
        small = "/zph/" in path and theirs is not None and abs(float(ours or 0) - theirs) <= ZPH_FLOOR
        if gap > max(tolerance, 1e-15) and not small:
            wrong.append(lines[-1])
    print("\n".join(lines))
    print(f"{name}: {len(rows)} figures of R, {len(rows) - len(wrong)} within tolerance")
    assert not wrong, "\n".join(wrong)
    counted = sum(1 for _ in leaves(reference[name], skip=NOT_FIGURES))
    assert len(rows) == counted, f"{len(rows)} of R's {counted} figures compared"
