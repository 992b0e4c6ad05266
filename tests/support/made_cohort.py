"""A made-up scored cohort: every file that `pathoprog validate` reads, with a known hazard and no slide behind it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathoprog.cohort_tables.cohort import read_cohort
from pathoprog.cohort_tables.endpoints import distinct_outcome
from pathoprog.ensemble.bundle import ensemble_id, lock
from pathoprog.ensemble.classes import one_number, risk_class
from pathoprog.ensemble.clinical import ClinicalModel, clinical_number
from pathoprog.ensemble.clinical_values import covariate_values
from pathoprog.ensemble.manifest import Manifest, MemberRecord, ShapeRecord, ThresholdRecord
from pathoprog.ensemble.shape import Shape
from pathoprog.networks.config import NetworkSettings
from pathoprog.system.files import write_json
from pathoprog.system.records import Saved
from pathoprog.system.tracking_config import TrackingSettings
from pathoprog.tiles.config import standard_spec

THRESHOLDS = {"10x": 0.45, "40x": 0.55}
PLAN = """\
title: Prognostic value of the ensemble in the external cohort
time_zero: day of surgery
primary:
  endpoint: cancer-specific survival
  contrast: poor vs good
  cohort: external
  horizon_years: 3
  test: logrank
planned: [kaplan_meier, logrank, hazard_ratios, c_index, c_classes, groupings, permutation]
covariates: [age, sex, pT, pN]
subgroups: [scanner, stage]
horizons_years: [3, 5]
"""


@dataclass(frozen=True)
class MadeCohort:
    """Where the files are; see `make_cohort`."""

    folder: Path

    def settings(self, out: str = "validation", **more: Any) -> dict[str, Any]:
        """Keyword arguments for ValidateConfig."""
        paths = {
            "scores": "scored/patients.csv",
            "results": "scored/results.csv",
            "cohort": "cohort.csv",
            "outcomes": "outcomes.csv",
            "overlap": "overlap.json",
            "ensemble": "bundle",
            "plan": "plan.yaml",
            "out": out,
        }
        return {key: str(self.folder / value) for key, value in paths.items()} | {
            "track": TrackingSettings("none"),
            **more,
        }


def make_cohort(
    folder: Path,
    seed: int = 1,
    development: int = 300,
    test: int = 60,
    external: tuple[int, ...] = (200,),
    effect: float = 1.2,
    thresholds: dict[str, float] = THRESHOLDS,
    members: int = 5,
    clinical: ClinicalModel | None = None,
) -> MadeCohort:
    """Write cohort.csv, outcomes.csv, overlap.json, truth.csv, plan.yaml, a bundle and the scores of its ensemble.

    Args:
        folder: where to write.
        seed: of everything.
        development: patients of training and tuning together.
        test: of them, also in test, with another block.
        external: patients of each external cohort.
        effect: log hazard ratio for one SD of the hidden factor; 0 makes scores that know nothing.
        thresholds: of the ensemble, by resolution.
        members: of the ensemble, at each of them.
        clinical: the bundle's model over clinical covariates; None for none.
    """
    rng = np.random.default_rng(seed)
    people = pd.concat(
        [
            _people(rng, development, "D", ["north", "south"], effect),
            *(_people(rng, n, f"E{i}x", [f"trial {i + 1}"], effect) for i, n in enumerate(external)),
        ],
        ignore_index=True,
    )
    label = distinct_outcome(people).to_numpy()
    people["role"] = np.where(
        people["patient_id"].str.startswith("E"), "external", np.where(label == "", "tuning", "training")
    )
    retested = people[people["patient_id"].str.startswith("D")].sample(test, random_state=seed)
    slides = pd.concat([_slides(rng, people, "b1"), _slides(rng, retested.assign(role="test", cohort="retest"), "b2")])
    folder.mkdir(parents=True, exist_ok=True)
    own = ["age", "sex", "pT", "pN", "nodes_sampled", "grade", "stage"]
    cohort = slides.drop(columns=["factor", "log_hazard", "followup_days", "event"])
    cohort = cohort[[name for name in cohort.columns if name not in own] + own]
    cohort.to_csv(folder / "cohort.csv", index=False)
    people[["patient_id", "followup_days", "event"]].to_csv(folder / "outcomes.csv", index=False)
    people[["patient_id", "log_hazard"]].to_csv(folder / "truth.csv", index=False)
    pairs = [["training", "test"], ["tuning", "test"]]
    write_json(folder / "overlap.json", {"allowed_overlap": pairs, "patients": sorted(retested["patient_id"])})
    (folder / "plan.yaml").write_text(PLAN)
    ensemble = make_bundle(folder / "bundle", thresholds, members, clinical)
    write_scores(folder / "scored", rng, slides, ensemble, thresholds, members)
    if clinical is not None:
        write_clinical(folder, clinical)
    return MadeCohort(folder)


def make_bundle(
    folder: Path,
    thresholds: dict[str, float] = THRESHOLDS,
    members: int = 5,
    clinical: ClinicalModel | None = None,
) -> str:
    """Lock a bundle whose members are empty files, so many per resolution; returns the ensemble's id."""
    shape = Shape(dict.fromkeys(thresholds, members))
    names = [f"{resolution}_{k}" for resolution in thresholds for k in range(1, members + 1)]
    records = [
        MemberRecord(
            name=name,
            resolution=name.split("_")[0],
            file=f"members/{name}.safetensors",
            sha256="",
            network=Saved(NetworkSettings()),
            score_map=(0.0, 1.0),
        )
        for name in names
    ]
    manifest = Manifest(
        name="made up",
        members=tuple(records),
        other_shape=None if shape.is_methods else ShapeRecord(members=shape.members, caution=shape.caution),
        thresholds={resolution: ThresholdRecord(value=value) for resolution, value in thresholds.items()},
        tile_specs={resolution: standard_spec(resolution) for resolution in thresholds},
        aggregation="mean",
        tumour_policy="tissue",
        files={},
        covariates=clinical,
    )
    lock(folder, manifest, {f"members/{name}.safetensors": name for name in names})
    return ensemble_id(folder)


