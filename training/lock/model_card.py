"""The model card: what an ensemble is for, whom it learned from, and its limits, in words made from the facts."""

import pandas as pd

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.ensemble.clinical import NO_RISK, clinical_lines
from pathoprog.ensemble.manifest import Manifest
from pathoprog.ensemble.tuning_basis import basis_line
from pathoprog.networks.encoder_records import encoder_lines
from pathoprog.networks.foreign.maker import maker_lines
from pathoprog.text.wording import capital, count, listing, number_word
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data.by_resolution import at
from pathoprog.training.data.learners import Used
from pathoprog.training.search.trials import looked_at_line

DESCRIBED = (
    "cohort",
    "prep_site",
    "scan_site",
    "scanner",
    "sex",
    "age",
    "stage",
    "pT",
    "pN",
    "grade",
    "organ",
    "specimen",
    "stain",
    "neoadjuvant",
)
"""What a reader asks: was it trained on patients like ours? Columns that the cohort lacks are named as not recorded."""
FEW = 20
"""Groups with fewer training patients than this are named among the limits (a project default)."""
GROUPS = ("prep_site", "scan_site", "scanner", "sex", "stage")
MISSING = "missing"


def model_card(
    settings: EnsembleConfig, trained: TrainConfig, manifest: Manifest, shares: dict[str, float], used: Used
) -> str:
    """Markdown text of the card.

    Args:
        settings: of the choice.
        trained: settings of the candidates' training; its cohort table describes the patients.
        manifest: of the bundle to be.
        shares: of the classes on tuning.
        used: who took part; patients of the cohort who did not are not described.
    """
    cohort = read_cohort(trained.data.cohort, trained.data.overlap)
    cohort = cohort[cohort["patient_id"].isin(used.patient_ids)]
    roles = {"training": DEVELOPMENT_ROLES, "tuning": DEVELOPMENT_ROLES} if trained.split.folds else {}
    parts = {
        role: cohort[cohort["role"].isin(roles.get(role, (role,)))].drop_duplicates("patient_id")
        for role in DEVELOPMENT_ROLES
    }
    lines = [
        f"# Model card: {settings.name}",
        "",
        f"**{RESEARCH_USE_ONLY}**",
        "",
        "## Intended use",
        settings.intended_use,
        "Input: digitised H&E whole-slide images of primary tumour resections. Output per patient:"
        f" {_output(manifest)}",
        "Not meant for biopsies, for organs other than those below, or for tumours that were treated before surgery.",
        "",
        "## Ensemble",
        *([f"**This is {manifest.shape.caution}.**", ""] if manifest.shape.caution else []),
        _networks(manifest),
        f"{encoder_line(trained, manifest)}, pooling {trained.network.pooling},"
        f" loss {trained.fit.loss}. Several slides of a patient: {manifest.aggregation}."
        f" Tumour area: {manifest.tumour_policy}.{tumour_line(manifest)}",
        "",
        "| resolution | tile | threshold (95% bootstrap) | rule |",
        "|---|---|---|---|",
    ]
    for resolution, cut in manifest.thresholds.items():
        spec = manifest.tile_specs[resolution]
        interval = "" if cut.lower is None or cut.upper is None else f" ({cut.lower:.4f} to {cut.upper:.4f})"
        maker = (manifest.other_features or {}).get(resolution)
        tile = f"{spec.size_px} px at {spec.mpp:g} um/px" if maker is None else f"the other tool's: {maker.says()}"
        lines.append(f"| {resolution} | {tile} | {cut.value:.4f}{interval} | {cut.rule or ''} |")
    if (model := manifest.covariates) is not None:
        lines += ["", "## Clinical covariates", f"{model.says()}.", *(f"- {line}" for line in clinical_lines(model))]
        lines += ["", NO_RISK]
    basis = basis_line(manifest)
    lines += ["", f"{basis[0].upper()}{basis[1:]}.", "", "## Whom it learned from"]
    for role, facts in (manifest.cohorts or {}).items():
        lines.append(
            f"- {role}: {facts.n_patients} patients, {facts.n_slides} slides, {facts.n_tiles} tiles,"
            f" {facts.n_events} events"
        )
    lines += [f"- {left_out_line(used)}."] if any(left for left, _ in used.left_out.values()) else []
    labels = trained.labels
    lines += [
        f"- distinct outcome: good = followed over {labels.good_after_years:g} years without the event;"
        f" poor = the event between {labels.poor_from_days:g} days and {labels.poor_until_years:g} years.",
        f"- judged on: {judged_on(manifest)}.",
        "",
        "| | training | tuning |",
        "|---|---|---|",
        *_described(parts),
        "",
        "## Limits",
        *(f"- {limit}" for limit in _limits(manifest, parts, shares)),
    ]
    return "\n".join(lines) + "\n"


def left_out_line(used: Used) -> str:
    """How many slides of the cohort took no part, as the command and the card say it."""
    parts = [f"{left} of {count(n, f'{role} slide')}" for role, (left, n) in used.left_out.items() if left]
    return (
        f"left out, at one resolution or all: {listing(parts)} (damaged, unreadable, or without tiles or features);"
        " nothing here counts them"
    )


def _output(manifest: Manifest) -> str:
    if len(manifest.shape.resolutions) == 1:
        return "a score in [0, 1] (higher = worse) and a class: good or poor; one resolution is never uncertain."
    return "two scores in [0, 1] (higher = worse) and a class: good, uncertain (the two resolutions disagree) or poor."


def _networks(manifest: Manifest) -> str:
    """How many networks at which resolution."""
    shape = manifest.shape
    each = [
        f"{number_word(shape.members[name])} at {name} ({manifest.tile_specs[name].mpp} um/px)"
        for name in shape.resolutions
    ]
    return f"{count(shape.n_members, 'network')}: {listing(each)}."


