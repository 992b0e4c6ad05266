"""What the chosen networks say of the tuning slides: their risks, by all tiles, kept slide by slide.

The members see every tile that scoring would read, through `pathoprog.scoring.slide_scores`, in the precision that the
bundle locks. Each slide's risks are kept in ``<candidates>/tuning_scores`` under a key of content, weights and
settings: a lock that was stopped goes on, and another rule for several slides costs nothing more.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch

from pathoprog.ensemble.loading import Bundle, Member, load_network, network_settings
from pathoprog.ensemble.manifest import Manifest
from pathoprog.errors import InputError, PathoprogError
from pathoprog.networks.engines.choice import choose_runtime
from pathoprog.networks.feature_encoder import load_encoders
from pathoprog.networks.tumour import NetworkOutliner, of_bundle
from pathoprog.quality.look import QualityLook
from pathoprog.scoring.patients import Instances
from pathoprog.scoring.results import INSTANCES, has_instances, instance_bytes, load_instances
from pathoprog.scoring.scorer import Scorer
from pathoprog.scoring.slide_outcomes import SlideScore
from pathoprog.scoring.slide_scores import score_stream
from pathoprog.settings import as_dict
from pathoprog.slides.resolutions import in_order
from pathoprog.stream.slide_stream import tiles_at_once
from pathoprog.system.console import Progress, progress, say, warn
from pathoprog.system.file_names import folder_name
from pathoprog.system.files import atomic_write, finite_or_none, read_json, sha256_file, sha256_value, write_json
from pathoprog.system.machine.cores import cores
from pathoprog.system.machine.device import DTYPES, resolve_device
from pathoprog.system.records import plain
from pathoprog.text.wording import count
from pathoprog.tiles.config import PREPROCESSING_VERSION
from pathoprog.training.config import EnsembleConfig, TrainConfig
from pathoprog.training.data.by_resolution import at, data_at, data_of_each_source
from pathoprog.training.data.folds import read_folds
from pathoprog.training.data.tile_store import specs
from pathoprog.training.lock.other_features import FeatureTiles
from pathoprog.training.lock.tuning_slides import (
    NOT_CUT,
    Seen,
    SlidesTiles,
    StoredTiles,
    TuningTiles,
    stored_facts,
)
from pathoprog.training.member.candidate import Candidate
from pathoprog.training.tumour.segment import WEIGHTS

FOLDER, RISKS = "tuning_scores", "risks.json"
FORMAT = 2  # 2: runtime


@dataclass
class Kept:
    """What the networks said of one slide: `risks` by resolution and member; none where it is not scored.

    `runtime` is what computed them, by resolution: whoever reads them later may be served by another engine.
    """

    seen: Seen
    status: str
    reason: str
    code: str
    risks: dict[str, dict[str, float]] = field(default_factory=dict)
    runtime: dict[str, str] = field(default_factory=dict)


KEPT = ("status", "reason", "code", "risks", "runtime")


@dataclass
class Group:
    """Slides that the same networks judge: all of tuning, or those of a fold's patients.

    Attributes:
        rows: of the cohort table.
        scorer: the networks.
        tiles: where the slides' tiles come from.
        folder: where what the networks say is kept.
        instances_of: ids of slides whose instance values are kept too, for a bag over several slides.
        kept: by slide; those that failed are not in it.
        failed: by slide, why.
    """

    rows: pd.DataFrame
    scorer: Scorer
    tiles: TuningTiles
    folder: Path
    instances_of: set[str]
    kept: dict[str, Kept] = field(default_factory=dict)
    failed: dict[str, SlideScore] = field(default_factory=dict)

    def instances(self, slide_id: str) -> Instances:
        """A slide's instance values."""
        return load_instances(self.folder, slide_id)


def groups_of(
    settings: EnsembleConfig,
    trained: TrainConfig,
    members: Mapping[str, Sequence[Candidate]],
    manifest: Manifest,
    cohort: pd.DataFrame,
) -> Iterator[Group]:
    """Who is judged by which networks: without a tuning cohort, each fold by those that did not see it."""
    if not trained.split.folds:
        yield _group(settings, trained, members, manifest, cohort)
        return
    folds = read_folds(trained)
    for fold in range(trained.split.folds):
        theirs = {name: [one.of_fold(fold) for one in found] for name, found in members.items()}
        rows = cohort[[folds[str(name)] == fold for name in cohort["patient_id"]]]
        yield _group(settings, trained, theirs, manifest, rows, names_of=members)


