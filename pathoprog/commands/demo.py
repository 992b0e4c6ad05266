"""`pathoprog demo`: the whole main job on a made-up multi-site cohort, as a list of commands that anyone could type.

Each step is a process of its own, and each reuses what an earlier run left that is still valid.
"""

import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

from pathoprog import RESEARCH_USE_ONLY
from pathoprog.commands.demo_config import DemoConfig
from pathoprog.ensemble.bundle import MANIFEST, ensemble_id
from pathoprog.ensemble.shape import MEMBERS_PER_RESOLUTION
from pathoprog.errors import ConfigError, InputError, PathoprogError
from pathoprog.settings import as_dict
from pathoprog.system.console import say
from pathoprog.system.files import read_json, sha256_file, write_json, write_text
from pathoprog.system.tracking_config import check_tracking
from pathoprog.text.wording import count, number_word

PLAN = """\
# Analysis plan of the demo, fixed before its external cohort is opened.
title: "Demo: an ensemble on a made-up external cohort"
time_zero: day of surgery
primary:
  endpoint: cancer-specific survival
  contrast: poor vs good
  cohort: external
  horizon_years: 3
  test: logrank
planned: [kaplan_meier, logrank, hazard_ratios, c_index, c_classes, c_resolutions, c_members, groupings, horizon_values,
  competing_deaths, adjusted, subgroups, permutation, true_hazard, sites, added_value, treatment,
  endpoints]
covariates: [age, sex, pT, pN, grade]
subgroups: [sex, age, prep_site, scanner, stage]
horizons_years: [3, 5]
sites: [prep_site]
added_value: [stage]
endpoints: [disease_free]
treatment: {column: treatment, control: "no", randomised: true, adjust: [age, stage]}
"""

LEFT = {
    "simulate": "cohort",
    "tiles": "tiles",
    "train_ensemble": "candidates",
    "ensemble": "ensemble",
    "score": "scores",
    "validate": "validation",
}
"""Where each step writes, in the demo's folder."""


def run(settings: DemoConfig) -> int:
    """Run every step in sight, then say where to look."""
    out = Path(settings.out)
    check_numbers(settings)
    if "restart=true" not in settings.train:
        check_candidates(out / "candidates")
    write_text(out / "plan.yaml", PLAN)
    planned = steps(settings)
    began = time.monotonic()
    say(f"pathoprog demo: {len(planned)} steps into {out}. {RESEARCH_USE_ONLY}")
    for number, (title, command) in enumerate(planned, 1):
        say(f"\n[{number}/{len(planned)}] {title}")
        say(f"  pathoprog {shlex.join(command)}")
        start = time.monotonic()
        if command[0] == "ensemble":
            supersede(out / "ensemble", out / "candidates", settings.members)
        code = subprocess.run([sys.executable, "-m", "pathoprog.cli", *command], check=False).returncode
        if code and not (code == 1 and command[0] == "train_ensemble"):  # some candidate failed, the others are done
            left = out / LEFT[command[0]]
            raise PathoprogError(
                f"step {number} ({command[0]}) ended with exit code {code}; what is done is kept"
                + (f"; if it refuses what lies in {left}, move {left} away, or give another out=…" * left.exists())
            )
        say(f"  done in {time.monotonic() - start:.0f} s")
    summary(settings, time.monotonic() - began)
    return 0


def steps(settings: DemoConfig) -> list[tuple[str, list[str]]]:
    """What the demo does: for each step its title and the command's arguments."""
    out = Path(settings.out)
    cohort, store, candidates, bundle, scores, report = (out / name for name in LEFT.values())
    tables = [f"data.cohort={cohort / 'cohort.csv'}", f"data.overlap={cohort / 'overlap.json'}", f"data.store={store}"]
    tracking = [f"track.{key}={value}" for key, value in as_dict(settings.track).items()]
    return [
        (
            "made-up slides and patients of several sites, with a known truth",
            ["simulate", f"out={cohort}", f"seed={settings.seed}", *settings.simulate],
        ),
        (
            "tiles inside the tumour, cut once",
            ["tiles", "data=demo", *tables, *settings.data],
        ),
        (
            f"{count(settings.candidates, 'candidate network')} at each resolution",
            [
                *("train_ensemble", "experiment=demo", f"out={candidates}", *tables, *settings.data),
                *(f"data.outcomes={cohort / 'outcomes.csv'}", f"seed={settings.seed}"),
                *(f"candidates={settings.candidates}", f"members={settings.members}", *tracking, *settings.train),
            ],
        ),
        (
            f"the best {number_word(settings.members)} of each resolution, their thresholds, the lock",
            [
                *("ensemble", f"candidates={candidates}", f"members={settings.members}", f"out={bundle}", "name=demo"),
                *(f"seed={settings.seed}", *tracking),
            ],
        ),
        (
            "every slide scored by the locked ensemble",
            [
                *("score", f"cohort={cohort / 'cohort.csv'}", f"overlap={cohort / 'overlap.json'}"),
                *(f"ensemble={bundle}", f"out={scores}", *settings.score),
            ],
        ),
        (
            "survival validation: training, tuning, test, external",
            [
                *("validate", f"scores={scores / 'patients.csv'}", f"results={scores / 'results.csv'}"),
                *(f"cohort={cohort / 'cohort.csv'}", f"outcomes={cohort / 'outcomes.csv'}"),
                *(f"overlap={cohort / 'overlap.json'}", f"truth={cohort / 'truth.csv'}", f"ensemble={bundle}"),
                *(f"plan={out / 'plan.yaml'}", f"out={report}", *tracking),
                *("amend=the demo was made again", *settings.validate),
            ],
        ),
    ]