def encoder_line(trained: TrainConfig, manifest: Manifest) -> str:
    """What encodes a tile: each network's own encoder, or the frozen one whose features all of them take."""
    if lines := maker_lines(manifest.other_features):
        return f"Networks on {'; '.join(lines)}"
    frozen = encoder_lines(manifest.encoders)
    of_images = [name for name in manifest.shape.resolutions if name not in (manifest.encoders or {})]
    own = {name: at(trained, name).network for name in of_images}
    said = [f"encoder {one.encoder} (width {one.width:g})" for one in own.values()]
    if len(set(said)) > 1 or (said and frozen):
        said = [f"{text} at {name}" for text, name in zip(said, own, strict=True)]
    if frozen:
        said.append(f"networks on features of the {'; '.join(frozen)}")
    return capital("; ".join(dict.fromkeys(said)))


def tumour_line(manifest: Manifest) -> str:
    """What the card says of the tumour network, where there is one."""
    found = manifest.tumour
    if found is None:
        return ""
    cohorts = found.cohorts or {}
    learned = f", learned from outlines on {cohorts['training'].n_slides} slides" if "training" in cohorts else ""
    return (
        f" Tumour network: U-Net on {found.network.settings.encoder} at {found.outline.settings.mpp:g} um/px{learned};"
        f" Dice on tuning {found.tuning_dice:.3f}."
    )


def judged_on(manifest: Manifest) -> str:
    """What candidates and thresholds were judged on, in words."""
    tuning = (manifest.cohorts or {}).get("tuning")
    if tuning is None or tuning.out_of_folds is None:
        return "tuning, selected on outcome"
    together = f", {tuning.together} kept together" if tuning.together else ""
    return f"the same patients as they learned from, each out of {tuning.out_of_folds} folds{together}"


def _limits(manifest: Manifest, parts: dict[str, pd.DataFrame], shares: dict[str, float]) -> list[str]:
    """What must be known before use, from the facts."""
    found = []
    if (parent := manifest.parent) is not None:
        found.append(
            f"**Fine-tuned from the ensemble {parent.name} ({parent.ensemble_id[:16]}); not validated.** No"
            " validation of that ensemble holds for this one; what that one learned from stands in its own card, and"
            " none of its patients may be in a validation of this one."
        )
    if (tuning := (manifest.cohorts or {}).get("tuning")) is not None and tuning.out_of_folds is not None:
        found.append(
            "There was no tuning cohort. Thresholds were fixed on scores of networks that had not seen the patient;"
            " the members learned from all patients and may score a little differently."
        )
    if looked_at := int((manifest.training or {}).get("looked_at", 0)):
        found.append(f"Its settings were chosen among others: {looked_at_line(looked_at)}.")
    if manifest.encoders:
        found.append(
            "What the frozen encoder learned from is not known here: patients of a validation may be among it; and its"
            " weights have a licence of their own."
        )
    if manifest.other_features:
        found.append(
            "The features are another tool's: what it took for tissue, how it read slides and what its encoder learned"
            " from are known as far as its files say them. Slides are not opened, so that their quality is not checked."
        )
    found += [
        "Training and tuning patients were selected on outcome: nothing measured on them describes a population.",
        f"Classes where it was judged: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}.",
        "Neither a score nor a tile's score is a probability of death, or a cause.",
        "Scanners, sites, organs, stages and preparations other than those above were not seen in training.",
    ]
    training = parts["training"]
    few = [
        f"{column} {value} ({count})"
        for column in GROUPS
        if column in training
        for value, count in _values(training[column]).value_counts().sort_index().items()
        if count < FEW and value != MISSING
    ]
    if few:
        found.append(f"Fewer than {FEW} training patients: {', '.join(few)}.")
    absent = [column for column in DESCRIBED if column not in training or (_values(training[column]) == MISSING).all()]
    if absent:
        found.append(f"Not recorded, so not known to be represented: {', '.join(absent)}.")
    found.append("The method is the subject of patent application WO 2019/096708 A1: users must mind it.")
    found.append("Not validated by this card: `pathoprog validate` on a cohort that played no part in it does that.")
    return found


def _absent(parts: dict[str, pd.DataFrame]) -> list[str]:
    """Described columns that the cohort lacks, or that are empty for everybody."""
    return [
        column
        for column in DESCRIBED
        if all(column not in part or (_values(part[column]) == MISSING).all() for part in parts.values())
    ]


def _values(column: pd.Series) -> pd.Series:
    return column.astype("string").fillna("").replace("", MISSING)


def _described(parts: dict[str, pd.DataFrame]) -> list[str]:
    """Table rows: the values of each described column with their counts of patients; age by its quartiles and range."""
    rows = []
    absent = _absent(parts)
    for column in DESCRIBED:
        cells = []
        for part in parts.values():
            if column in absent:
                cells.append("not recorded")
            elif column == "age":
                cells.append(_ages(pd.to_numeric(part[column], errors="coerce")))
            else:
                counts = _values(part[column]).value_counts().sort_index()
                cells.append(", ".join(f"{value} {count}" for value, count in counts.items()))
        rows.append(f"| {column} | {' | '.join(cells)} |")
    return rows


def _ages(age: pd.Series) -> str:
    known = age.dropna()
    if known.empty:
        return f"{MISSING} {len(age)}"
    low, middle, high = known.quantile([0.25, 0.5, 0.75])
    missing = f", {MISSING} {age.isna().sum()}" if age.isna().any() else ""
    return f"median {middle:.0f} (quartiles {low:.0f}-{high:.0f}, range {known.min():.0f}-{known.max():.0f}){missing}"
