"""What is wrong with a manifest whose form is right: members, thresholds, encoders, and what the thresholds rest on."""

import re

from pathoprog.ensemble.clinical import CATEGORY, MISSING_RULES, NUMBER, SCORE
from pathoprog.ensemble.manifest import Manifest
from pathoprog.networks.config import NO_ENCODER

PRECISIONS = ("fp32", "bf16")
"""In which slides may be scored, and in which a frozen encoder computes."""
FEATURE_PRECISIONS = ("fp16", "fp32")


def manifest_problems(manifest: Manifest) -> list[str]:
    """What is wrong, a line each; nothing for a manifest that may be scored with."""
    return [
        *member_problems(manifest),
        *encoder_problems(manifest),
        *basis_problems(manifest),
        *covariate_problems(manifest),
    ]


def member_problems(manifest: Manifest) -> list[str]:
    """Weights that are not among the hashed files, another number of members, and thresholds out of range."""
    problems = []
    if manifest.tumour is not None and manifest.tumour.file not in manifest.files:
        problems.append(f"tumour network: its file {manifest.tumour.file} is not among the hashed files")
    if manifest.tumour is not None and manifest.tumour.outline.unknown:
        unknown = ", ".join(sorted(manifest.tumour.outline.unknown))
        problems.append(f"tumour network: settings this version does not know: {unknown}")
    names = [member.name for member in manifest.members]
    problems += [
        f"{name}: the name of several members" for name in sorted({one for one in names if names.count(one) > 1})
    ]
    shape = manifest.shape
    if manifest.other_shape is not None and shape.is_methods:
        problems.append(f"other_shape: {shape.words} is METHOD's own")
    for resolution in shape.resolutions:
        members = manifest.members_at(resolution)
        if len(members) != shape.members[resolution]:
            problems.append(f"{len(members)} members at {resolution}, needs {shape.members[resolution]}")
        problems += [
            f"{member.name}: its file {member.file} is not among the hashed files"
            for member in members
            if manifest.files.get(member.file) != member.sha256
        ]
        if not 0.0 <= manifest.thresholds[resolution].value <= 1.0:
            problems.append(f"no threshold in [0, 1] at {resolution}")
    return problems


def encoder_problems(manifest: Manifest) -> list[str]:
    """What is wrong with the encoders, and with the members that need them."""
    problems = []
    records = manifest.encoders or {}
    for resolution, record in sorted(records.items()):
        if not re.fullmatch("[0-9a-f]{64}", record.weights_sha256):
            problems.append(f"encoder at {resolution}: weights_sha256 is no SHA-256")
        elif record.dtype not in PRECISIONS or record.precision not in FEATURE_PRECISIONS:
            problems.append(f"encoder at {resolution}: dtype {record.dtype} or precision {record.precision}")
        elif record.file is not None and manifest.files.get(record.file) != record.weights_sha256:
            problems.append(f"encoder at {resolution}: its file {record.file} is not the one that the record names")
    makers = manifest.other_features or {}
    if (manifest.same_scores is not None) != bool(records and makers):
        problems.append("encoders beside features of another tool: only after a check that both give equal scores")
    problems += [f"features of another tool at {name}, where the ensemble has none" for name in makers
                 if name not in manifest.shape.resolutions]  # fmt: skip
    for member in manifest.members:
        name, network = member.name, member.network.settings
        own = records.get(member.resolution)
        given = own or makers.get(member.resolution)
        if (network.encoder == NO_ENCODER) != (given is not None):
            has = "has an encoder of its own" if given is not None else "takes features"
            there = "an" if given is not None else "no"
            problems.append(f"{name}: {has}, and there is {there} encoder for all at {member.resolution}")
        elif own is not None and network.feature_dim != own.d:
            problems.append(f"{name}: takes features of d={network.feature_dim}, the encoder has d={own.d}")
        elif given is not None and network.feature_dim != given.d:
            problems.append(
                f"{name}: takes features of d={network.feature_dim}, those of the other tool have d={given.d}"
            )
    return problems


def basis_problems(manifest: Manifest) -> list[str]:
    """What is wrong with what is said of the thresholds' basis; nothing for bundles of earlier versions."""
    if manifest.tuning_scores is None:
        return []
    problems = []
    if manifest.precision not in PRECISIONS:
        problems.append(f"precision {manifest.precision!r}, must be one of {', '.join(PRECISIONS)}")
    for name in ("n_tiles", "batch_tiles"):
        said = getattr(manifest.tuning_scores, name)
        lacking = [resolution for resolution in manifest.shape.resolutions if resolution not in said]
        problems += [f"tuning_scores.{name}: lacks {', '.join(lacking)}"] if lacking else []
    return problems


def covariate_problems(manifest: Manifest) -> list[str]:
    """What is wrong with the model over covariates: a rule or a kind that is unknown, or terms that are not theirs."""
    model = manifest.covariates
    if model is None:
        return []
    problems = []
    if model.missing not in MISSING_RULES:
        problems.append(f"covariates.missing: {model.missing!r}, must be one of {', '.join(MISSING_RULES)}")
    wanted = [(SCORE, "")]
    for covariate in model.covariates:
        ends = [_as_number(text) for text in (covariate.typical, *covariate.levels)]
        if covariate.kind == NUMBER and len(ends) == 3 and None not in ends:
            wanted.append((covariate.name, ""))
        elif covariate.kind == CATEGORY and len(covariate.levels) > 1 and covariate.typical in covariate.levels:
            wanted += [(covariate.name, level) for level in covariate.levels[1:]]
        else:
            problems.append(f"covariates: {covariate.name}: kind {covariate.kind}, typical value or levels are wrong")
    if not problems and [(term.covariate, term.level) for term in model.terms] != wanted:
        problems.append("covariates: the terms are not those of the score and the covariates")
    return problems


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
