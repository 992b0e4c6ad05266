"""Predicted risks with their standard errors, of whichever model."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from pathoprog.survival.arrays import FloatArray


@dataclass(frozen=True)
class RiskWithError:
    """Risks of the event by one time, whose limits are taken where risks have none: log(-log(1 - risk)).

    Attributes:
        log_hazard: log(-log(1 - risk)), the logarithm of the cumulative (subdistribution) hazard (n,).
        log_error: its standard error (n,).
    """

    log_hazard: FloatArray
    log_error: FloatArray

    @property
    def risk(self) -> FloatArray:
        """The risks (n,)."""
        return _risk(self.log_hazard)

    def limits(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Pointwise lower and upper confidence limits of the risks (n,) each."""
        half = float(ndtri((1 + level) / 2)) * self.log_error
        return _risk(self.log_hazard - half), _risk(self.log_hazard + half)


def _risk(log_hazard: FloatArray) -> FloatArray:
    return np.asarray(-np.expm1(-np.exp(log_hazard)))
