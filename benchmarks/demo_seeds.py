"""Does the demo find what is there, over several seeds? `python benchmarks/demo_seeds.py [seeds] [folder]`.

`python benchmarks/demo_seeds.py figures runs/demo …` judges demos that were run already, each folder one row: the same
seed under different processors' instructions, for instance.

Each seed is a new set of patients, slides and networks. Printed for each: the external c of METHOD's one number and of
the true hazard with 95% CIs, the share of the way from 0.5 to the truth, the classes' c, poor against good, the median
single member of each resolution, and whether every target of the demo is met. Seed 1 was looked at while the demo's
settings were made; the others judge it.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from pathoprog.commands.demo import steps
from pathoprog.commands.demo_config import DemoConfig
from pathoprog.ensemble.bundle import read_manifest
from pathoprog.ensemble.classes import one_number
from pathoprog.regions.annotations import read_outline
from pathoprog.slides import open_slide
from pathoprog.slides.resolutions import RESOLUTIONS
from pathoprog.survival import cox, harrell_c
from pathoprog.system.tracking_config import TrackingSettings


def main(seeds: int, folder: Path) -> int:
    rows = []
    for seed in range(1, seeds + 1):
        out = folder / f"seed{seed}"
        settings = DemoConfig(out=str(out), seed=seed, track=TrackingSettings("none"), score=["roles=[external]"])
        for title, command in steps(settings):
            if command[0] != "validate":
                print(f"seed {seed}: {title}", flush=True)
                subprocess.run([sys.executable, "-m", "pathoprog.cli", *command], check=True, stdout=subprocess.DEVNULL)
        rows.append({"seed": seed, **figures(out)})
        print(json.dumps(rows[-1]), flush=True)
    return show(rows)


def show(rows: list[dict[str, object]]) -> int:
    """Print the table and how many rows meet every target; 1 if one does not."""
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    print(f"all targets met in {int(table['met'].sum())} of {len(table)} runs")
    return 0 if bool(table["met"].all()) else 1


def figures(out: Path) -> dict[str, object]:
    """The demo's targets on one run's external cohort."""
    cuts = read_manifest(out / "ensemble").cuts
    truth = pd.read_csv(out / "cohort" / "truth.csv").drop_duplicates("patient_id").set_index("patient_id")
    scored = pd.read_csv(out / "scores" / "patients.csv", dtype={"patient_id": str})
    scored = scored[(scored["role"] == "external") & (scored["status"] == "scored")].set_index("patient_id")
    outcomes = pd.read_csv(out / "cohort" / "outcomes.csv", dtype={"patient_id": str}).set_index("patient_id")
    table = scored.join(outcomes).join(truth[["log_hazard", "patient_architecture", "patient_nuclei"]])
    table["one"] = [one_number({name: row[f"score_{name}"] for name in cuts}, cuts) for row in table.to_dict("records")]
    table["class"] = table["risk_class"].map({"good": 0, "uncertain": 1, "poor": 2})
    time, died = table["followup_days"].to_numpy(float), (table["event"] == 1).to_numpy(int)
    found = {name: harrell_c(time, died, table[name].to_numpy(float)) for name in ("one", "log_hazard", "class")}
    fit = cox(table.assign(died=died), "followup_days", "died", ["risk_class"], {"risk_class": "good"}).terms
    poor = fit[fit["level"] == "poor"].iloc[0]
    single = members(out, time, died, table)
    share = (found["one"].value - 0.5) / (found["log_hazard"].value - 0.5)
    follows = {
        f"r_{resolution}_{factor}": float(table[f"score_{resolution}"].corr(table[f"patient_{factor}"]))
        for resolution in RESOLUTIONS
        for factor in ("architecture", "nuclei")
    }
    own = (
        follows["r_10x_architecture"] > follows["r_10x_nuclei"]
        and follows["r_40x_nuclei"] > follows["r_40x_architecture"]
    )
    colour = colour_c(out)
    met = found["one"].value >= 0.65 and share >= 2 / 3 and poor["hr"] > 2 and poor["lower"] > 1 and own
    return {
        "n": len(table),
        "deaths": int(died.sum()),
        "c": found["one"].value,
        "c_lower": found["one"].lower,
        "c_upper": found["one"].upper,
        "truth": found["log_hazard"].value,
        "share": share,
        "c_classes": found["class"].value,
        "hr_poor": poor["hr"],
        "hr_lower": poor["lower"],
        "hr_upper": poor["upper"],
        **single,
        **follows,
        "c_colour": colour,
        "truth_in_range": bool(0.70 <= found["log_hazard"].value <= 0.80),
        "met": bool(met and colour <= 0.55 and all(found["one"].value > value for value in single.values())),
    }


def colour_c(out: Path) -> float:
    """External c of a Cox model, fitted on training and tuning, on the tumour's mean colour and the areas alone."""
    cohort = pd.read_csv(out / "cohort" / "cohort.csv", dtype=str).set_index("slide_id")
    truth = pd.read_csv(out / "cohort" / "truth.csv").set_index("slide_id")
    rows = []
    for slide_id, line in cohort[cohort["role"] != "test"].iterrows():
        with open_slide(out / "cohort" / line["slide_path"]) as slide:
            view = slide.thumbnail(256)
            step = slide.width / view.shape[1]
        y, x = (np.mgrid[0 : view.shape[0], 0 : view.shape[1]] + 0.5) * step
        inside = shapely.contains_xy(read_outline(out / "cohort" / line["outline_path"]), x, y)
        areas = truth.loc[slide_id, ["tumour_area_um2", "tissue_area_um2"]].to_numpy(float) / 1e5
        rows.append([line["patient_id"], line["role"], *view[inside].mean(0) / 25.5, *areas])
    names = ["red", "green", "blue", "tumour", "tissue"]
    table = (
        pd.DataFrame(rows, columns=["patient_id", "role", *names]).groupby(["patient_id", "role"]).mean().reset_index()
    )
    outcomes = pd.read_csv(out / "cohort" / "outcomes.csv", dtype={"patient_id": str})
    table = table.merge(outcomes, on="patient_id")
    table["died"] = (table["event"] == 1).astype(int)
    external = table["role"] == "external"
    fit = cox(table[~external], "followup_days", "died", names, {})
    risk = table.loc[external, names].to_numpy() @ fit.terms["coef"].to_numpy()
    return float(harrell_c(table.loc[external, "followup_days"], table.loc[external, "died"], risk).value)


def members(out: Path, time: np.ndarray, died: np.ndarray, table: pd.DataFrame) -> dict[str, float]:
    """Median c of the single members of each resolution; a patient's score is the mean over its slides."""
    scores: dict[str, dict[str, dict[str, list[float]]]] = {"10x": {}, "40x": {}}
    slides = pd.read_csv(out / "scores" / "results.csv", dtype=str).set_index("slide_id")["patient_id"]
    for path in (out / "scores" / "slides").glob("*/result.json"):
        result = json.loads(path.read_text())
        patient = slides.get(path.parent.name, "")
        for resolution, entry in result["scores"].items():
            for name, value in entry["members"].items():
                scores[resolution].setdefault(name, {}).setdefault(patient, []).append(value)
    return {
        f"median_{resolution}": float(
            np.median(
                [
                    harrell_c(time, died, np.array([np.mean(by_patient[name]) for name in table.index])).value
                    for by_patient in found.values()
                ]
            )
        )
        for resolution, found in scores.items()
    }


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["figures"]:
        sys.exit(show([{"folder": name, **figures(Path(name))} for name in arguments[1:]]))
    sys.exit(main(int(arguments[0]) if arguments else 5, Path(arguments[1] if len(arguments) > 1 else "runs/seeds")))
