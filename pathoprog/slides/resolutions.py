"""The resolutions, in um per pixel, from coarse to fine: each tile, network, score and threshold belongs to one."""

from collections.abc import Collection

RESOLUTION_MPP = {"10x": 1.0, "20x": 0.5, "40x": 0.25}
RESOLUTIONS = tuple(RESOLUTION_MPP)
METHOD_RESOLUTIONS = ("10x", "40x")
"""Those of METHOD's ensemble, and the default."""
MOST_RESOLUTIONS = 2
"""Of an ensemble: its classes are defined for one threshold, and for two."""


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Names of resolutions, from coarse to fine."""
    return tuple(name for name in RESOLUTIONS if name in names)