def write_clinical(folder: Path, model: ClinicalModel) -> None:
    """Put the model's numbers into patients.csv, as scoring with the folder's cohort does."""
    path = folder / "scored" / "patients.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    values = covariate_values(read_cohort(folder / "cohort.csv", folder / "overlap.json", look=False), model)
    found = [
        clinical_number(model, float(number) if number else None, values[patient])
        for patient, number in zip(table["patient_id"], table["one_number"], strict=True)
    ]
    table["clinical_number"] = ["" if one.value is None else repr(one.value) for one in found]
    table["clinical_notes"] = ["; ".join(one.notes) for one in found]
    table.to_csv(path, index=False)


def write_scores(
    folder: Path,
    rng: np.random.Generator,
    slides: pd.DataFrame,
    ensemble: str,
    thresholds: dict[str, float] = THRESHOLDS,
    members: int = 5,
) -> None:
    """Write results.csv, patients.csv and members.csv as scoring does; a few slides fail or are not reportable."""
    folder.mkdir(parents=True, exist_ok=True)
    results, member_rows = [], []
    for number, slide in enumerate(slides.to_dict("records")):
        scores = {}
        for resolution in thresholds:
            shared = slide["factor"] + 0.5 * rng.standard_normal()
            values = 1 / (1 + np.exp(-(shared + 0.5 * rng.standard_normal(members))))
            scores[resolution] = float(values.mean())
            member_rows += [
                {
                    "patient_id": slide["patient_id"],
                    "role": slide["role"],
                    "cohort": slide["cohort"],
                    "resolution": resolution,
                    "member": f"{resolution}_{k}",
                    "score": value,
                }
                for k, value in enumerate(values, start=1)
            ]
        status, reason = "scored", ""
        if number % 53 == 52:
            status, reason = "failed", f"{slide['slide_id']}: the file ends early"
        elif number % 41 == 40:
            status, reason = "not_reportable", "no 40x score: 0.499 um/px is too coarse for 0.25"
        ok = status == "scored"
        results.append(
            {
                "slide_id": slide["slide_id"],
                "patient_id": slide["patient_id"],
                "status": status,
                "risk_class": risk_class(scores, thresholds) if ok else "",
                **{f"score_{name}": value if ok else "" for name, value in scores.items()},
                "reason": reason,
                "slide_sha256": f"{number:064x}",
                "ensemble_id": ensemble,
                "role": slide["role"],
                "cohort": slide["cohort"],
            }
        )
    table = pd.DataFrame(results)
    table.drop(columns=["role", "cohort"]).to_csv(folder / "results.csv", index=False)
    patients = table.drop(columns=["slide_sha256", "ensemble_id"]).rename(columns={"slide_id": "slides"})
    ok = patients["status"] == "scored"
    patients["one_number"] = [
        one_number({name: row[f"score_{name}"] for name in thresholds}, thresholds) if row["status"] == "scored" else ""
        for row in patients.to_dict("records")
    ]
    patients = patients.assign(n_slides=1, n_slides_scored=ok.astype(int), borderline="", rule="mean")
    patients.to_csv(folder / "patients.csv", index=False)
    scored = set(zip(patients.loc[ok, "patient_id"], patients.loc[ok, "role"], strict=True))
    kept = pd.DataFrame([row for row in member_rows if (row["patient_id"], row["role"]) in scored])
    kept.to_csv(folder / "members.csv", index=False)


