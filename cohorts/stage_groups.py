"""`pathoprog stage_groups`: fit the table that joins class and stage, and lock it into a new bundle."""

from pathlib import Path

import pandas as pd

from pathoprog.cohort_tables.cohort import read_cohort, read_outcomes
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.cohorts.config import StageGroupsConfig
from pathoprog.ensemble.bundle import ensemble_id, verify
from pathoprog.ensemble.stage_groups import RISK_GROUPS, fit_stage_groups, scoring_ids, with_stage_groups
from pathoprog.errors import InputError
from pathoprog.system.console import say, warn
from pathoprog.system.files import sha256_file, sha256_value
from pathoprog.text.wording import count
from pathoprog.validation.openings.register import REGISTER, Study, record_reading, turn
from pathoprog.validation.populations import analysed_patients
from pathoprog.validation.score_tables import read_patients, read_results


def run(settings: StageGroupsConfig) -> int:
    """Fit on the development cohorts, all of their patients, and write the new bundle."""
    manifest = verify(settings.ensemble)
    thresholds = manifest.cuts
    cohort = read_cohort(settings.cohort, settings.overlap)
    read_results(settings.results, scoring_ids(settings.ensemble), manifest.shape.resolutions)
    patients = read_patients(settings.scores, thresholds)
    parts = {
        "bundle": ensemble_id(settings.ensemble),
        "cohort": sha256_value([sha256_file(path) for path in (settings.cohort, settings.overlap) if path]),
        "scores": sha256_file(settings.scores),
    }
    outcomes = read_outcomes(settings.outcomes)
    analysed = analysed_patients(cohort, patients, outcomes, set())
    development = development_patients(analysed, settings.development)
    record(settings, parts, len(development))
    in_sample = bool(development["role"].isin(DEVELOPMENT_ROLES).any())
    classes = manifest.shape.classes
    table = fit_stage_groups(development, settings.horizon_years, settings.min_share, in_sample, classes)
    identity = with_stage_groups(settings.ensemble, settings.out, table)
    cells = pd.DataFrame(table.record["cells"])
    names = ", ".join(settings.development)
    fitted = f"{count(table.record['n'], 'patient')} with {count(table.record['events'], 'event')}"
    say(f"fitted on {fitted} ({names})")
    say(f"  {table.record['without_stage_or_class']} without stage have no group{', in-sample' if in_sample else ''}")
    for name in RISK_GROUPS:
        own = cells[cells["risk_group"] == name]
        followed = f"{count(int(own['n'].sum()), 'patient')}, {count(int(own['events'].sum()), 'event')}"
        say(f"  {name}: {count(len(own), 'cell')}, {followed}")
    say(f"  {settings.out}: ensemble {identity[:16]}")
    return 0


def record(settings: StageGroupsConfig, parts: dict[str, str], patients: int) -> None:
    """Put on record, as a validation does its opening, whose outcomes are used, before anything is fitted on them.

    Raises:
        LockError: a log was changed.
        InputError: no place at all can be written.
    """
    out = Path(settings.out)
    study = Study(
        bundle=scoring_ids(settings.ensemble)[-1],
        outcomes=Path(settings.outcomes),
        parts=parts,
        locks=(sha256_value(parts),),
        out=out,
        log=out.with_name(f"{out.name}.{REGISTER}"),  # in the bundle itself it would be a file too many
        own_log=True,
    )
    with turn(study):
        for note in record_reading(study, "stage_groups", settings.development, patients):
            warn(note)


def development_patients(analysed: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """All scored patients of the named cohorts; training and tuning together, for only so nobody was selected.

    Raises:
        InputError: a cohort is unknown, or only part of it is there (selected on outcome).
    """
    rows = analysed[analysed["cohort"].isin(names) & (analysed["role"] != "test")]
    for name in names:
        roles = set(rows.loc[rows["cohort"] == name, "role"])
        if not roles:
            there = ", ".join(sorted(set(analysed.loc[analysed["role"] != "test", "cohort"])))
            raise InputError(f"development: no scored patient of cohort {name!r} (there: {there})")
        if roles & set(DEVELOPMENT_ROLES) and not set(DEVELOPMENT_ROLES) <= roles:
            raise InputError(
                f"development: of cohort {name} only {', '.join(sorted(roles))} is scored: selected on outcome; "
                "score its training and tuning patients"
            )
    return rows.reset_index(drop=True)
