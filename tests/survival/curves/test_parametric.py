"""Weibull and log-normal curves: known answers, a second maximum, refusals; and lifelines' objects are ours."""

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter, WeibullFitter
from scipy.optimize import minimize
from scipy.special import log_ndtr
from scipy.stats import norm

from pathoprog.errors import InputError
from pathoprog.survival import cox, kaplan_meier
from pathoprog.survival.analyses import ANALYSES
from pathoprog.survival.curves.parametric import DISTRIBUTIONS, parametric_curve
from pathoprog.survival.question import NotEstimated, Question
from pathoprog.survival.summary import plain
from pathoprog.survival.table import CODE, TIME


def made(n: int = 400, seed: int = 1) -> pd.DataFrame:
    """Weibull deaths of scale 6 and shape 1.5, some of them late entries, whole weights."""
    rng = np.random.default_rng(seed)
    death, lost = 6 * rng.weibull(1.5, 2 * n), rng.uniform(1, 9, 2 * n)
    entry = np.where(rng.random(2 * n) < 0.4, rng.uniform(0, 2, 2 * n), 0.0)
    time = np.minimum(death, lost)
    frame = pd.DataFrame({"time": time, "event": (death <= lost).astype(int), "entry": entry})
    return frame[frame["time"] > frame["entry"]].head(n).assign(weight=rng.integers(1, 4, n)).reset_index(drop=True)


DATA = made()


def loglik(distribution: str, parameters: tuple[float, float], data: pd.DataFrame, weight: np.ndarray) -> float:
    """Log likelihood under delayed entry, written out."""
    a, b = parameters
    t, entry, died = (data[name].to_numpy(float) for name in ("time", "entry", "event"))
    if distribution == "weibull":
        hazard, total, before = np.log(b / a * (t / a) ** (b - 1)), (t / a) ** b, (entry / a) ** b
        return float((weight * (died * hazard - total + before)).sum())
    z = (np.log(t) - a) / b
    start = np.where(entry > 0, (np.log(np.where(entry > 0, entry, 1.0)) - a) / b, -np.inf)
    density, survival = norm.logpdf(z) - np.log(b * t), log_ndtr(-z)
    return float((weight * (np.where(died > 0, density, survival) - log_ndtr(-start))).sum())


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_maximum_is_that_of_the_likelihood_written_out(distribution: str, weighted: bool) -> None:
    weight = DATA["weight"].to_numpy(float) if weighted else np.ones(len(DATA))
    found = parametric_curve(
        DATA["time"], DATA["event"], distribution, [3.0], DATA["entry"], DATA["weight"] if weighted else None
    )
    names = [name.rstrip("_") for name in DISTRIBUTIONS[distribution]]
    values = [found.parameters[name].value for name in names]
    other = minimize(
        lambda p: -loglik(distribution, p, DATA, weight), values, method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-10, "maxiter": 4000},
    )  # fmt: skip
    assert values == pytest.approx(other.x, rel=2e-5)
    assert found.loglik == pytest.approx(-other.fun, abs=1e-6)
    assert found.aic == pytest.approx(4 - 2 * found.loglik)
    assert found.events == (DATA["event"] * weight).sum()
    # Errors: the curvature of that likelihood, by differences.
    step = 1e-3 * np.abs(np.array(values))
    hessian = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            shifts = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
            four = [
                s
                * r
                * loglik(distribution, tuple(values + s * step * np.eye(2)[i] + r * step * np.eye(2)[j]), DATA, weight)
                for s, r in shifts
            ]
            hessian[i, j] = sum(four) / (4 * step[i] * step[j])
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    assert [found.parameters[name].se for name in names] == pytest.approx(errors, rel=2e-3)
    assert found.parameters[names[0]].lower == pytest.approx(values[0] - 1.959964 * errors[0], rel=1e-3)


def test_the_right_form_lies_nearer_and_the_curve_is_read_where_asked() -> None:
    data = made(3000, 2)
    given = (data["time"], data["event"])
    weibull, other = (parametric_curve(*given, name, [3.0, 6.0], data["entry"]) for name in DISTRIBUTIONS)
    assert weibull.aic < other.aic - 2 and weibull.distance < other.distance < 0.2
    assert weibull.parameters["lambda"].lower < 6 < weibull.parameters["lambda"].upper
    assert weibull.parameters["rho"].lower < 1.5 < weibull.parameters["rho"].upper
    scale, shape = (weibull.parameters[name].value for name in ("lambda", "rho"))
    assert weibull.survival == pytest.approx(np.exp(-((np.array([3.0, 6.0]) / scale) ** shape)))
    assert weibull.median == pytest.approx(scale * np.log(2) ** (1 / shape))
    curve = kaplan_meier(*given, entry=data["entry"])
    at = weibull.at
    gaps = [abs(np.exp(-((at / scale) ** shape)) - curve.at([when]).survival[0]) for when in (at, np.nextafter(at, 0))]
    assert weibull.distance == pytest.approx(max(gaps))
    assert isinstance(weibull.to_lifelines(), WeibullFitter)


