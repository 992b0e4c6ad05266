"""Random effects: R's metafor on made sites, and what cannot be pooled."""

import numpy as np
import pytest
from scipy.stats import chi2, norm, t

from pathoprog.errors import InputError
from pathoprog.survival.sites.random_effects import RandomEffects, leave_one_out, random_effects

Y = [-0.084773366367953129, 0.18298971084861337, 0.40351528649650059, -0.16085275436605306]
Y += [0.37831313051455018, 0.31204957784065263, 0.33416709264490868, 0.74664408508610625]
SE = [0.13343474601861091, 0.31110650766640902, 0.36924647931009535, 0.18391976612620059]
SE += [0.16846056438516827, 0.10459896775428207, 0.13869446758180859, 0.12801457855384799]
# R's metafor 3.8-1, rma(y, sei = se, method =, test =) and predict(): estimate, se, lower, upper, tau2, I2, Q, p of Q,
# prediction interval
METAFOR = {
    ("DL", False): (
        0.267213473507824, 0.114594401479902, 0.0426125737772919, 0.491814373238356, 0.0712881078558256,
        74.316102161518, 27.254430164848, 0.000299899615335568, -0.302256363176368, 0.836683310192015,
    ),
    ("DL", True): (
        0.267213473507824, 0.106842610388086, 0.0145708458806765, 0.519856101134971, 0.0712881078558256,
        74.316102161518, 27.254430164848, 0.000299899615335568, -0.412810081071278, 0.947237028086926,
    ),
    ("REML", False): (
        0.267319148779711, 0.113744546792015, 0.0443839336295298, 0.490254363929892, 0.0698384499041541,
        73.922002910081, 27.254430164848, 0.000299899615335568, -0.296579458739385, 0.831217756298807,
    ),
    ("REML", True): (
        0.267319148779711, 0.106879396026496, 0.0145895369398688, 0.520048760619553, 0.0698384499041541,
        73.922002910081, 27.254430164848, 0.000299899615335568, -0.406750808531759, 0.941389106091181,
    ),
}  # fmt: skip
TIGHT = (0.267319125507118, 0.0698387632283178)  # REML with control = list(threshold = 1e-14)


def figures(found: RandomEffects) -> list[float]:
    limits = [found.prediction_lower, found.prediction_upper]
    return [
        found.estimate, found.se, found.lower, found.upper, found.tau2, found.i2, found.q, found.q_p, *limits,
    ]  # fmt: skip


@pytest.mark.parametrize(("method", "wide"), list(METAFOR))
def test_each_way_is_metafors(method: str, wide: bool) -> None:
    found = random_effects(Y, SE, method, wide)
    np.testing.assert_allclose(figures(found), METAFOR[method, wide], rtol=1e-9)
    tail = 2 * (t.sf(abs(found.estimate / found.se), 7) if wide else norm.sf(abs(found.estimate / found.se)))
    assert found.p == pytest.approx(tail, rel=1e-9)
    assert (found.k, found.q_df) == (8, 7) and found.q_p == pytest.approx(chi2.sf(found.q, 7))


def test_a_smaller_stop_gives_the_exact_maximum() -> None:
    found = random_effects(Y, SE, stop=1e-14)
    np.testing.assert_allclose((found.estimate, found.tau2), TIGHT, rtol=1e-9)


def test_sites_that_agree_have_no_variance_between_them() -> None:
    for method in ("DL", "REML"):
        found = random_effects([0.2, 0.21, 0.19], [0.3, 0.4, 0.5], method, False)
        assert found.tau2 == found.i2 == 0.0
        assert (found.prediction_lower, found.prediction_upper) == (found.lower, found.upper)


@pytest.mark.parametrize(
    ("y", "se", "message"),
    [
        ([0.1], [0.2], "1 site with an estimate: nothing to pool"),
        ([0.1, np.nan], [0.2, 0.2], "listed, not pooled"),
        ([0.1, 0.2], [0.2, 0.0], "listed, not pooled"),
        ([0.1, 0.2], [0.2], "two lists of one length"),
    ],
)
def test_what_cannot_be_pooled_is_refused(y: list[float], se: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        random_effects(y, se)
    with pytest.raises(InputError, match="must be one of REML, DL"):
        random_effects(Y, SE, "EB")


def test_each_site_is_left_out_once() -> None:
    found = leave_one_out(Y, SE)
    assert len(found) == 8 and all(one.k == 7 for one in found)
    assert found[7] == random_effects(Y[:7], SE[:7])