def _group(
    settings: EnsembleConfig,
    trained: TrainConfig,
    members: Mapping[str, Sequence[Candidate]],
    manifest: Manifest,
    rows: pd.DataFrame,
    names_of: Mapping[str, Sequence[Candidate]] | None = None,
) -> Group:
    device = resolve_device(settings.device)
    records = {name: replace(record, file=None) for name, record in (manifest.encoders or {}).items()}
    loaded: dict[str, list[Member]] = {}
    resolutions = manifest.shape.resolutions
    for resolution in resolutions:
        names = [one.name for one in (names_of or members)[resolution]]
        loaded[resolution] = [
            Member(name, resolution, load_network(one.weights, network_settings(one.network)), sha256_file(one.weights),
                   (0.0, 1.0))
            for name, one in zip(names, members[resolution], strict=True)
        ]  # fmt: skip
    bundle = Bundle(
        folder=Path(settings.out),
        ensemble_id="",
        manifest=replace(manifest, encoders=records or None),
        members=loaded,
        thresholds=dict.fromkeys(resolutions, 0.5),  # not known yet, and no class is kept
        specs={spec.resolution: spec for spec in specs(trained.data)},
        aggregation=settings.aggregation,
        tumour_policy=manifest.tumour_policy,
    )
    tiles = _tiles(settings, trained, manifest, rows, device)
    from_slides = isinstance(tiles, SlidesTiles)
    threads = _threads(settings, manifest)
    runtime = choose_runtime(settings.runtime, device.type, settings.dtype)
    engines = {name: choose_runtime(settings.runtime, device.type, record.dtype) for name, record in records.items()}
    given = settings.encoder_weights
    locked = bundle.manifest.encoders
    found = load_encoders(bundle.folder, locked, given, device, engines, threads, _tell) if from_slides else {}
    scorer = Scorer(bundle, device, DTYPES[settings.dtype], threads, found, runtime, _tell, compiled=True)
    mark = sha256_value(
        {
            "format": FORMAT,
            "members": [[one.name, one.sha256, as_dict(one.network.settings)] for one in scorer.all_members()],
            "encoders": plain(records),
            **({"other_features": plain(manifest.other_features)} if manifest.other_features else {}),
            "dtype": settings.dtype,
            "device": device.type,
            "runtime": [str(one) for one in (runtime, *engines.values())],
            "specs": [as_dict(spec) for spec in specs(trained.data)],
            "batch_tiles": batch_tiles(settings, trained),
            "policy": bundle.tumour_policy,
            "preprocessing": PREPROCESSING_VERSION,
        }
    )
    several = rows["slide_id"].groupby([rows["patient_id"], rows["role"]]).transform("size") > 1
    bags = set(rows.loc[several, "slide_id"].astype(str)) if settings.aggregation == "bag" else set[str]()
    return Group(rows, scorer, tiles, Path(settings.candidates) / FOLDER / mark[:16], bags)


def _tiles(
    settings: EnsembleConfig, trained: TrainConfig, manifest: Manifest, rows: pd.DataFrame, device: torch.device
) -> TuningTiles:
    """Stored tiles where they are those that scoring would read; else the slides'.

    A store of JPEGs holds other pixels than scoring reads: thresholds never rest on it.
    """
    if manifest.other_features is not None:
        return FeatureTiles(trained, manifest.other_features, settings.stream)
    policy = manifest.tumour_policy
    of_each = data_of_each_source(trained)
    as_read = all(one.source == "features" or (one.source == "store" and not one.jpeg_quality) for one in of_each)
    if policy == trained.data.tumour_policy and as_read:
        return StoredTiles(trained, settings.stream)
    if any(one.source == "store" and one.jpeg_quality for one in of_each):
        say("    the tile store holds JPEGs, so that tuning is scored from the slides")
    if policy != "network":
        return SlidesTiles(trained, rows, settings.stream, policy)
    folder = Path(settings.tumour)
    runtime = choose_runtime(settings.runtime, device.type)
    outliner = NetworkOutliner(of_bundle(folder, manifest.tumour, device, runtime, _threads(settings, manifest), _tell))
    return SlidesTiles(trained, rows, settings.stream, policy, outliner, sha256_file(folder / WEIGHTS))


def _threads(settings: EnsembleConfig, manifest: Manifest) -> int:
    return settings.threads or min(manifest.shape.most_members, cores())


def _tell(text: str) -> None:
    say(f"    {text}")


def batch_tiles(settings: EnsembleConfig, trained: TrainConfig) -> dict[str, int]:
    """Tiles that the networks are shown at once, by resolution, as in scoring: part of what makes equal bits."""
    return {spec.resolution: max(1, tiles_at_once(spec.size_px, settings.stream)) for spec in specs(trained.data)}


