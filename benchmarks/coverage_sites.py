"""Do the intervals over sites cover, by number of sites and patients at each?

    python benchmarks/coverage_sites.py [--tables 2000] [--workers 1] [--out coverage_sites.jsonl]

Sites whose true log hazard ratios vary (standard deviation 0.25 about log 2): the mean's interval, Higgins' prediction
interval and ours (`further_site`) against the true value of a further site. About 60% of patients have an event.
"""

import sys

import numpy as np
from coverage_more import LOG_RATIO, Intervals, main, survival_times

from pathoprog.errors import InputError
from pathoprog.survival import cox
from pathoprog.survival.sites.random_effects import further_site, random_effects

SITES, TAU = (3, 5, 8, 12, 20), 0.25  # how many, and the standard deviation of their log hazard ratios
AT_A_SITE = (50, 200)  # patients at each


def of_sites(patients: int, random: np.random.Generator) -> Intervals:
    """Sites whose log hazard ratios vary: the mean's interval, and those of a further site's true value."""
    found: Intervals = {}
    for size in AT_A_SITE:
        estimates, errors = [], []
        for effect in LOG_RATIO + TAU * random.standard_normal(max(SITES)):
            poor = (random.random(size * patients // 400) < 0.4).astype(float)
            table = survival_times(effect * poor, random).assign(poor=poor)
            try:
                term = cox(table, "time", "event", ["poor"]).terms.iloc[0]
            except InputError:
                continue  # no event: listed, not pooled
            if np.isfinite([term["coef"], term["se"]]).all():
                estimates.append(term["coef"])
                errors.append(term["se"])
        further = float(LOG_RATIO + TAU * random.standard_normal())
        for count in SITES:
            low, high = further_site(estimates[:count], errors[:count])
            found[f"sites: {count} of {size} patients, further site"] = (low, high, further)
            for method in ("REML", "DL"):
                for wide in (True, False):
                    pool = random_effects(estimates[:count], errors[:count], method, wide)
                    name = f"sites: {count} of {size} patients, {method} {'Knapp-Hartung' if wide else 'z'}"
                    found[f"{name}, mean"] = (pool.lower, pool.upper, LOG_RATIO)
                    found[f"{name}, prediction"] = (pool.prediction_lower, pool.prediction_upper, further)
    return found


if __name__ == "__main__":
    sys.exit(main(str(__doc__), (of_sites,)))