def _people(rng: np.random.Generator, n: int, prefix: str, cohorts: list[str], effect: float) -> pd.DataFrame:
    factor = rng.standard_normal(n)
    log_hazard = effect * factor
    cancer = rng.exponential(25 / np.exp(log_hazard))
    age = rng.normal(69, 10, n).clip(32, 94).round(1)
    other = rng.exponential(30 * np.exp(-0.07 * (age - 70)))
    end = rng.uniform(3, 9, n)
    times = np.vstack([end, cancer, other])
    pn = np.digitize(0.3 * factor + rng.standard_normal(n), (0.4, 1.3))
    return pd.DataFrame(
        {
            "patient_id": [f"{prefix}{i + 1:04d}" for i in range(n)],
            "cohort": rng.choice(cohorts, n),
            "factor": factor,
            "log_hazard": log_hazard,
            "followup_days": np.maximum(times.min(axis=0) * 365.25, 1).round(),
            "event": times.argmin(axis=0),
            "age": age,
            "sex": rng.choice(["female", "male"], n),
            "pT": np.where(rng.random(n) < 0.05, "", np.digitize(0.3 * factor + rng.standard_normal(n), (-0.8, 1)) + 2),
            "pN": pn.astype(str),
            "nodes_sampled": rng.integers(4, 30, n).astype(str),
            "grade": np.where(rng.random(n) < 0.1, "", rng.integers(1, 4, n)),
            "stage": np.where(pn > 0, "III", "II"),
        }
    )


def _slides(rng: np.random.Generator, people: pd.DataFrame, block: str) -> pd.DataFrame:
    site = rng.integers(0, 3, len(people))
    ids = people["patient_id"] + f"-{block}"
    return people.assign(
        slide_id=ids,
        slide_path="slides/" + ids + ".tif",
        block_id=block,
        prep_site=[f"{cohort} {k}" for cohort, k in zip(people["cohort"], site, strict=True)],
        scan_site="scanning centre",
        scanner=np.where(site == 0, "XR", "AT2"),
        factor=people["factor"] + 0.3 * rng.standard_normal(len(people)),
        organ="colorectum",
        specimen="resection",
        stain="H&E",
        neoadjuvant="no",
    )