@pytest.mark.parametrize(
    ("time", "event", "weight", "message"),
    [
        ([0.0, 1, 2, 3], [1, 1, 1, 1], None, "1 follow-ups are 0"),
        ([1.0, 1, 2, 3], [1, 1, 0, 0], None, "fewer than two different times"),
        ([1.0, 2, 3, 4], [1, 1, 0, 0], [1.5, 1, 1, 1], "no whole numbers"),
    ],
)
def test_what_has_no_curve_says_why(
    time: list[float], event: list[int], weight: list[float] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        parametric_curve(time, event, "weibull", weight=weight)
    with pytest.raises(InputError, match="must be one of weibull, log_normal"):
        parametric_curve(time, event, "gamma")


def test_by_group_one_without_a_curve_stops_no_other() -> None:
    frame = DATA.rename(columns={"time": TIME, "event": CODE}).assign(
        group=np.where(np.arange(len(DATA)) < 5, "a", "b")
    )
    frame.loc[:4, CODE] = 0
    found = ANALYSES["parametric"].run(Question(frame=frame, group="group", levels=("a", "b"), horizons=(3.0,)))
    assert (
        isinstance(found.by_group["a"]["weibull"], NotEstimated)
        and found.by_group["b"]["log_normal"].n == len(DATA) - 5
    )
    assert "fitted" not in plain(found)["overall"]["weibull"]
    refused = ANALYSES["parametric"].tried(Question(frame=frame.assign(p="x"), patient="p"))
    assert refused == NotEstimated("parametric takes no several rows of one patient (patient=p)")


@pytest.mark.parametrize("how", [{}, {"entry": "entry"}, {"entry": "entry", "weight": "weight"}])
def test_lifelines_kaplan_meier_is_ours(how: dict[str, str]) -> None:
    curve = kaplan_meier(DATA["time"], DATA["event"], **{key: DATA[name] for key, name in how.items()})
    other = curve.to_lifelines("all")
    assert isinstance(other, KaplanMeierFitter) and other.survival_function_.columns.tolist() == ["all"]
    steps = np.flatnonzero((curve.n_event > 0) & (curve.survival > 0))
    read = other.survival_function_.loc[curve.time[steps], "all"].to_numpy()
    assert read == pytest.approx(curve.survival[steps], rel=1e-12)
    limits = other.confidence_interval_.loc[curve.time[steps]].to_numpy()
    assert limits[:, 0] == pytest.approx(curve.lower[steps], rel=1e-11)
    assert limits[:, 1] == pytest.approx(curve.upper[steps], rel=1e-11)
    assert other.median_survival_time_ == curve.quantile(0.5)[0]


def test_what_lifelines_has_no_errors_for_is_refused() -> None:
    weights = DATA["weight"] / 2
    for how in ({"weight": weights}, {"patient": np.repeat(np.arange(200), 2)}):
        with pytest.raises(InputError, match="no robust standard errors"):
            kaplan_meier(DATA["time"], DATA["event"], **how).to_lifelines()
    emptied = kaplan_meier([1.0, 2, 5, 6, 7, 8], [1, 1, 1, 0, 1, 0], entry=[0.0, 0, 3, 3, 3, 3])
    with pytest.raises(InputError, match="lifelines refuses"):
        emptied.to_lifelines()


def test_lifelines_cox_model_is_ours() -> None:
    rng = np.random.default_rng(4)
    data = DATA.assign(
        x=rng.normal(size=len(DATA)), g=rng.choice(["a", "b", "c"], len(DATA)), s=rng.choice(["u", "v"], len(DATA))
    )
    fit = cox(data, "time", "event", ["x", "g"], strata="s", entry="entry", weight="weight")
    other = fit.to_lifelines()
    assert isinstance(other, CoxPHFitter) and other.params_.index.tolist() == ["x", "g=b", "g=c"]
    np.testing.assert_allclose(other.params_, fit.coef, rtol=0, atol=1e-8)
    np.testing.assert_allclose(other.standard_errors_, np.sqrt(np.diag(fit.covariance)), rtol=1e-7)
    robust = cox(data.assign(who=np.arange(len(data)) // 2), "time", "event", ["x"], patient="who")
    assert robust.to_lifelines().standard_errors_.iloc[0] == pytest.approx(np.sqrt(robust.covariance[0, 0]), rel=0.01)
    with pytest.raises(InputError, match="Efron's only"):
        cox(data, "time", "event", ["x"], ties="breslow").to_lifelines()
    with pytest.raises(InputError, match="no finite estimate"):
        cox(data.assign(event=data["event"] * (data["g"] != "c")), "time", "event", ["g"]).to_lifelines()
