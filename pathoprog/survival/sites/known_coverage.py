"""How often intervals over sites cover in simulated tables, by number of sites and events at each: where they fail."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SimulatedSites:
    """Coverage of 95% intervals in 2,000 simulated tables (`benchmarks/coverage_sites.py`), shares.

    Log hazard ratios of the sites vary with a standard deviation of 0.25 about log 2.

    Attributes:
        sites: how many.
        patients: at each.
        events: at each, on average.
        mean_knapp_hartung: of the mean, REML.
        mean_normal: the same with normal limits.
        higgins: of a further site, Knapp and Hartung's limits.
        further: of a further site, by `further_site`.
    """

    sites: int
    patients: int
    events: int
    mean_knapp_hartung: float
    mean_normal: float
    higgins: float
    further: float


SIMULATED = (
    SimulatedSites(3, 50, 24, 0.956, 0.949, 0.921, 0.978),
    SimulatedSites(5, 50, 24, 0.946, 0.940, 0.877, 0.965),
    SimulatedSites(8, 50, 24, 0.954, 0.951, 0.860, 0.956),
    SimulatedSites(12, 50, 24, 0.958, 0.951, 0.847, 0.949),
    SimulatedSites(20, 50, 24, 0.956, 0.951, 0.801, 0.934),
    SimulatedSites(3, 200, 98, 0.951, 0.888, 0.879, 0.958),
    SimulatedSites(5, 200, 98, 0.939, 0.895, 0.862, 0.936),
    SimulatedSites(8, 200, 98, 0.947, 0.911, 0.865, 0.935),
    SimulatedSites(12, 200, 98, 0.947, 0.924, 0.893, 0.935),
    SimulatedSites(20, 200, 98, 0.948, 0.933, 0.904, 0.937),
)


def nearest(sites: int, events: float) -> SimulatedSites:
    """The simulated tables most like these: by events at a site, then by number of sites.

    Args:
        sites: how many are pooled.
        events: at a site, on average.
    """
    size = min({one.events for one in SIMULATED}, key=lambda each: abs(each - events))
    return min((one for one in SIMULATED if one.events == size), key=lambda one: abs(one.sites - sites))
