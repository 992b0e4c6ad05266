"""Settings of cohorts and their endpoints (light: loaded by `--help`)."""

import dataclasses

from pathoprog.settings import setting

YEAR_DAYS = 365.25


@dataclasses.dataclass
class LabelSettings:
    """Which patients have a distinct outcome (Skrede et al., Lancet 2020;395:350-360; METHOD section 2)."""

    good_after_years: float = setting(
        6.0, "good outcome: no event in a follow-up of more than this many years", low=0, open_low=True
    )
    poor_from_days: float = setting(100.0, "poor outcome: the event on this day or later, days", low=0)
    poor_until_years: float = setting(
        2.5, "poor outcome: the event at this time or earlier, years", low=0, open_low=True
    )
