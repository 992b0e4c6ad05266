"""A small table with ties and competing deaths, and what R gives for it.

R 4.2.2, survival 3.5-3, cmprsk 2.2-11 (crr with gtol = 1e-12), riskRegression 2022.11.28 (Score), rms (spline basis).
`event` 0 censored, 1 the event, 2 a competing death.
"""

import numpy as np
import pandas as pd

TIME = [1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 10, 11, 12, 12, 13, 14, 15, 16, 17, 18, 20]
EVENT = [1, 2, 1, 0, 1, 2, 0, 1, 1, 2, 0, 1, 2, 1, 0, 1, 0, 2, 1, 0, 1, 0, 2, 0]
X = [2.1, 1.4, 0.3, -0.5, 1.9, 0.2, -1.1, 0.8, 1.7, 0.9, -0.4, 0.6]
X += [-1.3, 1.2, 0.1, -0.2, -0.9, 0.4, 0.7, -1.5, -0.1, -0.8, -0.6, -1.9]
RISK = [0.613, 0.51, 0.35, 0.25, 0.584, 0.336, 0.188, 0.421, 0.555, 0.435, 0.261, 0.392]
RISK += [0.171, 0.48, 0.323, 0.285, 0.208, 0.364, 0.406, 0.154, 0.297, 0.218, 0.239, 0.126]
GROUP = list("abc") * 8
HORIZONS = (6, 12)

FRAME = pd.DataFrame({"time": TIME, "event": EVENT, "x": X, "risk": RISK, "group": GROUP})
FRAME["b"] = (FRAME["group"] == "b").astype(float)
SINGLE = FRAME.assign(event=(FRAME["event"] == 1).astype(int))

GRAY = (0.079021649873643, 0.311395517220839)  # event, competing death
INCIDENCE = {"a": (0.125, 0.3), "b": (0.25, 0.40625), "c": (0.25, 0.375)}
INCIDENCE_VARIANCE = {
    "a": (0.015625, 0.0459418402777778),
    "b": (0.0277512046485261, 0.0426747847576531),
    "c": (0.0275386196145125, 0.0353330498866213),
}
FINE_GRAY = {"coef": (1.44885740296301, -0.629742621425822), "se": (0.350044664849737, 0.698822525869784)}
FINE_GRAY_LOGLIK = -21.2496387695066
AUC = {"competing": (0.897294602651307, 0.828018591398024), "single": (0.910546737213404, 0.880424082532682)}
AUC_SE = {"competing": (0.0725272641727566, 0.0921688655191314), "single": (0.0670644086209736, 0.0873174844751757)}
BRIER = {"competing": (0.138102970343137, 0.175088215502451), "single": (0.132306965441176, 0.177401051348873)}
BRIER_NULL = {"competing": (0.171448946919454, 0.233615372543012), "single": (0.177970912629758, 0.244137960194971)}
BRIER_SE = {"competing": (0.0216049228222926, 0.0319058010683912), "single": (0.0222210571161632, 0.0379807957765206)}
INTEGRATED_BRIER = {6: 0.0453403720686553, 12: 0.0696857389824549}  # of a Cox model of x, SINGLE
RESTRICTED_MEAN = (9.79436274509804, 0.744824053248413)  # to 12, SINGLE
SLOPE = 4.48908891487521  # of log(-log(1 - risk)), SINGLE
CURVE_DISTANCE = (0.230467259135897, 0.19064593717155, 0.435651718145658)  # ICI, E50, E90 at 12, SINGLE

TABLES = {"competing": FRAME, "single": SINGLE}


def array(values: object) -> np.ndarray:
    """As float array."""
    return np.asarray(values, dtype=float)
