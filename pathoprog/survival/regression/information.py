"""The inverse of a likelihood's information where some direction of it has no maximum."""

import numpy as np
import numpy.typing as npt

from pathoprog.survival.arrays import FloatArray

VANISHED = 1e-7  # of the information at beta = 0, along a direction without a maximum


def finite_inverse(start: FloatArray, end: FloatArray, infinite: bool) -> FloatArray:
    """Inverse of the information (p, p), without the directions that ran to infinity.

    Along such a direction (a level without events; all levels together, where the reference has none) the information
    has vanished: left in, its rounding errors would rule the variance of all other terms. What is left is the inverse
    on the rest, in which every finite term has the variance that it has without the patients of that level. A direction
    has vanished where the information is less than `VANISHED` of what it was at beta = 0.

    Args:
        start: information at beta = 0 (p, p).
        end: at the maximum (p, p).
        infinite: True where some coefficient has no finite maximum.
    """
    if not infinite:
        try:
            return np.asarray(np.linalg.inv(end))
        except np.linalg.LinAlgError:
            return np.asarray(np.linalg.pinv(end, hermitian=True))
    directions, shares = _directions(start, end)
    left = shares > VANISHED
    whole = directions[:, left]
    return np.asarray((whole / shares[left]) @ whole.T)


def _directions(start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Directions of unit information at beta = 0 (p, p, as columns), and how much of it is left at the end (p,)."""
    values, vectors = np.linalg.eigh(start)
    root = vectors / np.sqrt(np.maximum(values, 1e-300))
    shares, turned = np.linalg.eigh(root.T @ end @ root)
    return np.asarray(root @ turned), shares


def vanished(start: FloatArray, end: FloatArray) -> npt.NDArray[np.bool_]:
    """Columns that take part in a direction without information (p,)."""
    directions, shares = _directions(start, end)
    part = np.abs(directions[:, shares <= VANISHED]) * np.sqrt(np.diag(start))[:, None]
    return np.asarray((part > 1e-4).any(axis=1), dtype=np.bool_)


def quadratic(gap: FloatArray, spread: FloatArray) -> float:
    """The form gap' spread^-1 gap, whatever the units of the entries of `gap` (k,): scaled to unit variances first.

    Unscaled, the tiny variance of a covariate in large units would pass for a direction without information.
    """
    scale = np.sqrt(np.diag(spread))
    scale = np.where(scale > 0, scale, 1.0)
    unit = gap / scale
    return float(unit @ np.linalg.pinv(spread / np.outer(scale, scale), hermitian=True) @ unit)
