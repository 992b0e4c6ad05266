"""The two resolutions of the method, in um per pixel: each tile, network, score and threshold belongs to one."""

RESOLUTION_MPP = {"10x": 1.0, "40x": 0.25}
RESOLUTIONS = tuple(RESOLUTION_MPP)
