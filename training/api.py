"""The researcher's public Python API: train members, lock an ensemble; `pathoprog.api` then loads it and scores.

Every call runs the code of the command that does the same (`pathoprog train`, `pathoprog ensemble`), with the same
rules, files and refusals: what the one began the other goes on with. Nothing is printed and nothing exits: lines and
warnings go to the logger ``pathoprog``, warnings are also in the result, progress goes to `on_progress`, and what is
wrong is raised. For research use only. Not for diagnosis or treatment decisions.

Ten networks, locked:

    from pathoprog.training.api import lock, train_member, training_settings

    settings = training_settings("experiment=demo", "data.cohort=cohort.csv", "data.outcomes=outcomes.csv",
                                 "data.store=tiles")
    members = [train_member(settings, f"runs/10x-{seed}", resolution="10x", seed=seed) for seed in range(1, 6)]
    members += [train_member(settings, f"runs/40x-{seed}", resolution="40x", seed=seed) for seed in range(1, 6)]
    locked = lock(members, "bundle", name="mine")

One member is trained in the caller's process, on one device or several (`fit.gpus`); many at once, over machines, with
crashes started again, are `pathoprog train_ensemble`'s, whose folder `lock` takes as well. Importing this module loads
nothing heavy; PyTorch comes with the first call.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.errors import ConfigError, InputError
from pathoprog.networks.augmentation_config import AugmentSettings
from pathoprog.networks.config import NetworkSettings
from pathoprog.settings import built_by_hand, check, shown
from pathoprog.system.console import OnProgress, logged
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.training.config import EnsembleConfig, FitSettings, TrainConfig
from pathoprog.training.data.data_config import DataSettings

if TYPE_CHECKING:
    import pandas as pd

    from pathoprog.training.lock.ensemble import LockedCandidates
    from pathoprog.training.member.candidate import Candidate

__all__ = [
    "AugmentSettings",
    "DataSettings",
    "EnsembleConfig",
    "FitSettings",
    "LockedEnsemble",
    "NetworkSettings",
    "TrackingSettings",
    "TrainConfig",
    "TrainedMember",
    "lock",
    "read_member",
    "train_member",
    "training_settings",
]


@dataclass(frozen=True)
class TrainedMember:
    """A network that was trained to the end and may be chosen; `train_member` and `read_member` make it.

    Attributes:
        folder: where it lies.
        name: that of its folder; what it is called in a bundle.
        resolution: of its tiles, such as ``10x``.
        seed: of the training.
        step: of its best checkpoint.
        tuning_c: Harrell's c of that checkpoint on tuning, in [0, 1]. It ranks candidates, and compares with nothing
            else: the tuning patients were selected on outcome, and the checkpoint on them.
        tuning_c_interval: its 95% interval.
        weights: the checkpoint, safetensors.
        n_training: patients that the loss could use.
        warnings: what training warned of; empty for a member that was only read.
    """

    folder: Path
    name: str
    resolution: str
    seed: int
    step: int
    tuning_c: float
    tuning_c_interval: tuple[float, float]
    weights: Path
    n_training: int
    warnings: tuple[str, ...]
    _candidate: "Candidate" = field(repr=False)

    @property
    def metrics(self) -> "pd.DataFrame":
        """What was measured on the way: one row a step, ``step, loss, grad_norm, lr, tuning_c …``; NaN if not then."""
        import pandas as pd

        from pathoprog.training.member.metrics import read_metrics

        lines = pd.DataFrame(read_metrics(self.folder))
        return lines if lines.empty else lines.groupby("step", as_index=False).first()

    def __repr__(self) -> str:
        low, high = self.tuning_c_interval
        return (
            f"<member {self.name}: {self.resolution}, seed {self.seed}, step {self.step}; c on tuning"
            f" {self.tuning_c:.3f} (95% CI {low:.3f} to {high:.3f}), {self.n_training} training patients."
            f" {RESEARCH_USE_ONLY}>"
        )


@dataclass(frozen=True)
class LockedEnsemble:
    """A bundle that was chosen, fixed and locked; `lock` makes it, `pathoprog.api.load_ensemble` loads its folder.

    Attributes:
        folder: the bundle.
        ensemble_id: SHA-256 of its manifest.
        name: given at the lock.
        members: names of those chosen, by resolution.
        thresholds: by resolution; a score at its threshold counts as above it.
        threshold_intervals: their 95% bootstrap intervals; NaN without a bootstrap.
        tuning_c: of the members together as slides are scored, by resolution; selected on outcome.
        class_shares: share of each class on tuning; selected on outcome.
        choice: every candidate, one row each: rank, seed, step, c on tuning with its interval, chosen or not.
        figures: the choice, drawn (files beside the bundle).
        warnings: what the lock warned of.
    """

    folder: Path
    ensemble_id: str
    name: str
    members: dict[str, tuple[str, ...]]
    thresholds: dict[str, float]
    threshold_intervals: dict[str, tuple[float, float]]
    tuning_c: dict[str, float]
    class_shares: dict[str, float]
    choice: "pd.DataFrame" = field(repr=False)
    figures: tuple[Path, ...]
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        parts = [
            f"{resolution}: {len(names)} members, threshold {self.thresholds[resolution]:.4f}"
            for resolution, names in self.members.items()
        ]
        said = "; ".join(parts)
        return f"<locked {self.name!r} ({self.ensemble_id[:12]}…) in {self.folder}: {said}. {RESEARCH_USE_ONLY}>"


def training_settings(*arguments: str) -> TrainConfig:
    """The settings that `pathoprog train` would have: those of an experiment, changed by what is given.

    Args:
        arguments: as on the command line: ``"experiment=demo"``, ``"experiment=/path/my.yaml"``, ``"fit.steps=200"``,
            ``"data.cohort=cohort.csv"``.

    Returns:
        Settings to be changed and given to `train_member`; what is required is checked there. Relative paths stay
        relative: they are of the folder that `train_member` is called in.

    Raises:
        ConfigError: an unknown key, a value of the wrong type; names it.
    """
    from pathoprog.cli import compose

    if wrong := [one for one in arguments if not isinstance(one, str)]:
        raise ConfigError(f"arguments: each must be a text such as 'fit.steps=200', not {shown(wrong[0])}")
    settings = compose("train", list(arguments), checked=False)
    assert isinstance(settings, TrainConfig)
    return settings


def train_member(
    settings: TrainConfig,
    out: str | Path = "",
    *,
    resolution: str = "",
    seed: int | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedMember:
    """Train one candidate member, or go on with one that was stopped: what `pathoprog train` does, bit for bit.

    A finished member with the same settings and data is left as it is and returned. The settings given are not changed.

    Args:
        settings: of `training_settings`, or a `TrainConfig` built by hand; relative paths are of the current folder.
        out: the run's folder; empty: `settings.out`.
        resolution: of the tiles; empty: `settings.resolution`.
        seed: of weights, batches and augmentation; None: `settings.seed`.
        on_progress: told ``(label, done, total)``: tiles that are cut, steps that are trained.

    Raises:
        ConfigError: a setting is missing, out of range, or does not fit the others; or PyTorch is not installed.
        CohortError: cohort or outcomes are not there, or break their rules; lists the rows.
        InputError: the folder holds a run of other settings or data, too many slides are missing, or nothing can be
            learned from the outcomes.
        DivergedError: a loss that is not finite; the same settings and data come to it again.
    """
    own = built_by_hand(settings, TrainConfig)
    own.out = str(out) or own.out
    own.resolution = resolution or own.resolution
    own.seed = own.seed if seed is None else seed
    own = built_by_hand(own, TrainConfig)
    with _quietly("train", on_progress) as warnings:
        check(own)
        from pathoprog.training.train import train_candidate

        return _member(train_candidate(own), tuple(warnings))


def read_member(folder: str | Path) -> TrainedMember:
    """A member that was trained before, here or by a command.

    Args:
        folder: its folder, such as ``candidates/10x-seed1``.

    Raises:
        InputError: no finished candidate is there, or its files are damaged.
    """
    from pathoprog.training.member.candidate import read_candidate

    return _member(read_candidate(Path(folder)), ())


def lock(
    members: Sequence[TrainedMember | str | Path] | str | Path,
    out: str | Path,
    *,
    name: str = "",
    settings: EnsembleConfig | None = None,
    on_progress: OnProgress | None = None,
) -> LockedEnsemble:
    """Choose the best members of each resolution on tuning, fix the thresholds, lock: what `pathoprog ensemble` does.

    The tuning patients are scored as slides will be; relative paths of the members' settings are of the current folder,
    or, where nothing is there, of the one that they were trained in. A lock is never rewritten: another ensemble needs
    another folder; the same members and settings find theirs unchanged.

    Args:
        members: trained ones, or their folders, as many at each resolution as are chosen or more; of one recipe, on the
            same data, each with a folder's name of its own. Or the folder that `pathoprog train_ensemble` wrote.
        out: the bundle's folder.
        name: the ensemble's; empty: `settings.name`.
        settings: of the choice, how tuning is scored, what the ensemble is made for; None: the command's defaults.
        on_progress: told ``(label, done, total)``.

    Raises:
        ConfigError: a setting is out of range, or does not fit the members.
        InputError: too few members of a resolution, two of one name, members of different recipes or data, or data that
            has changed since they were trained.
        CohortError: a tuning patient without an outcome.
        LockError: the folder holds another bundle.
    """
    own = built_by_hand(settings, EnsembleConfig) if settings is not None else EnsembleConfig()
    own.out = str(out)
    own.name = name or own.name
    if not isinstance(members, str | Path):
        members = _read_all(members)
    own.candidates = str(members if isinstance(members, str | Path) else _common_folder(members))
    with _quietly("ensemble", on_progress) as warnings:
        check(own)
        from pathoprog.system.tracking_config import check_tracking
        from pathoprog.training.lock.ensemble import lock_candidates, read_training

        check_tracking(own.track)
        training = read_training(own.candidates) if isinstance(members, str | Path) else _training_of(members)
        return _locked(own, lock_candidates(own, *training), tuple(warnings))


def _read_all(members: "Sequence[TrainedMember | str | Path]") -> list[TrainedMember]:
    """The members, those given by their folders read.

    Raises:
        ConfigError: something else is among them.
    """
    if not isinstance(members, Sequence):
        raise ConfigError(f"members: must be trained members, or a folder of them, not {shown(members)}")
    found = []
    for one in members:
        if not isinstance(one, TrainedMember | str | Path):
            raise ConfigError(f"members: must be trained members or their folders, not {shown(one)}")
        found.append(one if isinstance(one, TrainedMember) else read_member(one))
    return found


def _common_folder(members: Sequence[TrainedMember]) -> Path:
    """Where tuning's scores are kept, so that another lock need not score again: the folder of the first member's.

    Raises:
        InputError: no members, or two of one name.
    """
    if not members:
        raise InputError("members: none were given; an ensemble is chosen among trained members")
    names = [member.name for member in members]
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise InputError(
            f"members: several are called {', '.join(twice)}; a bundle's members go by their folders' names"
        )
    return members[0].folder.parent


def _training_of(members: Sequence[TrainedMember]) -> "tuple[TrainConfig, list[Candidate], str]":
    """What members trained one by one have in common, as `read_training` gives it for those of one command."""
    from pathoprog.system.files import read_json
    from pathoprog.training.member.candidate import SETTINGS
    from pathoprog.training.train import settings_from_dict

    trained = settings_from_dict(read_json(members[0].folder / SETTINGS))
    return trained, [member._candidate for member in members], ""


def _member(candidate: "Candidate", warnings: tuple[str, ...]) -> TrainedMember:
    candidate = replace(candidate, folder=candidate.folder.absolute())  # it is the same after a change of directory
    verdict = candidate.verdict
    return TrainedMember(
        folder=candidate.folder,
        name=candidate.name,
        resolution=candidate.resolution,
        seed=candidate.seed,
        step=candidate.best[0].step,
        tuning_c=candidate.tuning_c,
        tuning_c_interval=(verdict.c_lower, verdict.c_upper),
        weights=candidate.weights,
        n_training=candidate.n_training,
        warnings=warnings,
        _candidate=candidate,
    )


def _locked(settings: EnsembleConfig, found: "LockedCandidates", warnings: tuple[str, ...]) -> LockedEnsemble:
    import pandas as pd

    members: dict[str, tuple[str, ...]] = {}
    for record in found.manifest.members:
        members[record.resolution] = (*members.get(record.resolution, ()), record.name)
    return LockedEnsemble(
        folder=Path(settings.out).absolute(),
        ensemble_id=found.ensemble_id,
        name=settings.name,
        members=members,
        thresholds={name: choice.cut.value for name, choice in found.drawn.items()},
        threshold_intervals={name: (choice.cut.lower, choice.cut.upper) for name, choice in found.drawn.items()},
        tuning_c={name: choice.together.value for name, choice in found.drawn.items()},
        class_shares=dict(found.shares),
        choice=pd.DataFrame(found.table),
        figures=tuple(found.figures),
        warnings=warnings,
    )


@contextmanager
def _quietly(command: str, on_progress: OnProgress | None) -> Iterator[list[str]]:
    """Run a command's work for a caller: nothing printed, and torch left as it was found.

    Raises:
        ConfigError: what the command needs is not installed.
    """
    from pathoprog.system.caches import own_caches
    from pathoprog.system.machine.environment import quiet_dependencies
    from pathoprog.system.machine.extras import check_command

    check_command(command)
    quiet_dependencies(own_process=False)
    own_caches()
    import torch

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    try:
        with logged(on_progress) as warnings:
            yield warnings
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
