"""`pathoprog match_features`: may a bundle on another tool's features score slides through features of our own?

Only after a check on slides that have both: the heads' scores must agree within a tolerance, and the classes too. The
check is stored in a new bundle, which then also names our encoder; the old one stays as it is.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from pathoprog.ensemble.bundle import ensemble_id, lock, read_manifest
from pathoprog.ensemble.loading import load_bundle
from pathoprog.ensemble.manifest import Manifest, SameScoresRecord
from pathoprog.ensemble.tuning_basis import locked_precision
from pathoprog.errors import ConfigError, InputError
from pathoprog.networks.feature_values import Features
from pathoprog.networks.features import read_features
from pathoprog.networks.foreign.folder import look_into
from pathoprog.scoring.feature_stream import checked
from pathoprog.scoring.scorer import Scorer
from pathoprog.stream.config import StreamSettings
from pathoprog.stream.slide_stream import tiles_at_once
from pathoprog.system.console import progress, say
from pathoprog.system.csv_files import csv_text
from pathoprog.system.files import write_text
from pathoprog.system.machine.device import DTYPES, one_thread, resolve_device
from pathoprog.text.wording import count, listing
from pathoprog.training.config import EnsembleConfig, MatchFeaturesConfig
from pathoprog.training.data.data_config import DataSettings
from pathoprog.training.data.feature_store import Origin, features_folder, origin
from pathoprog.training.lock.encoder import add_encoders

CARD = "model_card.md"
Scores = dict[str, float]


def run(settings: MatchFeaturesConfig) -> int:
    """Compare, and lock a bundle that scores both; refused, with the differences, where they do not agree."""
    manifest = read_manifest(settings.bundle)
    makers = manifest.other_features or {}
    if not makers or manifest.encoders:
        what = "was checked before" if makers else "takes no features of another tool"
        raise InputError(f"{settings.bundle}: {what}: there is nothing to check")
    resolutions = tuple(makers)
    data = DataSettings(features=settings.own, resolutions=list(resolutions))
    files = {
        name: {"own": features_folder(data, name), "other": _of_other(settings, name, resolutions)}
        for name in resolutions
    }
    both = [
        {one: look_into(folder).files for one, folder in folders.items()} for folders in files.values()
    ]  # of each resolution
    names = sorted(set.intersection(*(set(found["own"]) & set(found["other"]) for found in both)))
    if len(names) < settings.least_slides:
        raise InputError(
            f"{count(len(names), 'slide')} have features of both kinds at {listing(list(resolutions))};"
            f" {settings.least_slides} are needed (least_slides)"
        )
    origins = {name: origin(names, data, name) for name in resolutions}
    for name, found in origins.items():
        if found.encoder.d != makers[name].d:
            raise InputError(f"{files[name]['own']}: d={found.encoder.d}, the members take d={makers[name].d}")
    scorer = _scorer(settings, manifest)
    rows, rows_of_class = [], []
    with one_thread(), progress("slides", len(names), "slides") as counter:
        for slide in names:
            paths = {
                name: {one: found[one][slide] for one in found} for name, found in zip(resolutions, both, strict=True)
            }
            theirs = {name: checked({name: str(paths[name]["other"])}, name, makers[name]) for name in resolutions}
            ours = {name: read_features(paths[name]["own"]) for name in resolutions}
            scores = [_scores(scorer, one) for one in (ours, theirs)]
            rows += [_row(slide, name, scores, paths) for name in resolutions if name in scores[0] or name in scores[1]]
            rows_of_class.append(_classes(scorer, scores))
            counter.advance()
    return _judge(settings, manifest, origins, rows, rows_of_class)


def _of_other(settings: MatchFeaturesConfig, resolution: str, resolutions: tuple[str, ...]) -> Path:
    below = Path(settings.other) / resolution
    if not below.is_dir() and len(resolutions) > 1:
        raise ConfigError(f"other={settings.other}: no folder {resolution} in it; the ensemble has two resolutions")
    return below if below.is_dir() else Path(settings.other)


def _scorer(settings: MatchFeaturesConfig, manifest: Manifest) -> Scorer:
    bundle = load_bundle(settings.bundle)
    return Scorer(bundle, resolve_device(settings.device), DTYPES[locked_precision(manifest) or "fp32"])


def _scores(scorer: Scorer, features: Mapping[str, Features]) -> Scores:
    """Score of one slide at each resolution that has tiles, by the heads as slides are scored."""
    found = {}
    for name, one in features.items():
        step = max(1, tiles_at_once(scorer.bundle.specs[name].size_px, StreamSettings()))
        parts = [scorer.instances(name, one.values[at : at + step]) for at in range(0, len(one.values), step)]
        if parts:
            scores = scorer.bag_scores(name, [torch.cat(values) for values in zip(*parts, strict=True)])
            found[name] = sum(scores) / len(scores)
    return found


def _row(
    slide: str, resolution: str, scores: list[Scores], paths: Mapping[str, Mapping[str, Path]]
) -> dict[str, object]:
    if resolution not in scores[0] or resolution not in scores[1]:
        lacking = paths[resolution]["own" if resolution not in scores[0] else "other"]
        raise InputError(f"{lacking}: no tile at {resolution}, where the other tool, or our own reading, has some")
    ours, theirs = (found[resolution] for found in scores)
    return {"slide_id": slide, "resolution": resolution, "own": ours, "other": theirs, "difference": abs(ours - theirs)}


def _classes(scorer: Scorer, scores: list[Scores]) -> bool:
    """Whether both give the same class; slides without a score at some resolution have none."""
    whole = [one for one in scores if set(one) == set(scorer.bundle.specs)]
    return len({scorer.classify(one)[0] for one in whole}) < 2


def _judge(
    settings: MatchFeaturesConfig,
    manifest: Manifest,
    origins: dict[str, Origin],
    rows: list[dict[str, object]],
    same_class: list[bool],
) -> int:
    largest = {
        name: max((float(str(row["difference"])) for row in rows if row["resolution"] == name), default=0.0)
        for name in origins
    }
    table = f"{settings.out}.match.csv"
    write_text(table, csv_text(rows))
    others = same_class.count(False)
    said = ", ".join(f"{value:.2g} at {name}" for name, value in largest.items())
    say(f"    {count(len(same_class), 'slide')}: scores differ by at most {said}; other classes: {others} ({table})")
    if max(largest.values()) > settings.tolerance or others:
        raise InputError(
            f"features of {settings.own} do not give the scores of the other tool's within"
            f" {settings.tolerance:g} on {count(len(same_class), 'slide')} (at most {said}; {others} of another class):"
            f" nothing was locked; the bundle goes on with the other tool's features alone. Each slide: {table}"
        )
    files: dict[str, Path | str] = {name: Path(settings.bundle) / name for name in manifest.files}
    weights = EnsembleConfig(encoder_weights=settings.encoder_weights)
    made = add_encoders(weights, origins, replace(manifest, files={}), files)
    record = SameScoresRecord(
        supersedes=ensemble_id(settings.bundle),
        n_slides=len(same_class),
        tolerance=settings.tolerance,
        largest_difference=largest,
    )
    policies = {found.tumour_policy for found in origins.values()}
    if len(policies) > 1:
        raise ConfigError("features of our own at two resolutions lie by two tumour policies; make them by one")
    made = replace(
        made,
        same_scores=record,
        tile_specs={name: found.spec for name, found in origins.items()},
        tumour_policy=policies.pop(),
    )
    card = (Path(settings.bundle) / CARD).read_text(encoding="utf-8")
    files[CARD] = f"{card}\n## Own features\n{record.says()}.\n"
    say(f"    locked {settings.out}: ensemble {lock(settings.out, made, files)[:16]}; it scores slides and features")
    return 0