def score_groups(groups: list[Group], settings: EnsembleConfig, trained: TrainConfig) -> None:
    """Score what is not kept from before.

    Raises:
        InputError: slides that training read cannot be scored.
    """
    todo: list[list[str]] = []
    for group in groups:
        ids = [str(slide_id) for slide_id in group.rows["slide_id"]]
        group.kept = {name: kept for name in ids if (kept := _read(group, name)) is not None}
        todo.append([name for name in ids if name not in group.kept])
    n, n_tiles = sum(map(len, todo)), sum(group.tiles.n_tiles(ids) for group, ids in zip(groups, todo, strict=True))
    before = sum(len(group.kept) for group in groups)
    size = f", {count(n_tiles, 'tile')} ({count(n_tiles * settings.members, 'member-tile')})" if n_tiles else ""
    known = f"; {count(before, 'slide')} kept from before" if before else ""
    where = f"in {settings.dtype} on {groups[0].scorer.device}"
    say(f"    tuning, as slides are scored: {count(n, 'slide')}{size} {where}{known}")
    began, done = time.monotonic(), Counter[str]()
    with progress("tuning scores", n_tiles or n, "tiles" if n_tiles else "slides") as counter:

        def tell(tiles: int, slides: int) -> None:
            done.update(tiles=tiles, slides=slides)
            rate = done["tiles"] / max(time.monotonic() - began, 1e-9)
            note = f"{done['slides']}/{n} slides, {rate:.0f} tiles/s{_left(began, counter)}"
            if step := tiles if n_tiles else slides:
                counter.advance(step, note)

        for group, ids in zip(groups, todo, strict=True):
            events = group.tiles.events(ids)
            for outcome in score_stream(events, group.scorer, on_tiles=lambda tiles: tell(tiles, 0)):
                if outcome.status == "failed":
                    group.failed[outcome.slide_id] = outcome
                else:
                    group.kept[outcome.slide_id] = _keep(group, outcome)
                tell(0, 1)
    _check_failed({name: one for group in groups for name, one in group.failed.items()}, before + n, trained)


def _left(began: float, counter: Progress) -> str:
    """How long the rest will take, in words: the counter's seconds say little of days."""
    share = counter.done / counter.total if counter.total else 1.0
    seconds = (time.monotonic() - began) * (1 - share) / share if share else 0.0
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f", about {seconds / length:.1f} {unit} left"
    return ""


def _check_failed(failed: dict[str, SlideScore], n: int, trained: TrainConfig) -> None:
    """Go on without slides that training went without; stop where others fail, which may read again another time."""
    stored = [
        (data_at(trained, name), name, at(trained, name).network.feature_dim)
        for name in in_order(trained.data.resolutions)
        if data_at(trained, name).source != "slides"
    ]
    absent = {
        name
        for name, outcome in failed.items()
        if outcome.code == NOT_CUT or any(stored_facts(name, *place) is None for place in stored)
    }
    if absent:
        warn(
            f"{count(len(absent), 'tuning slide')} could not be read before training (first {min(absent)}): their"
            " patients have no score, and thresholds rest on the others, as scoring would have it"
        )
    if others := sorted(failed.keys() - absent):
        raise InputError(
            f"{len(others)} of {n} tuning slides cannot be scored, first {others[0]}: {failed[others[0]].reason}; mend"
            " what is wrong, or take the slide out of the cohort and train again; what was scored is kept, and the same"
            " command goes on"
        )


def _key(group: Group, slide_id: str) -> str:
    """Of what the networks say of a slide; empty where it has no tiles."""
    found = group.tiles.key(slide_id)
    return sha256_value(finite_or_none([slide_id, found])) if found is not None else ""


def _read(group: Group, slide_id: str) -> Kept | None:
    """What was kept of a slide and still holds."""
    folder = group.folder / folder_name(slide_id)
    try:
        found = read_json(folder / RISKS)
        if found["key"] != _key(group, slide_id):
            return None
        kept = Kept(Seen.from_dict(found["seen"]), *(found[name] for name in KEPT))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged alike: the slide is scored again
    needed = slide_id in group.instances_of and kept.status == "scored"
    return kept if not needed or has_instances(group.folder, slide_id) else None


def _keep(group: Group, outcome: SlideScore) -> Kept:
    """Keep what the networks said of a slide, whole or not at all."""
    nothing = Seen("", {}, {}, "", float("nan"), float("nan"), QualityLook())
    seen = Seen.of(outcome.opened) if outcome.opened is not None else nothing
    risks = {
        resolution: dict(zip(found.members, found.member_risks, strict=True))
        for resolution, found in outcome.resolutions.items()
    }
    runtime = {resolution: found.runtime for resolution, found in outcome.resolutions.items()}
    kept = Kept(seen, outcome.status, outcome.reason, outcome.code, risks, runtime)
    folder = group.folder / folder_name(outcome.slide_id)
    values = {name: getattr(kept, name) for name in KEPT}
    try:
        if outcome.slide_id in group.instances_of and outcome.status == "scored":
            with atomic_write(folder / INSTANCES) as stream:
                stream.write(instance_bytes(outcome))
        write_json(folder / RISKS, {"key": _key(group, outcome.slide_id), "seen": seen.as_dict(), **values})
    except OSError as error:
        raise PathoprogError(
            f"{group.folder}: tuning scores cannot be written ({error.strerror or error}); free some space"
            " or change its permissions, and give the same command again: what was scored is kept"
        ) from error
    return kept
