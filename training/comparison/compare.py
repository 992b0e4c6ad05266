"""`pathoprog compare`: experiments cross-validated on the same folds with the same seeds, and held against each other.

Each experiment is a cross-validation of its own in a folder of its own, which goes on where it was stopped. What is
compared is the mean over seeds of each network's c within folds; differences are paired, with intervals over patients
and seeds (`pathoprog.survival.resampling.crossed`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathoprog import RESEARCH_USE_ONLY, cli
from pathoprog.errors import ConfigError, PathoprogError
from pathoprog.survival.resampling.crossed import CrossedConcordance, crossed_concordance
from pathoprog.system.console import say, warn
from pathoprog.system.csv_files import csv_text
from pathoprog.system.files import sha256_value, write_text
from pathoprog.system.tracking_config import check_tracking
from pathoprog.training import cross_validate
from pathoprog.training.comparison.config import CompareConfig
from pathoprog.training.comparison.figure import draw_comparison
from pathoprog.training.comparison.same_terms import check_same_terms
from pathoprog.training.config import CrossValidateConfig
from pathoprog.training.data.bags import Patient
from pathoprog.training.data.by_resolution import check_each
from pathoprog.training.data.learners import read_parts
from pathoprog.training.held_folder import holds_its_folder
from pathoprog.training.member.candidate import CANDIDATE
from pathoprog.training.tracking import Tracking
from pathoprog.training.train_ensemble import CandidateTask

TABLE = "comparison"
CAPTION = (
    "c: mean over seeds of single networks' c on patients whom the network did not see, pairs within folds alone."
    " Differences are paired: the same patients, folds and seeds. 95% intervals over patients and seeds: resampled"
    " patients, and Student's quantile for the seeds (Banerjee 1960, Sankhya 22:357); they hold for the patients who"
    " trained, and are not adjusted for the number of comparisons."
)
FEW_SEEDS = {
    1: "With one seed the intervals leave out how much training varies: where seeds differ in what they learn, they"
    " covered 68% of simulated differences. Give candidates=3 or more.",
    2: "With two seeds the intervals are a little too narrow where seeds differ in what they learn (92% of simulated"
    " differences covered): give candidates=3 or more.",
}
"""By the number of seeds, what `benchmarks/coverage_crossed.py` says of the intervals; from three on they hold."""
Scores = dict[int, dict[str, dict[str, float]]]
"""By seed, resolution (or both together) and patient."""


@dataclass(frozen=True)
class Compared:
    """One resolution's comparison: which experiments, seeds and patients, and the figures in that order."""

    resolution: str
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    n_patients: int
    n_events: int
    found: CrossedConcordance


@holds_its_folder("compare")
def run(settings: CompareConfig) -> int:
    """Check that the experiments may be compared, cross-validate each, write table and figure; 1 if some failed."""
    experiments = composed(settings)
    reference = settings.reference or next(iter(experiments))
    if reference not in experiments:
        raise ConfigError(f"reference={reference}: must be one of {', '.join(experiments)}")
    folds = check_same_terms(experiments)
    check_tracking(settings.track)
    n_folds = next(iter(experiments.values())).split.folds
    say(f"    {len(experiments)} experiments on the same {n_folds} folds of {len(folds)} patients")
    scores: dict[str, Scores] = {}
    people: dict[str, Patient] = {}
    failed: dict[str, str] = {}
    for name, one in experiments.items():
        say(f"  {name}")
        try:
            code = cross_validate.run(one)
            scores[name], seen = scores_by_seed(one)
        except PathoprogError as error:
            failed[name] = str(error)
            warn(f"{name} failed, the others go on: {error}")
            continue
        people |= seen
        if code:
            failed[name] = "some seeds failed (named above)"
    if len(scores) < 2 or reference not in scores:
        raise PathoprogError(
            f"{len(scores)} of {len(experiments)} experiments are done; two, the reference among them, are needed. The"
            " same command goes on when what is wrong is mended: " + "; ".join(f"{k}: {v}" for k, v in failed.items())
        )
    ordered = {name: scores[name] for name in (reference, *(name for name in scores if name != reference))}
    found = [
        compared(ordered, resolution, people, folds, settings.bootstrap, settings.bootstrap_seed)
        for resolution in shared_resolutions(ordered)
    ]
    write(settings, found, failed)
    return 1 if failed else 0


def composed(settings: CompareConfig) -> dict[str, CrossValidateConfig]:
    """Each experiment's settings by its name, with what was given for all.

    Raises:
        ConfigError: fewer than two, two of one name, or one that cannot be cross-validated.
    """
    experiments: dict[str, CrossValidateConfig] = {}
    for given in settings.experiments:
        name = Path(given).stem if given.endswith((".yaml", ".yml")) else given
        if name in experiments:
            raise ConfigError(f"experiments: two are called {name}; give each its own name")
        one = cli.compose("cross_validate", [f"experiment={given}", *settings.each, f"out={Path(settings.out) / name}"])
        assert isinstance(one, CrossValidateConfig)
        if one.refit:
            raise ConfigError(f"{name}: refit=true belongs to `pathoprog cross_validate`; a comparison locks nothing")
        one.track = settings.track
        check_each(one)
        experiments[name] = one
    if len(experiments) < 2:
        raise ConfigError(f"experiments={','.join(experiments)}: two or more are needed")
    return experiments


