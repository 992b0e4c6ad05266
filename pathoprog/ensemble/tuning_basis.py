"""What a bundle's thresholds rest on, and the precision that goes with them, in words. No torch.

The facts are `pathoprog.ensemble.manifest.TuningBasis`: the tuning patients' scores of the lock, as `pathoprog score`
gives them for the same slides under the manifest's rule for several slides, tile specs and precision.
"""

from collections.abc import Mapping

from pathoprog.ensemble.manifest import Manifest, TuningBasis

REMEDY = "lock the same candidates again with this version (`pathoprog ensemble`, another out=…), and score anew"


def locked_precision(manifest: Manifest) -> str:
    """The precision in which slides may be scored; empty for a bundle of an earlier version, which does not say it."""
    return manifest.precision or ""


def older_lock(manifest: Manifest) -> str:
    """What is to be known of a bundle of an earlier version; empty for others."""
    if manifest.tuning_scores is not None:
        return ""
    fit = (manifest.training or {}).get("fit")
    most = fit.get("evaluate_tiles", 0) if isinstance(fit, Mapping) else 0
    tiles = _at_most(most)
    rule = manifest.aggregation
    joined = "" if rule == "bag" else f", and under the rule bag in place of {rule}"
    return (
        f"locked by an earlier version: its thresholds rest on scores as training judged them ({tiles}, in training's"
        f" precision{joined}), not on scores as slides are scored; {REMEDY}"
    )


def basis_line(manifest: Manifest) -> str:
    """Which tiles, precision and rule the thresholds rest on, in one sentence."""
    found = manifest.tuning_scores
    if found is None:
        return older_lock(manifest)
    tiles = " and ".join(f"{_tiles(manifest, found, name)} at {name}" for name in sorted(found.n_tiles))
    left_out = sum(found.left_out.values())
    out = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(found.left_out.items()) if n)
    return (
        f"thresholds rest on {found.n_patients} tuning patients ({found.n_slides} slides"
        f"{f'; left out: {out}' if left_out else ''}) scored as slides are scored: {tiles}, in {manifest.precision},"
        f" several slides of a patient by {manifest.aggregation}; candidates were ranked on"
        f" {_at_most(found.ranked_on_tiles)}"
    )


def _at_most(tiles: int) -> str:
    """`fit.evaluate_tiles` in words."""
    return f"at most {tiles} tile{'' if tiles == 1 else 's'} of a patient" if tiles else "all tiles"


def _tiles(manifest: Manifest, found: TuningBasis, resolution: str) -> str:
    most, n = manifest.tile_specs[resolution].max_per_slide, found.n_tiles[resolution]
    return f"{n} tiles (at most {most} of a slide)" if most else f"all {n} tiles"
