"""What a bundle's thresholds rest on: the tuning scores of the lock, and the precision that goes with them. No torch.

``manifest["tuning_scores"]`` says of the tuning patients' scores from which thresholds, score maps and class shares
follow: ``n_patients``, ``n_slides``, ``n_tiles`` by resolution, ``left_out`` (patients that scoring gives no score, by
status), ``ranked_on_tiles`` (most tiles of a patient when candidates were ranked; 0: all), ``batch_tiles`` by
resolution, and a ``sha256`` over the scores. They are what `pathoprog score` gives for the same slides, under the
manifest's ``aggregation``, ``tile_specs`` and ``precision`` (fp32 or bf16: the one in which slides may be scored).
"""

from typing import Any

TUNING_SCORES, PRECISION = "tuning_scores", "precision"
FACTS = ("n_patients", "n_slides", "n_tiles", "left_out", "ranked_on_tiles", "batch_tiles", "sha256")
PRECISIONS = ("fp32", "bf16")
REMEDY = "lock the same candidates again with this version (`pathoprog ensemble`, another out=…), and score anew"


def basis_problems(manifest: dict[str, Any]) -> list[str]:
    """What is wrong with what a manifest says of its thresholds' basis; nothing for bundles of earlier versions."""
    if TUNING_SCORES not in manifest:
        return []
    problems = []
    if manifest.get(PRECISION) not in PRECISIONS:
        problems.append(f"precision {manifest.get(PRECISION)!r}, must be one of {', '.join(PRECISIONS)}")
    found = manifest[TUNING_SCORES]
    if not isinstance(found, dict):
        return [*problems, f"{TUNING_SCORES} is no record"]
    if missing := [name for name in FACTS if name not in found]:
        problems.append(f"{TUNING_SCORES}: lacks {', '.join(missing)}")
    return problems


def locked_precision(manifest: dict[str, Any]) -> str:
    """The precision in which slides may be scored; empty for a bundle of an earlier version, which does not say it."""
    return str(manifest.get(PRECISION, ""))


def older_lock(manifest: dict[str, Any]) -> str:
    """What is to be known of a bundle of an earlier version; empty for others."""
    if TUNING_SCORES in manifest:
        return ""
    most = manifest.get("training", {}).get("fit", {}).get("evaluate_tiles", 0)
    tiles = _at_most(most)
    rule = manifest["aggregation"]
    joined = "" if rule == "bag" else f", and under the rule bag in place of {rule}"
    return (
        f"locked by an earlier version: its thresholds rest on scores as training judged them ({tiles}, in training's"
        f" precision{joined}), not on scores as slides are scored; {REMEDY}"
    )


def basis_line(manifest: dict[str, Any]) -> str:
    """Which tiles, precision and rule the thresholds rest on, in one sentence."""
    if older := older_lock(manifest):
        return older
    found = manifest[TUNING_SCORES]
    tiles = " and ".join(f"{_tiles(manifest, name)} at {name}" for name in sorted(found["n_tiles"]))
    left_out = sum(found["left_out"].values())
    out = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(found["left_out"].items()) if n)
    return (
        f"thresholds rest on {found['n_patients']} tuning patients ({found['n_slides']} slides"
        f"{f'; left out: {out}' if left_out else ''}) scored as slides are scored: {tiles}, in {manifest[PRECISION]},"
        f" several slides of a patient by {manifest['aggregation']}; candidates were ranked on"
        f" {_at_most(found['ranked_on_tiles'])}"
    )


def _at_most(tiles: int) -> str:
    """`fit.evaluate_tiles` in words."""
    return f"at most {tiles} tile{'' if tiles == 1 else 's'} of a patient" if tiles else "all tiles"


def _tiles(manifest: dict[str, Any], resolution: str) -> str:
    most, n = manifest["tile_specs"][resolution]["max_per_slide"], manifest[TUNING_SCORES]["n_tiles"][resolution]
    return f"{n} tiles (at most {most} of a slide)" if most else f"all {n} tiles"
