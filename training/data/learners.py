"""Who learns and who judges: by the cohort's roles, or by the folds of a cross-validation."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.roles import DEVELOPMENT_ROLES
from pathoprog.ensemble.manifest import CohortFacts
from pathoprog.errors import InputError
from pathoprog.networks.member import MilNetwork
from pathoprog.stream.requests import TileRequests
from pathoprog.system.files import read_json, sha256_value
from pathoprog.training.config import TrainConfig
from pathoprog.training.data.bags import Patient, read_patients
from pathoprog.training.data.folds import NONE_HELD_OUT, read_folds
from pathoprog.training.member.candidate import Verdict, read_verdict
from pathoprog.training.member.device_group import ALONE, DeviceGroup
from pathoprog.training.member.tuning_concordance import judge, spread

OUT_OF_FOLD = "out_of_fold.json"
Judge = Callable[[MilNetwork, torch.device, torch.dtype], Verdict]


def read_parts(settings: TrainConfig, requests: TileRequests | None = None) -> tuple[list[Patient], list[Patient]]:
    """Patients that learn and patients that judge, each ordered by id.

    By role: training and tuning. By folds, over both roles together: all but the fold held out, and that fold; where
    none is held out everybody, twice. `requests` as in `read_patients`.

    Raises:
        InputError, CohortError: see `read_patients` and `read_folds`; or one scan is that of two patients.
    """
    split = settings.split
    if not split.folds:
        parts = read_patients(settings, "training", requests), read_patients(settings, "tuning", requests)
        refuse_same_scans(*parts)
        return parts
    there = set(read_cohort(settings.data.cohort, settings.data.overlap)["role"])
    everybody = [
        patient for role in DEVELOPMENT_ROLES if role in there for patient in read_patients(settings, role, requests)
    ]
    everybody.sort(key=lambda patient: patient.patient_id)
    refuse_same_scans(everybody)
    if split.fold == NONE_HELD_OUT:
        return everybody, everybody
    folds = read_folds(settings)
    learn = [patient for patient in everybody if folds[patient.patient_id] != split.fold]
    held_out = [patient for patient in everybody if folds[patient.patient_id] == split.fold]
    if not learn or not held_out:
        raise InputError(f"split.fold={split.fold}: no patient with tiles in it, or none outside")
    return learn, held_out


def refuse_same_scans(*parts: list[Patient]) -> None:
    """No scan belongs to two of the patients that learn and judge; within a patient it would only weigh twice.

    Raises:
        InputError: names the slides.
    """
    seen: dict[str, tuple[str, str]] = {}
    breaches = set[str]()
    for patients in parts:
        for patient in patients:
            for slide in patient.slides:
                own = (slide.slide_id, patient.patient_id)
                scan = slide.scan or slide.sha256
                other = seen.setdefault(scan, own) if scan else own
                if other[1] != own[1]:
                    breaches.add(f"{own[0]} of {own[1]}: the same content as {other[0]} of {other[1]}")
    if breaches:
        raise InputError(
            "\n  ".join(
                ["one scan of several patients; take all but the right one out of the cohort:", *sorted(breaches)]
            )
        )


def judge_of(settings: TrainConfig, judging: list[Patient], group: DeviceGroup = ALONE) -> Judge:
    """What judges a network: those patients' bags; or, where all of them learned, what their folds' networks said.

    The processes of a group share the patients out, and all of them must ask.
    """
    if settings.split.folds and settings.split.fold == NONE_HELD_OUT:
        verdict = read_verdict(_out_of_fold(settings))
        return lambda network, device, dtype: verdict
    return _by_bags(settings, judging, group)


def watch_of(settings: TrainConfig, learning: list[Patient], group: DeviceGroup = ALONE) -> Judge | None:
    """What judges a network on a fixed sample of those that it learns from: the same whatever the seed; None: nobody.

    The sample is spread evenly over the patients as they are ordered by event and follow-up. Its c is too high, and
    tells how far the network has gone in learning these patients by heart.
    """
    if not settings.fit.training_sample:
        return None
    ordered = sorted(learning, key=lambda patient: (patient.event, patient.followup_days, patient.patient_id))
    sample = [ordered[index] for index in spread(len(ordered), settings.fit.training_sample)]
    return _by_bags(settings, sample, group)


def _by_bags(settings: TrainConfig, judging: list[Patient], group: DeviceGroup) -> Judge:
    fit = settings.fit
    # as many tiles ahead as in training
    ahead = -(-fit.prefetch * fit.patients_per_step * fit.tiles_per_patient // fit.evaluate_batch)

    def by_bags(network: MilNetwork, device: torch.device, dtype: torch.dtype) -> Verdict:
        return judge(network, judging, fit.evaluate_tiles, fit.evaluate_batch, device, dtype, ahead, group, fit)

    return by_bags


@dataclass(frozen=True)
class Used:
    """Who took part in a training, of those whom its cohort names.

    Attributes:
        patient_ids: of patients with a slide that was used at any resolution.
        left_out: by role, slides that were not used at every resolution, of how many: (left out, all).
    """

    patient_ids: frozenset[str]
    left_out: Mapping[str, tuple[int, int]]


def who_was_used(settings: TrainConfig, parts: Sequence[list[Patient]]) -> Used:
    """Hold the cohort against those who learned and judged.

    Args:
        settings: of the training.
        parts: patients that learned and that judged, of every resolution.
    """
    cohort = read_cohort(settings.data.cohort, settings.data.overlap, look=False)
    resolutions = len(set(settings.data.resolutions))
    times = Counter(
        (patient.patient_id, slide.slide_id) for part in parts for patient in part for slide in patient.slides
    )
    lists = 2 if settings.split.folds else 1  # by folds everybody learned, and everybody judged
    left_out = {}
    for role in DEVELOPMENT_ROLES:
        rows = cohort[cohort["role"] == role]
        pairs = zip(map(str, rows["patient_id"]), map(str, rows["slide_id"]), strict=True)
        left_out[role] = (sum(times[pair] < lists * resolutions for pair in pairs), len(rows))
    return Used(frozenset(patient for patient, _ in times), left_out)


def cohort_facts(patients: list[Patient]) -> CohortFacts:
    """Size of a cohort and the hash over its patients, slides' content, tiles' places and outcomes; no id leaves."""
    rows = [
        [
            patient.patient_id,
            [[slide.sha256, slide.places] for slide in patient.slides],
            patient.followup_days,
            patient.event,
        ]
        for patient in patients
    ]
    return CohortFacts(
        n_patients=len(patients),
        n_slides=sum(len(patient.slides) for patient in patients),
        n_tiles=sum(patient.n_tiles for patient in patients),
        n_events=sum(patient.event for patient in patients),
        sha256=sha256_value(rows),
    )


def facts_of_parts(settings: TrainConfig, learning: list[Patient], judging: list[Patient]) -> dict[str, CohortFacts]:
    """`cohort_facts` of training and tuning; tuning by folds says so."""
    facts = {"training": cohort_facts(learning), "tuning": cohort_facts(judging)}
    if settings.split.folds and settings.split.fold == NONE_HELD_OUT:
        facts["tuning"] = replace(
            facts["tuning"],
            out_of_folds=settings.split.folds,
            together=settings.split.together,
            verdict_sha256=sha256_value(read_json(_out_of_fold(settings))),
        )
    return facts


def _out_of_fold(settings: TrainConfig) -> Path:
    path = Path(settings.out) / OUT_OF_FOLD
    if not path.is_file():
        raise InputError(f"split.fold={NONE_HELD_OUT} belongs to `pathoprog cross_validate refit=true`: no {path}")
    return path
