"""The model card: what an ensemble is for, whom it learned from, and its limits, in words made from the facts."""

from typing import Any

import pandas as pd

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.cohort import read_cohort
from pathoprog.training.config import EnsembleConfig, TrainConfig

DESCRIBED = (
    "cohort",
    "prep_site",
    "scan_site",
    "scanner",
    "sex",
    "stage",
    "grade",
    "organ",
    "specimen",
    "stain",
    "neoadjuvant",
)


def model_card(
    settings: EnsembleConfig, trained: TrainConfig, manifest: dict[str, Any], shares: dict[str, float]
) -> str:
    """Markdown text of the card.

    Args:
        settings: of the choice.
        trained: settings of the candidates' training; its cohort table describes the patients.
        manifest: of the bundle to be.
        shares: of the classes on tuning.
    """
    cohort = read_cohort(trained.data.cohort, trained.data.overlap)
    lines = [
        f"# Model card: {settings.name}",
        "",
        f"**{RESEARCH_USE_ONLY}**",
        "",
        "## Intended use",
        settings.intended_use,
        "Input: digitised H&E whole-slide images of primary tumour resections. Output per patient: two scores in [0, 1]"
        " (higher = worse) and a class: good, uncertain (the two resolutions disagree) or poor.",
        "",
        "## Ensemble",
        f"{len(manifest['members'])} networks: five at 10x (1.0 um/px) and five at 40x (0.25 um/px).",
        f"Encoder {trained.network.encoder} (width {trained.network.width:g}), pooling {trained.network.pooling},"
        f" loss {trained.fit.loss}. Several slides of a patient: {manifest['aggregation']}."
        f" Tumour area: {manifest['tumour_policy']}.{tumour_line(manifest)}",
        "",
        "| resolution | tile | threshold (95% bootstrap) | rule |",
        "|---|---|---|---|",
    ]
    for resolution, cut in manifest["thresholds"].items():
        spec = manifest["tile_specs"][resolution]
        lines.append(
            f"| {resolution} | {spec['size_px']} px at {spec['mpp']:g} um/px | {cut['value']:.4f}"
            f" ({cut['lower']:.4f} to {cut['upper']:.4f}) | {cut['rule']} |"
        )
    lines += ["", "## Whom it learned from"]
    for role, facts in manifest["cohorts"].items():
        lines.append(
            f"- {role}: {facts['n_patients']} patients, {facts['n_slides']} slides, {facts['n_tiles']} tiles,"
            f" {facts['n_events']} events"
        )
    lines += ["", "| | training | tuning |", "|---|---|---|"]
    lines += _described(cohort)
    lines += [
        "",
        "## Limits",
        "- Training and tuning patients were selected on outcome: nothing measured on them describes a population.",
        f"- Classes on tuning: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}.",
        "- Neither a score nor a tile's score is a probability of death, or a cause.",
        "- Scanners, sites, organs and preparations other than those above were not seen in training.",
        "- Not validated by this card: see the report of `pathoprog validate` on a cohort that played no part in it.",
    ]
    return "\n".join(lines) + "\n"


def tumour_line(manifest: dict[str, Any]) -> str:
    """What the card says of the tumour network, where there is one."""
    if "tumour" not in manifest:
        return ""
    found = manifest["tumour"]
    return (
        f" Tumour network: U-Net on {found['network']['encoder']} at {found['outline']['mpp']:g} um/px, learned from"
        f" outlines on {found['cohorts']['training']['n_slides']} slides; Dice on tuning {found['tuning_dice']:.3f}."
    )


def _described(cohort: pd.DataFrame) -> list[str]:
    """Table rows: the values of each described column with their counts of patients, and age."""
    rows = []
    parts = {role: cohort[cohort["role"] == role].drop_duplicates("patient_id") for role in ("training", "tuning")}
    if "age" in cohort:
        cells = []
        for part in parts.values():
            age = pd.to_numeric(part["age"], errors="coerce").dropna()
            cells.append(f"median {age.median():.0f} ({age.min():.0f}-{age.max():.0f})" if len(age) else "not known")
        rows.append(f"| age | {' | '.join(cells)} |")
    for column in DESCRIBED:
        if column not in cohort:
            continue
        cells = []
        for part in parts.values():
            values = part[column].astype("string").fillna("").replace("", "missing")
            counts = values.value_counts().sort_index()
            cells.append(", ".join(f"{value} {count}" for value, count in counts.items()))
        rows.append(f"| {column} | {' | '.join(cells)} |")
    return rows
