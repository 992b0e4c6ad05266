"""Survival analysis over arrays and tables: small pure functions, each with its formula's source. No torch.

`time` is follow-up in any unit; `event` is 0 censored, 1 the event, 2 a competing death; a higher score is worse.
The functions most used stand here; every analysis has a module of its own.
"""

from pathoprog.survival.curves.product_limit import KaplanMeier, followup_time, kaplan_meier
from pathoprog.survival.curves.rank_tests import HypothesisTest, RankTest, TrendTest, logrank, trend
from pathoprog.survival.curves.risk_sets import AtRisk, number_at_risk
from pathoprog.survival.prediction.concordance import Concordance, harrell_c, uno_c
from pathoprog.survival.regression.cox_model import CoxFit, cox

__all__ = [
    "AtRisk",
    "Concordance",
    "CoxFit",
    "HypothesisTest",
    "KaplanMeier",
    "RankTest",
    "TrendTest",
    "cox",
    "followup_time",
    "harrell_c",
    "kaplan_meier",
    "logrank",
    "number_at_risk",
    "trend",
    "uno_c",
]