def scores_by_seed(settings: CrossValidateConfig) -> tuple[Scores, dict[str, Patient]]:
    """Out-of-fold scores of each seed whose folds are all done, and the patients."""
    whole: dict[int, list[tuple[CandidateTask, list[CandidateTask]]]] = {}
    refits = cross_validate.refit_tasks(settings)
    for refit in refits:
        folds = cross_validate.fold_tasks(refit.settings)
        if all((task.folder / CANDIDATE).is_file() for task in folds):
            whole.setdefault(refit.settings.seed, []).append((refit, folds))
    n_resolutions = len({refit.settings.resolution for refit in refits})
    scores = {}
    people: dict[str, Patient] = {}
    for seed, pairs in whole.items():
        if len(pairs) < n_resolutions:
            continue
        risks = [cross_validate.out_of_fold(folds) for _, folds in pairs]
        scores[seed] = cross_validate.scores_of([refit for refit, _ in pairs], risks)
        for refit, _ in [] if people else pairs:
            people |= {patient.patient_id: patient for patient in read_parts(refit.settings)[0]}
    return scores, people


def shared_resolutions(scores: dict[str, Scores]) -> list[str]:
    """Resolutions that all experiments have; both together last."""
    each = [set.intersection(*(set(one) for one in by_seed.values())) for by_seed in scores.values() if by_seed]
    if len(each) < len(scores):
        raise PathoprogError("an experiment has no seed whose folds are all done; the same command tries it again")
    return sorted(set.intersection(*each))


def compared(
    scores: dict[str, Scores],
    resolution: str,
    people: dict[str, Patient],
    folds: dict[str, int],
    samples: int,
    seed: int,
) -> Compared:
    """Hold the experiments against one another at one resolution, on the seeds and patients that all of them have.

    Args:
        scores: by experiment, the reference first.
        resolution: or ``both``.
        people: all patients.
        folds: of each patient.
        samples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        PathoprogError: no seed is done in all of them.
    """
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in scores.values())))
    if not seeds:
        raise PathoprogError(f"{', '.join(scores)}: no seed is done in all of them; the same command goes on")
    having = [set(by_seed[one][resolution]) for by_seed in scores.values() for one in seeds]
    names = sorted(set.intersection(*having))
    values = [[[by_seed[one][resolution][name] for name in names] for one in seeds] for by_seed in scores.values()]
    time = np.array([people[name].followup_days for name in names])
    event = np.array([people[name].event for name in names])
    found = crossed_concordance(time, event, [folds[name] for name in names], values, samples, seed)
    return Compared(resolution, tuple(scores), tuple(seeds), len(names), int(event.sum()), found)


def write(settings: CompareConfig, found: list[Compared], failed: dict[str, str]) -> None:
    """Write the table as CSV and Markdown, the figure, and what MLflow keeps of them."""
    out = Path(settings.out)
    rows = [row for one in found for row in rows_of(one)]
    text = page(found, failed)
    write_text(out / f"{TABLE}.csv", csv_text(rows))
    write_text(out / f"{TABLE}.md", text)
    few = FEW_SEEDS.get(len(found[0].seeds), "")
    drawn = draw_comparison(rows, out / TABLE, f"{CAPTION} {few}".strip())
    say(text)
    tracking = Tracking(settings.track)
    mark = sha256_value([settings.experiments, settings.each, settings.reference])
    run_id = tracking.start(f"comparison {out.name}", settings, folder=out, mark=mark, kind="comparison")
    with tracking.until_end(run_id):
        for path in (out / f"{TABLE}.csv", out / f"{TABLE}.md", *drawn):
            tracking.file(run_id, path)
    say(f"    {out / TABLE}.csv, .md, .png, .svg")


def rows_of(one: Compared) -> list[dict[str, Any]]:
    """Rows of the table: each experiment's c, and its difference from the reference, which is the first."""
    rows = []
    for k, name in enumerate(one.names):
        c, difference = one.found.c[k], one.found.differences[k][0]
        limits = (difference.value, difference.lower, difference.upper) if k else ("", "", "")
        rows.append(
            {
                "resolution": one.resolution, "experiment": name, "reference": one.names[0],
                "seeds": " ".join(map(str, one.seeds)), "n_patients": one.n_patients, "n_events": one.n_events,
                "n_pairs": one.found.n_pairs, "c": c.value, "c_lower": c.lower, "c_upper": c.upper,
                "difference": limits[0], "difference_lower": limits[1], "difference_upper": limits[2],
                "c_by_seed": " ".join(f"{value:.4f}" for value in one.found.by_seed[k]),
            }
        )  # fmt: skip
    return rows


def page(found: list[Compared], failed: dict[str, str]) -> str:
    """The table as Markdown, with what its figures mean."""
    lines = [
        "# Experiments compared", "", f"**{RESEARCH_USE_ONLY}** {CAPTION}", "",
        f"| resolution | experiment | seeds | patients (events) | c (95% CI) | less {found[0].names[0]} (95% CI) |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in found:
        for k, name in enumerate(one.names):
            c, gap = one.found.c[k], one.found.differences[k][0]
            difference = f"{gap.value:+.3f} ({gap.lower:+.3f} to {gap.upper:+.3f})" if k else "reference"
            cells = (
                one.resolution, name, len(one.seeds), f"{one.n_patients} ({one.n_events})",
                f"{c.value:.3f} ({c.lower:.3f} to {c.upper:.3f})", difference,
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    if len(found[0].seeds) in FEW_SEEDS:
        lines += ["", FEW_SEEDS[len(found[0].seeds)]]
    lines += ["", *(f"{name}: {reason}" for name, reason in failed.items())] if failed else []
    return "\n".join(lines) + "\n"