def check_numbers(settings: DemoConfig) -> None:
    """Refuse numbers of networks that no lock could be made of, before any work.

    Raises:
        ConfigError: names the keys.
    """
    if settings.candidates < settings.members:
        raise ConfigError(
            f"candidates={settings.candidates}: fewer than members={settings.members}, which are chosen among them;"
            f" give members={settings.candidates} too, or more candidates"
        )
    for given in settings.train:
        if (key := given.partition("=")[0].strip().lstrip("+")) in ("candidates", "members"):
            raise ConfigError(f"train: {given}: give {key}=… to the demo itself; the step `ensemble` needs it too")


def check_candidates(candidates: Path) -> None:
    """Refuse candidates of an earlier version, which did not note on what they learned, before any work.

    Raises:
        InputError: names the folder, and what to do.
    """
    for folder in sorted(path for path in candidates.glob("*x-seed*") if path.is_dir()):
        try:
            known = {"settings", "cohorts"} <= read_json(folder / "run.json").keys()
        except FileNotFoundError:
            known = not any((folder / name).is_file() for name in ("candidate.json", "last.safetensors"))
        except (ValueError, AttributeError):
            known = False
        if not known:
            raise InputError(
                f"{candidates}: candidates that an earlier version trained, or that were damaged ({folder.name}), and"
                " that this version cannot go on with; move that folder away, or give another out=…"
            )


def supersede(bundle: Path, candidates: Path, members: int = MEMBERS_PER_RESOLUTION) -> None:
    """Move a bundle of other candidates aside: a lock is never rewritten, only superseded.

    A bundle of as many of these same candidates is left, and the step `ensemble` finds it unchanged.
    """
    stamp = bundle.with_name("ensemble.candidates.json")
    now: dict[str, object] = {
        path.parent.name: sha256_file(path) for path in sorted(candidates.glob("*/candidate.json"))
    }
    if members != MEMBERS_PER_RESOLUTION:
        now["members"] = members
    try:
        same = read_json(stamp) == now
    except (OSError, ValueError):  # not there, or damaged: of these candidates or not, nobody knows
        same = False
    if (bundle / MANIFEST).is_file() and not same:
        old = bundle.with_name(f"ensemble.superseded-{ensemble_id(bundle)[:12]}")
        if old.exists():
            raise PathoprogError(f"{old} exists already: move it away")
        bundle.rename(old)
        say(f"  the bundle of other candidates or members was moved to {old}")
    write_json(stamp, now)


def summary(settings: DemoConfig, seconds: float) -> None:
    """The figures that matter, and where to look."""
    out = Path(settings.out)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    say(f"\nDone in {seconds / 60:.1f} min; the largest process took {used:.1f} GiB.")
    headline = out / "validation" / "headline.txt"
    if headline.is_file():
        say(headline.read_text(encoding="utf-8").rstrip())
    heatmaps = sorted((out / "scores" / "slides").glob("*/heatmap.png"))
    say(f"  report   {out / 'validation' / 'report.html'}")
    if heatmaps:
        say(f"  heatmap  {heatmaps[0]}")
    say(f"  bundle   {out / 'ensemble'}   (pathoprog verify {out / 'ensemble'})")
    if check_tracking(settings.track):
        program = Path(sys.executable).with_name("mlflow")
        here = Path.cwd()
        shown = program.relative_to(here) if program.is_relative_to(here) else program
        say(f"  MLflow   {shown} ui --backend-store-uri {settings.track.tracking_uri} --host 127.0.0.1")
    say(f"  {RESEARCH_USE_ONLY}")
